"""Layouts made entry by entry, for what no program here writes: tiny images, indexes, artifacts."""
from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import Any

from support.archives import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, compact
from support.pulled import sha256
from support.tars import TarBuilder

OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_KIND = "dev.cosignproject.cosign/"


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def platform(architecture: str) -> dict[str, str]:
    return {"os": "linux", "architecture": architecture}


def small_tar(text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("etc/seed")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def image_config(*tars: bytes, architecture: str = "amd64") -> bytes:
    diff_ids = [sha256(tar) for tar in tars]
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    return compact({**platform(architecture), "config": {}, "rootfs": rootfs})


def named(name: str, **more: str) -> dict[str, dict[str, str]]:
    """The annotations of an entry that is called NAME:TAG."""
    tag = name.rsplit(":", 1)[1]
    annotations = {"org.opencontainers.image.ref.name": tag, **more}
    if "/" in name:
        annotations["io.containerd.image.name"] = name
    return {"annotations": annotations}


class Layout:
    """Blobs and tables of contents on their way into one archive."""

    def __init__(self, **entries: bytes) -> None:
        self.entries: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        self.entries.update(entries)

    def blob(self, data: bytes) -> str:
        """The entry's name."""
        name = "blobs/sha256/" + sha256(data).split(":")[1]
        self.entries[name] = data
        return name

    def put(self, media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
        self.blob(data)
        return descriptor(media_type, data, **more)

    def manifest(self, config: bytes, *layers: dict[str, Any], **more: Any) -> bytes:
        """`config_type` is that of the config; the layers' blobs are put by the caller."""
        config_type = more.pop("config_type", OCI_CONFIG)
        value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        data = compact(
            {**value, "config": self.put(config_type, config), "layers": list(layers), **more}
        )
        self.blob(data)
        return data

    def image(self, seed: str, *, architecture: str = "amd64", plain: bool = False) -> bytes:
        """An image of one layer, in gzip unless it is to be `plain`."""
        tar = small_tar(seed)
        layer = self.put(OCI_LAYER, tar) if plain else self.put(
            OCI_LAYER_GZIP, gzip.compress(tar, mtime=0)
        )
        return self.manifest(image_config(tar, architecture=architecture), layer)

    def index(self, *members: dict[str, Any]) -> bytes:
        data = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(members)})
        self.blob(data)
        return data

    def top(self, *entries: dict[str, Any]) -> None:
        """index.json itself."""
        value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)}
        self.entries["index.json"] = compact(value)

    def docker(self, *images: tuple[str, list[str] | None, list[str]]) -> None:
        """manifest.json: (config, names, layers), the first and last by their entries' names."""
        value = [{"Config": one, "RepoTags": tags, "Layers": names} for one, tags, names in images]
        self.entries["manifest.json"] = compact(value)

    def drop(self, data: bytes) -> None:
        del self.entries["blobs/sha256/" + sha256(data).split(":")[1]]

    def unpack(self, folder: Path) -> Path:
        """As a folder."""
        for name, content in self.entries.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    def write(self, path: Path) -> Path:
        with TarBuilder(path) as tar:
            for name, content in self.entries.items():
                tar.file(name, content)
        return path
