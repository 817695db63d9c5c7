"""How blobs are sent to registries that do not take them in the first way tried."""
from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.command import slipway
from support.front import Front
from support.gateway import Gateway, failed, pushed
from support.images import Image, image_config, seal
from support.nginx import Nginx, Passed
from support.pulled import pull
from support.registry import Registry
from support.tars import TarBuilder
from support.throttle import ThrottledProxy
from support.waiting import wait_until

MIB = 1 << 20
BLOB = 8 * MIB


def random_image(folder: Path, name: str, sizes: tuple[int, ...]) -> Image:
    """Its layers do not get smaller by compression, and are new each time."""
    folder = folder / name
    folder.mkdir(parents=True)
    layers = []
    for number, size in enumerate(sizes):
        with TarBuilder(folder / f"{number}.tar") as tar:
            tar.file(f"data/{name}-{number}", os.urandom(size))
        layers.append(seal(folder / f"{number}.tar"))
    return Image(image_config(layers, name), tuple(layers))


def random_archive(folder: Path, name: str, sizes: tuple[int, ...]) -> Path:
    image = random_image(folder, name, sizes)
    return docker_save_old([(image, ["m/source:1.0"])], folder / name / "image.tar")


def refused(requests: list[Passed]) -> list[Passed]:
    """What a push should not have tried; that a blob is not there yet is no attempt."""
    return [
        request
        for request in requests
        if request.status >= 400 and request.method not in ("HEAD", "GET")
    ]


def methods(registry: Registry, method: str, repository: str) -> int:
    return len(registry.requests(method, f"/v2/{repository}/blobs/uploads/"))


def test_a_body_limit_is_found_and_remembered(registry: Registry, tmp_path: Path) -> None:
    sizes = (6 * MIB, 3 * MIB, 100_000)
    with Nginx(tmp_path / "nginx", registry.host, "1m") as nginx:
        gateway = Gateway(tmp_path / "gateway")
        seen = 0

        def push(name: str) -> list[Passed]:
            nonlocal seen
            target = f"{nginx.host}/ladder/{name}:1"
            archive = random_archive(tmp_path, name, sizes)
            (result,) = pushed(gateway.post(archive, target))
            image = pull(f"{registry.host}/ladder/{name}:1", tmp_path / f"pulled-{name}")
            assert image.digest == result["digest"]
            assert result["layers"]["uploaded"] == 3
            requests = nginx.requests()
            fresh, seen = requests[seen:], len(requests)
            return fresh

        with gateway:
            first = push("first")
            found = refused(first)
            assert found and {request.status for request in found} == {413}
            assert len(found) <= 4, "two large layers, at most two refusals each"
            assert not refused(push("second"))
        with gateway:
            third = push("third")
        assert not refused(third)
        # The largest layer went in chunks of the limit, the smallest in one body.
        assert sum(request.method == "PATCH" for request in third) == 7 + 4
        assert all(request.size < MIB + 8192 for request in third)
        assert not registry.open_uploads()


def test_the_command_remembers_too(registry: Registry, tmp_path: Path) -> None:
    with Nginx(tmp_path / "nginx", registry.host, "1m") as nginx:
        counts = []
        for name in ("one", "two"):
            archive = random_archive(tmp_path, name, (2 * MIB,))
            words = (archive, f"{nginx.host}/ladder/command-{name}:1", "--data", tmp_path / "data")
            done = slipway(tmp_path, "push", *words)
            assert done.returncode == 0, done.stderr
            counts.append(len(refused(nginx.requests())))
        assert counts == [1, 1]


