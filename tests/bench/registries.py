"""Where the pushes go: docker-registry, or a sink, which may be far away or behind a slow line."""
from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.cost import cpu_seconds
from support.delay import DelayProxy
from support.registry import Registry
from support.sink import Sink
from support.throttle import ThrottledProxy

QUIET = {"log": {"level": "info", "accesslog": {"disabled": True}}}


@dataclass(frozen=True)
class Place:
    """Registries that an image goes to at once; sinks count."""

    hosts: tuple[str, ...]
    running: tuple[Sink | Registry, ...]

    def counts(self) -> dict[str, float]:
        """What they have taken so far, and their CPU seconds."""
        found: Counter[str] = Counter()
        for one in self.running:
            if isinstance(one, Sink):
                found.update(one.counts())
        cpu_s = sum(cpu_seconds(one.process.pid) for one in self.running)
        return {**found, "registry_cpu_s": cpu_s}

    def targets(self, repository: str) -> list[str]:
        return [f"{host}/{repository}:1" for host in self.hosts]


@contextlib.contextmanager
def docker_registries(folder: Path, number: int) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        running = tuple(
            stack.enter_context(Registry(folder / f"registry-{place}", more=QUIET))
            for place in range(number)
        )
        yield Place(tuple(one.host for one in running), running)


@contextlib.contextmanager
def sinks(program: Path, folder: Path, number: int) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        running = tuple(
            stack.enter_context(Sink(program, folder / f"sink-{place}")) for place in range(number)
        )
        yield Place(tuple(sink.host for sink in running), running)


@contextlib.contextmanager
def far_sink(program: Path, folder: Path, round_trip_s: float) -> Iterator[Place]:
    with Sink(program, folder) as sink, DelayProxy(sink.port, round_trip_s) as proxy:
        yield Place((proxy.host,), (sink,))


@contextlib.contextmanager
def sink_on_line(program: Path, folder: Path, rate: int) -> Iterator[Place]:
    """So many bytes a second each way, by all connections together."""
    with Sink(program, folder) as sink, ThrottledProxy(
        sink.port, to_server=rate, from_server=rate, shared=True
    ) as line:
        yield Place((f"127.0.0.1:{line.port}",), (sink,))
