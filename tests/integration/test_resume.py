"""Half a layer survives: the upload session of a blob that was being sent when slipway was killed,
stopped or lost its registry goes on where the registry has it; and a push that is cancelled ends at
once, with its session.

In CI the blobs are small; with SLIPWAY_LONG=1 they are 500 MB and 1 GB on a line of 20 MB/s, and
what was sent is printed (pytest -s).
"""
from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.front import OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, to_json
from support.gateway import Gateway, pushed
from support.images import Image, image_config, seal
from support.nginx import Nginx
from support.pulled import sha256
from support.registry import Registry
from support.tars import TarBuilder
from support.throttle import ThrottledProxy
from support.waiting import wait_until

LONG = bool(os.environ.get("SLIPWAY_LONG"))
MIB = 1 << 20
SIZE = 500 * MIB if LONG else 8 * MIB
CHUNK_BYTES = 16 * MIB if LONG else MIB // 4
CHUNK = f"{CHUNK_BYTES}B"
RATE = 20_000_000 if LONG else 0
WAIT = 300.0 if LONG else 60.0
CANCEL_SIZE = 1024 * MIB if LONG else 8 * MIB


def big_archive(folder: Path, seed: str, size: int) -> Path:
    """A `docker save` of an image whose one layer cannot be compressed."""
    folder.mkdir(parents=True)
    content = folder / "random"
    with content.open("wb") as out:
        for _ in range(0, size, MIB):
            out.write(os.urandom(MIB))
    with TarBuilder(folder / "layer.tar") as tar:
        tar.file("random", content)
    layer = seal(folder / "layer.tar")
    content.unlink()
    image = Image(image_config([layer], seed), (layer,))
    archive = docker_save_old([(image, ["team/app:1"])], folder / "image.tar")
    layer.path.unlink()
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return big_archive(tmp_path_factory.mktemp("image") / "files", "resume", SIZE)


def configuration(host: str, repository: str, **registry: Any) -> dict[str, Any]:
    return {
        "log": {"level": "debug"},
        "mirrors": [
            {"match": "team/*", "to": [f"{host}/{repository}/*"], "acknowledge": "stored"}
        ],
        "registries": {host: {"retry_wait": "50ms", **registry}},
    }


def kill(gateway: Gateway) -> None:
    gateway.process.signal(signal.SIGKILL)
    assert gateway.process.wait() == -signal.SIGKILL


def accepted(gateway: Gateway, archive: Path) -> str:
    reply = gateway.post(archive, seconds=WAIT)
    assert reply.status == 202, reply.body
    return str(reply.json()["id"])


def recorded(gateway: Gateway) -> int:
    """How many bytes the youngest record of an upload under way says."""
    found = re.findall(r"recorded at (\d+) bytes", gateway.log())
    return int(found[-1]) if found else -1


def result_of(gateway: Gateway, identity: str) -> dict[str, Any]:
    (result,) = gateway.request(f"/v1/pushes/{identity}").json()["results"]
    return dict(result)


def wait_pushed(gateway: Gateway, identity: str) -> dict[str, Any]:
    wait_until(lambda: result_of(gateway, identity)["state"] == "pushed", "it is pushed", WAIT)
    return result_of(gateway, identity)


def told(what: str, sent: int) -> None:
    print(f"\n{what}: {sent:,} of {SIZE:,} bytes sent, {100 * (sent - SIZE) / SIZE:.1f} % twice")


