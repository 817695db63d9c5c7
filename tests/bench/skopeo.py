"""slipway beside `skopeo copy`: the same image, the same registry, by turns."""
from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.cost import Cost, cpu_seconds, run_program
from bench.images import log
from bench.registries import QUIET
from bench.rows import Command, Service
from support.processes import plain_environment
from support.registry import Registry
from support.sink import Sink

KINDS = {"registry": "docker-registry", "sink": "discarding registry"}
COLUMNS = ("wall_s", "cpu_s", "peak_mib", "registry_cpu_s")

# Pushes the image to the target from nothing, with this slipway, in this folder.
Push = Callable[[Path, Path, Path, str], Cost]


def push_skopeo(_: Path, folder: Path, image: Path, target: str) -> Cost:
    # A home of its own has a blob-info cache of its own: else the second run would know what the
    # first one pushed. As root it would look at the system's.
    env = plain_environment(folder, {"_CONTAINERS_ROOTLESS_UID": "1000"})
    argv = ["skopeo", "copy", "--dest-tls-verify=false"]
    return run_program([*argv, f"docker-archive:{image}", f"docker://{target}"], env)


def push_command(binary: Path, folder: Path, image: Path, target: str) -> Cost:
    return Command(binary, folder).push(image, [target])


def push_gateway(binary: Path, folder: Path, image: Path, target: str) -> Cost:
    with Service(binary, folder) as service:
        return service.push(image, [target])


CONTENDERS: dict[str, Push] = {
    "skopeo copy": push_skopeo,
    "slipway push": push_command,
    "curl -T to slipway": push_gateway,
}


def registry_of(kind: str, sink: Path, folder: Path) -> Registry | Sink:
    return Registry(folder, more=QUIET) if kind == "registry" else Sink(sink, folder)


def measure(
    kind: str, image: Path, binary: Path, sink: Path, runs: int, cache: Path
) -> dict[str, list[dict[str, float]]]:
    """All contenders by turns, each to a fresh repository."""
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory(dir=cache) as work:
        with registry_of(kind, sink, Path(work)) as registry:
            pid = registry.process.pid
            for number in range(runs):
                for place, (name, push) in enumerate(CONTENDERS.items()):
                    # What the one before left to be written is not this one's cost.
                    os.sync()
                    target = f"{registry.host}/bench/{place}-{number}:1"
                    before = cpu_seconds(pid)
                    with tempfile.TemporaryDirectory(dir=cache) as own:
                        cost = push(binary, Path(own), image, target)
                    used = cpu_seconds(pid) - before
                    costs[name].append({**asdict(cost), "registry_cpu_s": used})
                    log(f"{KINDS[kind]}, run {number + 1}, {name}: {cost.wall_s:.2f} s")
    return costs


def summary(costs: dict[str, list[dict[str, float]]]) -> dict[str, dict[str, Any]]:
    middle: dict[str, dict[str, Any]] = {
        name: {key: statistics.median(run[key] for run in runs) for key in COLUMNS}
        for name, runs in costs.items()
    }
    base = middle["skopeo copy"]
    for name, row in middle.items():
        row["wall_ratio"] = row["wall_s"] / base["wall_s"]
        row["cpu_ratio"] = row["cpu_s"] / base["cpu_s"]
        row["runs"] = costs[name]
    return middle


def print_table(kind: str, rows: dict[str, dict[str, Any]]) -> None:
    print(f"\nTo a {kind}:\n")
    print("| | wall s | ratio | CPU s | ratio | peak MiB | registry CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        print(
            f"| {name} | {row['wall_s']:.2f} | {row['wall_ratio']:.2f} | {row['cpu_s']:.2f} | "
            f"{row['cpu_ratio']:.2f} | {row['peak_mib']:.0f} | {row['registry_cpu_s']:.2f} |"
        )


def compare_with_skopeo(
    kinds: Iterable[str], image: Path, binary: Path, sink: Path, runs: int, cache: Path
) -> dict[str, Any]:
    """Measures and prints; gives all of it for the JSON."""
    result = {}
    for kind in kinds:
        rows = summary(measure(kind, image, binary, sink, runs, cache))
        result[KINDS[kind]] = rows
        print_table(KINDS[kind], rows)
    return result
