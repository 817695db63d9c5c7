"""A data folder that an earlier version has left: what it had promised gets there."""
from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from support.gateway import Gateway
from support.ports import refusing_port
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

STORE = Path(__file__).with_name("stores") / "schema-1.tar.xz"
DIGESTS = {
    "1": "sha256:3ff1c736f0db47be457a1aea986c7198e5258dff13cd46cccb1af3e2af29f1e1",
    "2": "sha256:a9f2c26717654d4979d2565cb5c5b2f8521b0834fa04ecb6805b175a62bbae32",
}
IDS = ["01a2231834c89b189eb27ea2", "01a223183442f9a0bd668ab7"]
WAIT = 30


def config(endpoint: str) -> dict[str, Any]:
    setting = {"endpoints": [endpoint], "plain_http": True, "retry_wait": "50ms"}
    return {"registries": {"r.old.test": setting}}


def unpack(folder: Path) -> None:
    data = folder / "data"
    data.mkdir(parents=True)
    with tarfile.open(STORE) as archive:
        archive.extractall(data)


def listed(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.request("/v1/pushes").json()["pushes"]
    return found


def test_promises_of_schema_1_are_kept(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    unpack(folder)
    with refusing_port() as port:
        gateway = Gateway(folder, config(f"http://127.0.0.1:{port}"))
        gateway.start()
        assert "brought up to schema 2" in gateway.log() and "4 pending targets go on" in gateway.log()
        assert [push["id"] for push in listed(gateway)] == IDS
        wait_until(lambda: "target is tried again" in gateway.log(), "the failure", WAIT)
        assert gateway.process.stop() == 0
    with Gateway(folder, config(f"http://{registry.host}")) as again:
        wait_until(lambda: all(push["state"] == "pushed" for push in listed(again)), "the end", WAIT)
        assert "brought up" not in again.log()
        for tag, digest in DIGESTS.items():
            for repository in ("kept/app", "spare/app"):
                answer = registry.manifest(repository, tag)
                assert answer.status == 200 and sha256(answer.body) == digest
        results = listed(again)[0]["results"]
        assert [result.get("optional", False) for result in results] == [False, True]
        # A client that comes for what was held before the upgrade finds it.
        assert again.request("/readyz").status == 200


def test_what_comes_after_the_upgrade_is_younger(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    unpack(folder)
    with refusing_port() as port:
        gateway = Gateway(folder, config(f"http://127.0.0.1:{port}"))
        gateway.start()
        body = json.dumps({"image": DIGESTS["2"], "to": [f"{registry.host}/migrated/other:1"]})
        reply = gateway.request("/v1/pushes", method="POST", data=body.encode(),
                                headers=("Content-Type: application/json",))
        assert reply.status == 200 and reply.json()["id"] > IDS[0], reply.body
        assert gateway.process.stop() == 0
