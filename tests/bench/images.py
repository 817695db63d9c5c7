"""What is pushed: images of real files of this machine, made once and kept in a cache folder."""
from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from support.archives import docker_save_new
from support.front import OCI_CONFIG, OCI_LAYER, descriptor, manifest_of, to_json
from support.gateway import SOURCE_FOLDER
from support.images import Image, Layer, files_layer, image_config, readable_files, take_bytes
from support.processes import must_run, plain_environment
from support.tars import tar_folder

LAYERS = 12
SMALL_LAYER_BYTES = 30_000
BASE_LAYERS = 3
BASE_LAYER_BYTES = 100_000


def log(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def kept(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """What `make` puts at the path it is given; made when it is not in the cache yet."""
    path = cache / name
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        log(f"making {path}, once")
        with tempfile.TemporaryDirectory(dir=cache) as work:
            make(Path(work, name))
            Path(work, name).rename(path)
    return path


# ---- One large image ----


def usr_files() -> Iterator[tuple[str, int]]:
    """Regular files of /usr that everybody may read, with their sizes, each inode once."""
    seen = set()
    for folder, subfolders, names in os.walk("/usr"):
        subfolders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if not stat.S_ISREG(info.st_mode) or not info.st_size or info.st_ino in seen:
                continue
            if os.access(path, os.R_OK):
                seen.add(info.st_ino)
                yield path, info.st_size


def choose_files(total_bytes: int) -> list[list[str]]:
    """Files from all over /usr, the same ones on every run, cut into layers by their folders."""
    chosen, filled, layer_bytes = [], 0, total_bytes / LAYERS
    for path, size in sorted(usr_files(), key=lambda file: zlib.crc32(file[0].encode())):
        if size <= layer_bytes / 2 and filled < total_bytes:
            chosen.append((path, size))
            filled += size
    layers: list[list[str]] = [[] for _ in range(LAYERS)]
    before = 0
    for path, size in sorted(chosen):
        layers[int(before * LAYERS / filled)].append(path)
        before += size
    return layers


def make_archive(cache: Path, megabytes: int) -> Path:
    """An uncompressed `docker save` of about that size."""

    def make(path: Path) -> None:
        tars = []
        for number, files in enumerate(choose_files(megabytes * 1000 * 1000)):
            tars.append(path.with_name(f"{number}.tar"))
            subprocess.run(
                ["tar", "-C", "/", "-cf", tars[-1], "--null", "-T", "-", "--sort=name"]
                + ["--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"],
                input="\0".join(name.lstrip("/") for name in files).encode(),
                check=True,
            )
        must_run([SOURCE_FOLDER / "scripts/make-image", path, "bench:1", *tars], seconds=600)

    return kept(cache, f"image-{megabytes}M.tar", make)


def make_layout(cache: Path, archive: Path) -> Path:
    """The archive's image as an OCI layout folder with compressed layers."""

    def make(path: Path) -> None:
        source, layout = f"docker-archive:{archive}", f"oci:{path}:bench:1"
        env = plain_environment(path.parent)
        must_run(["skopeo", "--insecure-policy", "copy", source, layout], env=env, seconds=600)

    return kept(cache, f"{archive.stem}.layout", make)


def make_layout_tar(cache: Path, layout: Path) -> Path:
    """The layout folder as a tar."""

    def make(path: Path) -> None:
        tar_folder(layout, path)

    return kept(cache, f"{layout.stem}.layout.tar", make)


def make_large_layer(cache: Path, megabytes: int) -> Path:
    """A `docker save` with one layer of about that size, or all that /usr has."""

    def make(path: Path) -> None:
        files = sorted(usr_files(), key=lambda file: zlib.crc32(file[0].encode()))
        chosen = take_bytes((Path(file) for file, _ in files), megabytes * 1000 * 1000)
        layer = files_layer(path.with_name("layer.tar"), "bench large", chosen)
        image = Image(image_config([layer], "bench large"), (layer,))
        docker_save_new([(image, ["bench/large:1"])], path)

    return kept(cache, f"large-{megabytes}M.tar", make)


# ---- An image of many small layers ----


def make_layers_archive(cache: Path, count: int) -> Path:
    """A `docker save` of one image with so many small layers."""

    def make(path: Path) -> None:
        files = readable_files("/usr", 1_000, SMALL_LAYER_BYTES)
        layers = []
        for number in range(count):
            tar = path.with_name(f"{number}.tar")
            chosen = take_bytes(files, SMALL_LAYER_BYTES)
            layers.append(files_layer(tar, f"bench layer {number}", chosen))
        image = Image(image_config(layers, "bench layers"), tuple(layers))
        docker_save_new([(image, ["bench/layers:1"])], path)

    return kept(cache, f"layers-{count}.tar", make)


# ---- Many small images ----


@dataclass(frozen=True)
class SmallImage:
    """An image in both forms: a `docker save`, and what a registry client sends of it."""

    archive: Path
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def manifest(self) -> bytes:
        layers = [descriptor(OCI_LAYER, data) for data in self.layers]
        return to_json(manifest_of(descriptor(OCI_CONFIG, self.config), *layers))


def small_image(folder: Path) -> SmallImage:
    layers = sorted(folder.glob("layer-*"))
    config = (folder / "config").read_bytes()
    return SmallImage(folder / "image.tar", config, tuple(path.read_bytes() for path in layers))


def save_small_image(folder: Path, layers: list[Layer], compressed: list[bytes]) -> None:
    folder.mkdir()
    image = Image(image_config(layers, folder.name), tuple(layers))
    docker_save_new([(image, ["bench/small:1"])], folder / "image.tar")
    (folder / "config").write_bytes(image.config)
    for number, data in enumerate(compressed):
        (folder / f"layer-{number}").write_bytes(data)


def make_small_images(cache: Path, count: int) -> list[SmallImage]:
    """Images with the same base and a layer of their own each; the first one is only the base."""

    def make(path: Path) -> None:
        path.mkdir()
        files = readable_files("/usr", 1_000, SMALL_LAYER_BYTES)
        layers: list[Layer] = []
        compressed: list[bytes] = []

        def add(size: int) -> None:
            tar = path.with_name(f"{len(list(path.parent.iterdir()))}.tar")
            layers.append(files_layer(tar, tar.name, take_bytes(files, size)))
            compressed.append(gzip.compress(tar.read_bytes(), 6, mtime=0))

        for _ in range(BASE_LAYERS):
            add(BASE_LAYER_BYTES)
        save_small_image(path / "0000", layers, compressed)
        for number in range(1, count + 1):
            add(SMALL_LAYER_BYTES)
            save_small_image(path / f"{number:04}", layers, compressed)
            layers.pop()
            compressed.pop()

    folder = kept(cache, f"small-{count}", make)
    return [small_image(path) for path in sorted(folder.iterdir())]
