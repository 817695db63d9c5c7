"""Peak memory of the release build, whatever the image's size and however slow the registry.

The sanitizers multiply memory, so this file alone measures a build without them.
"""
from __future__ import annotations

import bz2
import gzip
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.archives import docker_save_new
from support.bad_archives import extended_header, sparse_map, xz_dictionary, zstd_window
from support.front import Front
from support.gateway import Gateway, pushed
from support.images import Image, Layer, files_layer, image_config, readable_files
from support.pulled import sha256
from support.registry import Registry
from support.throttle import ThrottledProxy

MIB = 1 << 20
PEAK_OF_ONE = 64 * MIB
PEAK_OF_SIXTEEN = PEAK_OF_ONE + 16 * 12 * MIB
# As docs/operations.md says: 64 MiB for documents above what the process and its clients need.
PEAK_OF_MANIFESTS = 192 * MIB
LARGEST_MANIFEST = 4 * MIB
LAYERS = 8
LAYER_BYTES = 128 * 10**6
# A tenth of what a loopback registry takes from slipway: compressed bytes a second.
SLOW_BYTES_PER_SECOND = 8 * 10**6


def system_files() -> Iterator[Path]:
    """Programs and libraries of this machine, again from the start when there are no more."""
    while True:
        for root in ("/usr/bin", "/usr/lib"):
            yield from readable_files(root, 50_000, 20 * MIB)


def make_large_archive(folder: Path, layer_count: int, layer_bytes: int) -> Path:
    """A docker save of real content without holes; every layer's bytes are its own."""
    folder.mkdir(parents=True, exist_ok=True)
    files = system_files()
    layers = []
    for number in range(layer_count):
        chosen, size = [], 0
        while size < layer_bytes:
            path = next(files)
            size += path.stat().st_size
            chosen.append(path)
        layers.append(files_layer(folder / f"{number}.tar", f"{folder} {number}", chosen))
    image = Image(image_config(layers, str(folder)), tuple(layers))
    archive = docker_save_new([(image, ["m/large:1"])], folder / "large.tar")
    for layer in layers:
        layer.path.unlink()
    return archive


@pytest.fixture(scope="module")
def gigabyte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = make_large_archive(tmp_path_factory.mktemp("gigabyte"), LAYERS, LAYER_BYTES)
    assert archive.stat().st_size > 10**9
    assert archive.stat().st_blocks * 512 >= archive.stat().st_size, "it must have no holes"
    return archive


def test_one_gigabyte(
    release: Path, registry: Registry, gigabyte: Path, tmp_path: Path
) -> None:
    with Gateway(tmp_path / "gateway", binary=release) as gateway:
        pushed(gateway.post(gigabyte, f"{registry.host}/mem/one:1", seconds=170))
        peak = gateway.process.peak_memory_bytes()
    print(f"one push of 1 GB: {peak / MIB:.1f} MiB")
    assert peak <= PEAK_OF_ONE, f"{peak / MIB:.1f} MiB"


def test_one_gigabyte_to_a_slow_registry(
    release: Path, registry: Registry, gigabyte: Path, tmp_path: Path
) -> None:
    with ThrottledProxy(registry.port, to_server=SLOW_BYTES_PER_SECOND) as slow:
        with Gateway(tmp_path / "gateway", binary=release) as gateway:
            target = f"127.0.0.1:{slow.port}/mem/slow:1"
            (result,) = pushed(gateway.post(gigabyte, target, seconds=170))
            peak = gateway.process.peak_memory_bytes()
    assert result["bytes_uploaded"] > 200 * 10**6, "it must have been a real transfer"
    print(f"one push of 1 GB, slow registry: {peak / MIB:.1f} MiB")
    assert peak <= PEAK_OF_ONE, f"{peak / MIB:.1f} MiB"


def layers_are_right(registry: Registry, repository: str) -> bool:
    manifest = registry.manifest(repository, "1").json()
    config = registry.blob(repository, manifest["config"]["digest"]).json()
    unpacked = [
        sha256(gzip.decompress(registry.blob(repository, layer["digest"]).body))
        for layer in manifest["layers"]
    ]
    return bool(unpacked == config["rootfs"]["diff_ids"])


def test_sixteen_at_once(release: Path, registry: Registry, tmp_path: Path) -> None:
    archive = make_large_archive(tmp_path / "files", 4, 24 * 10**6)
    with Gateway(tmp_path / "gateway", binary=release) as gateway, ThreadPoolExecutor(16) as pool:
        jobs = [
            pool.submit(
                gateway.post, archive, f"{registry.host}/mem/many-{number}:1", seconds=170
            )
            for number in range(16)
        ]
        served = {pushed(job.result())[0]["digest"]: n for n, job in enumerate(jobs)}
        peak = gateway.process.peak_memory_bytes()
    # One digest, but for ISA-L: see docs/decisions.md, 3. Each has the layers of its config.
    for digest, number in served.items():
        assert layers_are_right(registry, f"mem/many-{number}"), digest
    print(f"sixteen pushes at once: {peak / MIB:.1f} MiB")
    assert peak <= PEAK_OF_SIXTEEN, f"{peak / MIB:.1f} MiB"


def layer_of(folder: Path, size: int) -> Layer:
    folder.mkdir(parents=True, exist_ok=True)
    files = system_files()
    chosen, total = [], 0
    while total < size:
        path = next(files)
        total += path.stat().st_size
        chosen.append(path)
    return files_layer(folder / "layer.tar", str(folder), chosen)


