"""A disk that fails in one call: each write, sync, link, put, commit... in turn, over a push of
each kind, over a collection, a repair, a backup and a start. What was acknowledged is not lost, no
record leads to a blob that is not there, what is said to be pushed is, and nothing is left half
done or in the way of the same push afterwards.

In CI a part of them, chosen by kind; all with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support.command import slipway
from support.curl import Reply
from support.disk import SYNCS
from support.each_call import CALLS_MOST, FILES, GONE, KINDS, LONG, RECORDS, TOLD, Archive, Held, Image
from support.each_call import Plan, Stage, check_folder, check_listed, configuration
from support.front import Front
from support.gateway import Gateway, slipway_binary
from support.processes import Process, plain_environment
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

STATUS_REFUSED = 2


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


@pytest.mark.skipif(LONG, reason="the long form is the next test")
def test_some_calls_of_pushes(registry: Registry, stage: Stage) -> None:
    """Each kind of call in three kinds of push: the first, one in the middle and the last."""
    plans = {plan.calls: plan for plan in (*RECORDS, *FILES)}.values()
    tried = fired = 0
    for number, kind in enumerate(KINDS):
        counted = stage.count(KINDS[kind](registry))
        for turn, plan in enumerate(plans, number):
            count = plan.count(counted)
            if turn % 3 == 0 and count > 0:
                skip = (0, count // 2, count - 1)[number // 3]
                tried += 1
                fired += stage.fail_one(plan, skip, KINDS[kind](registry))
        check_listed(stage.gateway, registry)
        print(f"{kind}: {dict(counted)}; {tried} tried, {fired} failed, {stage.ended} ends so far")
    assert fired > tried / 2


@pytest.mark.skipif(not LONG, reason="SLIPWAY_LONG=1 for each call")
@pytest.mark.parametrize("kind", KINDS)
def test_each_call_of_a_push(registry: Registry, stage: Stage, kind: str) -> None:
    for plan in (*RECORDS, *FILES):
        fired = 0
        while stage.fail_one(plan, fired, KINDS[kind](registry)):
            fired += 1
        check_listed(stage.gateway, registry)
        print(f"{kind}: {plan}: {fired} failed, {stage.ended} ends so far")


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


def each_call(
    what: str,
    stage: Stage,
    fail_one: Callable[[Plan, int], bool],
    some: Mapping[Plan, tuple[int, ...]],
) -> None:
    """Fail each call, in CI those that are named, until there are no more."""
    for plan in (*RECORDS, *FILES) if LONG else some:
        fired = 0
        for skip in range(CALLS_MOST) if LONG else some[plan]:
            if not fail_one(plan, skip):
                break
            fired += 1
        print(f"{what}: {plan}: {fired} failed, {stage.ended} ends so far")
        assert LONG or fired == len(some[plan])


def is_refused(reply: Reply) -> bool:
    return (reply.status, reply.error["code"]) in TOLD


def test_each_call_of_a_collection(registry: Registry, tmp_path: Path) -> None:
    rubbish = Rubbish(registry, tmp_path)
    stage = Stage(tmp_path, rubbish.config)
    gateway = stage.gateway

    def fail_one(plan: Plan, skip: int) -> bool:
        """Another collection then does the rest."""
        rubbish.copy(gateway)
        gateway.start()
        try:
            with stage.failing(plan, skip) as fault:
                reply = collect(gateway)
            assert reply.status == 200 or (fault.fired and is_refused(reply)), reply.body
            if "SYNC_FAILED" in gateway.log():
                stage.start_again()
            wait_until(lambda: rubbish.is_collected(gateway), "the rest is collected")
            rubbish.check(gateway)
        finally:
            status = gateway.process.stop()
        assert status == 0
        gateway.process.assert_no_sanitizer_report()
        strays = check_folder(gateway)
        # Records go before files, so files may stay: the one that could not be removed, and those
        # that were not, as nobody knew whether their records are gone.
        most = {"unlink": 1, "envsync": strays, SYNCS: strays}.get(plan.calls, 0)
        assert strays <= most, (plan, skip, strays)
        return fault.fired

    some = {Plan("commit", errno.ENOSPC, 2): (2,), Plan("unlink", errno.EIO): (0,)}
    each_call("collection", stage, fail_one, some)


# ---- a repair ----


class Damage:
    """A data folder in which a blob has other bytes than its digest says, and one has no record."""

    def __init__(self, folder: Path) -> None:
        self.image, self._whole = Image(), Image()
        with Gateway(folder / "made") as gateway:
            assert self.image.push(gateway) == [] and self._whole.push(gateway) == []
        self._data = gateway.data
        name = sha256(self.image.layer).partition(":")[2]
        blob = self._data / "blobs/sha256" / name[:2] / name
        self.bytes = {bytes(byte ^ 1 for byte in self.image.layer), b"stray"}
        blob.write_bytes(bytes(byte ^ 1 for byte in self.image.layer))
        (blob.parent / "stray").write_bytes(b"stray")

    def copy(self, gateway: Gateway) -> None:
        shutil.rmtree(gateway.data, ignore_errors=True)
        shutil.copytree(self._data, gateway.data)

    def check(self, gateway: Gateway, twice: int) -> None:
        """What was wrong is in the quarantine, and only that, `twice` of it two times at most; the
        rest is served."""
        folder = gateway.data / "quarantine"
        described = {path.stem for path in folder.glob("*.json")}
        files = {path.name for path in folder.iterdir()} - {f"{name}.json" for name in described}
        assert files == described
        items = [json.loads((folder / f"{name}.json").read_text()) for name in described]
        names = [item["name"] for item in items]
        assert len(names) - len(set(names)) <= twice, items
        assert self.bytes <= {(folder / name).read_bytes() for name in files}
        with gateway:
            assert not gateway.staged()
            self._whole.check(gateway)
            assert self.image.push(gateway) == []
            self.image.check(gateway)


def repair(gateway: Gateway, env: Mapping[str, str] | None = None) -> tuple[int, dict[str, Any]]:
    words = ("check", "--repair", "--json", "--data", gateway.data)
    done = slipway(gateway.folder, *words, env=env)
    return done.returncode, json.loads(done.stdout or "{}")


def test_each_call_of_a_repair(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    damage = Damage(tmp_path)

    def fail_one(plan: Plan, skip: int) -> bool:
        """Another repair then does the rest."""
        damage.copy(stage.gateway)
        with stage.failing(plan, skip) as fault:
            status, report = repair(stage.gateway, stage.disk.env)
        assert status in (0, 1, 3) and (fault.fired or status == 0), report
        if status == 0:
            assert report["found"] == report["repaired"] > 0
        wait_until(lambda: repair(stage.gateway)[1]["found"] == 0, "all is repaired")
        # Of a record of which nobody knew whether it is gone, a copy stays each time.
        known = plan.calls not in ("commit", "envsync", "write", "short", "short,ftruncate", SYNCS)
        known |= plan == Plan("commit", errno.ENOSPC, 2)
        damage.check(stage.gateway, 0 if known else 1)
        return fault.fired

    some = {Plan("rename", errno.EIO): (1,), Plan("commit", errno.ENOSPC, 2): (4,)}
    each_call("repair", stage, fail_one, some)


# ---- a backup ----


def test_each_call_of_a_backup(tmp_path: Path) -> None:
    """One that fails leaves the earlier one."""
    stage = Stage(tmp_path)
    gateway = stage.gateway
    backup = gateway.data / "backup"

    def back_up() -> Reply:
        return gateway.request("/v1/backup", method="POST")

    def fail_one(plan: Plan, skip: int) -> bool:
        reply = None
        with stage.failing(plan, skip) as fault, suppress(AssertionError):
            reply = back_up()
        if reply is None:  # ended by what failed late in the one before, or in this one
            stage.settle(fault, [GONE])
            return True
        assert reply.status == 200 or (fault.fired and is_refused(reply)), reply.body
        stage.settle(fault, [])
        done = slipway(tmp_path, "check", "--json", "--data", backup)
        assert json.loads(done.stdout)["found"] == 0, done.stdout
        assert back_up().status == 200
        gateway.wait_nothing_staged()
        return fault.fired

    gateway.start()
    try:
        assert Image().push(gateway) == []
        assert back_up().status == 200
        some = {Plan("rename", errno.EIO): (1,)}
        each_call("backup", stage, fail_one, some)
    finally:
        gateway.process.stop()


# ---- a start, and an end ----


def test_each_call_of_a_start(tmp_path: Path) -> None:
    """A start that cannot go on is refused, and says so; the next one is as ever. So is the one
    after an end in which a call fails."""
    stage = Stage(tmp_path)
    image = Image()
    with stage.gateway as gateway:
        assert image.push(gateway) == []
    argv = [slipway_binary(), "serve", "--listen", "127.0.0.1:0", "--data", gateway.data]
    env = plain_environment(tmp_path, stage.disk.env)

    def fail_one(plan: Plan, skip: int) -> bool:
        with stage.failing(plan, skip) as fault:
            with Process(argv, tmp_path / "failing", "failing", env=env) as process:
                wait_until(
                    lambda: "listening" in process.stderr() or not process.running(), "a start"
                )
                refused = not process.running()
                status = process.stop()
        process.assert_no_sanitizer_report()
        assert fault.fired or status == 0
        if refused:
            assert status == STATUS_REFUSED and "slipway: " in process.stderr()
            assert plan.calls != "mmap" or str(gateway.data) in process.stderr()
        with gateway:
            image.check(gateway)
            assert not gateway.staged()
            assert LONG or Image().push(gateway) == []
        return fault.fired

    some = {Plan("mmap", errno.ENOMEM): (0, 1), Plan("write", errno.ENOSPC): (0, 4)}
    each_call("start", stage, fail_one, some)
