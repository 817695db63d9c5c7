"""A disk that fails in one call, for each call of a small push in turn: what is told then, and that
nothing is lost, half there, or in the way of the same push afterwards. Pushes of each kind: by a
registry client, an archive that a registry gets while its client waits, and one that is promised.

In CI a part of the calls; all of them with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import errno
import http.client
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.curl import images_path
from support.disk import SYNCS, Disk
from support.front import BYTES, OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, to_json
from support.gateway import Gateway, slipway_binary
from support.kill_clients import save_of, tar_of
from support.processes import Process, plain_environment
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

GONE = (0, "no answer")  # the gateway has ended
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
        """The refusals, in order."""
        refusals = []
        for part in ("config", "layer", "manifest"):
            try:
                with Front(gateway.port) as front:
                    status, code = self._put(front, part)
            except OSError:
                refusals.append(GONE)
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

    def is_settled(self) -> bool:
        return True

    def is_acknowledged(self) -> bool:
        return self.acknowledged == {"config", "layer", "manifest"}

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


class Archive:
    """An archive of an image that nobody else has, for a registry: promised, or waited for."""

    def __init__(self, registry: Registry, promised: bool) -> None:
        self._registry = registry
        self._promised = promised
        self.tag = secrets.token_hex(8)
        self.repository = "promised/each" if promised else "waited/each"
        layer = tar_of({"own": secrets.token_bytes(3000)})
        rootfs = {"type": "layers", "diff_ids": [sha256(layer)]}
        config = {"architecture": "amd64", "os": "linux", "author": self.tag, "rootfs": rootfs}
        self._body = save_of(to_json(config), [layer], f"{self.repository}:{self.tag}")
        self.digest = ""

    def push(self, gateway: Gateway) -> list[tuple[int, str]]:
        to = [] if self._promised else [f"{self._registry.host}/{self.repository}:{self.tag}"]
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
        try:
            connection.request("POST", images_path(to), self._body)
            reply = connection.getresponse()
            value = json.load(reply)
        except (OSError, http.client.HTTPException):
            return [GONE]
        finally:
            connection.close()
        if reply.status == (202 if self._promised else 200):
            self.digest = value["image"]["manifest"]
            return []
        (failed,) = value.get("errors") or [result["error"] for result in value["results"]]
        return [(reply.status, failed["code"])]

    def is_acknowledged(self) -> bool:
        return self.digest != ""

    def check(self, gateway: Gateway) -> None:
        """What was acknowledged is at the registry, or about to be; what is said to be, is."""
        if self._promised:
            return
        answer = self._registry.manifest(self.repository, self.tag)
        assert answer.status == 200 or not self.digest
        assert answer.status == 404 or not self.digest or sha256(answer.body) == self.digest

    def is_settled(self) -> bool:
        return not self._promised or not self.digest or self.is_served()

    def is_served(self) -> bool:
        answer = self._registry.manifest(self.repository, self.tag)
        return answer.status == 200 and sha256(answer.body) == self.digest


class Stage:
    """A gateway on a disk that can fail, which is started again as often as it ends."""

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        self.disk = Disk(folder / "disk")
        self.gateway = Gateway(folder / "gateway", config, env=self.disk.env)
        self.images: list[Image | Archive] = []
        self.ended = 0

    def fail_one(self, calls: str, error: int, skip: int, image: Image | Archive) -> bool:
        """A push in which the call fails that comes after so many. False: there were no more."""
        self.images.append(image)
        self.disk.fail(calls, error, self.gateway.data, skip, 1)
        refusals = image.push(self.gateway)
        # A promise's own writes come after its answer.
        wait_until(lambda: image.is_settled() or not self._lives(), "the end of the push")
        fired = self.disk.fired()
        self.disk.mend()
        assert set(refusals) <= {*TOLD, GONE}, (calls, skip, refusals)
        assert fired or not refusals
        if any(status == 503 for status, _ in refusals) or GONE in refusals or not self._lives():
            self._start_again()
        image.check(self.gateway)
        assert image.push(self.gateway) == [], (calls, skip)
        assert image.is_acknowledged()
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
            while stage.fail_one(calls, error, numbers[fired], Image()):
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


ARCHIVE_PLANS = (
    ("write", errno.ENOSPC, chosen(2, 13)),
    ("write", errno.EIO, chosen(4, 17)),
    ("rename,link,ftruncate", errno.EIO, chosen(0, 2)),
    (SYNCS, errno.EIO, chosen(1, 14)),
)


@pytest.mark.parametrize("promised", (False, True), ids=("waited", "promised"))
def test_each_call_of_an_archive(registry: Registry, tmp_path: Path, promised: bool) -> None:
    mirror = {"match": "promised/*", "to": [f"{registry.host}/promised/*"], "acknowledge": "stored"}
    config = {"mirrors": [mirror], "registries": {registry.host: {"retry_wait": "20ms"}}}
    stage = Stage(tmp_path, config)
    stage.gateway.start()
    archives: list[Archive] = []
    try:
        for calls, error, numbers in ARCHIVE_PLANS:
            fired, more = 0, True
            while more:
                archives.append(Archive(registry, promised))
                more = stage.fail_one(calls, error, numbers[fired], archives[-1])
                fired += more
            print(f"{calls}, {errno.errorcode[error]}: {fired} failed, {stage.ended} ends so far")
            assert fired > 0
        wait_until(lambda: all(archive.is_served() for archive in archives), "all are served")
    finally:
        stage.gateway.process.stop()
    with stage.gateway as gateway:
        wait_until(lambda: all(archive.is_served() for archive in archives), "all are served")
        wait_until(lambda: gateway.request("/readyz").status == 200, "it is ready")
        for push in gateway.request("/v1/pushes?limit=1000").json()["pushes"]:
            (result,) = push["results"]
            assert result["state"] in ("pushed", "superseded", "failed"), push
            if result["state"] == "pushed":
                name = result["target"].split("/", 1)[1].rpartition(":")[0]
                assert registry.manifest(name, result["digest"]).status == 200, push
        gateway.wait_nothing_staged()


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
