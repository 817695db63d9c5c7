"""Real images from real files, as layer tars with their config.

Every image is made with a seed of its own that stands in each layer: content no registry, store or
client cache has seen before, unless a test asks for the same seed again.
"""
from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.pulled import sha256
from support.tars import TarBuilder

CREATED = "2024-01-02T03:04:05Z"
APPLETS = ("cat", "cp", "ls", "mkdir", "mv", "ps", "rm", "sh", "sleep", "vi")


@dataclass(frozen=True)
class Layer:
    """One layer as an uncompressed tar on disk."""

    path: Path
    diff_id: str

    @property
    def hex(self) -> str:
        return self.diff_id.split(":", 1)[1]


@dataclass(frozen=True)
class Image:
    """Config bytes and layers, bottom first."""

    config: bytes
    layers: tuple[Layer, ...]

    @property
    def config_digest(self) -> str:
        return sha256(self.config)

    @property
    def config_hex(self) -> str:
        return self.config_digest.split(":", 1)[1]

    @property
    def diff_ids(self) -> list[str]:
        return [layer.diff_id for layer in self.layers]


def file_digest(path: Path) -> str:
    with path.open("rb") as source:
        return "sha256:" + hashlib.file_digest(source, "sha256").hexdigest()


def seal(path: Path) -> Layer:
    """A finished tar becomes a layer."""
    return Layer(path, file_digest(path))


def readable_files(root: str, smallest: int, largest: int) -> Iterator[Path]:
    """Regular files below a system folder, in a fixed order, found as they are asked for."""
    for folder, subfolders, names in os.walk(root):
        subfolders.sort()
        for path in (Path(folder, name) for name in sorted(names)):
            if path.is_file() and not path.is_symlink():
                if smallest <= path.stat().st_size <= largest:
                    yield path


def take_bytes(paths: Iterable[Path], size: int) -> Iterator[Path]:
    """The first of `paths` that together have about `size` bytes."""
    for path in paths:
        if size <= 0:
            return
        size -= path.stat().st_size
        yield path


def busybox_layer(path: Path, seed: str) -> Layer:
    """A root that could run: one static program under its many names."""
    with TarBuilder(path) as tar:
        for folder in ("bin/", "etc/", "tmp/", "usr/", "usr/share/"):
            tar.folder(folder)
        tar.file("bin/busybox", Path("/usr/bin/busybox"), 0o755)
        for applet in APPLETS:
            tar.hardlink(f"bin/{applet}", "bin/busybox")
        tar.symlink("usr/bin", "../bin")
        tar.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        tar.file("etc/seed", seed.encode())
    return seal(path)


def files_layer(path: Path, seed: str, files: Iterable[Path]) -> Layer:
    """A layer of files as they lie on this machine."""
    with TarBuilder(path) as tar:
        tar.file("etc/" + hashlib.sha256(seed.encode()).hexdigest(), seed.encode())
        for source in files:
            tar.file(str(source).lstrip("/"), source, source.stat().st_mode & 0o777)
    return seal(path)


def image_config(layers: Iterable[Layer], seed: str, architecture: str = "amd64") -> bytes:
    """The config that Docker would write, in its compact form."""
    diff_ids = [layer.diff_id for layer in layers]
    history = [
        {"created": CREATED, "created_by": f"/bin/sh -c #(nop) COPY step {step}"}
        for step, _ in enumerate(diff_ids)
    ]
    history.append({"created": CREATED, "created_by": "CMD [\"sh\"]", "empty_layer": True})
    value = {
        "architecture": architecture,
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], "Labels": {"seed": seed}},
        "created": CREATED,
        "history": history,
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    return json.dumps(value, separators=(",", ":")).encode()


def make_image(folder: Path, seed: str, *, architecture: str = "amd64") -> Image:
    """A few megabytes in four layers, of which the last repeats the second."""
    folder.mkdir(parents=True, exist_ok=True)
    share = take_bytes(readable_files("/usr/share/perl", 1_000, 60_000), 600_000)
    programs = take_bytes(readable_files("/usr/bin", 20_000, 200_000), 700_000)
    base = busybox_layer(folder / "base.tar", seed)
    middle = files_layer(folder / "share.tar", seed, share)
    top = files_layer(folder / "programs.tar", seed, programs)
    layers = (base, middle, top, middle)
    return Image(image_config(layers, seed, architecture), layers)


def make_small_image(folder: Path, seed: str, *, architecture: str = "amd64") -> Image:
    """Two layers of some ten kilobytes: for tests that cut and bend archives."""
    folder.mkdir(parents=True, exist_ok=True)
    files = list(itertools.islice(readable_files("/usr/share/perl", 4_000, 9_000), 4))
    layers = (
        files_layer(folder / "one.tar", seed + "-one", files[:2]),
        files_layer(folder / "two.tar", seed + "-two", files[2:]),
    )
    return Image(image_config(layers, seed, architecture), layers)
