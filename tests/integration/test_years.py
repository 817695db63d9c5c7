"""A gateway with years behind it and an outage before it: history and backlog cost no time.

What a gateway of ten pushes needs is measured in the same run. In CI a twentieth of the records; all of
them, 100,000 that have ended and 10,000 that wait, with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from support.front import Front
from support.gateway import Gateway
from support.ports import refusing_port
from support.sink import Sink
from support.waiting import wait_until

LONG = bool(os.environ.get("SLIPWAY_LONG"))
OVER, WAITING = (100_000, 10_000) if LONG else (5_000, 500)
FEW = 10
TAKEN = 200
REPEATED = 15
MEMORY_BYTES = 64 << 20
# It is to be twice; a busy machine is not to fail it.
TIMES_AT_MOST = 10
START_SECONDS = 20.0


@dataclass(frozen=True)
class Cost:
    """Seconds, medians."""

    start: float
    accept: float
    page: float


def fill(release: Path, gateway: Gateway, over: int, waiting: int, host: str) -> None:
    program = release.parent / "tests/bench_pushes"
    subprocess.run([program, gateway.data, str(over), str(waiting), host], check=True, timeout=300)


def median(work: Callable[[int], object]) -> float:
    """Seconds."""
    seconds = []
    for number in range(REPEATED):
        start = time.monotonic()
        work(number)
        seconds.append(time.monotonic() - start)
    return statistics.median(seconds)


def anonymous_bytes(gateway: Gateway) -> int:
    """What it has allocated; pages of the metadata's file are the kernel's to take away."""
    for line in Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise AssertionError("no RssAnon")


def cost_of(release: Path, folder: Path, over: int, waiting: int) -> tuple[Cost, int]:
    """With a registry that is away."""
    with refusing_port() as port:
        mirror = {"match": "new/*", "to": [f"127.0.0.1:{port}/new/*"], "acknowledge": "stored"}
        gateway = Gateway(folder, {"mirrors": [mirror]}, binary=release)
        fill(release, gateway, over, waiting, f"127.0.0.1:{port}")
        begun = time.monotonic()
        with gateway:
            assert gateway.request("/readyz").status == 200
            start = time.monotonic() - begun
            with Front(gateway.port) as client:

                def page(_: int) -> None:
                    assert client.ask("GET", "/v1/pushes?limit=10").status == 200

                found = client.ask("GET", "/v1/pushes?limit=10").json()
                assert len(found["pushes"]) == 10 and found["next"]
                manifest = client.image("new/app")
                cost = Cost(
                    start,
                    median(lambda number: client.must_put("new/app", f"t{number}", manifest)),
                    median(page),
                )
            memory = anonymous_bytes(gateway)
    return cost, memory


def test_history_and_backlog_cost_no_time(release: Path, tmp_path: Path) -> None:
    few, idle = cost_of(release, tmp_path / "few", FEW, FEW)
    many, memory = cost_of(release, tmp_path / "many", OVER, WAITING)
    print(f"\n{FEW} pushes: {few}, {idle >> 10} KiB")
    print(f"{OVER} ended, {WAITING} waiting: {many}, {memory >> 10} KiB")
    for name, seconds in asdict(many).items():
        print(f"{name}: {seconds / asdict(few)[name]:.2f} times")
    assert many.start < START_SECONDS
    assert many.accept < few.accept * TIMES_AT_MOST
    assert many.page < few.page * TIMES_AT_MOST
    assert memory < idle + MEMORY_BYTES


def seconds_of_the_first(release: Path, folder: Path, over: int, waiting: int) -> float:
    """From the start until a registry that discards has TAKEN of those that wait."""
    with Sink(release.parent / "tests/bench_sink", folder / "sink") as sink:
        gateway = Gateway(folder / "gateway", binary=release)
        fill(release, gateway, over, waiting, sink.host)
        start = time.monotonic()
        with gateway:
            wait_until(lambda: sink.counts()["manifests"] >= TAKEN, "the first of them", 60)
            return time.monotonic() - start


def test_taking_the_next_costs_the_same(release: Path, tmp_path: Path) -> None:
    few = seconds_of_the_first(release, tmp_path / "few", FEW, TAKEN)
    many = seconds_of_the_first(release, tmp_path / "many", OVER, WAITING)
    print(f"\n{few / TAKEN * 1000:.2f} ms each of {TAKEN}, {many / few:.2f} times with {WAITING}")
    assert many < few * TIMES_AT_MOST
