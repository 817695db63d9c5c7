"""Every archive form in every outer compression, and what the registry then serves. Forms and
compressions are sent both ways, but not each pair of them, unless SLIPWAY_LONG=1.

The judge is skopeo: it pulls what slipway pushed, and config, layers and digest are compared with
what the archive held.
"""
from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from support.archives import (
    FORMS,
    OUTER,
    docker_save_new,
    docker_save_old,
    expected,
    index_layout,
    wrap,
)
from support.gateway import Gateway, pushed
from support.images import Image, files_layer, image_config, make_image, make_small_image
from support.processes import must_run
from support.pulled import GZIP_MAGIC, PulledImage, pull, sha256
from support.registry import Registry
from support.tars import tar_folder

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"

SENDING = ("length", "chunked")
CASES = [
    (form, outer, sending)
    for row, form in enumerate(FORMS)
    for column, outer in enumerate(OUTER)
    for turn, sending in enumerate(SENDING)
    if turn == (row + column) % 2 or os.environ.get("SLIPWAY_LONG") == "1"
]

Source = Callable[[str], Path]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """One archive of each form, with content of its own."""
    made: dict[str, Path] = {}

    def archive(form: str) -> Path:
        if form not in made:
            folder = tmp_path_factory.mktemp(form)
            made[form] = FORMS[form](folder, f"{folder} {form}")
        return made[form]

    return archive


def assert_served_as_sent(image: PulledImage, archive: Path, digest: str) -> None:
    want = expected(archive)
    assert image.digest == digest
    assert image.config_digest == want.configs[0]
    assert tuple(image.diff_ids) == want.diff_ids[0]
    if want.kept_digest:
        assert image.digest == want.kept_digest
    if want.layers_gzip:
        assert all(layer.startswith(GZIP_MAGIC) for layer in image.layers)


def assert_index_served(registry: Registry, reference: str, archive: Path, folder: Path) -> None:
    """Both platforms, and the index byte for byte."""
    want = expected(archive)
    must_run(
        ["skopeo", "copy", "-q", "--all", "--src-tls-verify=false"]
        + [f"docker://{registry.host}/{reference}", f"dir:{folder}"]
    )
    index = (folder / "manifest.json").read_bytes()
    assert sha256(index) == want.kept_digest
    repository = reference.rsplit(":", 1)[0]
    for position, child in enumerate(json.loads(index)["manifests"]):
        image = pull(f"{registry.host}/{repository}@{child['digest']}", folder / f"{position}")
        assert image.config_digest == want.configs[position]
        assert tuple(image.diff_ids) == want.diff_ids[position]


@pytest.mark.parametrize(("form", "outer", "sending"), CASES)
def test_archive(
    gateway: Gateway,
    registry: Registry,
    source: Source,
    tmp_path: Path,
    form: str,
    outer: str,
    sending: str,
) -> None:
    archive = source(form)
    repository = f"m/{form}-{outer}-{sending}"
    target = f"{registry.host}/{repository}:1.0"
    reply = gateway.post(wrap(archive, outer), target, chunked=sending == "chunked")
    (result,) = pushed(reply)
    assert result["target"] == target
    assert result["tag"] == "1.0"
    assert reply.json()["image"]["manifest"] == result["digest"]
    served = registry.manifest(repository, "1.0")
    assert sha256(served.body) == result["digest"]
    assert len(served.body) == result["size"]
    assert served.headers["Content-Type"] == result["media_type"]
    if form == "oci-index":
        assert_index_served(registry, f"{repository}:1.0", archive, tmp_path / "pulled")
        return
    image = pull(target, tmp_path / "pulled")
    assert_served_as_sent(image, archive, result["digest"])
    assert reply.json()["image"]["config"] == image.config_digest
    # A repeated layer is one blob, but every layer is accounted for at least once.
    layers = result["layers"]
    assert sum(layers.values()) >= len(set(image.diff_ids))
    gateway.wait_nothing_staged()


