"""Blobs whose bytes on the disk are not those that were stored: the gateway says that it is its own
fault, has them no longer, and is mended by whoever sends them again.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.curl import Reply
from support.front import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Front, descriptor
from support.front import manifest_of, to_json
from support.gateway import Gateway
from support.pulled import sha256
from support.registry import Registry


class Parts:
    """An image in the gateway, as a client puts it."""

    def __init__(self, seed: str) -> None:
        self.layer = (f"layer {seed} " * 5000).encode()
        self.config = to_json({"seed": seed, "rootfs": {"type": "layers", "diff_ids": []}})
        self.manifest = to_json(
            manifest_of(descriptor(OCI_CONFIG, self.config), descriptor(OCI_LAYER, self.layer))
        )
        self.name = f"rotten/{seed}"

    def of(self, what: str) -> bytes:
        part: bytes = getattr(self, what)
        return part

    def put(self, gateway: Gateway) -> None:
        with Front(gateway.port) as front:
            front.push_blob(self.name, self.layer)
            front.push_blob(self.name, self.config)
            front.must_put(self.name, "1", self.manifest, OCI_MANIFEST)


def file_of(gateway: Gateway, data: bytes) -> Path:
    hexa = sha256(data).partition(":")[2]
    return gateway.data / "blobs/sha256" / hexa[:2] / hexa


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    with file.open("r+b") as out:
        out.write(data)


def push(gateway: Gateway, parts: Parts, *to: str) -> Reply:
    body = json.dumps({"image": f"{parts.name}:1", "to": to}).encode()
    headers = ("Content-Type: application/json",)
    return gateway.request("/v1/pushes", method="POST", data=body, headers=headers)


def assert_own_fault(reply: Reply, parts: Parts, what: str) -> None:
    assert reply.status == 500, reply.body
    value: Any = reply.json()
    error = value["errors"][0] if "errors" in value else value["results"][0]["error"]
    party = error["party"] if "party" in error else error["detail"]["party"]
    assert (error["code"], party) == ("BLOB_CORRUPT", "gateway"), reply.body
    assert sha256(parts.of(what)) in error["message"], reply.body


@pytest.mark.parametrize("restart", (False, True), ids=("same", "restarted"))
@pytest.mark.parametrize("what", ("layer", "config", "manifest"))
def test_it_is_told_dropped_and_mended(
    registry: Registry, tmp_path: Path, seed: str, what: str, restart: bool
) -> None:
    parts = Parts(seed)
    gateway = Gateway(tmp_path / "gateway", {"registries": {registry.host: {"retry_wait": "20ms"}}})
    with gateway:
        parts.put(gateway)
        if not restart:
            flip(file_of(gateway, parts.of(what)))
            check(gateway, registry, parts, what)
    if restart:
        flip(file_of(gateway, parts.of(what)))
        with gateway:
            check(gateway, registry, parts, what)


def check(gateway: Gateway, registry: Registry, parts: Parts, what: str) -> None:
    path = f"rotten/{what}"
    assert_own_fault(push(gateway, parts, f"{registry.host}/{path}:1"), parts, what)
    with Front(gateway.port) as front:
        digest = sha256(parts.of(what))
        if what == "manifest":
            assert front.manifest(parts.name, "1").status == 404
        else:
            assert front.blob(parts.name, digest, "HEAD").status == 404
            assert front.blob(parts.name, digest).status == 404
    assert "party=gateway" in gateway.log() and digest in gateway.log()
    parts.put(gateway)
    with Front(gateway.port) as front:
        if what != "manifest":
            assert front.blob(parts.name, digest).body == parts.of(what)
    assert push(gateway, parts, f"{registry.host}/{path}:2").status == 200
    assert registry.ask(f"/v2/{path}/manifests/2").status == 200


def test_none_of_it_leaves_after_a_start(registry: Registry, tmp_path: Path, seed: str) -> None:
    parts = Parts(seed)
    gateway = Gateway(tmp_path / "gateway")
    with gateway:
        parts.put(gateway)
    flip(file_of(gateway, parts.layer))
    with gateway:
        target = f"{registry.host}/none/{seed}"
        assert_own_fault(push(gateway, parts, *(f"{target}{i}:1" for i in range(3))), parts, "layer")
    assert not [line for line in registry.requests("PUT", f"none/{seed}") if "uploads" in line
                and sha256(parts.layer).partition(":")[2] in line]
    assert gateway.log().count("a blob in the data folder has other bytes") == 1
