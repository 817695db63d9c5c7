"""Where the pushes go: docker-registry, a registry that discards, and one far away."""
from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.delay import DelayProxy
from support.registry import Registry
from support.sink import Sink

QUIET = {"log": {"level": "info", "accesslog": {"disabled": True}}}


@dataclass(frozen=True)
class Place:
    """Registries that an image goes to at once, and the sinks that count for them."""

    hosts: tuple[str, ...]
    sinks: tuple[Sink, ...] = ()

    def counts(self) -> Counter[str]:
        return sum((sink.counts() for sink in self.sinks), Counter())

    def targets(self, repository: str) -> list[str]:
        return [f"{host}/{repository}:1" for host in self.hosts]


@contextlib.contextmanager
def docker_registry(folder: Path) -> Iterator[Place]:
    with Registry(folder, more=QUIET) as registry:
        yield Place((registry.host,))


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
