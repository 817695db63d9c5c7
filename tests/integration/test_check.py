"""slipway check, on a data folder that nobody uses and on one that a gateway does."""
from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.command import slipway
from support.gateway import Gateway, pushed
from support.images import make_small_image
from support.registry import Registry
from support.waiting import wait_until


def check(gateway: Gateway, *options: str) -> subprocess.CompletedProcess[str]:
    return slipway(gateway.folder, "check", "--data", gateway.data, *options)


def report(gateway: Gateway, *options: str) -> dict[str, Any]:
    done = check(gateway, "--json", *options)
    value: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (1 if value["found"] > value["repaired"] else 0), done
    return value


def archive_of(folder: Path, name: str) -> Path:
    image = make_small_image(folder / f"files-{name}", name)
    return docker_save_old([(image, [f"check/{name}:1"])], folder / f"{name}.tar")


def largest_blob(gateway: Gateway) -> Path:
    blobs = [gateway.data / "blobs" / name for name in gateway.blobs()]
    return max(blobs, key=lambda path: path.stat().st_size)


def test_a_stopped_store_is_checked_and_repaired(
    own_gateway: Gateway, registry: Registry, tmp_path: Path
) -> None:
    gateway = own_gateway
    archive = archive_of(tmp_path, "stopped")
    pushed(gateway.post(archive, f"{registry.host}/check/stopped:1"))
    gateway.process.stop()
    clean = report(gateway)
    assert (clean["state"], clean["found"]) == ("done", 0) and clean["blobs"] >= 3, clean

    damaged = largest_blob(gateway)
    content = bytearray(damaged.read_bytes())
    content[7] ^= 1
    damaged.write_bytes(content)
    (gateway.data / "blobs/sha256/nothing").write_text("stray")
    done = check(gateway)
    assert done.returncode == 1, done
    assert f"corrupt blobs sha256:{damaged.name}: " in done.stdout, done.stdout
    assert "stray blobs/sha256/nothing: " in done.stdout and "(left)" in done.stdout, done.stdout
    repaired = report(gateway, "--repair")
    assert {problem["action"] for problem in repaired["problems"]} == {"quarantined"}, repaired
    assert report(gateway)["found"] == 0
    assert not damaged.exists() and not gateway.staged()

    # What was moved is listed with its bytes, and the image can be pushed again.
    gateway.start()
    listed = gateway.request("/v1/quarantine").json()
    assert listed["count"] == len(listed["items"]) == 2, listed
    (blob,) = [item for item in listed["items"] if item["what"] == "blob"]
    assert (gateway.data / "quarantine" / blob["id"]).read_bytes() == bytes(content)
    first = gateway.request("/v1/quarantine?limit=1").json()
    rest = gateway.request(f"/v1/quarantine?after={first['next']}").json()
    assert [*first["items"], *rest["items"]] == listed["items"]
    pushed(gateway.post(archive, f"{registry.host}/check/stopped:2"))
    assert damaged.exists()


@pytest.fixture
def busy(own_gateway: Gateway, registry: Registry, tmp_path: Path) -> Iterator[Gateway]:
    """Clients push to it all the time."""
    archives = [archive_of(tmp_path, f"busy{i}") for i in range(4)]
    goes_on = [True]

    def push(number: int) -> None:
        while goes_on[0]:
            pushed(own_gateway.post(archives[number], f"{registry.host}/check/busy{number}:1"))

    with ThreadPoolExecutor(len(archives)) as pool:
        pushing = [pool.submit(push, number) for number in range(len(archives))]
        try:
            wait_until(lambda: len(own_gateway.blobs()) > 8, "something is held")
            yield own_gateway
        finally:
            goes_on[0] = False
        for one in pushing:
            one.result()


def test_a_gateway_checks_its_store_while_clients_push(busy: Gateway) -> None:
    value = report(busy, "--repair")
    assert (value["state"], value["found"], value["repair"]) == ("done", 0, True), value
    assert value["blobs"] > 8 and value["records"] > 8, value
    assert not (busy.data / "quarantine").exists()


def test_what_a_gateway_finds_and_how_its_check_ends(own_gateway: Gateway, registry: Registry,
                                                     tmp_path: Path) -> None:
    gateway = own_gateway
    assert gateway.request("/v1/check").json()["state"] == "none"
    pushed(gateway.post(archive_of(tmp_path, "end"), f"{registry.host}/check/end:1"))
    largest_blob(gateway).write_bytes(b"shorter")
    began = gateway.request("/v1/check", method="POST", data=b"{}",
                            headers=["Content-Type: application/json"])
    assert (began.status, began.headers["location"]) == (202, "/v1/check"), began
    # Another look at it comes seconds later, so the check runs, and a second one joins it.
    joined = gateway.request("/v1/check", method="POST", data=b'{"repair": true}',
                             headers=["Content-Type: application/json"]).json()
    assert (joined["state"], joined["repair"]) == ("running", False), joined
    assert gateway.request("/v1/check", method="DELETE").status == 200
    wait_until(lambda: gateway.request("/v1/check").json()["state"] == "cancelled", "its end")

    for body in (b"[]", b'{"repair": 1}', b'{"other": true}'):
        reply = gateway.request("/v1/check", method="POST", data=body,
                                headers=["Content-Type: application/json"])
        assert reply.status == 400, reply
    for path in ("/v1/check?x=1", "/v1/quarantine?limit=0", "/v1/quarantine?limit=1001"):
        assert gateway.request(path).status == 400, path


def test_usage(tmp_path: Path) -> None:
    assert slipway(tmp_path, "check", "--data", tmp_path, "more").returncode == 2
    (tmp_path / "data/meta").mkdir(parents=True)
    (tmp_path / "data/meta/data.mdb").write_bytes(b"no database" * 1000)
    assert slipway(tmp_path, "check", "--data", tmp_path / "data").returncode == 3
