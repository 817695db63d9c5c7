"""A disk that fails in one call, for each call of a small push in turn: what is told then, and that
nothing is lost, half there, or in the way of the same push afterwards. Pushes of each kind: by a
registry client, an archive that a registry gets while its client waits, and one that is promised.

In CI a part of the calls; all of them with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import errno
from pathlib import Path

import pytest

from support.disk import SYNCS
from support.each_call import CALLS_MOST, Archive, Delivery, Image, MirroredArchive, Stage
from support.each_call import check_listed, chosen, configuration
from support.gateway import slipway_binary
from support.processes import Process, plain_environment
from support.registry import Registry
from support.waiting import wait_until

STATUS_REFUSED = 2


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


@pytest.mark.parametrize("kind", (Archive, MirroredArchive))
def test_each_call_of_an_archive(registry: Registry, tmp_path: Path, kind: type[Delivery]) -> None:
    stage = Stage(tmp_path, configuration(registry))
    stage.gateway.start()
    archives: list[Delivery] = []
    try:
        for calls, error, numbers in ARCHIVE_PLANS:
            fired, more = 0, True
            while more:
                archives.append(kind(registry))
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
        check_listed(gateway, registry)
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
