"""Layers that may not be pushed: their descriptor, with where to get them, stays as it is."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import compact, docker_save_new
from support.gateway import Gateway, pushed
from support.images import make_small_image
from support.processes import must_run
from support.pulled import sha256
from support.registry import Registry
from support.tars import tar_folder

FOREIGN = {
    "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "digest": "sha256:" + "ab" * 32,
    "size": 4711,
    "urls": ["https://layers.example.com/base"],
}


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """docker-registry takes manifests with URLs only where it is told not to mind."""
    more = {"validation": {"disabled": True}}
    with Registry(tmp_path_factory.mktemp("lenient"), more=more) as running:
        yield running


@pytest.mark.parametrize("docker_names", (True, False))
def test_urls_stay_when_other_layers_are_compressed(
    gateway: Gateway, lenient: Registry, tmp_path: Path, seed: str, docker_names: bool
) -> None:
    """With a manifest.json beside it too, which otherwise makes the new manifest a schema2 one."""
    image = make_small_image(tmp_path / "files", seed)
    named = [(image, ["m/f:1.0"])]
    plain = docker_save_new(named, tmp_path / "plain.tar", docker_names=docker_names)
    folder = tmp_path / "layout"
    folder.mkdir()
    must_run(["tar", "-xf", plain, "-C", folder])
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads(
        (folder / "blobs/sha256" / index["manifests"][0]["digest"].split(":")[1]).read_text()
    )
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"].insert(0, "sha256:" + "cd" * 32)
    data = compact(config)
    (folder / "blobs/sha256" / sha256(data).split(":")[1]).write_bytes(data)
    manifest["config"].update(digest=sha256(data), size=len(data))
    manifest["layers"].insert(0, FOREIGN)
    data = compact(manifest)
    (folder / "blobs/sha256" / sha256(data).split(":")[1]).write_bytes(data)
    index["manifests"][0].update(digest=sha256(data), size=len(data))
    (folder / "index.json").write_bytes(compact(index))

    archive = tar_folder(folder, tmp_path / "foreign.tar")
    repository = f"f/foreign-{docker_names}".lower()
    (result,) = pushed(gateway.post(archive, f"{lenient.host}/{repository}:1"))
    assert result["layers"] == {"existed": 0, "mounted": 0, "uploaded": 2, "skipped": 1}
    layers = lenient.manifest(repository, "1").json()["layers"]
    assert layers[0] == FOREIGN
    assert all("urls" not in layer for layer in layers[1:])
    assert [layer["mediaType"].rsplit("+")[-1] for layer in layers[1:]] == ["gzip", "gzip"]
