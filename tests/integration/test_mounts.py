"""Layers that the registry has in another repository are mounted; its access log is the witness."""
from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from support.archives import docker_save_old
from support.command import slipway
from support.gateway import Gateway, pushed
from support.images import make_small_image
from support.pulled import pull
from support.registry import Registry
from support.token_server import token_server
from support.waiting import wait_until

REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>\S+) HTTP/1\.1" (?P<status>\d{3})')

Line = tuple[str, str, int]


def asked(registry: Registry, repository: str) -> list[Line]:
    """Method, path with query and status of what was asked of a repository, in order."""
    found = (REQUEST.search(line) for line in registry.access_log())
    lines = [(m["method"], unquote(m["path"]), int(m["status"])) for m in found if m]
    return [line for line in lines if line[1].startswith(f"/v2/{repository}/")]


def asked_by_push(
    registry: Registry, gateway: Gateway, archive: Path, repository: str
) -> tuple[dict[str, int], list[Line]]:
    """Push as tag 1: how the layers ended, and what of it was new in the access log."""
    before = len(asked(registry, repository))
    (result,) = pushed(gateway.post(archive, f"{registry.host}/{repository}:1"))
    # The log comes a moment after the answer; the manifest is the last that is put.
    wait_until(
        lambda: any(
            method == "PUT" and "/manifests/" in path
            for method, path, _ in asked(registry, repository)[before:]
        ),
        f"the push to {repository} is in the registry's log",
    )
    new = asked(registry, repository)[before:]
    return result["layers"] | {"bytes": result["bytes_uploaded"]}, new


def mounts(lines: list[Line]) -> list[tuple[str, int]]:
    """Source and status of each mount that was tried."""
    return [
        (path.split("from=")[1].split("&")[0], status)
        for method, path, status in lines
        if method == "POST" and "from=" in path
    ]


def sent(lines: list[Line]) -> int:
    """Requests that carried the bytes of a blob, or ended an upload."""
    return sum(
        method in ("PUT", "PATCH") and "/blobs/uploads/" in path for method, path, _ in lines
    )


def layer_heads(registry: Registry, repository: str, lines: list[Line]) -> list[str]:
    manifest = registry.manifest(repository, "1").json()
    digests = {layer["digest"] for layer in manifest["layers"]}
    return [
        path.rsplit("/", 1)[1]
        for method, path, _ in lines
        if method == "HEAD" and path.rsplit("/", 1)[1] in digests
    ]


def config_size(registry: Registry, repository: str) -> int:
    return int(registry.manifest(repository, "1").json()["config"]["size"])


def wipe(registry: Registry) -> None:
    """Everything the registry holds is gone, behind everybody's back."""
    shutil.rmtree(registry.storage / "docker")


@pytest.fixture
def own_registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "own-registry") as running:
        yield running


def test_second_repository_mounts_every_layer(
    own_gateway: Gateway, own_registry: Registry, larger_archive: Path, tmp_path: Path
) -> None:
    ends, lines = asked_by_push(own_registry, own_gateway, larger_archive, "a/x")
    assert (ends["uploaded"], ends["mounted"]) == (3, 0)
    assert mounts(lines) == [] and sent(lines) == 4  # with the config

    ends, lines = asked_by_push(own_registry, own_gateway, larger_archive, "b/y")
    assert (ends["uploaded"], ends["mounted"]) == (0, 3)
    assert mounts(lines) == [("a/x", 201)] * 3
    assert layer_heads(own_registry, "b/y", lines) == []
    # The config is all that was sent.
    assert sent(lines) == 1 and ends["bytes"] == config_size(own_registry, "b/y")
    assert pull(f"{own_registry.host}/b/y:1", tmp_path / "pulled").diff_ids
    assert own_registry.open_uploads() == []


def test_two_repositories_in_one_push(
    own_gateway: Gateway, own_registry: Registry, larger_archive: Path
) -> None:
    """Each layer is sent once, and mounted into the other repository, whichever has it first."""
    names = ("a/x", "b/y")
    results = pushed(
        own_gateway.post(larger_archive, [f"{own_registry.host}/{name}:1" for name in names]),
        2,
    )
    ends = [result["layers"] for result in results]
    assert [sum(end[how] for end in ends) for how in ("uploaded", "mounted")] == [3, 3]
    sizes = [result["bytes_uploaded"] for result in results]
    layers = own_registry.manifest("a/x", "1").json()["layers"]
    distinct = {layer["digest"]: int(layer["size"]) for layer in layers}
    assert sum(sizes) == sum(distinct.values()) + 2 * config_size(own_registry, "a/x")
    assert own_registry.open_uploads() == []


def test_same_push_again_asks_and_moves_nothing(
    own_gateway: Gateway, own_registry: Registry, larger_archive: Path
) -> None:
    asked_by_push(own_registry, own_gateway, larger_archive, "a/x")
    ends, lines = asked_by_push(own_registry, own_gateway, larger_archive, "a/x")
    assert ends["uploaded"] == 0 and ends["bytes"] == 0
    heads = layer_heads(own_registry, "a/x", lines)
    assert len(heads) == 3 and len(set(heads)) == 3
    assert not [line for line in lines if line[0] == "POST"]
    assert sent(lines) == 0


