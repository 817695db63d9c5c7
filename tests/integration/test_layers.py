"""Layers streamed in one by one, and images put together from them."""
from __future__ import annotations

import gzip
import json
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support.archives import docker_save_old
from support.curl import Reply, images_path
from support.gateway import Gateway, pushed
from support.images import Image, Layer, files_layer, image_config, make_image, readable_files
from support.pulled import GZIP_MAGIC, ZSTD_MAGIC, pull, sha256, uncompressed
from support.registry import Registry
from support.tars import TarBuilder

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def path_of(path: str, parameters: Mapping[str, str]) -> str:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    return path + (f"?{query}" if query else "")


def send(
    gateway: Gateway, source: Path, *, method: str = "POST", chunked: bool = False, **query: str
) -> Reply:
    return gateway.request(
        path_of("/v1/layers", query), method=method, upload=source, chunked=chunked
    )


def held(reply: Reply) -> dict[str, Any]:
    """What a 201 says; checks its shape."""
    assert reply.status == 201, (reply.status, reply.body)
    value: dict[str, Any] = reply.json()
    assert set(value) == {"diff_id", "digest", "size", "media_type"}, value
    assert reply.headers["location"] == f"/v1/layers/{value['diff_id']}"
    assert reply.headers["docker-content-digest"] == value["digest"]
    return value


def refused(reply: Reply, status: int, code: str) -> str:
    assert (reply.status, reply.error["code"]) == (status, code), reply.body
    assert reply.error["detail"]["party"] == "client", reply.body
    return str(reply.error["message"])


def stored(gateway: Gateway, digest: str) -> bytes:
    algorithm, text = digest.split(":")
    (path,) = (gateway.data / "blobs" / algorithm).rglob(text)
    data = path.read_bytes()
    assert sha256(data) == digest
    return data


@pytest.fixture
def layer(tmp_path: Path, seed: str) -> Layer:
    """About half a megabyte of files."""
    files = [path for path, _ in zip(readable_files("/usr/share/perl", 4_000, 60_000), range(25))]
    return files_layer(tmp_path / "layer.tar", seed, files)


def compressed(source: Path, kind: str) -> Path:
    """The layer as a stranger's tool compresses it."""
    path = source.with_suffix(f".tar.{kind}")
    data = source.read_bytes()
    if kind == "gzip":
        path.write_bytes(gzip.compress(data, 9))
    elif kind == "members":
        third = len(data) // 3
        pieces = (data[:third], b"", data[third : 2 * third], data[2 * third :])
        path.write_bytes(b"".join(gzip.compress(piece, 1, mtime=7) for piece in pieces))
    else:
        argv = ["zstd", "-q", "-19", "-c", source]
        path.write_bytes(subprocess.run(argv, capture_output=True, check=True).stdout)
    return path


@pytest.mark.parametrize("method", ("POST", "PUT"))
@pytest.mark.parametrize("chunked", (False, True))
def test_a_tar(gateway: Gateway, layer: Layer, method: str, chunked: bool) -> None:
    value = held(send(gateway, layer.path, method=method, chunked=chunked))
    assert value["diff_id"] == layer.diff_id
    assert value["media_type"] == f"{OCI_LAYER}+gzip"
    data = stored(gateway, value["digest"])
    assert len(data) == value["size"]
    assert data.startswith(GZIP_MAGIC) and uncompressed(data) == layer.path.read_bytes()


@pytest.mark.parametrize(
    "compression, magic, suffix",
    (
        ("keep", GZIP_MAGIC, "+gzip"),
        ("gzip", GZIP_MAGIC, "+gzip"),
        ("zstd", ZSTD_MAGIC, "+zstd"),
        ("none", b"etc/", ""),
    ),
)
def test_compression_of_a_tar(
    gateway: Gateway, layer: Layer, compression: str, magic: bytes, suffix: str
) -> None:
    value = held(send(gateway, layer.path, compression=compression))
    assert (value["diff_id"], value["media_type"]) == (layer.diff_id, OCI_LAYER + suffix)
    data = stored(gateway, value["digest"])
    assert data.startswith(magic) and uncompressed(data) == layer.path.read_bytes()


def test_compression_of_the_configuration(tmp_path: Path, layer: Layer) -> None:
    config = {"compression": {"codec": "zstd"}}
    with Gateway(tmp_path / "gateway", config) as gateway:
        assert held(send(gateway, layer.path))["media_type"] == f"{OCI_LAYER}+zstd"
        value = held(send(gateway, layer.path, compression="gzip"))
        assert value["media_type"] == f"{OCI_LAYER}+gzip"


