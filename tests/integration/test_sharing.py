"""Two pushes at once to one repository: what both need is sent once."""
from __future__ import annotations

import collections
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.archives import docker_save_old
from support.curl import Reply
from support.gateway import Gateway, pushed
from support.images import Image, busybox_layer, files_layer, image_config, make_image
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

# The largest blob has about a megabyte: each of them takes a second and more.
SLOW = 400_000


def two_images(folder: Path, seed: str) -> tuple[Path, Path]:
    """Archives of two images that have their first two layers in common."""
    folder.mkdir()
    base = busybox_layer(folder / "base.tar", seed)
    middle = files_layer(folder / "middle.tar", seed, [Path("/usr/bin/git")])
    archives = []
    for name in ("one", "two"):
        own = files_layer(folder / f"{name}-layer.tar", seed + name, [Path("/usr/bin/openssl")])
        layers = (base, middle, own)
        image = Image(image_config(layers, seed + name), layers)
        archives.append(docker_save_old([(image, [f"m/{name}:1"])], folder / f"{name}.tar"))
    return archives[0], archives[1]


def sent_blobs(registry: Registry, repository: str) -> collections.Counter[str]:
    """How often each digest was committed, by the access log."""
    lines = registry.requests("PUT", f"/v2/{repository}/blobs/uploads/")
    found = [re.search(r"digest=sha256(?:%3A|:)([0-9a-f]{64})", line) for line in lines]
    return collections.Counter(match.group(1) for match in found if match)


def post_both(
    gateway: Gateway, archives: tuple[Path, Path], targets: tuple[str, str]
) -> list[Reply]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(gateway.post, archives, targets))


def test_shared_blobs_are_sent_once(
    own_gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    archives = two_images(tmp_path / "images", seed)
    with ThrottledProxy(registry.port, to_server=SLOW) as proxy:
        name = f"127.0.0.1:{proxy.port}/share/app"
        start = time.monotonic()
        replies = post_both(own_gateway, archives, (f"{name}:one", f"{name}:two"))
        assert time.monotonic() - start > 1.5, "too fast for the two to have met"
    layers = [pushed(reply)[0]["layers"] for reply in replies]
    sent = sent_blobs(registry, "share/app")
    # Two layers in common, one of each, two configs.
    assert set(sent.values()) == {1} and len(sent) == 6, sent
    assert sum(one["uploaded"] for one in layers) == 4, layers
    assert sum(one["existed"] for one in layers) == 2, layers
    assert registry.tags("share/app") == ["one", "two"]
    assert registry.open_uploads() == []


@pytest.mark.parametrize("number", range(3))
def test_one_image_under_two_tags_at_once(
    own_gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, number: int
) -> None:
    """docker-registry is easily confused by the same manifest twice at once."""
    image = make_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, ["m/source:1"])], tmp_path / "image.tar")
    name = f"{registry.host}/tags/app-{number}"
    replies = post_both(own_gateway, (archive, archive), (f"{name}:a", f"{name}:b"))
    results = [pushed(reply)[0] for reply in replies]
    assert results[0]["digest"] == results[1]["digest"]
    assert [result["attempts"] for result in results] == [1, 1]
    assert set(sent_blobs(registry, f"tags/app-{number}").values()) == {1}
    assert registry.tags(f"tags/app-{number}") == ["a", "b"]


def test_cancelling_both_takes_small_sessions_back(
    tmp_path: Path, registry: Registry, seed: str
) -> None:
    archives = two_images(tmp_path / "images", seed)
    gateway = Gateway(tmp_path / "gateway")
    gateway.start()
    with gateway.process, ThrottledProxy(registry.port, to_server=SLOW // 8) as proxy:
        name = f"127.0.0.1:{proxy.port}/cancel/app"
        with ThreadPoolExecutor(2) as pool:
            posts = [
                pool.submit(gateway.post, archive, f"{name}:{tag}")
                for archive, tag in zip(archives, ("one", "two"))
            ]
            # Two layers in common, one of each, and their configs are under way.
            wait_until(
                lambda: len(registry.requests("POST", "/v2/cancel/app/blobs/uploads/")) == 6,
                "all layers are on their way",
            )
            # What runs is cancelled by a second signal.
            gateway.process.signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in gateway.log(), "the first signal is seen")
            start = time.monotonic()
            gateway.process.signal(signal.SIGTERM)
            replies = [post.result() for post in posts]
            seconds = time.monotonic() - start
        gateway.process.wait(10)
        gateway.process.assert_no_sanitizer_report()
    for reply in replies:
        assert reply.json()["results"][0]["error"]["code"] == "STOPPING", reply.body
    print(f"both had ended after {seconds:.2f} s")
    assert seconds < 1.0, seconds
    # What docker-registry makes of it is its own affair: its half of a PUT that broke off may still
    # write the session's state when the DELETE has been answered.
    # The sessions of blobs over 1 MiB are recorded, and kept for the next start. A config may have
    # been there before.
    whole = registry.requests("PUT", "/v2/cancel/app/blobs/uploads/")
    there = sum('HTTP/1.1" 201 ' in line for line in whole)
    assert len(registry.requests("DELETE", "/v2/cancel/app/blobs/uploads/")) + there == 4
    assert there <= 2
    assert registry.tags("cancel/app") == []