def test_small_layers_are_mounted_too(
    own_gateway: Gateway, own_registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = make_small_image(tmp_path / "files", seed)
    assert all(layer.path.stat().st_size <= 100 << 10 for layer in image.layers)
    archive = docker_save_old([(image, ["m/small:1"])], tmp_path / "small.tar")
    _, lines = asked_by_push(own_registry, own_gateway, archive, "a/x")
    assert layer_heads(own_registry, "a/x", lines) == []  # not worth a question
    ends, lines = asked_by_push(own_registry, own_gateway, archive, "b/y")
    assert ends["mounted"] == 2 and mounts(lines) == [("a/x", 201)] * 2
    ends, lines = asked_by_push(own_registry, own_gateway, archive, "b/y")
    assert ends["existed"] == 2 and len(layer_heads(own_registry, "b/y", lines)) == 2


def test_wiped_repository_is_uploaded_again(
    own_gateway: Gateway, own_registry: Registry, larger_archive: Path, tmp_path: Path
) -> None:
    asked_by_push(own_registry, own_gateway, larger_archive, "a/x")
    wipe(own_registry)
    ends, lines = asked_by_push(own_registry, own_gateway, larger_archive, "a/x")
    assert ends["uploaded"] == 3 and mounts(lines) == []
    assert len(layer_heads(own_registry, "a/x", lines)) == 3  # asked once, not once more
    assert pull(f"{own_registry.host}/a/x:1", tmp_path / "pulled").diff_ids


def test_stale_source_is_forgotten(
    own_gateway: Gateway, own_registry: Registry, larger_archive: Path
) -> None:
    asked_by_push(own_registry, own_gateway, larger_archive, "a/x")
    wipe(own_registry)
    ends, lines = asked_by_push(own_registry, own_gateway, larger_archive, "b/y")
    assert ends["uploaded"] == 3
    assert mounts(lines) == [("a/x", 202)] * 3
    # The mount's own session took the bytes: only the config opened one.
    posts = [line for line in lines if line[0] == "POST"]
    assert len(posts) == 4
    assert own_registry.open_uploads() == []
    ends, lines = asked_by_push(own_registry, own_gateway, larger_archive, "c/z")
    assert ends["mounted"] == 3 and mounts(lines) == [("b/y", 201)] * 3


def test_what_was_seen_survives_a_restart(
    own_registry: Registry, larger_archive: Path, tmp_path: Path
) -> None:
    with Gateway(tmp_path / "gateway") as gateway:
        asked_by_push(own_registry, gateway, larger_archive, "a/x")
    with Gateway(tmp_path / "gateway") as gateway:
        ends, _ = asked_by_push(own_registry, gateway, larger_archive, "b/y")
    assert ends["mounted"] == 3


def test_own_credentials_come_first(larger_archive: Path, tmp_path: Path) -> None:
    users = {"anna": "anna-s3cret", "bert": "bert-s3cret"}
    with Registry(tmp_path / "registry", users=users) as registry:

        def push_as(user: str, repository: str) -> list[tuple[str, int]]:
            entry = {"username": user, "password": users[user]}
            config = {"registries": {registry.host: entry}}
            with Gateway(tmp_path / "gateway", config) as gateway:
                ends, lines = asked_by_push(registry, gateway, larger_archive, repository)
                assert ends["uploaded"] == 0 or repository == "z/other"
                return sorted(set(mounts(lines)))

        assert push_as("bert", "z/other") == []
        assert push_as("anna", "x/one") == [("z/other", 201)]
        # More alike and younger is anna's; bert's own goes before it.
        assert push_as("bert", "x/app") == [("z/other", 201)]
        assert push_as("anna", "x/two") == [("x/one", 201)]
        data = b"".join(
            path.read_bytes() for path in (tmp_path / "gateway/data/meta").iterdir()
        )
        for user, password in users.items():
            assert password.encode() not in data and user.encode() not in data


def test_a_token_for_the_source_too(larger_archive: Path, tmp_path: Path) -> None:
    with token_server(tmp_path / "tokens", {"ci": "s3cret"}) as tokens:
        with Registry(tmp_path / "registry", auth=tokens.registry_auth()) as registry:
            entry = {"username": "ci", "password": "s3cret"}
            with Gateway(
                tmp_path / "gateway", {"registries": {registry.host: entry}}
            ) as gateway:
                pushed(gateway.post(larger_archive, f"{registry.host}/a/x:1"))
                ends, lines = asked_by_push(registry, gateway, larger_archive, "b/y")
    assert ends["mounted"] == 3 and mounts(lines) == [("a/x", 201)] * 3
    scopes = [request.scopes for request in tokens.requests]
    assert ("repository:b/y:pull,push", "repository:a/x:pull") in scopes
    assert ("repository:b/y:pull,push",) in scopes  # all but the mounts
    assert len(scopes) == len(set(scopes))


def test_the_command_mounts_too(
    own_registry: Registry, larger_archive: Path, tmp_path: Path
) -> None:
    for repository, end in (("a/x", "uploaded"), ("b/y", "mounted"), ("b/y", "existed")):
        target = f"{own_registry.host}/{repository}:1"
        done = slipway(tmp_path, "push", "--json", larger_archive, target)
        assert done.returncode == 0, done.stderr
        (result,) = json.loads(done.stdout)["results"]
        assert result["layers"][end] >= 3, result