@pytest.mark.parametrize("kind", ("gzip", "members", "zstd"))
@pytest.mark.parametrize("compression", ("keep", "none"))
def test_a_compressed_layer_is_kept(
    gateway: Gateway, layer: Layer, kind: str, compression: str
) -> None:
    source = compressed(layer.path, kind)
    value = held(send(gateway, source, compression=compression, diff_id=layer.diff_id))
    data = source.read_bytes()
    suffix = "+zstd" if kind == "zstd" else "+gzip"
    assert value == {
        "diff_id": layer.diff_id,
        "digest": sha256(data),
        "size": len(data),
        "media_type": OCI_LAYER + suffix,
    }
    assert stored(gateway, value["digest"]) == data


@pytest.mark.parametrize("kind", ("tar", "gzip", "members", "zstd"))
def test_a_wrong_diff_id(own_gateway: Gateway, layer: Layer, kind: str) -> None:
    source = layer.path if kind == "tar" else compressed(layer.path, kind)
    wrong = "sha256:" + "0" * 64
    message = refused(send(own_gateway, source, diff_id=wrong), 422, "DIFFID_MISMATCH")
    assert layer.diff_id in message and wrong in message
    own_gateway.wait_nothing_staged()
    assert own_gateway.blobs() == []
    assert own_gateway.request(f"/v1/layers/{layer.diff_id}", method="HEAD").status == 404
    held(send(own_gateway, source, diff_id=layer.diff_id))


def test_a_diff_id_that_is_held_does_not_vouch_for_other_bytes(
    own_gateway: Gateway, layer: Layer, tmp_path: Path
) -> None:
    held(send(own_gateway, layer.path))
    other = files_layer(tmp_path / "other.tar", "other", [])
    for source in (other.path, compressed(other.path, "gzip")):
        reply = send(own_gateway, source, diff_id=layer.diff_id)
        refused(reply, 422, "DIFFID_MISMATCH")


def damaged(source: Path, kind: str, how: str) -> Path:
    data = (source if kind == "tar" else compressed(source, kind)).read_bytes()
    if how == "cut":
        data = data[: len(data) * 2 // 3]
    elif how == "short":
        data = data[:-1]
    elif how == "bent":
        half = len(data) // 2
        data = data[:half] + bytes(64) + data[half + 64 :]
    elif how == "garbage":
        data += b"garbage"
    path = source.with_suffix(".damaged")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "kind, how, code",
    (
        ("gzip", "cut", "ARCHIVE_TRUNCATED"),
        ("gzip", "short", "ARCHIVE_TRUNCATED"),
        ("gzip", "bent", "ARCHIVE_CORRUPT"),
        ("gzip", "garbage", "ARCHIVE_CORRUPT"),
        ("members", "cut", "ARCHIVE_TRUNCATED"),
        ("members", "bent", "ARCHIVE_CORRUPT"),
        ("zstd", "cut", "ARCHIVE_TRUNCATED"),
        ("zstd", "short", "ARCHIVE_TRUNCATED"),
        ("zstd", "bent", "ARCHIVE_CORRUPT"),
        ("zstd", "garbage", "ARCHIVE_CORRUPT"),
        ("tar", "cut", "ARCHIVE_TRUNCATED"),
    ),
)
def test_a_damaged_layer(
    own_gateway: Gateway, layer: Layer, kind: str, how: str, code: str
) -> None:
    refused(send(own_gateway, damaged(layer.path, kind, how)), 400, code)
    own_gateway.wait_nothing_staged()
    assert own_gateway.blobs() == []


