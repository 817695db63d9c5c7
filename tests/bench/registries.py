"""Where the pushes go: docker-registry, a registry that discards, and one far away."""
from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.delay import DelayProxy
from support.processes import Process
from support.registry import Registry

QUIET = {"log": {"level": "info", "accesslog": {"disabled": True}}}


class Sink:
    """A running tests/bench/sink.c; a context manager."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.port = 0

    def __enter__(self) -> Sink:
        self.process = Process([self._program, "0"], self._folder, "sink")
        found = self.process.wait_for(
            lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", self.process.stderr()), "its port"
        )
        self.port = int(found.group(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def counts(self) -> Counter[str]:
        """What it has taken so far."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.host}/counts", timeout=20) as answer:
            return Counter(json.load(answer))


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
