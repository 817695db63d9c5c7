"""The rows of a comparison: what is pushed, by what, to where, and what is known of it before.

A row is staged once for each build: registries of its own, and where something is known before,
the push that made it known. A turn is what is measured; turns of two stages alternate.
"""
from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import many
from bench.cost import Cost, run_program, total, watched
from bench.images import SmallImage
from bench.registries import Place, docker_registry, far_sink, sinks
from support.gateway import Gateway, pushed
from support.processes import plain_environment

SECONDS = 600
# A client's next archive may come a moment before the gateway has counted off the one before.
MANY_CONFIG = {"limits": {"uploads": 4 * many.CLIENTS}}


@dataclass(frozen=True)
class Inputs:
    """What the rows push, and with what the registries are made."""

    archive: Path
    layout: Path
    layout_tar: Path
    layers: Path
    small: list[SmallImage]
    sink: Path
    round_trip_s: float
    # Of short pushes a turn has several.
    pushes: int


# ---- The ways to push ----


class Command:
    """`slipway push` over one data folder; a process each push."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary, self._data = binary, folder / "data"
        self._env = plain_environment(folder)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def push(self, image: Path, targets: Sequence[str]) -> Cost:
        argv = [self._binary, "push", image, *targets, "--data", self._data]
        return run_program(argv, self._env)


class Service:
    """`curl -T` to one `slipway serve`, whose cost it is."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._gateway = Gateway(folder, binary=binary)

    def __enter__(self) -> Service:
        self._gateway.__enter__()
        return self

    def __exit__(self, *how: object) -> None:
        self._gateway.__exit__(*how)

    def push(self, image: Path, targets: Sequence[str]) -> Cost:
        with watched(self._gateway.process.pid) as cost:
            pushed(self._gateway.post(image, targets, seconds=SECONDS), len(targets))
        return cost


# ---- The places ----


def one_registry(_: Inputs, folder: Path) -> contextlib.AbstractContextManager[Place]:
    return docker_registry(folder)


def one_sink(inputs: Inputs, folder: Path) -> contextlib.AbstractContextManager[Place]:
    return sinks(inputs.sink, folder, 1)


def three_sinks(inputs: Inputs, folder: Path) -> contextlib.AbstractContextManager[Place]:
    return sinks(inputs.sink, folder, 3)


def far(inputs: Inputs, folder: Path) -> contextlib.AbstractContextManager[Place]:
    return far_sink(inputs.sink, folder, inputs.round_trip_s)


# ---- The rows ----

Turn = Callable[[int], Cost]
Stage = Callable[[Inputs, Path, Path], contextlib.AbstractContextManager[Turn]]
Way = type[Command] | type[Service]
Where = Callable[[Inputs, Path], contextlib.AbstractContextManager[Place]]


@dataclass(frozen=True)
class Row:
    name: str
    means: str
    stage: Stage


def counted(place: Place, push: Callable[[], Cost]) -> Cost:
    """What `push` costs, with what the place has counted of it."""
    before = place.counts()
    cost = push()
    more = place.counts()
    more.subtract(before)
    cost.requests, cost.bytes = more["requests"], more["bytes"]
    cost.mounts, cost.manifests = more["mounts"], more["manifests"]
    return cost


def first_push(way: Way, image: str, where: Where, *, short: bool = False) -> Stage:
    """Each push with an empty data folder, to a new repository; of short ones several a turn."""

    @contextlib.contextmanager
    def stage(inputs: Inputs, binary: Path, folder: Path) -> Iterator[Turn]:
        source = getattr(inputs, image)
        with where(inputs, folder / "place") as place:

            def push(repository: str) -> Cost:
                with tempfile.TemporaryDirectory(dir=folder) as own, way(binary, Path(own)) as by:
                    return by.push(source, place.targets(repository))

            def push_all(number: int) -> Cost:
                pushes = range(inputs.pushes if short else 1)
                return total(push(f"bench/app-{number}-{one}") for one in pushes)

            yield lambda number: counted(place, lambda: push_all(number))

    return stage


