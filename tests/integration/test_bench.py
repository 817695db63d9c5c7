"""tests/bench/run does what docs/benchmarks.md says, with tiny images: counts, never seconds.

EXPECTED is what each way to push costs, whatever the machine does meanwhile. Who changes a figure
edits it knowingly: more is a price that somebody has to want, less is a gain to keep. Two rows are
left out, as they are made of others: three.registry and line.both.
"""
from __future__ import annotations

import json
import random
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.gateway import SOURCE_FOLDER
from support.images import Image, image_config, seal
from support.processes import must_run
from support.tars import TarBuilder

BENCH = SOURCE_FOLDER / "tests/bench/run"
SMALL_IMAGES = 6
SMALL_LAYERS = 7
TINY_LAYERS = 3
FILE_BYTES = 150_000
# More than any manifest and config here, less than any layer of the archive.
FEW_BYTES = 10_000
SIZES = [f"--images={SMALL_IMAGES}", f"--layers={SMALL_LAYERS}", "--pushes=1"]
SIZES += ["--round-trip-ms=5", "--line-megabytes=1"]


@dataclass(frozen=True)
class Counts:
    """Of one push, or of all of `many`. A pair is the least and the most: which pushes share a
    transfer or a commit is a matter of timing."""

    requests: int | tuple[int, int]
    fsyncs: int | tuple[int, int]
    commits: int | tuple[int, int]
    started: int  # threads, at most
    deflated: int = 0  # how often each layer went through it
    mounts: int = 0
    manifests: int = 1
    # Of the tiny image, which is the same everywhere: kilobytes of bodies, and into digests.
    sent_kb: float | None = None
    hashed_kb: float | None = None