@pytest.mark.parametrize(
    "way, patches, puts", [("put", 0, 3), ("patch", 3, 3), ("chunked", 4 + 2 + 1, 3)]
)
def test_a_configured_way(
    registry: Registry, tmp_path: Path, way: str, patches: int, puts: int
) -> None:
    config = {"registries": {registry.host: {"upload": way, "chunk": "256KiB"}}}
    archive = random_archive(tmp_path, way, (MIB - 16384, MIB // 4 + 10_000))
    repository = f"ladder/way-{way}"
    with Gateway(tmp_path / "gateway", config) as gateway:
        (result,) = pushed(gateway.post(archive, f"{registry.host}/{repository}:1"))
    assert pull(f"{registry.host}/{repository}:1", tmp_path / "out").digest == result["digest"]
    assert methods(registry, "PATCH", repository) == patches
    assert methods(registry, "PUT", repository) == puts


@pytest.mark.parametrize("way", ["put", "patch", "chunked"])
def test_a_connection_that_breaks(registry: Registry, tmp_path: Path, way: str) -> None:
    """docker-registry forgets the session of a broken request: the upload begins anew, at once."""
    archive = random_archive(tmp_path, way, (4 * MIB,))
    with ThrottledProxy(registry.port, cut_after=2 * MIB) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        config = {"registries": {host: {"upload": way, "chunk": "1MiB"}}}
        with Gateway(tmp_path / "gateway", config) as gateway:
            (result,) = pushed(gateway.post(archive, f"{host}/ladder/broken-{way}:1"))
        assert proxy.cuts_made == 1
    assert result["attempts"] == 1
    image = pull(f"{registry.host}/ladder/broken-{way}:1", tmp_path / "out")
    assert image.digest == result["digest"]


def push_through(
    proxy: ThrottledProxy, port: int, folder: Path, way: str, target: str
) -> dict[str, Any]:
    """One layer of BLOB bytes through a bad line; attempts follow each other quickly. The config is
    there already, so that nothing else of the push is lost with the line, by `port` behind it."""
    host = f"127.0.0.1:{proxy.port}"
    registry = {"upload": way, "chunk": "256KiB", "retry_wait": "20ms",
                "endpoints": [f"http://{host}"]}
    image = random_image(folder, "archive", (BLOB,))
    archive = docker_save_old([(image, ["m/source:1.0"])], folder / "image.tar")
    with Front(port) as behind:
        behind.push_blob(target.split(":")[0], image.config)
    with Gateway(folder / "gateway", {"registries": {host: registry}}) as gateway:
        (result,) = pushed(gateway.post(archive, f"{host}/{target}", seconds=60))
    assert result["layers"]["uploaded"] == 1
    print(f"{way}: {proxy.cuts_made} cuts, {result['attempts']} attempts, "
          f"{proxy.sent_up / BLOB:.2f} times the blob sent")
    return result


def test_attempts_go_on_where_the_last_one_ended(registry: Registry, tmp_path: Path) -> None:
    """A line that is lost three times in the middle of a chunk, nginx keeping broken requests from
    the registry as it does by default: each time only that chunk is sent again."""
    with Nginx(tmp_path / "nginx", registry.host) as nginx, ThrottledProxy(
        nginx.port, cut_after=BLOB // 4 + 100_000, cuts=3, refuse=2
    ) as proxy:
        result = push_through(proxy, nginx.port, tmp_path, "chunked", "ladder/resumed:1")
        requests = nginx.requests()
    assert proxy.cuts_made == 3 and result["attempts"] > 1
    assert proxy.sent_up < 1.2 * BLOB
    image = pull(f"{registry.host}/ladder/resumed:1", tmp_path / "out")
    assert image.digest == result["digest"]
    # One session for the layer, one for the config.
    assert sum(request.method == "POST" for request in requests) == 2
    assert not registry.open_uploads("ladder/resumed")


def test_docker_registry_goes_on_between_requests(registry: Registry, tmp_path: Path) -> None:
    """The same without nginx, the line being lost behind the answer to a chunk."""
    with ThrottledProxy(
        registry.port, cut_after=BLOB // 4, cuts=2, refuse=2, cut_at_answer=True
    ) as proxy:
        result = push_through(proxy, registry.port, tmp_path, "chunked", "ladder/between:1")
    assert proxy.cuts_made == 2 and result["attempts"] > 1
    assert proxy.sent_up < 1.2 * BLOB
    image = pull(f"{registry.host}/ladder/between:1", tmp_path / "out")
    assert image.digest == result["digest"]
    assert methods(registry, "POST", "ladder/between") == 2
    assert not registry.open_uploads("ladder/between")


@pytest.mark.parametrize("way", ["put", "patch", "chunked"])
def test_attempts_at_what_docker_registry_forgets(
    registry: Registry, tmp_path: Path, way: str
) -> None:
    """It keeps the bytes of a request that broke off, but refuses every question about its session
    from then on (404), so that neither the bytes nor the session can be had again."""
    # A chunk that breaks off on a connection that was used before is sent once more at once.
    refuse = 2 if way == "chunked" else 1
    with ThrottledProxy(registry.port, cut_after=BLOB // 4, cuts=2, refuse=refuse) as proxy:
        result = push_through(proxy, registry.port, tmp_path, way, f"ladder/forgotten-{way}:1")
    assert proxy.cuts_made == 2 and result["attempts"] > 1
    assert proxy.sent_up < 1.7 * BLOB
    image = pull(f"{registry.host}/ladder/forgotten-{way}:1", tmp_path / "out")
    assert image.digest == result["digest"]
    # Each broken session was asked for and not used again.
    assert methods(registry, "POST", f"ladder/forgotten-{way}") == 2 + 2


@pytest.mark.parametrize("way", ["put", "patch"])
def test_a_whole_body_that_never_arrived(registry: Registry, tmp_path: Path, way: str) -> None:
    """nginx passes on none of it, so nothing of it can be resumed; the session can."""
    with Nginx(tmp_path / "nginx", registry.host) as nginx, ThrottledProxy(
        nginx.port, cut_after=BLOB // 4, cuts=2, refuse=1
    ) as proxy:
        result = push_through(proxy, nginx.port, tmp_path, way, f"ladder/whole-{way}:1")
        requests = nginx.requests()
    assert proxy.cuts_made == 2 and result["attempts"] > 1
    assert sum(request.method == "POST" for request in requests) == 2
    image = pull(f"{registry.host}/ladder/whole-{way}:1", tmp_path / "out")
    assert image.digest == result["digest"]
    assert not registry.open_uploads(f"ladder/whole-{way}")


def test_a_way_that_the_registry_does_not_know(registry: Registry, tmp_path: Path) -> None:
    """docker-registry answers a single POST with a session, which is taken back."""
    config = {"registries": {registry.host: {"upload": "post"}}}
    archive = random_archive(tmp_path, "post", (50_000,))
    with Gateway(tmp_path / "gateway", config) as gateway:
        reply = gateway.post(archive, f"{registry.host}/ladder/way-post:1")
    error = failed(reply, "REGISTRY_UNSUPPORTED", "registry")
    assert re.search(r"does not take a blob in one POST", error["message"])
    wait_until(
        lambda: any('" 204 ' in line for line in registry.requests("DELETE", "ladder/way-post")),
        "the session is taken back",
    )