def test_a_layer_of_half_a_gigabyte(release: Path, tmp_path: Path) -> None:
    """As a tar, twice, and compressed by others, which is decompressed on the side."""
    layer = layer_of(tmp_path / "files", 500 * 10**6)
    assert layer.path.stat().st_size > 500 * 10**6
    with Gateway(tmp_path / "gateway", binary=release) as gateway:
        for _ in range(2):
            reply = gateway.request("/v1/layers", method="PUT", upload=layer.path)
            assert reply.status == 201 and reply.json()["diff_id"] == layer.diff_id
        for program in ("gzip", "zstd"):
            packed = tmp_path / program
            with packed.open("wb") as out:
                subprocess.run([program, "-1", "-c", layer.path], stdout=out, check=True)
            reply = gateway.request("/v1/layers", method="PUT", upload=packed)
            assert reply.status == 201 and reply.json()["diff_id"] == layer.diff_id
        peak = gateway.process.peak_memory_bytes()
    print(f"a layer of 500 MB: {peak / MIB:.1f} MiB")
    assert peak <= PEAK_OF_ONE, f"{peak / MIB:.1f} MiB"


def test_many_documents_of_many_values(release: Path, tmp_path: Path) -> None:
    """150 KB of JSON that need 25 MiB when they are parsed, from 40 clients at once."""
    document = b'{"a":[' + b"{}," * 49_000 + b"{}]}"

    def put(number: int) -> int:
        with Front(gateway.port) as front:
            return front.put("mem/values", str(number), document, "application/x+json").status

    with Gateway(tmp_path / "gateway", binary=release) as gateway, ThreadPoolExecutor(40) as pool:
        statuses = set(pool.map(put, range(40)))
        peak = gateway.process.peak_memory_bytes()
    assert statuses == {201}
    print(f"40 documents of 49000 values: {peak / MIB:.1f} MiB")
    assert peak <= 2 * PEAK_OF_ONE, f"{peak / MIB:.1f} MiB"


def largest_manifest(image: bytes, number: int, filler: bytes) -> bytes:
    """Of the same image, with annotations up to the limit."""
    head = image[:-1] + b',"annotations":{"n":"%d","x":"' % number
    tail = b'"}}'
    return head + filler[: LARGEST_MANIFEST - len(head) - len(tail)] + tail


def test_many_of_the_largest_manifests(release: Path, tmp_path: Path) -> None:
    """What they would need all at once is more than the bound: they wait for each other. To read one
    costs a tenth of a second, so most are no JSON, which shows as soon as all of it is there. Some
    have as many values as they may, too."""
    text = b"a" * LARGEST_MANIFEST
    values = b"".join(b'","%07d":"%012d' % (n, n) for n in range(135_000)) + text

    def put(number: int) -> tuple[bool, int, bytes]:
        right = number % 8 == 0
        data = largest_manifest(image, number, values if number % 32 == 0 else text)
        data = data if right else b"}" + data[1:]
        with Front(gateway.port, 120) as front:
            reply = front.put("mem/manifests", f"t{number}", data)
            held = front.manifest("mem/manifests", f"t{number}", "HEAD")
        assert held.headers.get("docker-content-digest") == (sha256(data) if right else None), number
        return right, reply.status, reply.body if right else reply.error["code"].encode()

    with Gateway(tmp_path / "gateway", binary=release) as gateway, ThreadPoolExecutor(64) as pool:
        with Front(gateway.port) as front:
            image = front.image("mem/manifests")
            over = largest_manifest(image, 0, text) + b" "
            assert front.put("mem/manifests", "over", over).error["code"] == "MANIFEST_INVALID"
        answers = set(pool.map(put, range(64)))
        peak = gateway.process.peak_memory_bytes()
    assert answers == {(True, 201, b""), (False, 400, b"MANIFEST_INVALID")}
    print(f"64 manifests of 4 MiB: {peak / MIB:.1f} MiB")
    assert peak <= PEAK_OF_MANIFESTS, f"{peak / MIB:.1f} MiB"


def gzip_name(folder: Path) -> Path:
    """A gzip header with a name of half a gigabyte, in a few hundred bytes."""
    mebibyte = bz2.compress(b"n" * MIB)
    path = folder / "name.tar.gz.bz2"
    path.write_bytes(bz2.compress(b"\x1f\x8b\x08\x08" + bytes(6)) + mebibyte * 512)
    return path


def test_small_archives_that_claim_much(
    release: Path, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """Where memory is bounded, what one client sends ends the gateway of all the others."""
    claims = [
        make(tmp_path, "claims") for make in (sparse_map, extended_header, xz_dictionary, zstd_window)
    ]
    claims.append(gzip_name(tmp_path))
    with Gateway(tmp_path / "gateway", binary=release) as gateway:
        for number, path in enumerate(claims * 2):
            reply = gateway.post(path, f"{registry.host}/mem/claims:{number}")
            assert 400 <= reply.status < 500, reply.body
        peak = gateway.process.peak_memory_bytes()
        pushed(gateway.post(archive, f"{registry.host}/mem/after:1"))
    print(f"small archives that claim much: {peak / MIB:.1f} MiB")
    assert peak <= PEAK_OF_ONE / 2, f"{peak / MIB:.1f} MiB"