@pytest.mark.parametrize(
    "form, media_type",
    (
        ("docker-old", SCHEMA2),
        ("docker-new", SCHEMA2),
        ("docker-gzip-layers", SCHEMA2),
        ("skopeo-docker", SCHEMA2),
        ("podman-docker", SCHEMA2),
        ("oci-plain-layers", OCI_MANIFEST),
        ("skopeo-oci", OCI_MANIFEST),
    ),
)
def test_kind_of_manifest(
    gateway: Gateway, registry: Registry, source: Source, form: str, media_type: str
) -> None:
    reply = gateway.post(source(form), f"{registry.host}/m/kind-{form}:1")
    (result,) = pushed(reply)
    assert result["media_type"] == media_type
    served = registry.manifest(f"m/kind-{form}", "1")
    assert json.loads(served.body).get("mediaType", media_type) == media_type


def test_gzip_layers_of_a_docker_tarball_stay_byte_for_byte(
    gateway: Gateway, registry: Registry, source: Source, tmp_path: Path
) -> None:
    archive = source("docker-gzip-layers")
    pushed(gateway.post(archive, f"{registry.host}/m/bytes:1"))
    image = pull(f"{registry.host}/m/bytes:1", tmp_path / "pulled")
    names = set(must_run(["tar", "tf", archive]).split())
    for layer in json.loads(image.manifest)["layers"]:
        assert layer["digest"].split(":")[1] + ".tar.gz" in names


def test_the_same_archive_gives_the_same_digest_in_another_store(
    registry: Registry, source: Source, tmp_path: Path
) -> None:
    digests = set()
    for number in range(2):
        with Gateway(tmp_path / f"gateway{number}") as fresh:
            target = f"{registry.host}/m/again{number}:1"
            digests.add(pushed(fresh.post(source("docker-old"), target))[0]["digest"])
    assert len(digests) == 1


def test_second_push_moves_no_blob(
    gateway: Gateway, registry: Registry, larger_archive: Path
) -> None:
    target = f"{registry.host}/m/twice:1"
    (first,) = pushed(gateway.post(larger_archive, target))
    assert first["layers"]["uploaded"] == 3 and first["bytes_uploaded"] > 100_000
    before = len(registry.requests("PATCH") + registry.requests("PUT", "/blobs/uploads/"))
    (second,) = pushed(gateway.post(larger_archive, target))
    after = len(registry.requests("PATCH") + registry.requests("PUT", "/blobs/uploads/"))
    assert second["digest"] == first["digest"]
    assert second["layers"]["uploaded"] == 0 and second["bytes_uploaded"] == 0
    assert after == before


def test_second_repository_of_the_same_registry_mounts(
    gateway: Gateway, registry: Registry, larger_archive: Path
) -> None:
    pushed(gateway.post(larger_archive, f"{registry.host}/m/first:1"))
    (second,) = pushed(gateway.post(larger_archive, f"{registry.host}/m/second:1"))
    assert second["layers"]["mounted"] == 3
    assert second["layers"]["uploaded"] == 0


def test_several_targets_at_once(
    gateway: Gateway, registry: Registry, larger_archive: Path, tmp_path: Path
) -> None:
    with Registry(tmp_path / "other") as other:
        targets = [f"{registry.host}/m/fan:1", f"{other.host}/m/fan:2", f"{other.host}/m/fan2:1"]
        results = pushed(gateway.post(larger_archive, targets), 3)
        assert [result["target"] for result in results] == targets
        assert len({result["digest"] for result in results}) == 1
        assert other.tags("m/fan") == ["2"]
        assert other.tags("m/fan2") == ["1"]


