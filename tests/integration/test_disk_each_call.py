"""A disk that fails in one call, for each call of a small push in turn: what is told then, and that
nothing is lost, half there, or in the way of the same push afterwards.

In CI a part of the calls; all of them with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from support.disk import SYNCS, Disk
from support.front import BYTES, OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, to_json
from support.gateway import Gateway, slipway_binary
from support.processes import Process, plain_environment
from support.pulled import sha256
from support.waiting import wait_until

REPOSITORY = "each/call"
STATUS_BROKEN = 1
STATUS_REFUSED = 2
CALLS_MOST = 200
# What a client may be told of a disk that fails, and nothing else.
TOLD = {
    (500, "IO_ERROR"),
    (500, "STORE_ERROR"),
    (503, "SYNC_FAILED"),
    (503, "STOPPING"),  # after that
    (507, "NO_SPACE"),
    (507, "STORE_FULL"),
}


def chosen(first: int, step: int) -> range:
    """Which calls, counted from 0: all, or in CI every `step`th."""
    return range(CALLS_MOST) if os.environ.get("SLIPWAY_LONG") else range(first, CALLS_MOST, step)


class Image:
    """One that nobody else has, and which of its parts a gateway has acknowledged."""

    def __init__(self) -> None:
        self.tag = secrets.token_hex(8)
        self.config = to_json({"architecture": "amd64", "os": "linux", "author": self.tag})
        self.layer = secrets.token_bytes(3000)
        self.manifest = to_json(
            manifest_of(descriptor(OCI_CONFIG, self.config), descriptor(OCI_LAYER, self.layer))
        )
        self.acknowledged: set[str] = set()

    def push(self, gateway: Gateway) -> list[tuple[int, str]]:
        """The refusals, in order; a gateway that has gone refuses nothing."""
        refusals = []
        for part in ("config", "layer", "manifest"):
            try:
                with Front(gateway.port) as front:
                    status, code = self._put(front, part)
            except OSError:
                continue
            if status == 201:
                self.acknowledged.add(part)
            elif (status, code) != (404, "MANIFEST_BLOB_UNKNOWN"):
                refusals.append((status, code))
        return refusals

    def _put(self, front: Front, part: str) -> tuple[int, str]:
        """The layer in a session, in two pieces, the config in one request."""
        if part == "config":
            path = f"/v2/{REPOSITORY}/blobs/uploads/?digest={sha256(self.config)}"
            reply = front.ask("POST", path, self.config, {"Content-Type": BYTES})
        elif part == "manifest":
            reply = front.put(REPOSITORY, self.tag, self.manifest)
        else:
            reply = front.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")
            if reply.status == 202:
                location = reply.headers["location"]
                reply = front.patch(location, self.layer[:1000])
                if reply.status == 202:
                    reply = front.finish(location, sha256(self.layer), self.layer[1000:])
        return reply.status, "" if reply.status < 300 else reply.error["code"]

    def check(self, gateway: Gateway) -> None:
        """What was acknowledged is there, and what is there is whole."""
        with Front(gateway.port) as front:
            for part, data in (("config", self.config), ("layer", self.layer)):
                reply = front.blob(REPOSITORY, sha256(data))
                assert reply.status == 200 or part not in self.acknowledged, part
                assert reply.status == 404 or reply.body == data, part
            reply = front.manifest(REPOSITORY, self.tag)
            assert reply.status == 200 or "manifest" not in self.acknowledged
            assert reply.status == 404 or reply.body == self.manifest


class Stage:
    """A gateway on a disk that can fail, which is started again as often as it ends."""

    def __init__(self, folder: Path) -> None:
        self.disk = Disk(folder / "disk")
        self.gateway = Gateway(folder / "gateway", env=self.disk.env)
        self.images: list[Image] = []
        self.ended = 0

    def fail_one(self, calls: str, error: int, skip: int) -> bool:
        """A push in which the call fails that comes after so many. False: there were no more."""
        image = Image()
        self.images.append(image)
        self.disk.fail(calls, error, self.gateway.data, skip, 1)
        refusals = image.push(self.gateway)
        fired = self.disk.fired()
        self.disk.mend()
        assert set(refusals) <= TOLD, (calls, skip, refusals)
        assert fired or not refusals
        if any(status == 503 for status, _ in refusals) or not self._lives():
            self._start_again()
        image.check(self.gateway)
        assert image.push(self.gateway) == [], (calls, skip)
        assert image.acknowledged == {"config", "layer", "manifest"}
        image.check(self.gateway)
        return fired

    def _lives(self) -> bool:
        return self.gateway.process.running() and "SYNC_FAILED" not in self.gateway.log()

    def _start_again(self) -> None:
        """It has to have ended by itself, and to have said why."""
        assert self.gateway.process.wait() == STATUS_BROKEN
        self.gateway.process.assert_no_sanitizer_report()
        assert "the disk did not take" in self.gateway.log()
        assert "code=SYNC_FAILED" in self.gateway.log()
        self.gateway.process.stop()
        self.ended += 1
        self.gateway.start()


# Calls, how they fail, and which of them.
PLANS = (
    ("write", errno.ENOSPC, chosen(0, 7)),
    ("write", errno.EIO, chosen(1, 12)),
    ("rename,link,ftruncate", errno.EIO, chosen(0, 2)),
    (SYNCS, errno.EIO, chosen(1, 8)),
)


def test_each_call_of_a_push(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.gateway.start()
    try:
        for calls, error, numbers in PLANS:
            fired = 0
            while stage.fail_one(calls, error, numbers[fired]):
                fired += 1
            print(f"{calls}, {errno.errorcode[error]}: {fired} failed, {stage.ended} ends so far")
            assert fired > 1
        assert stage.ended > 0
    finally:
        stage.gateway.process.stop()
    with stage.gateway:
        for image in stage.images:
            image.check(stage.gateway)
        wait_until(lambda: stage.gateway.request("/readyz").status == 200, "it is ready")


def test_each_map_of_a_start(tmp_path: Path) -> None:
    """A start that cannot map its files is refused, and says so; the next one is as ever."""
    stage = Stage(tmp_path)
    image = Image()
    with stage.gateway as gateway:
        assert image.push(gateway) == []
    argv = [slipway_binary(), "serve", "--listen", "127.0.0.1:0", "--data", gateway.data]
    env = plain_environment(tmp_path, stage.disk.env)
    for number in range(CALLS_MOST):
        stage.disk.fail("mmap", errno.ENOMEM, gateway.data, number, 1)
        with Process(argv, tmp_path / "refused", "refused", env=env) as process:
            wait_until(
                lambda: "listening" in process.stderr() or not process.running(), "a start"
            )
            if not stage.disk.fired():
                break
            assert process.wait() == STATUS_REFUSED
            process.assert_no_sanitizer_report()
            assert str(gateway.data) in process.stderr()
    assert number > 0
    stage.disk.mend()
    with gateway:
        image.check(gateway)
        assert Image().push(gateway) == []