def known_push(way: Way, image: str, where: Where, *, elsewhere: bool) -> Stage:
    """Each turn pushes several times what is known: to the same repository, or to new ones."""

    @contextlib.contextmanager
    def stage(inputs: Inputs, binary: Path, folder: Path) -> Iterator[Turn]:
        source = getattr(inputs, image)
        with where(inputs, folder / "place") as place, way(binary, folder / "slipway") as by:
            by.push(source, place.targets("bench/app"))

            def push_all(number: int) -> Cost:
                pushes = range(inputs.pushes)
                names = [f"bench/app-{number}-{push}" for push in pushes]
                return total(
                    by.push(source, place.targets(name if elsewhere else "bench/app"))
                    for name in names
                )

            yield lambda number: counted(place, lambda: push_all(number))

    return stage


def many_pushes(by_archive: bool) -> Stage:
    """Each turn with a new gateway and a new registry, both with the base of all images."""

    @contextlib.contextmanager
    def stage(inputs: Inputs, binary: Path, folder: Path) -> Iterator[Turn]:
        base, *images = inputs.small

        def turn(number: int) -> Cost:
            with sinks(inputs.sink, folder / f"place-{number}", 1) as place:
                (host,) = place.hosts
                push = many.archive_push(host) if by_archive else many.registry_push
                mirrors = [{"match": "**", "to": [f"{host}/**"]}]
                with tempfile.TemporaryDirectory(dir=folder) as own, Gateway(
                    Path(own), {**MANY_CONFIG, "mirrors": mirrors}, binary=binary
                ) as gateway:
                    many.push_bases(gateway.port, push, base)

                    def push_all() -> Cost:
                        with watched(gateway.process.pid) as cost:
                            many.push_images(gateway.port, push, images)
                        return cost

                    return counted(place, push_all)

        yield turn

    return stage


def known_rows() -> Iterator[Row]:
    for name, way in (("command", Command), ("gateway", Service)):
        for kind, elsewhere in (("again", False), ("other", True)):
            where = "other repositories" if elsewhere else "the same repository"
            yield Row(
                f"{kind}.{name}",
                f"docker save that is known, several times to {where}, {name}",
                known_push(way, "archive", one_sink, elsewhere=elsewhere),
            )


ROWS = (
    Row(
        "registry.command",
        "docker save to docker-registry, slipway push",
        first_push(Command, "archive", one_registry),
    ),
    Row(
        "registry.gateway",
        "docker save to docker-registry, curl -T to the gateway",
        first_push(Service, "archive", one_registry),
    ),
    Row(
        "sink.command",
        "docker save to a registry that discards, slipway push",
        first_push(Command, "archive", one_sink),
    ),
    Row(
        "sink.gateway",
        "docker save to a registry that discards, curl -T to the gateway",
        first_push(Service, "archive", one_sink),
    ),
    *known_rows(),
    Row(
        "oci.folder",
        "OCI layout, a folder, several times",
        first_push(Command, "layout", one_sink, short=True),
    ),
    Row(
        "oci.tar",
        "OCI layout, a tar, several times",
        first_push(Command, "layout_tar", one_sink, short=True),
    ),
    Row(
        "three.command",
        "docker save to three registries at once, slipway push",
        first_push(Command, "archive", three_sinks),
    ),
    Row(
        "three.gateway",
        "docker save to three registries at once, curl -T to the gateway",
        first_push(Service, "archive", three_sinks),
    ),
    Row("many.archives", "many small images, POST /v1/images", many_pushes(True)),
    Row("many.pushed", "many small images, through the registry API", many_pushes(False)),
    Row(
        "far.first",
        "small layers to a registry far away, several times",
        first_push(Command, "layers", far, short=True),
    ),
    Row(
        "far.again",
        "the same again, several times",
        known_push(Command, "layers", far, elsewhere=False),
    ),
    Row(
        "far.mounts",
        "the same to other repositories, several times, where its layers can be mounted",
        known_push(Command, "layers", far, elsewhere=True),
    ),
)