@pytest.mark.parametrize(
    "data, code",
    (
        (b"", "ARCHIVE_EMPTY"),
        (b"x", "ARCHIVE_UNRECOGNISED"),
        (b"no tar at all " * 1000, "ARCHIVE_UNRECOGNISED"),
        (gzip.compress(b""), "ARCHIVE_EMPTY"),
        (gzip.compress(b"no tar at all " * 1000), "ARCHIVE_UNRECOGNISED"),
        (gzip.compress(gzip.compress(bytes(1024))), "ARCHIVE_UNRECOGNISED"),
        (b"\x1f\x8b\x08", "ARCHIVE_TRUNCATED"),
        (b"BZh91AY&SY", "ARCHIVE_UNRECOGNISED"),
    ),
)
def test_what_is_no_layer(gateway: Gateway, tmp_path: Path, data: bytes, code: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    refused(send(gateway, source), 400, code)


def test_the_empty_layer(gateway: Gateway, tmp_path: Path) -> None:
    source = tmp_path / "empty.tar"
    source.write_bytes(bytes(1024))
    assert held(send(gateway, source))["diff_id"] == sha256(bytes(1024))
    source.write_bytes(gzip.compress(bytes(1024)))
    assert held(send(gateway, source))["diff_id"] == sha256(bytes(1024))


@pytest.mark.parametrize(
    "path, status, code",
    (
        ("/v1/layers?diff_id=sha256:12", 400, "DIGEST_INVALID"),
        ("/v1/layers?diff_id=sha512:" + "0" * 128, 400, "DIGEST_INVALID"),
        ("/v1/layers?compression=xz", 400, "BAD_REQUEST"),
        ("/v1/layers?compression=gzip&compression=gzip", 400, "BAD_REQUEST"),
        ("/v1/layers?to=r.example.com/a:1", 400, "BAD_REQUEST"),
        ("/v1/layers?diff_id=%zz", 400, "BAD_REQUEST"),
    ),
)
def test_wrong_parameters(
    gateway: Gateway, layer: Layer, path: str, status: int, code: str
) -> None:
    refused(gateway.request(path, method="POST", upload=layer.path), status, code)


def test_limit(tmp_path: Path, layer: Layer) -> None:
    size = layer.path.stat().st_size
    packed = compressed(layer.path, "gzip")
    for more, chunked in ((-1, False), (-1, True), (0, False), (0, True), (1, False)):
        config = {"limits": {"archive": size + more}}
        with Gateway(tmp_path / f"gateway{more}{chunked}", config) as gateway:
            for source in (layer.path, packed):  # as it comes, and what it unpacks to
                reply = send(gateway, source, chunked=chunked)
                if more < 0:
                    refused(reply, 413, "ARCHIVE_TOO_LARGE")
                else:
                    held(reply)


def test_what_is_held_can_be_asked_for(gateway: Gateway, layer: Layer) -> None:
    path = f"/v1/layers/{layer.diff_id}"
    assert gateway.request(path, method="HEAD").status == 404
    reply = gateway.request(path)
    assert (reply.status, reply.error["code"]) == (404, "BLOB_UNKNOWN")
    value = held(send(gateway, layer.path))
    reply = gateway.request(path)
    assert reply.status == 200 and reply.json() == value
    head = gateway.request(path, method="HEAD")
    assert head.status == 200
    assert head.headers["docker-content-digest"] == value["digest"]
    assert head.headers["content-length"] == reply.headers["content-length"]
    assert gateway.request(quote(path, safe="/")).json() == value
    zstd = held(send(gateway, layer.path, compression="zstd"))
    assert gateway.request(path).json() == value
    assert gateway.request(path + "?compression=zstd").json() == zstd
    assert gateway.request(path + "?compression=none").json() == value, "held is better than none"
    assert gateway.request("/v1/layers/sha256:12").error["code"] == "DIGEST_INVALID"
    assert gateway.request(path, method="DELETE").status == 405
    assert gateway.request("/v1/layers").status == 405


def test_the_same_layer_twice(own_gateway: Gateway, layer: Layer) -> None:
    first = held(send(own_gateway, layer.path))
    for query in ({}, {"diff_id": layer.diff_id}):
        for chunked in (False, True):
            assert held(send(own_gateway, layer.path, chunked=chunked, **query)) == first
    assert len(own_gateway.blobs()) == 1


def test_many_at_once(own_gateway: Gateway, tmp_path: Path, seed: str) -> None:
    layers = [files_layer(tmp_path / f"{n}.tar", f"{seed}{n % 4}", []) for n in range(12)]
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda one: send(own_gateway, one.path), layers))
    assert [held(reply)["diff_id"] for reply in replies] == [one.diff_id for one in layers]
    assert len(own_gateway.blobs()) == 4


def test_what_was_answered_survives_a_crash(tmp_path: Path, layer: Layer) -> None:
    gateway = Gateway(tmp_path / "gateway")
    with gateway:
        value = held(send(gateway, layer.path))
        gateway.process.signal(signal.SIGKILL)
        gateway.process.wait()
        gateway.start()
        assert gateway.request(f"/v1/layers/{layer.diff_id}").json() == value


# ---- images from a config and layers ----


