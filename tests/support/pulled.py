"""An image as a registry really serves it, fetched with skopeo and taken apart."""
from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.processes import must_run

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def uncompressed(data: bytes) -> bytes:
    """A layer's tar, whatever it is wrapped in, by its first bytes."""
    if data.startswith(GZIP_MAGIC):
        return gzip.decompress(data)
    if data.startswith(ZSTD_MAGIC):
        return subprocess.run(
            ["zstd", "-dcq"], input=data, capture_output=True, check=True
        ).stdout
    return data


@dataclass(frozen=True)
class PulledImage:
    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def media_type(self) -> str:
        return str(json.loads(self.manifest).get("mediaType", ""))

    @property
    def config_digest(self) -> str:
        return sha256(self.config)

    @property
    def diff_ids(self) -> list[str]:
        return [sha256(uncompressed(layer)) for layer in self.layers]

    @property
    def layer_types(self) -> list[str]:
        return [layer["mediaType"] for layer in json.loads(self.manifest)["layers"]]


def _read(folder: Path, descriptor: dict[str, Any]) -> bytes:
    data = (folder / descriptor["digest"].split(":", 1)[1]).read_bytes()
    assert sha256(data) == descriptor["digest"]
    assert len(data) == descriptor["size"]
    return data


def pull(reference: str, folder: Path, *, creds: str = "") -> PulledImage:
    """`skopeo copy docker://… dir:`, then every blob checked against its descriptor."""
    argv: list[str | Path] = ["skopeo", "copy", "--quiet", "--src-tls-verify=false"]
    if creds:
        argv += ["--src-creds", creds]
    must_run([*argv, f"docker://{reference}", f"dir:{folder}"])
    manifest = (folder / "manifest.json").read_bytes()
    value = json.loads(manifest)
    return PulledImage(
        manifest,
        _read(folder, value["config"]),
        tuple(_read(folder, layer) for layer in value["layers"]),
    )
