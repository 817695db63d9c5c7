"""What is named again and again costs as much as what is named once, and lists hold up nobody.

The bounds are far off what is right, and further from what is wrong: hours.
"""
from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from support.archives import compact
from support.front import Front
from support.gateway import Gateway, images_path
from support.ports import refusing_port

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
TIMES = 1000
CPU_SECONDS = 30


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def heavy_manifest() -> bytes:
    """4 MB with 49,000 values."""
    head = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(EMPTY, b"{}")}
    text = b'{"x":[' + b"{}," * 49_000 + b"{}]," + compact({**head, "layers": []})[1:]
    return text.ljust(4_000_000)


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def layout(named: list[dict[str, Any]], *documents: bytes) -> bytes:
    files = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": compact({"schemaVersion": 2, "manifests": named}),
    }
    for content in (*documents, b"{}"):
        files["blobs/sha256/" + hashlib.sha256(content).hexdigest()] = content
    return tar_of(files)


def lists_of_referrers() -> bytes:
    manifest = heavy_manifest()
    index = compact(
        {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, manifest)] * TIMES}
    )
    name = "org.opencontainers.image.ref.name"
    named = [
        {**descriptor(INDEX, index), "annotations": {name: f"sha256-{number:064x}"}}
        for number in range(TIMES)
    ]
    return layout(named, index, manifest)


def many_platforms() -> bytes:
    """Indexes in indexes, each naming the one below ten times."""
    content, kind = heavy_manifest(), MANIFEST
    documents = [content]
    for _ in range(6):
        content = compact(
            {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(kind, content)] * 10}
        )
        documents.append(content)
        kind = INDEX
    return layout([descriptor(INDEX, content)], *documents)


@pytest.mark.parametrize("make", [lists_of_referrers, many_platforms])
def test_a_manifest_named_again(tmp_path: Path, make: Any) -> None:
    archive = make()
    with refusing_port() as port, Gateway(tmp_path / "gateway") as gateway:
        reply = gateway.request(
            images_path([f"127.0.0.1:{port}/again/app:1"]), method="POST", data=archive
        )
        assert gateway.process.cpu_seconds() < CPU_SECONDS
    assert reply.status in (422, 502), reply.body[:2000]


def test_lists_hold_up_nobody(gateway: Gateway, seed: str) -> None:
    """Two that look through their descriptors at a time; meanwhile the rest is answered."""
    subject = {"mediaType": MANIFEST, "digest": "sha256:" + "11" * 32, "size": 3}
    notes = {f"k{number:04d}": "" for number in range(1400)}
    with Front(gateway.port) as front:
        front.push_blob(seed, b"{}")
        for number in range(60):
            text = compact(
                {
                    "schemaVersion": 2,
                    "mediaType": MANIFEST,
                    "artifactType": "a/b",
                    "config": descriptor(EMPTY, b"{}"),
                    "layers": [descriptor(EMPTY, b"{}")],
                    "subject": subject,
                    "annotations": {**notes, "n": str(number)},
                }
            )
            digest = descriptor(MANIFEST, text)["digest"]
            assert front.put(seed, digest, text, MANIFEST).status == 201
    over = threading.Event()

    def read_lists() -> int:
        read = 0
        with Front(gateway.port) as front:
            while not over.is_set():
                path = f"/v2/{seed}/referrers/{subject['digest']}?artifactType=none/such"
                assert front.ask("GET", path).status == 200
                read += 1
        return read

    with ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read_lists) for _ in range(8)]
        times = []
        for _ in range(20):
            start = monotonic()
            assert gateway.request("/healthz").status == 200
            times.append(monotonic() - start)
        over.set()
        assert sum(reader.result() for reader in readers) > 0
    assert sorted(times)[10] < 2, times