def send_config(
    gateway: Gateway,
    config: bytes,
    *to: str,
    kind: str = OCI_CONFIG,
    method: str = "POST",
    accept: str = "application/json",
    **query: str,
) -> Reply:
    path = images_path(to, **query)
    headers = (f"Content-Type: {kind}", f"Accept: {accept}")
    return gateway.request(path, method=method, data=config, headers=headers)


def send_layers(gateway: Gateway, image: Image, **query: str) -> None:
    for layer in image.layers:
        held(send(gateway, layer.path, diff_id=layer.diff_id, **query))


@pytest.fixture
def image(tmp_path: Path, seed: str) -> Image:
    return make_image(tmp_path / "files", seed)


@pytest.mark.parametrize("method", ("POST", "PUT"))
@pytest.mark.parametrize(
    "kind, manifest, layers",
    (
        (OCI_CONFIG, OCI, f"{OCI_LAYER}+gzip"),
        (DOCKER_CONFIG, SCHEMA2, f"{DOCKER_LAYER}.gzip"),
        (f"{OCI_CONFIG}; charset=utf-8", OCI, f"{OCI_LAYER}+gzip"),
    ),
)
def test_an_image_from_its_layers(
    gateway: Gateway,
    registry: Registry,
    image: Image,
    tmp_path: Path,
    method: str,
    kind: str,
    manifest: str,
    layers: str,
) -> None:
    send_layers(gateway, image)
    targets = [f"{registry.host}/l/{method.lower()}-{number}:1" for number in range(2)]
    reply = send_config(gateway, image.config, *targets, kind=kind, method=method)
    for number, result in enumerate(pushed(reply, 2)):
        found = pull(targets[number], tmp_path / f"pulled{number}")
        assert found.digest == result["digest"]
        assert found.media_type == manifest and set(found.layer_types) == {layers}
        assert found.config == image.config
        assert found.diff_ids == image.diff_ids
    assert reply.json()["image"]["config"] == image.config_digest
    again = send_config(gateway, image.config, *targets, kind=kind)
    assert [one["digest"] for one in pushed(again, 2)] == [one["digest"] for one in pushed(reply, 2)]
    assert all(one["layers"]["uploaded"] == 0 for one in pushed(again, 2))


def test_progress(gateway: Gateway, registry: Registry, image: Image) -> None:
    send_layers(gateway, image)
    target = f"{registry.host}/l/progress:1"
    reply = send_config(gateway, image.config, target, accept="application/x-ndjson")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert lines[0]["push"]["image"]["config"] == image.config_digest
    assert lines[-1]["aux"]["Digest"] == lines[0]["push"]["image"]["manifest"]
    assert lines[-1]["target"] == target


def test_the_form_that_is_asked_for(
    gateway: Gateway, registry: Registry, image: Image, tmp_path: Path
) -> None:
    for compression in ("gzip", "zstd", "none"):
        send_layers(gateway, image, compression=compression)
    for compression, suffix in (("keep", "+gzip"), ("zstd", "+zstd"), ("none", "")):
        target = f"{registry.host}/l/form:{compression}"
        pushed(send_config(gateway, image.config, target, compression=compression))
        found = pull(target, tmp_path / compression)
        assert set(found.layer_types) == {OCI_LAYER + suffix}
        assert found.diff_ids == image.diff_ids


def test_any_form_that_is_held(
    gateway: Gateway, registry: Registry, image: Image, tmp_path: Path
) -> None:
    kinds = ("none", "gzip", "zstd")
    for layer, compression in zip(image.layers[:3], kinds):
        held(send(gateway, layer.path, compression=compression))
    target = f"{registry.host}/l/any:1"
    pushed(send_config(gateway, image.config, target))
    found = pull(target, tmp_path / "pulled")
    suffixes = ("", "+gzip", "+zstd", "+gzip")
    assert found.layer_types == [OCI_LAYER + suffix for suffix in suffixes]
    assert found.diff_ids == image.diff_ids
    # A schema2 manifest has no zstd: that layer is of no use for it, until it is there as gzip.
    reply = send_config(gateway, image.config, target, kind=DOCKER_CONFIG)
    message = refused(reply, 400, "BAD_REQUEST")
    assert image.layers[2].diff_id in message and OCI_CONFIG in message
    held(send(gateway, image.layers[2].path))
    pushed(send_config(gateway, image.config, target, kind=DOCKER_CONFIG))
    found = pull(target, tmp_path / "schema2")
    assert found.media_type == SCHEMA2 and found.diff_ids == image.diff_ids