class Line:
    """A registry behind a line that can be held: docker-registry, alone or behind an nginx that has
    a request whole before it passes it on, or another slipway."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._kind = kind

    def __enter__(self) -> Line:
        if self._kind == "slipway":
            port = self._stack.enter_context(Gateway(self._folder / "other")).port
        else:
            self.registry = self._stack.enter_context(Registry(self._folder / "registry"))
            port = self.registry.port
        if self._kind == "nginx":
            port = self._stack.enter_context(Nginx(self._folder / "nginx", self.registry.host)).port
        self.proxy = self._stack.enter_context(
            ThrottledProxy(port, to_server=RATE, hold_after=SIZE // 2)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.proxy.port}"


@pytest.fixture
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    with Line(tmp_path, request.param) as running:
        yield running


@pytest.mark.parametrize("line", ["slipway", "nginx"], indirect=True)
def test_a_killed_gateway_goes_on_where_the_registry_is(
    line: Line, archive: Path, tmp_path: Path
) -> None:
    config = configuration(line.host, "there", upload="chunked", chunk=CHUNK)
    with Gateway(tmp_path / "gateway", config) as gateway:
        identity = accepted(gateway, archive)
        wait_until(line.proxy.held, "half of it is sent", WAIT)
        # A chunk that is under way at the registry is broken off with its client, and takes the
        # session along: all whole ones of the half have to be there.
        wait_until(lambda: recorded(gateway) + CHUNK_BYTES >= SIZE // 2, "that is recorded")
        kill(gateway)
        line.proxy.drop()  # an nginx that got the rest of a chunk would break it off there
        line.proxy.release()
        gateway.start()
        result = wait_pushed(gateway, identity)
        assert "going on with an upload of before" in gateway.log()
        assert result["bytes_uploaded"] >= SIZE and result["layers"]["uploaded"] == 1, result
    told("killed, chunked", line.proxy.sent_up)
    assert line.proxy.sent_up <= SIZE * 110 // 100


@pytest.mark.parametrize("line", ["alone"], indirect=True)
def test_a_registry_that_lost_the_session_gets_it_all(
    line: Line, archive: Path, tmp_path: Path
) -> None:
    """docker-registry has nothing of a request that broke off; the whole blob is one."""
    with Gateway(tmp_path / "gateway", configuration(line.host, "there")) as gateway:
        identity = accepted(gateway, archive)
        wait_until(line.proxy.held, "half of it is sent", WAIT)
        wait_until(lambda: recorded(gateway) >= 0, "that is recorded")
        kill(gateway)
        line.proxy.release()
        gateway.start()
        result = wait_pushed(gateway, identity)
    digest = result["digest"]
    assert line.registry.manifest("there/app", "1").headers["Docker-Content-Digest"] == digest
    told("killed, one request", line.proxy.sent_up)
    assert line.proxy.sent_up <= SIZE * 3 // 2 + 8 * MIB  # the latter: what was on its way


@pytest.mark.parametrize("line", ["slipway"], indirect=True)
def test_a_stop_in_order_leaves_the_session_too(
    line: Line, archive: Path, tmp_path: Path
) -> None:
    config = configuration(line.host, "there", upload="chunked", chunk=CHUNK)
    with Gateway(tmp_path / "gateway", config) as gateway:
        identity = accepted(gateway, archive)
        wait_until(line.proxy.held, "half of it is sent", WAIT)
        started = time.monotonic()
        assert gateway.process.stop() == 0, gateway.log()
        print(f"\nstopped in {time.monotonic() - started:.2f} s in the middle of a blob")
        gateway.process.assert_no_sanitizer_report()
        line.proxy.release()
        gateway.start()
        wait_pushed(gateway, identity)
    told("stopped, chunked", line.proxy.sent_up)
    assert line.proxy.sent_up <= SIZE * 110 // 100


# ---- cancelling inside a blob ----


@pytest.fixture(scope="module")
def cancelled_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return big_archive(tmp_path_factory.mktemp("cancelled") / "files", "cancel", CANCEL_SIZE)


def cancel(gateway: Gateway, identity: str) -> float:
    """Seconds until it is cancelled, its last words said."""
    started = time.monotonic()
    reply = gateway.request(f"/v1/pushes/{identity}", method="DELETE")
    assert reply.status in (200, 202), reply.body
    wait_until(lambda: result_of(gateway, identity)["state"] == "cancelled", "it is cancelled")
    return time.monotonic() - started


def test_a_cancelled_push_ends_inside_a_blob_and_takes_its_session_back(
    cancelled_archive: Path, tmp_path: Path
) -> None:
    rate = 20_000_000 if LONG else 1_000_000
    with Gateway(tmp_path / "other") as other, ThrottledProxy(other.port, to_server=rate) as proxy:
        config = configuration(f"127.0.0.1:{proxy.port}", "there")
        with Gateway(tmp_path / "gateway", config) as gateway:
            identity = accepted(gateway, cancelled_archive)
            wait_until(lambda: proxy.sent_up > CANCEL_SIZE // 16, "it is under way", WAIT)
            assert len(list((other.data / "uploads").iterdir())) == 1
            seconds = cancel(gateway, identity)
            wait_until(lambda: not list((other.data / "uploads").iterdir()), "no session is left")
            sent = proxy.sent_up
    print(f"\ncancelled in {seconds:.2f} s after {sent:,} of {CANCEL_SIZE:,} bytes")
    assert seconds < 10 and sent < CANCEL_SIZE


def test_a_cancelled_push_takes_along_what_left_before_its_manifest(tmp_path: Path) -> None:
    """What another client has sent into the same repository goes on."""
    rate = 20_000_000 if LONG else 1_000_000
    mine, others = (os.urandom(size) for size in (CANCEL_SIZE // 2, CANCEL_SIZE // 32))
    image = manifest_of(descriptor(OCI_CONFIG, b"{}"), descriptor(OCI_LAYER, mine))
    with Gateway(tmp_path / "other") as other, ThrottledProxy(
        other.port, to_server=rate, hold_after=len(others)
    ) as proxy:
        config = configuration(f"127.0.0.1:{proxy.port}", "there")
        with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
            front.push_blob("team/app", mine)
            wait_until(proxy.held, "it is under way", WAIT)
            front.push_blob("team/app", others)
            front.push_blob("team/app", b"{}")
            front.must_put("team/app", "1", to_json(image))
            (push,) = gateway.request("/v1/pushes").json()["pushes"]
            seconds = cancel(gateway, push["id"])
            proxy.release()
            wait_until(lambda: has_blob(other, others), "what goes on is there", WAIT)
            wait_until(lambda: not list((other.data / "uploads").iterdir()), "no session is left")
            assert not has_blob(other, mine)
    print(f"\ncancelled in {seconds:.2f} s after {proxy.sent_up:,} bytes")
    assert seconds < 10 and proxy.sent_up < len(mine)


def has_blob(gateway: Gateway, data: bytes) -> bool:
    return any(sha256(data).endswith(Path(name).name) for name in gateway.blobs())


def test_cancelling_waits_for_no_registry_and_hurts_no_other_push(
    registry: Registry, cancelled_archive: Path, tmp_path: Path, seed: str
) -> None:
    """The registry hears nothing more, so it says nothing to the end of the session either."""
    with ThrottledProxy(registry.port, hold_after=CANCEL_SIZE // 2) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        with Gateway(tmp_path / "gateway", configuration(host, seed)) as gateway:
            identity = accepted(gateway, cancelled_archive)
            wait_until(proxy.held, "half of it is sent", WAIT)
            alone = cancel(gateway, identity)
            proxy.release()
            proxy.hold_after(CANCEL_SIZE // 2)
            identity = accepted(gateway, cancelled_archive)
            wait_until(proxy.held, "half of it is sent", WAIT)
            with ThreadPoolExecutor() as pool:
                shared = pool.submit(
                    gateway.post, cancelled_archive, f"{host}/{seed}/app:2", seconds=WAIT
                )
                wait_until(lambda: len(running(gateway)) == 2, "both are running", WAIT)
                sent = proxy.sent_up
                seconds = cancel(gateway, identity)
                proxy.release()
                pushed(shared.result())
            assert proxy.sent_up - sent < CANCEL_SIZE, "its blob was sent once"
    print(f"\ncancelled in {alone:.2f} s (a registry that is silent) and {seconds:.2f} s (shared)")
    assert seconds < 10 and alone < 10
    assert registry.tags(f"{seed}/app") == ["2"]


def running(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.request("/v1/pushes?state=running").json()["pushes"]
    return found
