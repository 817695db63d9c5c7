"""One change of the metadata, or the removal of one file, fails: each put, each deletion, each
commit and each sync in turn, over a push of each kind and over a collection. What was acknowledged
is not lost, no record leads to a blob that is not there, and what is said to be pushed is.

In CI a part of them; all with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.curl import Reply
from support.disk import SYNCS
from support.each_call import CALLS_MOST, LONG, TOLD, Archive, AsyncArchive, Delivery, Held, Image
from support.each_call import MirroredArchive, Parts, Stage, check_folder, check_listed
from support.each_call import configuration
from support.front import Front
from support.gateway import Gateway
from support.registry import Registry
from support.waiting import wait_until

# LMDB's own number, and its name.
MAP_FULL = -30792
NAMES = {**errno.errorcode, MAP_FULL: "MDB_MAP_FULL"}

# Which calls, how they fail, and how many at once. A change that fails in a group is tried again by
# itself, so two failures in a row are those of one change.
PLANS = (
    ("put", MAP_FULL, 2),
    ("put", errno.EIO, 2),
    ("del", MAP_FULL, 2),
    ("commit", errno.ENOSPC, 2),
    ("unlink", errno.EIO, 1),
    ("commit", errno.EIO, 1),
    ("envsync", errno.ENOSPC, 1),
    ("envsync", errno.EIO, 1),
)

KINDS: dict[str, Callable[[Registry], Image | Delivery]] = {
    "archive": Archive,
    "mirrored": MirroredArchive,
    "async": AsyncArchive,
    "parts": Parts,
    "held": Held,
    "nowhere": lambda registry: Image(),
    "stored": lambda registry: Image(registry, "stored"),
    "pushed": lambda registry: Image(registry, "pushed"),
}


@pytest.fixture(name="stage")
def running_stage(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stage]:
    """Its gateway, which holds an image. In the end all that it was given is there, and is after
    another start, which finds nothing to do."""
    stage = Stage(tmp_path, configuration(registry))
    stage.gateway.start()
    try:
        first = Archive(registry)
        assert first.push(stage.gateway) == []
        monkeypatch.setattr(Held, "held", first.digest)
        yield stage
        check_listed(stage.gateway, registry)
    finally:
        status = stage.gateway.process.stop()
    assert status == 0
    print(f"{check_folder(stage.gateway)} files without a record")
    with stage.gateway as gateway:
        for image in stage.images:
            image.check(gateway)
        wait_until(lambda: gateway.request("/readyz").status == 200, "it is ready")
        assert "pending pushes go on" not in gateway.log()
        gateway.wait_nothing_staged()


# In CI: which calls of each kind.
SOME = (("put", MAP_FULL, 4), ("del", MAP_FULL, 0), ("commit", errno.ENOSPC, 1))


@pytest.mark.skipif(LONG, reason="the long form is the next test")
def test_some_records_of_pushes(registry: Registry, stage: Stage) -> None:
    fired = 0
    for number, kind in enumerate(KINDS):
        for calls, error, skip in SOME:
            fired += stage.fail_one(calls, error, skip + number % 2, KINDS[kind](registry), 2)
    assert fired > len(KINDS)
    check_listed(stage.gateway, registry)
    assert stage.fail_one("envsync", errno.ENOSPC, 0, AsyncArchive(registry))
    assert stage.ended == 1


@pytest.mark.skipif(not LONG, reason="SLIPWAY_LONG=1 for each call")
@pytest.mark.parametrize("kind", KINDS)
def test_each_record_of_a_push(registry: Registry, stage: Stage, kind: str) -> None:
    for calls, error, times in PLANS:
        fired = 0
        while stage.fail_one(calls, error, fired, KINDS[kind](registry), times):
            fired += 1
        check_listed(stage.gateway, registry)
        print(f"{kind}: {calls} {NAMES[error]}: {fired} failed, {stage.ended} ends so far")


# ---- a collection ----

RULES = [{"match": "ruled/*", "tags": "v*"}]
KEEP = {"grace": "1s", "cache_age": "1s", "every": "720h", "rules": RULES}


class Rubbish:
    """A data folder with what is to be collected beside what is not, older than the grace."""

    def __init__(self, registry: Registry, folder: Path) -> None:
        self.config = {**configuration(registry), "keep": KEEP}
        self.folder = folder
        self.gone: list[str] = []
        with Gateway(folder / "made", self.config) as gateway:
            self._fill(gateway, registry)
            wait_until(lambda: self._is_old(gateway), "grace")
        self._data = gateway.data

    def _fill(self, gateway: Gateway, registry: Registry) -> None:
        self.kept = [Image(), Image(registry, "stored")]
        archive = Archive(registry)
        for image in (*self.kept, archive):
            assert image.push(gateway) == []
        wait_until(lambda: all(image.is_settled() for image in self.kept), "they are pushed")
        with Front(gateway.port) as front:
            front.tagged("ruled/app", "v1")
            front.tagged("ruled/app", "old")
            deleted = front.tagged("free/app", "old")
            assert front.ask("DELETE", f"/v2/free/app/manifests/{deleted}").status == 202
            self.gone = [front.push_blob("free/app", b"loose %d" % i) for i in range(3)]
            self.gone.append(deleted)

    def _is_old(self, gateway: Gateway) -> bool:
        report = collect(gateway, dry_run=True).json()
        # Of an archive, of a tag that no rule keeps, of a manifest that was deleted; what is loose.
        return bool(report["gone"]["blobs"] == 12)

    def copy(self, gateway: Gateway) -> None:
        shutil.rmtree(gateway.data, ignore_errors=True)
        shutil.copytree(self._data, gateway.data, ignore=shutil.ignore_patterns("control.sock"))

    def is_collected(self, gateway: Gateway) -> bool:
        """After a crash all counts as asked for, for the grace."""
        reply = collect(gateway)
        assert reply.status == 200, reply.body
        report = reply.json()
        left = report["gone"]["blobs"] + report["leased"]["blobs"]
        return not report.get("waits_until") and left == 0

    def check(self, gateway: Gateway) -> None:
        for image in self.kept:
            image.check(gateway)
        with Front(gateway.port) as front:
            assert front.manifest("ruled/app", "v1").status == 200
            assert front.manifest("ruled/app", "old").status == 404
            for digest in self.gone:
                assert front.blob("free/app", digest).status == 404


def collect(gateway: Gateway, **body: bool) -> Reply:
    head = ["Content-Type: application/json"]
    return gateway.request("/v1/gc", method="POST", data=json.dumps(body).encode(), headers=head)


def fail_collection(
    stage: Stage, rubbish: Rubbish, calls: str, error: int, skip: int, times: int
) -> bool:
    """One in which the call fails that comes after so many; another one then does the rest. False:
    there were no more calls."""
    gateway = stage.gateway
    rubbish.copy(gateway)
    gateway.start()
    try:
        stage.disk.fail(calls, error, gateway.data, skip, times)
        reply = collect(gateway)
        fired = stage.disk.fired()
        stage.disk.mend()
        assert fired or reply.status == 200
        assert reply.status == 200 or (reply.status, reply.error["code"]) in TOLD, reply.body
        if "SYNC_FAILED" in gateway.log():
            stage.start_again()
        wait_until(lambda: rubbish.is_collected(gateway), "the rest is collected")
        rubbish.check(gateway)
    finally:
        status = gateway.process.stop()
    assert status == 0
    gateway.process.assert_no_sanitizer_report()
    strays = check_folder(gateway)
    # Records go before files, so files may stay: the one that could not be removed, and those that
    # were not, as nobody knew whether their records are gone.
    most = {"unlink": times, "envsync": strays, SYNCS: strays}.get(calls, 0)
    assert strays <= most, (calls, skip, strays)
    return fired


GC_PLANS = (
    ("put", MAP_FULL, 2, ()),
    ("del", MAP_FULL, 2, ()),
    ("commit", errno.ENOSPC, 2, (2,)),
    ("write", errno.ENOSPC, 2, ()),
    ("unlink", errno.EIO, 1, (0,)),
    ("commit", errno.EIO, 1, ()),
    ("envsync", errno.ENOSPC, 1, ()),
    ("envsync", errno.EIO, 1, ()),
    (SYNCS, errno.EIO, 1, ()),
)


def test_each_call_of_a_collection(registry: Registry, tmp_path: Path) -> None:
    rubbish = Rubbish(registry, tmp_path)
    stage = Stage(tmp_path, rubbish.config)
    for calls, error, times, some in GC_PLANS:
        fired = 0
        for skip in range(CALLS_MOST) if LONG else some:
            if not fail_collection(stage, rubbish, calls, error, skip, times):
                break
            fired += 1
        print(f"gc: {calls} {NAMES[error]}: {fired} failed, {stage.ended} ends so far")
        assert fired >= len(some)
