"""A data folder without room: 507, nothing left behind, and on it goes when there is room again.

The room is a limit on the size of a file (RLIMIT_FSIZE), which needs no file system of its own and
fails in the same call; in the last tests, a small file system.
"""
from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.curl import Reply, images_path
from support.front import BYTES, Front, path_of, to_json, with_digest
from support.gateway import Gateway, pushed, slipway_binary
from support.pulled import sha256
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

ROOM_BYTES = 1 << 20
TOO_MUCH = 3 * ROOM_BYTES
DISK_BYTES = 24 << 20
FLOOR_BYTES = DISK_BYTES // 20
LOOSE = 40
OPAQUE = "application/vnd.example.any.v1+json"


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("tight")
    program = folder / "slipway"
    program.write_text(f'#!/bin/bash\nulimit -f {ROOM_BYTES >> 10}\nexec {slipway_binary()} "$@"\n')
    program.chmod(0o755)
    with Gateway(folder / "gateway", binary=program) as gateway:
        yield gateway


def assert_no_space(reply: Reply) -> None:
    assert reply.status == 507, (reply.status, reply.body)
    assert reply.error["code"] == "NO_SPACE" and reply.error["detail"]["party"] == "gateway"


def assert_goes_on(gateway: Gateway) -> None:
    gateway.wait_nothing_staged()
    with Front(gateway.port) as front:
        name = "full/" + secrets.token_hex(8)
        assert front.manifest(name, "1.0").status == 404
        front.tagged(name, "1.0")
        assert front.manifest(name, "1.0").status == 200


@pytest.mark.parametrize("chunked", (False, True), ids=("length", "chunked"))
def test_a_whole_blob(tight: Gateway, chunked: bool) -> None:
    data = secrets.token_bytes(TOO_MUCH)
    before = tight.blobs()
    with Front(tight.port) as front:
        path = f"/v2/full/blobs/uploads/?digest={sha256(data)}"
        assert_no_space(front.ask("POST", path, data, {"Content-Type": BYTES}, chunked=chunked))
    tight.wait_nothing_staged()
    assert tight.blobs() == before
    assert_goes_on(tight)


def test_an_upload_in_chunks_keeps_what_had_room(tight: Gateway) -> None:
    data = secrets.token_bytes(TOO_MUCH)
    with Front(tight.port) as front:
        location = front.begin("full")
        assert_no_space(front.patch(location, data))
    with Front(tight.port) as front:
        reply = front.ask("GET", location)
        last = int(reply.headers["range"].split("-")[1])
        assert 0 < last < ROOM_BYTES
        kept = data[: last + 1]
        reply = front.finish(path_of(reply.headers["location"]), sha256(kept))
        assert reply.status == 201, reply
        assert front.blob("full", sha256(kept)).body == kept
    assert_goes_on(tight)


def test_an_upload_that_is_given_up_leaves_nothing(tight: Gateway) -> None:
    with Front(tight.port) as front:
        location = front.begin("full")
        assert_no_space(front.ask("PUT", with_digest(location, sha256(b"")), b"x" * TOO_MUCH))
    with Front(tight.port) as front:
        assert front.ask("DELETE", location).status == 204
    assert os.listdir(tight.data / "uploads") == []


def test_a_manifest(tight: Gateway) -> None:
    data = to_json({"what": "x" * TOO_MUCH})
    with Front(tight.port) as front:
        for reference in ("1.0", sha256(data)):
            assert_no_space(front.put("full/manifest", reference, data, OPAQUE))
            assert front.manifest("full/manifest", reference).status == 404
    assert_goes_on(tight)


def test_a_layer_and_an_archive(tight: Gateway, larger_archive: Path) -> None:
    before = tight.blobs()
    for path in ("/v1/layers", "/v1/images?to=127.0.0.1:1/a/b:1"):
        assert_no_space(tight.request(path, method="POST", upload=larger_archive))
        tight.wait_nothing_staged()
        assert tight.blobs() == before
    assert_goes_on(tight)


def test_a_floor_of_free_space(tmp_path: Path, larger_archive: Path) -> None:
    """Bodies are refused before a byte is written; what was begun and promised is finished."""
    with Gateway(tmp_path / "gateway") as gateway, Front(gateway.port) as front:
        image = front.image("full/app")
        location = front.begin("full/app")
        assert front.patch(location, b"begun").status == 202
    before = gateway.blobs()
    with Gateway(tmp_path / "gateway", {"limits": {"free_space": "1024TiB"}}) as gateway:
        for path in ("/v1/layers", "/v1/images?to=127.0.0.1:1/a/b:1"):
            assert_no_space(gateway.request(path, method="POST", upload=larger_archive))
        with Front(gateway.port) as front:
            whole = f"/v2/full/app/blobs/uploads/?digest={sha256(b'whole')}"
            for method, path, body in (
                ("POST", "/v2/full/app/blobs/uploads/", b""),
                ("POST", whole, b"whole"),
                ("PATCH", location, b"more"),
                ("PUT", with_digest(location, sha256(b"begun and more")), b" and more"),
            ):
                with Front(gateway.port) as other:
                    reply = other.ask(method, path, body, {"Content-Type": BYTES})
                assert_no_space(reply)
                assert "limits.free_space" in reply.error["message"]
            assert gateway.blobs() == before and not gateway.staged()
            ready = gateway.request("/readyz")
            assert (ready.status, ready.error["code"]) == (503, "NO_SPACE")
            assert front.finish(location, sha256(b"begun")).status == 201
            assert front.put("full/app", "1.0", image).status == 201
            assert front.manifest("full/app", "1.0").body == image
            assert front.blob("full/app", sha256(b"begun")).body == b"begun"
        wait_until(lambda: "little room left" in gateway.log(), "a line")
        assert gateway.log().count("little room left") == 1


