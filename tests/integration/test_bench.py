"""tests/bench/run does what docs/benchmarks.md says, with tiny images: counts, never seconds."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.gateway import SOURCE_FOLDER
from support.images import make_image
from support.processes import must_run

BENCH = SOURCE_FOLDER / "tests/bench/run"
SMALL_IMAGES = 6
SMALL_LAYERS = 7
# Layers of support.images.make_image that are not the same; a config is never mounted.
LAYERS = 3
BLOBS = LAYERS + 1
# More than any manifest and config here, less than any layer of the archive.
FEW_BYTES = 50_000
REQUESTS_OF_A_BLOB = 5
REQUESTS_BESIDE = 6

Counts = dict[str, float]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    image = make_image(folder / "files", "bench")
    return docker_save_old([(image, ["bench/tiny:1"])], folder / "tiny.tar")


def bench(release: Path, tiny: Path, folder: Path, *words: str | Path) -> dict[str, Any]:
    """The JSON of one run."""
    result = folder / "result.json"
    sink = release.parent / "tests/bench_sink"
    must_run(
        [BENCH, "--slipway", release, "--sink", sink, "--image", tiny, "--runs", "1"]
        + ["--cache", folder, "--json", result, *words],
        seconds=240,
    )
    value: dict[str, Any] = json.loads(result.read_text())
    return value


def pushed(blobs: int, manifests: int = 1) -> Callable[[Counts], bool]:
    """So many blobs went up, and manifests."""
    most = blobs * REQUESTS_OF_A_BLOB + manifests * REQUESTS_BESIDE
    return lambda row: (
        row["manifests"] == manifests
        and row["mounts"] == 0
        and blobs * 2 + manifests <= row["requests"] <= most
        and row["bytes"] > blobs * 100
    )


def known(mounts: int) -> Callable[[Counts], bool]:
    """No layer went up: all are there, or so many were mounted."""
    return lambda row: row["mounts"] == mounts and row["requests"] > 0 and row["bytes"] < FEW_BYTES


def uncounted(row: Counts) -> bool:
    return row["requests"] == row["bytes"] == 0


EXPECTED: dict[str, Callable[[Counts], bool]] = {
    "registry.command": uncounted,
    "registry.gateway": uncounted,
    "sink.command": pushed(BLOBS),
    "sink.gateway": pushed(BLOBS),
    "again.command": known(0),
    "other.command": known(LAYERS),
    "again.gateway": known(0),
    "other.gateway": known(LAYERS),
    "oci.folder": pushed(BLOBS),
    "oci.tar": pushed(BLOBS),
    "three.command": pushed(3 * BLOBS, 3),
    "three.gateway": pushed(3 * BLOBS, 3),
    "many.archives": pushed(2 * SMALL_IMAGES, SMALL_IMAGES),
    "many.pushed": pushed(2 * SMALL_IMAGES, SMALL_IMAGES),
    "far.first": pushed(SMALL_LAYERS + 1),
    "far.again": known(0),
    "far.mounts": known(SMALL_LAYERS),
}


def test_each_row_against_the_same_build(release: Path, tiny: Path, tmp_path: Path) -> None:
    sizes = ("--images", str(SMALL_IMAGES), "--layers", str(SMALL_LAYERS), "--pushes", "1")
    words = ("--against", release.parent, "--round-trip-ms", "10", *sizes)
    rows = bench(release, tiny, tmp_path, *words)["rows"]
    assert list(rows) == list(EXPECTED)
    for name, row in rows.items():
        for build in ("old", "new"):
            counts = row[build]
            assert counts["wall_s"] > 0 and counts["cpu_s"] > 0, (name, counts)
            assert counts["peak_mib"] > 4 and counts["threads"] > 1, (name, counts)
            assert EXPECTED[name](counts), (name, counts)
            assert len(row["runs"][build]) == 1
        assert isinstance(row["within"], bool) and row["verdict"], row


def test_a_row_by_name(release: Path, tiny: Path, tmp_path: Path) -> None:
    sizes = ("--images", "1", "--layers", "1", "--pushes", "1")
    words = ("--row", "again.command", "--row", "oci.", *sizes)
    rows = bench(release, tiny, tmp_path, "--against", release, *words)["rows"]
    assert list(rows) == ["again.command", "oci.folder", "oci.tar"]


def test_beside_skopeo(release: Path, tiny: Path, tmp_path: Path) -> None:
    found = bench(release, tiny, tmp_path, "--to", "sink")["registries"]
    (rows,) = found.values()
    assert list(rows) == ["skopeo copy", "slipway push", "curl -T to slipway"]
    for row in rows.values():
        assert min(row[key] for key in ("wall_s", "cpu_s", "peak_mib", "registry_cpu_s")) > 0, row
    assert rows["skopeo copy"]["cpu_ratio"] == 1
