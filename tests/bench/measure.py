"""Contenders by turns, and what came of it: medians, ratios, the aims, a verdict for two builds."""
from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from bench.contenders import Program
from bench.cost import Cost
from bench.images import log
from bench.rows import Inputs, Row, Stage

CPU_LIMIT = 0.05
PEAK_LIMIT_MIB = 2.0
PEAK_AIM_MIB = 40
OLD, NEW = "old", "new"

BESIDE_SKOPEO = (
    "| | wall s | ratio | CPU s | ratio | peak MiB | threads | requests | MB | mounts | fsyncs "
    "| commits | registry CPU s |\n|---|" + "---:|" * 12
)
AIMS = (
    "| | wall | wanted | CPU | wanted | to the longest part | wanted | peak MiB | |\n"
    "|---|" + "---:|" * 7 + "---|"
)
BUILDS = (
    "| | CPU s | ratio | ± | wall s | ratio | peak MiB | threads | requests | MB | verdict |\n"
    "|---|" + "---:|" * 9 + "---|"
)

Report = dict[str, Any]


def measure(
    name: str, stages: Mapping[str, tuple[Stage, Program]], inputs: Inputs, runs: int, cache: Path
) -> dict[str, list[Cost]]:
    """All turns of a row, in each run one of each stage."""
    costs: dict[str, list[Cost]] = {label: [] for label in stages}
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=cache)))
        turns = {}
        for label, (stage, program) in stages.items():
            folder = work / label
            folder.mkdir()
            turns[label] = stack.enter_context(stage(inputs, program, folder))
        for number in range(runs):
            for label, turn in turns.items():
                # What the one before left to be written is not this one's cost.
                os.sync()
                cost = turn(number)
                costs[label].append(cost)
                log(
                    f"{name}, run {number + 1}, {label}: "
                    f"CPU {cost.cpu_s:.3f} s, wall {cost.wall_s:.3f} s, {cost.peak_mib:.1f} MiB"
                )
    return costs


def medians(costs: Iterable[Cost]) -> dict[str, float]:
    runs = list(costs)
    keys = (field.name for field in fields(Cost))
    return {key: statistics.median(getattr(cost, key) for cost in runs) for key in keys}


def ratio(costs: Iterable[Cost], to: Iterable[Cost], key: str) -> tuple[float, float]:
    """The median over turns that follow each other, which met the same machine, and the spread."""
    return middle_and_spread([getattr(a, key) / getattr(b, key) for a, b in zip(costs, to)])


