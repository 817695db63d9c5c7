"""Layers leave while their archive is still read, where it is certain that they will be needed."""
from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_new, docker_save_old
from support.command import slipway
from support.images import Image, Layer, files_layer, image_config, make_small_image, seal
from support.pulled import sha256
from support.registry import Registry

PUSHED, REFUSED = 0, 3
MIB = 1 << 20
HUGE_MIB = 272  # its tar is over what is sent while it is compressed


def huge_layer(path: Path) -> Layer:
    """Bytes that no compression makes smaller: a block comes again far behind deflate's window."""
    block = os.urandom(MIB)

    class Repeated(io.RawIOBase):
        left = HUGE_MIB * MIB

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            part = block[: min(size, self.left, MIB)]
            self.left -= len(part)
            return part

    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size = HUGE_MIB * MIB
        tar.addfile(entry, Repeated())
    return seal(path)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("huge")
    layers = (huge_layer(folder / "huge.tar"), files_layer(folder / "small.tar", "early", ()))
    return Image(image_config(layers, "early"), layers)


def layers_of(stdout: str) -> dict[str, int]:
    (result,) = json.loads(stdout)["results"]
    return dict(result["layers"])


def open_sessions(registry: Registry, repository: str) -> list[Path]:
    """docker-registry writes the state of its hash once more behind a session that it deleted."""
    return [left for left in registry.open_uploads(repository) if (left / "data").exists()]


def unpacked_digests(registry: Registry, repository: str) -> list[str]:
    manifest = json.loads(registry.manifest(repository, "1").body)
    found = []
    for layer in manifest["layers"]:
        body = registry.blob(repository, layer["digest"]).body
        found.append("sha256:" + hashlib.sha256(gzip.decompress(body)).hexdigest())
    return found


@pytest.mark.parametrize("write", [docker_save_old, docker_save_new])
def test_a_huge_layer_leaves_while_it_is_compressed(
    registry: Registry, image: Image, tmp_path: Path, write: Any
) -> None:
    repository = f"early/{write.__name__}"
    target = f"{registry.host}/{repository}:1"
    archive = write([(image, ["early:1"])], tmp_path / "image.tar")
    done = slipway(tmp_path, "push", "--json", archive, target)
    assert done.returncode == PUSHED, done.stderr
    assert len(registry.requests("PATCH", f"/v2/{repository}/")) >= 1
    assert layers_of(done.stdout)["uploaded"] == 2
    assert unpacked_digests(registry, repository) == image.diff_ids
    assert open_sessions(registry, repository) == []
    again = slipway(tmp_path, "push", "--json", archive, target)
    assert layers_of(again.stdout)["existed"] == 2


def test_of_a_bad_archive_nothing_is_left_open(
    registry: Registry, image: Image, tmp_path: Path
) -> None:
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"][1] = sha256(b"another layer")
    bad = Image(json.dumps(config).encode(), image.layers)
    archive = docker_save_old([(bad, ["early:1"])], tmp_path / "image.tar")
    done = slipway(tmp_path, "push", archive, f"{registry.host}/early/bad:1")
    assert done.returncode == REFUSED, done.stderr
    assert len(registry.requests("PATCH", "/v2/early/bad/")) >= 1
    assert open_sessions(registry, "early/bad") == []
    assert registry.manifest("early/bad", "1").status == 404


def test_what_may_not_be_needed_does_not_leave(
    registry: Registry, image: Image, tmp_path: Path
) -> None:
    """Two images: which of them is meant is said in the end, or by --image."""
    other = make_small_image(tmp_path / "other", "other")
    archive = docker_save_old(
        [(image, ["early:1"]), (other, ["other:1"])], tmp_path / "image.tar"
    )
    done = slipway(tmp_path, "push", archive, f"{registry.host}/early/several:1")
    assert done.returncode == REFUSED, done.stderr
    chosen = slipway(
        tmp_path, "push", "--image", "other:1", archive, f"{registry.host}/early/chosen:1"
    )
    assert chosen.returncode == PUSHED, chosen.stderr
    for repository in ("early/several", "early/chosen"):
        assert registry.requests("PATCH", f"/v2/{repository}/") == []
    assert registry.requests("POST", "/v2/early/several/") == []