def test_layers_compressed_elsewhere(
    gateway: Gateway, registry: Registry, image: Image, tmp_path: Path
) -> None:
    sources = [compressed(layer.path, "members") for layer in image.layers[:3]]
    for source, layer in zip(sources, image.layers):
        held(send(gateway, source, diff_id=layer.diff_id))
    target = f"{registry.host}/l/elsewhere:1"
    pushed(send_config(gateway, image.config, target))
    found = pull(target, tmp_path / "pulled")
    assert list(found.layers[:3]) == [source.read_bytes() for source in sources]
    assert found.diff_ids == image.diff_ids


def test_missing_layers_are_listed(gateway: Gateway, registry: Registry, image: Image) -> None:
    target = f"{registry.host}/l/missing:1"
    held(send(gateway, image.layers[1].path))
    reply = send_config(gateway, image.config, target)
    message = refused(reply, 409, "LAYER_UNKNOWN")
    missing = [image.layers[0].diff_id, image.layers[2].diff_id]
    assert reply.error["detail"]["diff_ids"] == missing
    assert all(diff_id in message for diff_id in missing)
    for layer in image.layers[::2]:
        held(send(gateway, layer.path))
    pushed(send_config(gateway, image.config, target))
    assert registry.tags("l/missing") == ["1"]