def middle_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the median distance from it."""
    middle = statistics.median(values)
    return middle, statistics.median(abs(value - middle) for value in values)


def verdict(cpu_ratio: float, cpu_spread: float, peak_difference_mib: float) -> str:
    words = []
    if abs(cpu_ratio - 1) > CPU_LIMIT:
        doubt = "?" if abs(cpu_ratio - 1) <= cpu_spread else ""
        words.append(f"CPU {cpu_ratio - 1:+.0%}{doubt}")
    if abs(peak_difference_mib) > PEAK_LIMIT_MIB:
        words.append(f"peak {peak_difference_mib:+.1f} MiB")
    return ", ".join(words) or "same"


def judge(row: Row, costs: Mapping[str, list[Cost]]) -> Report:
    """What the JSON has of two builds."""
    old, new = medians(costs[OLD]), medians(costs[NEW])
    cpu_ratio, cpu_spread = ratio(costs[NEW], costs[OLD], "cpu_s")
    peak_difference = new["peak_mib"] - old["peak_mib"]
    return {
        "means": row.means,
        OLD: old,
        NEW: new,
        "cpu_ratio": cpu_ratio,
        "cpu_spread": cpu_spread,
        "wall_ratio": ratio(costs[NEW], costs[OLD], "wall_s")[0],
        "peak_difference_mib": peak_difference,
        "within": cpu_ratio <= 1 + CPU_LIMIT and peak_difference <= PEAK_LIMIT_MIB,
        "verdict": verdict(cpu_ratio, cpu_spread, peak_difference),
        "runs": {name: [asdict(cost) for cost in all_of] for name, all_of in costs.items()},
    }


def table_line(name: str, row: Mapping[str, Any]) -> str:
    def both(key: str, form: str, scale: float = 1) -> str:
        old, new = (format(row[build][key] / scale, form) for build in (OLD, NEW))
        return old if old == new else f"{old} → {new}"

    cells = (
        name,
        both("cpu_s", ".3f"),
        f"{row['cpu_ratio']:.2f}",
        f"{row['cpu_spread']:.0%}",
        both("wall_s", ".2f"),
        f"{row['wall_ratio']:.2f}",
        both("peak_mib", ".1f"),
        both("threads", ".0f"),
        both("requests", ".0f"),
        both("bytes", ".2f", 1e6),
        row["verdict"],
    )
    return f"| {' | '.join(cells)} |"


def compare_builds(
    rows: Iterable[tuple[Row, Sequence[str]]],
    inputs: Inputs,
    builds: Mapping[str, Program],
    runs: int,
    cache: Path,
) -> Report:
    """Each contender but skopeo, of two builds; printed line by line."""
    print(BUILDS)
    result = {}
    for row, contenders in rows:
        for contender in (one for one in contenders if one != "skopeo"):
            name = f"{row.name}.{contender}"
            stages = {label: (row.stages[contender], build) for label, build in builds.items()}
            result[name] = judge(row, measure(name, stages, inputs, runs, cache))
            print(table_line(name, result[name]), flush=True)
    return result


# ---- Beside skopeo ----


def beside(row: Row, costs: Mapping[str, list[Cost]]) -> Report:
    """What the JSON has of a row: its contenders and, of slipway, the parts alone."""
    aims = {"wall": row.wall, "cpu": row.cpu, "whole": row.whole, "peak_mib": PEAK_AIM_MIB}
    result: Report = {"means": row.means, "aims": aims, "load": os.getloadavg()[0]}
    turns = zip(*(costs[part] for part in row.parts))
    longest = [max(turn, key=lambda cost: cost.wall_s) for turn in turns]
    result |= {"contenders": {}, "parts": {}}
    for label, runs in costs.items():
        found: Report = {**medians(runs), "runs": [asdict(cost) for cost in runs]}
        found["wall_ratio"] = ratio(runs, costs["skopeo"], "wall_s")[0]
        found["cpu_ratio"] = ratio(runs, costs["skopeo"], "cpu_s")[0]
        if longest:
            found["whole_ratio"] = ratio(runs, longest, "wall_s")[0]
        result["parts" if label in row.parts else "contenders"][label] = found
    return result


def skopeo_line(name: str, found: Report) -> str:
    cells = (
        name,
        f"{found['wall_s']:.2f}",
        f"{found['wall_ratio']:.2f}",
        f"{found['cpu_s']:.2f}",
        f"{found['cpu_ratio']:.2f}",
        f"{found['peak_mib']:.0f}",
        *(f"{found[key]:.0f}" for key in ("threads", "requests")),
        f"{found['bytes'] / 1e6:.2f}",
        *(f"{found[key]:.0f}" for key in ("mounts", "fsyncs", "commits")),
        f"{found['registry_cpu_s']:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def aims_line(name: str, found: Report, aims: Report) -> str:
    cells, missed = [name], []
    for key, words in (("wall", "wall"), ("cpu", "CPU"), ("whole", "longest part")):
        value, wanted = found.get(f"{key}_ratio"), aims[key]
        cells += ["" if value is None else f"{value:.2f}", "" if wanted is None else f"{wanted:g}"]
        if wanted is not None and value is not None and value > wanted:
            missed.append(words)
    if found["peak_mib"] > aims["peak_mib"]:
        missed.append("peak")
    cells += [f"{found['peak_mib']:.0f}", f"missed: {', '.join(missed)}" if missed else "met"]
    return f"| {' | '.join(cells)} |"


def print_aims(rows: Mapping[str, Report]) -> None:
    print(f"\nRatios to skopeo, and what is wanted; peak at most {PEAK_AIM_MIB} MiB:\n\n{AIMS}")
    for name, row in rows.items():
        for contender, found in row["contenders"].items():
            if contender != "skopeo":
                print(aims_line(f"{name}.{contender}", found, row["aims"]))


def compare_with_skopeo(
    rows: Iterable[tuple[Row, Sequence[str]]],
    inputs: Inputs,
    program: Program,
    runs: int,
    cache: Path,
) -> Report:
    """All contenders by turns; printed row by row, the aims at the end."""
    print(BESIDE_SKOPEO)
    result = {}
    for row, contenders in rows:
        chosen = {name: row.stages[name] for name in dict.fromkeys(("skopeo", *contenders))}
        stages = {name: (stage, program) for name, stage in {**chosen, **row.parts}.items()}
        found = beside(row, measure(row.name, stages, inputs, runs, cache))
        result[row.name] = found
        for kind, mark in (("contenders", ""), ("parts", "only ")):
            for name, one in found[kind].items():
                print(skopeo_line(f"{row.name}.{mark}{name}", one), flush=True)
    print_aims(result)
    return result
