"""What layers that arrive uncompressed are given: the request's choice, then the configuration's."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.archives import (
    FORMS,
    compressed_docker,
    docker_save_new,
    docker_save_old,
    skopeo_docker_archive,
)
from support.command import slipway
from support.gateway import Gateway, pushed
from support.images import (
    Image,
    Layer,
    image_config,
    make_image,
    readable_files,
    seal,
    take_bytes,
)
from support.pulled import GZIP_MAGIC, ZSTD_MAGIC, PulledImage, pull
from support.registry import Registry
from support.tars import TarBuilder

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

MAGIC = {"gzip": GZIP_MAGIC, "zstd": ZSTD_MAGIC}


def send(gateway: Gateway, registry: Registry, archive: Path, name: str, codec: str) -> PulledImage:
    """Push with `compression=codec` ("" for none of it) and pull with skopeo."""
    target = f"{registry.host}/{name}:1"
    more = {"compression": codec} if codec else {}
    (result,) = pushed(gateway.post(archive, target, **more))
    image = pull(target, archive.parent / f"pulled-{name.replace('/', '-')}")
    assert image.digest == result["digest"]
    return image


def assert_layers(image: PulledImage, codec: str, manifest: str, layer: str) -> None:
    assert image.media_type == manifest
    for data in image.layers:
        if codec == "none":
            assert not data.startswith(tuple(MAGIC.values()))
        else:
            assert data.startswith(MAGIC[codec])
    assert set(image.layer_types) == {layer}


@pytest.mark.parametrize(
    "codec, manifest, layer",
    (
        ("", SCHEMA2, f"{DOCKER_LAYER}.gzip"),
        ("keep", SCHEMA2, f"{DOCKER_LAYER}.gzip"),
        ("gzip", SCHEMA2, f"{DOCKER_LAYER}.gzip"),
        ("zstd", OCI, f"{OCI_LAYER}+zstd"),
        ("none", SCHEMA2, DOCKER_LAYER),
    ),
)
@pytest.mark.parametrize("form", ("old", "new"))
def test_docker_save(
    gateway: Gateway,
    registry: Registry,
    tmp_path: Path,
    seed: str,
    form: str,
    codec: str,
    manifest: str,
    layer: str,
) -> None:
    source = make_image(tmp_path / "files", seed)
    save = docker_save_old if form == "old" else docker_save_new
    archive = save([(source, ["m/source:1.0"])], tmp_path / "image.tar")
    image = send(gateway, registry, archive, f"c/{form}-{codec or 'default'}", codec)
    if form == "new" and codec == "none":
        # Nothing was compressed: the manifest of the archive is pushed as it is.
        manifest, layer = OCI, OCI_LAYER
    assert image.diff_ids == source.diff_ids
    assert image.config_digest == source.config_digest
    assert_layers(image, codec if codec in ("zstd", "none") else "gzip", manifest, layer)


@pytest.mark.parametrize("codec", ("gzip", "zstd", "none"))
def test_what_came_compressed_is_kept(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, codec: str
) -> None:
    source = make_image(tmp_path / "files", seed)
    archive = compressed_docker([(source, ["m/source:1.0"])], tmp_path / "image.tar")
    kept = send(gateway, registry, archive, f"c/kept-{codec}", codec)
    plain = send(gateway, registry, archive, f"c/plain-{codec}", "")
    assert kept.manifest == plain.manifest
    assert kept.layers == plain.layers


@pytest.mark.parametrize("codec", ("gzip", "zstd", "none"))
def test_the_same_bytes_from_another_store(
    gateway: Gateway,
    own_gateway: Gateway,
    registry: Registry,
    larger_archive: Path,
    tmp_path: Path,
    codec: str,
) -> None:
    """Also from the command, and when the layer is held in another form already."""
    one = send(gateway, registry, larger_archive, f"c/one-{codec}", codec)
    send(own_gateway, registry, larger_archive, f"c/before-{codec}", "zstd")
    send(own_gateway, registry, larger_archive, f"c/before2-{codec}", "gzip")
    two = send(own_gateway, registry, larger_archive, f"c/two-{codec}", codec)
    assert one.manifest == two.manifest
    target = f"{registry.host}/c/three-{codec}:1"
    done = slipway(
        tmp_path, "push", larger_archive, target, "--compression", codec, "--json", "--data", "d"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["image"]["manifest"] == one.digest
    done = slipway(
        tmp_path, "push", larger_archive, target, "--compression", codec, "--json",
        "--gateway", gateway.url,
    )  # fmt: skip
    assert json.loads(done.stdout)["image"]["manifest"] == one.digest


def test_configuration(registry: Registry, larger_archive: Path, tmp_path: Path) -> None:
    config = {"compression": {"codec": "zstd"}}
    with Gateway(tmp_path / "zstd", config) as gateway:
        image = send(gateway, registry, larger_archive, "c/config", "")
        assert_layers(image, "zstd", OCI, f"{OCI_LAYER}+zstd")
        image = send(gateway, registry, larger_archive, "c/config-gzip", "gzip")
        assert_layers(image, "gzip", SCHEMA2, f"{DOCKER_LAYER}.gzip")


@pytest.mark.parametrize("codec", ("gzip", "zstd"))
def test_best_is_smaller(
    registry: Registry, larger_archive: Path, tmp_path: Path, codec: str
) -> None:
    sizes = {}
    for effort in ("fast", "best"):
        config = {"compression": {"codec": codec, "effort": effort}}
        with Gateway(tmp_path / effort, config) as gateway:
            image = send(gateway, registry, larger_archive, f"c/{codec}-{effort}", "")
            sizes[effort] = sum(len(data) for data in image.layers)
    assert sizes["best"] < sizes["fast"], sizes


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_as_zstd(gateway: Gateway, registry: Registry, tmp_path: Path, form: str) -> None:
    """Whatever the archive is, what arrives has the content that was sent."""
    archive = FORMS[form](tmp_path / "archive", f"zstd {form} {tmp_path}")
    plain = gateway.post(archive, f"{registry.host}/z/{form}:1")
    reply = gateway.post(archive, f"{registry.host}/z/{form}:zstd", compression="zstd")
    (one,), (two,) = pushed(plain), pushed(reply)
    if one["media_type"].endswith(("manifest.v1+json", "manifest.v2+json")):
        first = pull(f"{registry.host}/z/{form}:1", tmp_path / "one")
        second = pull(f"{registry.host}/z/{form}:zstd", tmp_path / "two")
        assert first.diff_ids == second.diff_ids
        assert first.config_digest == second.config_digest
    else:
        assert one["digest"] == two["digest"]


# At most once in the life of the store


def cpu_seconds(gateway: Gateway) -> float:
    """What the gateway's own code has used so far."""
    fields = Path(f"/proc/{gateway.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) / os.sysconf("SC_CLK_TCK")


def large_layer(path: Path, seed: str, end: bytes) -> Layer:
    """Twenty megabytes, `end` being all that is its own."""
    with TarBuilder(path) as tar:
        tar.file("etc/seed", seed.encode())
        for source in take_bytes(readable_files("/usr/lib", 100_000, 9_000_000), 20_000_000):
            tar.file(str(source).lstrip("/"), source)
        tar.file("etc/end", end)
    return seal(path)


def large_archive(folder: Path, seed: str, end: bytes, form: str) -> Path:
    folder.mkdir()
    layers = [large_layer(folder / "layer.tar", seed, end)]
    image = Image(image_config(layers, seed), tuple(layers))
    if form == "skopeo":
        return skopeo_docker_archive(image, folder, "m/source:1.0")
    return docker_save_old([(image, ["m/source:1.0"])], folder / "image.tar")


@pytest.mark.parametrize("codec", ("gzip", "zstd"))
@pytest.mark.parametrize("form", ("docker", "skopeo"))
def test_a_layer_is_compressed_once(
    registry: Registry, tmp_path: Path, seed: str, form: str, codec: str
) -> None:
    """Also when nothing in the archive says beforehand which layer a file is."""
    archive = large_archive(tmp_path / "files", seed, b"end", form)
    config = {"compression": {"codec": codec, "effort": "best"}}
    with Gateway(tmp_path / "gateway", config) as gateway:
        spent = [cpu_seconds(gateway)]
        digests = set()
        for number in range(2):
            (result,) = pushed(gateway.post(archive, f"{registry.host}/once/{form}{codec}:{number}"))
            digests.add(result["digest"])
            spent.append(cpu_seconds(gateway))
    assert len(digests) == 1
    first, second = spent[1] - spent[0], spent[2] - spent[1]
    assert second < first / 4, (first, second)


@pytest.mark.parametrize("codec", ("gzip", "zstd"))
def test_a_layer_that_begins_like_another(
    own_gateway: Gateway, gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, codec: str
) -> None:
    """Taken for one that is held until its end shows that it is not: the bytes are the same."""
    one = large_archive(tmp_path / "one", seed, b"one", "docker")
    two = large_archive(tmp_path / "two", seed, b"two", "docker")
    assert one.stat().st_size == two.stat().st_size
    send(own_gateway, registry, one, f"like/one-{codec}", codec)
    guessed = send(own_gateway, registry, two, f"like/two-{codec}", codec)
    fresh = send(gateway, registry, two, f"like/fresh-{codec}", codec)
    assert guessed.manifest == fresh.manifest
    assert own_gateway.staged() == []
    # What was put aside meanwhile is gone: two layers, two configs, two manifests.
    assert len(own_gateway.blobs()) == 6


@pytest.mark.parametrize("value", ("", "lz4", "GZIP", "gzip,zstd"))
def test_no_such_compression(gateway: Gateway, archive: Path, value: str) -> None:
    reply = gateway.post(archive, "r.example.com/x:1", compression=value)
    assert (reply.status, reply.error["code"]) == (400, "BAD_REQUEST")
    assert "compression" in reply.error["message"]