def test_many_missing_layers(gateway: Gateway) -> None:
    diff_ids = [sha256(str(number).encode()) for number in range(1000)]
    config = json.dumps({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).encode()
    reply = send_config(gateway, config, "127.0.0.1:1/a/b:1")
    message = refused(reply, 409, "LAYER_UNKNOWN")
    assert reply.error["detail"]["diff_ids"] == diff_ids
    assert "1000 layers" in message and len(message) <= 1024


def test_layers_that_archives_brought(
    gateway: Gateway, registry: Registry, image: Image, tmp_path: Path
) -> None:
    archive = docker_save_old([(image, ["m/source:1.0"])], tmp_path / "image.tar")
    pushed(gateway.post(archive, f"{registry.host}/l/archive:1"))
    target = f"{registry.host}/l/archive:2"
    (result,) = pushed(send_config(gateway, image.config, target, kind=DOCKER_CONFIG))
    assert result["layers"]["uploaded"] == 0
    assert pull(target, tmp_path / "pulled").diff_ids == image.diff_ids


def test_an_image_without_layers(gateway: Gateway, registry: Registry, tmp_path: Path) -> None:
    config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    for kind in (OCI_CONFIG, DOCKER_CONFIG):
        target = f"{registry.host}/l/none:1"
        pushed(send_config(gateway, config, target, kind=kind))
        assert pull(target, tmp_path / kind.replace("/", "-")).config == config


@pytest.mark.parametrize(
    "config, status, code",
    (
        (b"", 422, "JSON_INVALID"),
        (b"{", 422, "JSON_INVALID"),
        (b"[]", 422, "CONFIG_INVALID"),
        (b"{}", 422, "CONFIG_INVALID"),
        (b'{"rootfs":{"type":"layers","diff_ids":["sha256:1"]}}', 422, "CONFIG_INVALID"),
    ),
)
def test_wrong_configs(gateway: Gateway, config: bytes, status: int, code: str) -> None:
    refused(send_config(gateway, config, "127.0.0.1:1/a/b:1"), status, code)


def test_the_limit_of_configs(gateway: Gateway, registry: Registry) -> None:
    config = b'{"rootfs":{"type":"layers","diff_ids":[]}}'
    target = f"{registry.host}/l/limit:1"
    for more in (-1, 0):
        pushed(send_config(gateway, config.ljust((8 << 20) + more), target))
    reply = send_config(gateway, config.ljust((8 << 20) + 1), target)
    refused(reply, 413, "JSON_TOO_LARGE")


@pytest.mark.parametrize(
    "to, kind, query, status, code",
    (
        ((), OCI_CONFIG, {}, 422, "NO_TARGET"),
        (("127.0.0.1:1/a/b",), OCI_CONFIG, {}, 422, "NO_TAG"),
        (("127.0.0.1:1/a/b:1",), OCI_CONFIG, {"image": "a"}, 400, "BAD_REQUEST"),
        (("127.0.0.1:1/a/b:1",), OCI_CONFIG, {"platform": "linux/amd64"}, 400, "BAD_REQUEST"),
        (("127.0.0.1:1/a/b:1",), DOCKER_CONFIG, {"compression": "zstd"}, 400, "BAD_REQUEST"),
        (("127.0.0.1:1/a/b:1",), OCI_CONFIG, {"compression": "xz"}, 400, "BAD_REQUEST"),
    ),
)
def test_wrong_orders(
    gateway: Gateway,
    to: tuple[str, ...],
    kind: str,
    query: dict[str, str],
    status: int,
    code: str,
) -> None:
    reply = send_config(gateway, image_config([], "x"), *to, kind=kind, **query)
    refused(reply, status, code)


# ---- what a registry client says of its layers ----


def put_image_into_front(gateway: Gateway, layer: bytes, config: bytes, repository: str) -> None:
    """As a client would: blobs, then a manifest that says they belong together."""
    for blob in (layer, config):
        source = gateway.folder / "blob"
        source.write_bytes(blob)
        path = f"/v2/{repository}/blobs/uploads/?digest={sha256(blob)}"
        # chunked: curl would add the name of a file to a path that ends in a slash
        assert gateway.request(path, method="POST", upload=source, chunked=True).status == 201
    kinds = (f"{OCI_LAYER}+gzip", layer), (OCI_CONFIG, config)
    first, second = (
        {"mediaType": kind, "digest": sha256(blob), "size": len(blob)} for kind, blob in kinds
    )
    manifest = {"schemaVersion": 2, "mediaType": OCI, "config": second, "layers": [first]}
    reply = gateway.request(
        f"/v2/{repository}/manifests/1",
        method="PUT",
        data=json.dumps(manifest).encode(),
        headers=(f"Content-Type: {OCI}",),
    )
    assert reply.status == 201, reply.body


def test_layers_that_clients_brought_are_looked_at(
    registry: Registry, image: Image, tmp_path: Path
) -> None:
    right, wrong = image.layers[0], image.layers[1]
    packed = compressed(right.path, "gzip").read_bytes()
    mirrors = [{"match": "nothing/matches", "to": ["127.0.0.1:1/nothing"]}]
    with Gateway(tmp_path / "gateway", {"mirrors": mirrors}) as gateway:
        put_image_into_front(gateway, packed, image_config([right], "honest"), "c/honest")
        put_image_into_front(gateway, packed, image_config([wrong], "lying"), "c/lying")
        # Nobody has looked yet, so it is not said to be held.
        assert gateway.request(f"/v1/layers/{right.diff_id}", method="HEAD").status == 404
        target = f"{registry.host}/l/brought:1"
        pushed(send_config(gateway, image_config([right], "new"), target))
        assert pull(target, tmp_path / "pulled").layers == (packed,)
        assert gateway.request(f"/v1/layers/{right.diff_id}", method="HEAD").status == 200
        reply = send_config(gateway, image_config([wrong], "new"), target)
        refused(reply, 409, "LAYER_UNKNOWN")
        # The real one comes, and no client talks it away again.
        source = compressed(wrong.path, "gzip")
        value = held(send(gateway, source))
        put_image_into_front(gateway, packed, image_config([wrong], "lying again"), "c/lying")
        assert gateway.request(f"/v1/layers/{wrong.diff_id}").json() == value
        pushed(send_config(gateway, image_config([wrong], "new"), target))
        assert pull(target, tmp_path / "again").layers == (source.read_bytes(),)


def test_a_layer_of_a_client_that_unpacks_to_too_much(registry: Registry, tmp_path: Path) -> None:
    """It is unpacked up to the limit, and once."""
    with TarBuilder(tmp_path / "zeros.tar") as tar:
        tar.file("zeros", bytes(8 << 20))
    packed = gzip.compress((tmp_path / "zeros.tar").read_bytes(), 9, mtime=0)
    claim = "sha256:" + "1" * 64
    layers = {"type": "layers", "diff_ids": [claim]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": layers}).encode()
    settings = {
        "limits": {"archive": "1MiB"},
        "mirrors": [{"match": "nothing/matches", "to": ["127.0.0.1:1/nothing"]}],
    }
    with Gateway(tmp_path / "gateway", settings) as gateway:
        put_image_into_front(gateway, packed, config, "c/zeros")
        for _ in range(3):
            refused(send_config(gateway, config, f"{registry.host}/l/z:1"), 409, "LAYER_UNKNOWN")
        assert gateway.log().count("unpacks to more than 1048576 bytes") == 1
        assert gateway.log().count("is no layer") == 1