def test_image_is_chosen_by_name_or_digest(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    first = make_small_image(tmp_path / "1", f"{seed}-1")
    second = make_small_image(tmp_path / "2", f"{seed}-2")
    for form, save in (("old", docker_save_old), ("new", docker_save_new)):
        archive = save(
            [(first, ["m/first:1.0", "m/first:2.0"]), (second, ["m/second:1.0"])],
            tmp_path / f"{form}.tar",
        )
        for choice, image in (
            ("m/first:1.0", first),
            ("docker.io/m/second", second),
            ("m/second:1.0", second),
            (first.config_digest, first),
            (second.config_digest, second),
        ):
            target = f"{registry.host}/m/choice-{form}:1"
            pushed(gateway.post(archive, target, image=choice))
            served = pull(target, tmp_path / "pulled")
            assert served.config_digest == image.config_digest, choice


@pytest.mark.parametrize("form", ("old", "new"))
def test_bare_target_takes_every_tag_of_the_archive(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, form: str
) -> None:
    image = make_small_image(tmp_path / "files", seed)
    save = docker_save_old if form == "old" else docker_save_new
    archive = save([(image, ["m/s:1.0", "m/s:1", "m/s:latest"])], tmp_path / "image.tar")
    results = pushed(gateway.post(archive, f"{registry.host}/m/bare-{form}"), 3)
    assert sorted(result["tag"] for result in results) == ["1", "1.0", "latest"]
    assert registry.tags(f"m/bare-{form}") == ["1", "1.0", "latest"]


def test_platform_pushes_one_member_of_an_index(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    layout = index_layout(tmp_path / "index", seed)
    archive = tar_folder(layout, tmp_path / "index.tar")
    for platform, architecture in (
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64"),
        ("linux/arm64/v8", "arm64"),
    ):
        target = f"{registry.host}/m/platform:{platform.replace('/', '-')}"
        (result,) = pushed(gateway.post(archive, target, platform=platform))
        image = pull(target, tmp_path / "pulled")
        assert json.loads(image.config)["architecture"] == architecture
        assert image.digest == result["digest"]


def test_put_is_post(gateway: Gateway, registry: Registry, archive: Path) -> None:
    (put,) = pushed(gateway.post(archive, f"{registry.host}/m/put:1", method="PUT"))
    (post,) = pushed(gateway.post(archive, f"{registry.host}/m/post:1"))
    assert put["digest"] == post["digest"]


def test_concatenated_gzip_members_are_one_archive(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """What `split | gzip | cat`, pigz -i and bgzip make."""
    data = archive.read_bytes()
    path = tmp_path / "members.gz"
    parts = (data[:10_000], data[10_000:])
    path.write_bytes(b"".join(gzip.compress(part, mtime=0) for part in parts))
    pushed(gateway.post(path, f"{registry.host}/m/members:1"))


def test_large_image_of_many_layers(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    """More layers than a registry takes at a time, and than the codec has slots."""
    layers = tuple(
        files_layer(tmp_path / f"{number}.tar", f"{seed}-{number}", []) for number in range(60)
    )
    image = Image(image_config(layers, seed), layers)
    archive = docker_save_old([(image, ["m/many:1"])], tmp_path / "many.tar")
    (result,) = pushed(gateway.post(archive, f"{registry.host}/m/many:1"))
    assert sum(result["layers"].values()) == 60
    served = pull(f"{registry.host}/m/many:1", tmp_path / "pulled")
    assert served.diff_ids == image.diff_ids


def test_whole_image_is_there_at_once_for_the_next_client(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    """200 means served: the very next request to the registry finds everything."""
    image = make_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, ["m/now:1"])], tmp_path / "now.tar")
    (result,) = pushed(gateway.post(archive, f"{registry.host}/m/now:1"))
    manifest = registry.manifest("m/now", result["digest"])
    assert manifest.status == 200
    for part in [manifest.json()["config"], *manifest.json()["layers"]]:
        assert registry.ask(f"/v2/m/now/blobs/{part['digest']}", method="HEAD").status == 200