# A command makes its data folder, too, which is most of its fsyncs.
ONCE = {"deflated": 1, "sent_kb": 493, "hashed_kb": 2343}
COPIED = {"sent_kb": 580, "hashed_kb": 586}
# Of a file that is known, only the tables are hashed.
KNOWN = {"sent_kb": 1.2}
MOUNTED = {"mounts": TINY_LAYERS, "sent_kb": 2}
NOT_COUNTED = {"requests": 0, "manifests": 0, "deflated": 1}
EXPECTED = {
    "registry.command": Counts(fsyncs=(17, 22), commits=(8, 13), started=12, **NOT_COUNTED),
    "sink.command": Counts(14, (17, 22), (8, 13), 12, **ONCE),
    "sink.gateway": Counts(14, (4, 9), (4, 9), 8, **ONCE),
    "sink.handed": Counts(14, (4, 9), (4, 9), 8, **ONCE),
    "again.command": Counts(6, (2, 4), (3, 5), 12, **KNOWN, hashed_kb=7.3),
    "again.gateway": Counts(1, (2, 4), (2, 4), 8, **KNOWN, hashed_kb=929),
    "other.command": Counts(8, (3, 6), (4, 7), 12, **MOUNTED, hashed_kb=8.2),
    "other.gateway": Counts(7, (3, 6), (3, 6), 8, **MOUNTED, hashed_kb=929),
    "oci.folder.command": Counts(14, (17, 22), (8, 13), 12, **COPIED),
    "oci.tar.gateway": Counts(14, (4, 9), (4, 9), 8, **COPIED),
    "three.command": Counts(42, (19, 33), (10, 24), 20, 1, 0, 3, sent_kb=1480, hashed_kb=2352),
    "three.gateway": Counts(42, (7, 21), (7, 21), 14, 1, 0, 3, sent_kb=1480, hashed_kb=2352),
    "many.archives": Counts((48, 60), (6, 25), (6, 25), 16, 1, 0, SMALL_IMAGES),
    "many.pushed": Counts((24, 60), (60, 151), (20, 61), 16, 0, 0, SMALL_IMAGES),
    "far.first.command": Counts(19, (17, 29), (8, 20), 16, 1),
    "far.again.command": Counts(10, 2, 3, 16),
    "far.mounts.command": Counts(12, (3, 11), (4, 12), 16, 0, SMALL_LAYERS),
    "line.out.command": Counts(8, (16, 20), (7, 11), 12, 1),
    "line.out.send": Counts(8, (3, 7), (3, 7), 8),
    "line.in.command": Counts(8, (16, 20), (7, 11), 12, 1),
    "line.in.gateway": Counts(8, (3, 7), (3, 7), 8, 1),
    "line.in.receive": Counts(8, (16, 20), (7, 11), 12),
}
PARTS = ("receive", "compress", "send")
TOLERANCE = 0.05  # deflate is not the same on every processor


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `docker save` whose layers compress to the same size everywhere; the last repeats one."""
    folder = tmp_path_factory.mktemp("tiny")
    layers = []
    for number in range(TINY_LAYERS):
        with TarBuilder(folder / f"{number}.tar") as tar:
            tar.file("etc/seed", random.Random(number).randbytes(FILE_BYTES).hex().encode())
        layers.append(seal(folder / f"{number}.tar"))
    layers.append(layers[1])
    image = Image(image_config(layers, "bench"), tuple(layers))
    return docker_save_old([(image, ["bench/tiny:1"])], folder / "tiny.tar")


def bench(release: Path, tiny: Path, folder: Path, *words: str | Path) -> dict[str, Any]:
    """The JSON of one run."""
    result = folder / "result.json"
    sink = release.parent / "tests/bench_sink"
    must_run(
        [BENCH, "--slipway", release, "--sink", sink, "--image", tiny, "--runs", "1"]
        + ["--cache", folder, "--json", result, *SIZES, *words],
        seconds=400,
    )
    value: dict[str, Any] = json.loads(result.read_text())
    return value


def layer_bytes(*archives: Path) -> int:
    """Of the layers of each `docker save`, each once."""
    sizes = {}
    for archive in archives:
        with tarfile.open(archive) as tar:
            sizes.update({one.name: one.size for one in tar if one.size > FEW_BYTES})
    return sum(sizes.values())


def layers_of(folder: Path, tiny: Path, row: str) -> int:
    """Bytes of the layers that a row pushes."""
    if row == "many":
        base, *images = sorted(folder.glob("small-*/*/image.tar"))
        return layer_bytes(base, *images) - layer_bytes(base)
    pattern = {"line": "large-*.tar", "far": "layers-*.tar"}.get(row)
    return layer_bytes(*folder.glob(pattern)) if pattern else layer_bytes(tiny)


def differences(name: str, found: dict[str, float], expected: Counts, layers: int) -> list[str]:
    """What is not as expected, in words."""
    words = []
    for key in ("requests", "mounts", "manifests", "fsyncs", "commits", "started"):
        wanted = getattr(expected, key)
        wanted = (0, wanted) if key == "started" else wanted
        least, most = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        if not least <= found[key] <= most:
            words.append(f"{name}: {key} {found[key]:g}, not {wanted}")
    if found["deflated"] != expected.deflated * layers:
        words.append(f"{name}: deflated {found['deflated']:g}, not {expected.deflated} x {layers}")
    for key, kilobytes in (("bytes", expected.sent_kb), ("hashed", expected.hashed_kb)):
        if kilobytes is not None and found[key] / 1000 != pytest.approx(kilobytes, rel=TOLERANCE):
            words.append(f"{name}: {key} {found[key]:g}, not {kilobytes:g} thousand")
    return words


def test_counts_of_each_row(release: Path, tiny: Path, tmp_path: Path) -> None:
    names = sorted({name for name in EXPECTED if name.rsplit(".", 1)[1] not in PARTS})
    rows = bench(release, tiny, tmp_path, *(f"--row={name}" for name in names))["rows"]
    wrong = []
    for row, value in rows.items():
        found = {**value["contenders"], **value["parts"]}
        for contender, counts in found.items():
            name = f"{row}.{contender}"
            assert counts["wall_s"] > 0 and counts["cpu_s"] > 0 and len(counts["runs"]) == 1, name
            # Who looks every 10 ms may miss the threads and the memory of a command that takes no
            # longer; threads that were started are counted.
            brief = counts["cpu_s"] < 0.1
            assert counts["threads"] > 1 or counts["started"] > 0, (name, counts)
            assert counts["peak_mib"] > 1 or brief, (name, counts)
            if name in EXPECTED:
                layers = layers_of(tmp_path, tiny, row.split(".")[0])
                wrong += differences(name, counts, EXPECTED[name], layers)
        assert found["skopeo"]["wall_ratio"] == found["skopeo"]["cpu_ratio"] == 1
        assert all(("whole_ratio" in counts) == bool(value["parts"]) for counts in found.values())
    assert not wrong, "\n".join(wrong)


def test_two_builds(release: Path, tiny: Path, tmp_path: Path) -> None:
    words = ("--row", "again.command", "--row", "oci.folder.")
    rows = bench(release, tiny, tmp_path, "--against", release, *words)["rows"]
    assert list(rows) == ["again.command", "oci.folder.command", "oci.folder.handed"]
    for name, row in rows.items():
        assert row["old"]["requests"] == row["new"]["requests"] > 0, (name, row)
        assert len(row["runs"]["old"]) == len(row["runs"]["new"]) == 1
        assert isinstance(row["within"], bool) and row["verdict"], row