class SmallDisk:
    """A gateway whose data folder is a file system of a few megabytes, seen from outside."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        mount = f"mount -t tmpfs -o size={DISK_BYTES} none {folder}/gateway/data"
        before = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
        (folder / "gateway/data").mkdir(parents=True)
        self.gateway = Gateway(folder / "gateway", config, before=before)

    def path(self, name: str = "") -> Path:
        """As the gateway sees it."""
        data = str(self.gateway.data).lstrip("/")
        return Path(f"/proc/{self.gateway.process.pid}/root", data, name)

    def room(self) -> int:
        state = os.statvfs(self.path())
        return state.f_bavail * state.f_frsize

    def fill(self, left: int) -> None:
        with self.path("filler").open("ab") as filler:
            filler.write(b"\0" * max(0, self.room() - left))

    def free(self) -> None:
        self.path("filler").unlink()


def assert_figures(reply: Reply) -> None:
    """It says what is left."""
    assert_no_space(reply)
    assert re.search(r"\d", reply.error["message"]), reply.body


def test_a_disk_fills_and_has_room_again(
    registry: Registry, larger_archive: Path, tmp_path: Path, seed: str
) -> None:
    """Before an intake, in it, and while a promise waits; without a restart."""
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(ThrottledProxy(registry.port, hold_after=1))
        mirror = {
            "match": "soon/*",
            "to": [f"127.0.0.1:{line.port}/{seed}/*"],
            "acknowledge": "stored",
        }
        disk = SmallDisk(tmp_path, {"mirrors": [mirror]})
        gateway = stack.enter_context(disk.gateway)
        stack.callback(line.release)
        front = stack.enter_context(Front(gateway.port))
        digest = front.tagged("soon/app", "1")
        wait_until(line.held, "the promise is under way")
        to = images_path([f"{registry.host}/{seed}/full:1"])

        # Less than the floor: nothing is begun.
        disk.fill(FLOOR_BYTES // 2)
        assert_figures(gateway.request(to, method="POST", upload=larger_archive))
        with Front(gateway.port) as other:
            assert_figures(other.ask("POST", "/v2/any/app/blobs/uploads/"))
        assert (ready := gateway.request("/readyz")).status == 503, ready
        # What was promised goes on.
        line.release()
        served = f"{seed}/app"
        wait_until(lambda: registry.manifest(served, "1").status == 200, "the promise is kept")
        assert sha256(registry.manifest(served, "1").body) == digest
        identity = gateway.request("/v1/pushes").json()["pushes"][0]["id"]
        wait_until(
            lambda: gateway.request(f"/v1/pushes/{identity}").json()["state"] == "pushed",
            "it is recorded",
        )

        # More than the floor, less than the archive.
        disk.free()
        disk.fill(larger_archive.stat().st_size // 3 + FLOOR_BYTES)
        path = f"{to}&compression=none"
        assert_figures(gateway.request(path, method="POST", upload=larger_archive))
        gateway.wait_nothing_staged()
        assert not list(disk.path("staging").rglob("*.*"))

        disk.free()
        wait_until(lambda: gateway.request("/readyz").status == 200, "it is ready")
        pushed(gateway.request(path, method="POST", upload=larger_archive))
        assert front.tagged("soon/app", "2")


def collect(gateway: Gateway, **body: Any) -> Reply:
    return gateway.request(
        "/v1/gc",
        method="POST",
        data=json.dumps(body).encode(),
        headers=["Content-Type: application/json"],
    )


@pytest.mark.parametrize("kept", (True, False), ids=("kept", "nothing-kept"))
def test_a_collection_on_a_disk_without_a_byte(tmp_path: Path, kept: bool) -> None:
    """What was kept back for the metadata is enough to make room; without it a commit finds room for
    a part of its pages only, which breaks nothing, and says what is missing."""
    config: dict[str, Any] = {"keep": {"grace": "1s", "every": "720h", "rules": [{"match": "x"}]}}
    if not kept:
        config["limits"] = {"free_space": "1B"}
    disk = SmallDisk(tmp_path, config)
    with disk.gateway as gateway, concurrent.futures.ThreadPoolExecutor(1) as beside:
        with Front(gateway.port) as front:
            for number in range(LOOSE):
                front.push_blob("full/app", b"loose %d" % number)
            for number in range(6):
                front.tagged("full/app", f"t{number}")
            held = collect(gateway, dry_run=True).json()["held"]["blobs"]
            wait_until(lambda: collect(gateway, dry_run=True).json()["gone"]["blobs"] >= LOOSE, "grace", 20)
            disk.fill(0 if kept else 3 * 4096)
            running = beside.submit(collect, gateway)
            deleted = [front.ask("DELETE", f"/v2/full/app/manifests/t{n}") for n in range(6)]
            for reply in (*deleted, running.result()):
                if kept or reply.status != 507:
                    assert reply.status in (200, 202), (reply.status, reply.body)
                else:
                    assert_figures(reply)
            if kept:
                assert running.result().json()["gone"]["blobs"] >= LOOSE
            disk.fill(0)
            assert_figures(front.put("full/app", "more", to_json({"not": "held"}), OPAQUE))
            wait_until(lambda: gateway.request("/readyz").status == 503, "it is not ready")
            assert gateway.process.running()
            disk.free()
            wait_until(lambda: gateway.request("/readyz").status == 200, "it is ready")
            assert (went := collect(gateway)).status == 200, went.body
            assert collect(gateway).json()["held"]["blobs"] <= held - LOOSE
            front.tagged("full/app", "again")
