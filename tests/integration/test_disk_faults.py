"""A disk that fails: the gateway says so where monitoring looks, ends where only a new start helps,
and goes on by itself where room is all that it wants.
"""
from __future__ import annotations

import errno
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.disk import SYNCS, Disk
from support.front import BYTES, Front
from support.gateway import Gateway, slipway_binary
from support.processes import Process, plain_environment
from support.pulled import sha256
from support.waiting import wait_until

STATUS_BROKEN = 1
STATUS_REFUSED = 2


def put(gateway: Gateway, data: bytes) -> int:
    with Front(gateway.port) as front:
        path = f"/v2/a/b/blobs/uploads/?digest={sha256(data)}"
        return front.ask("POST", path, data, {"Content-Type": BYTES}).status


def ready(gateway: Gateway) -> tuple[int, str]:
    """Its status, and the code of the fault."""
    reply = gateway.request("/readyz")
    if reply.status == 200:
        return 200, ""
    error: dict[str, Any] = reply.error
    assert error["detail"]["party"] == "gateway" and error["message"], reply.body
    return reply.status, error["code"]


def lines(gateway: Gateway, level: str, text: str) -> list[str]:
    return [line for line in gateway.log().splitlines() if f" {level} " in line and text in line]


@pytest.mark.parametrize("where", ("uploads", "meta"))
def test_a_full_disk_is_told_and_goes_by(tmp_path: Path, where: str) -> None:
    disk = Disk(tmp_path / "disk")
    with Gateway(tmp_path / "gateway", env=disk.env) as gateway:
        assert put(gateway, b"before") == 201
        assert ready(gateway) == (200, "")
        disk.fail("write", errno.ENOSPC, gateway.data)
        if where == "meta":
            disk.fail("write", errno.ENOSPC, gateway.data / "meta")
        for _ in range(3):
            assert put(gateway, secrets.token_bytes(100)) == 507
        assert ready(gateway) == (503, "NO_SPACE")
        wait_until(lambda: lines(gateway, "error", "cannot be written to"), "a line")
        disk.mend()
        wait_until(lambda: ready(gateway)[0] == 200, "it is ready again", 10)
        data = secrets.token_bytes(100)
        assert put(gateway, data) == 201
        assert put(gateway, b"before") == 201
        assert len(lines(gateway, "error", "cannot be written to")) == 1
        wait_until(lambda: lines(gateway, "info ", "can be written to again"), "a line")
        with Front(gateway.port) as front:
            assert front.blob("a/b", sha256(data)).body == data


@pytest.mark.parametrize("where", ("meta", "staging", "blobs"))
@pytest.mark.parametrize("skip", (0, 1))
def test_a_sync_that_fails_ends_the_gateway(tmp_path: Path, where: str, skip: int) -> None:
    disk = Disk(tmp_path / "disk")
    gateway = Gateway(tmp_path / "gateway", env=disk.env)
    gateway.start()
    try:
        kept = secrets.token_bytes(100)
        assert put(gateway, kept) == 201
        disk.fail(SYNCS, errno.EIO, gateway.data / where, skip)
        answers = []
        while len(answers) < 10 and (not answers or answers[-1] == 201):
            answers.append(put(gateway, secrets.token_bytes(100)))
        assert answers[-1] == 503, answers
        assert gateway.process.wait() == STATUS_BROKEN
        gateway.process.assert_no_sanitizer_report()
        assert len(lines(gateway, "error", "the disk did not take")) == 1, gateway.log()
        assert "code=SYNC_FAILED" in gateway.log()
    finally:
        gateway.process.stop()
    disk.mend()
    with gateway:
        assert ready(gateway)[0] == 200
        assert put(gateway, secrets.token_bytes(100)) == 201
        with Front(gateway.port) as front:
            assert front.blob("a/b", sha256(kept)).body == kept


def refusal(gateway: Gateway, folder: Path) -> str:
    """What a start says that is refused."""
    argv = [slipway_binary(), "serve", "--listen", "127.0.0.1:0", "--data", gateway.data]
    with Process(argv, folder, "refused", env=plain_environment(folder)) as process:
        assert process.wait() == STATUS_REFUSED
        process.assert_no_sanitizer_report()
        return process.stderr()


def used_folder(tmp_path: Path) -> Gateway:
    gateway = Gateway(tmp_path / "gateway")
    with gateway:
        for _ in range(40):
            assert put(gateway, secrets.token_bytes(100)) == 201
    return gateway


def test_metadata_that_were_cut_short(tmp_path: Path) -> None:
    gateway = used_folder(tmp_path)
    file = gateway.data / "meta/data.mdb"
    whole = file.read_bytes()
    for size in (1, 4096, 2 * 4096, len(whole) // 2):
        file.write_bytes(whole[:size])
        said = refusal(gateway, tmp_path / "refused")
        assert str(file) in said and "put it back from a copy" in said, (size, said)
    file.write_bytes(whole)
    with gateway:
        assert ready(gateway)[0] == 200


@pytest.mark.parametrize("how", ("folder", "file", "empty"))
def test_metadata_that_are_gone(tmp_path: Path, how: str) -> None:
    gateway = used_folder(tmp_path)
    before = gateway.blobs()
    if how == "folder":
        shutil.rmtree(gateway.data / "meta")
    elif how == "file":
        (gateway.data / "meta/data.mdb").unlink()
    else:
        (gateway.data / "meta/data.mdb").write_bytes(b"")
    said = refusal(gateway, tmp_path / "refused")
    assert "has blobs, but no metadata" in said and f"moving {gateway.data}/blobs away" in said
    assert gateway.blobs() == before
    (gateway.data / "blobs").rename(tmp_path / "kept")
    with gateway:
        assert put(gateway, b"anew") == 201


def test_the_lock_is_the_folders_own(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway") as gateway:
        (gateway.data / "lock").unlink()
        assert "is in use by" in refusal(gateway, tmp_path / "refused")
        assert put(gateway, b"anything") == 201
