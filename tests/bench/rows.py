"""The rows: what is pushed, to where, what is known of it before, and by which contenders.

A row is staged once for each contender: registries of its own, and where something is known before,
the push that made it known. A turn is what is measured; turns of the contenders alternate.
"""
from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import many
from bench.contenders import CONTENDERS, Command, Program, Service, Skopeo, Source, Way, new_one
from bench.cost import Cost, add_difference, total
from bench.images import SmallImage
from bench.registries import Place, docker_registries, far_sink, sink_on_line, sinks

# A client's next archive may come a moment before the gateway has counted off the one before.
MANY_CONFIG = {"limits": {"uploads": 4 * many.CLIENTS}}


@dataclass(frozen=True)
class Inputs:
    """What the rows push, and with what the registries are made; images are made when asked for."""

    image: Callable[[str], Path]
    small: Callable[[], list[SmallImage]]
    sink: Path
    round_trip_s: float
    line_rate: int
    # Of short pushes a turn has several.
    pushes: int


Turn = Callable[[int], Cost]
Stage = Callable[[Inputs, Program, Path], contextlib.AbstractContextManager[Turn]]
Where = Callable[[Inputs, Path], contextlib.AbstractContextManager[Place]]


@dataclass(frozen=True)
class Row:
    name: str
    means: str
    stages: Mapping[str, Stage]  # by contender
    # The aims: seconds and CPU seconds to skopeo's; seconds to those of the longest of `parts`.
    wall: float
    cpu: float | None = None
    whole: float | None = None
    parts: Mapping[str, Stage] = field(default_factory=dict)

    def chosen(self, names: Sequence[str] | None) -> list[str]:
        """The contenders that these names ask for: of the row, of one of its contenders, or with a
        dot at the end of what they begin with."""
        full = {contender: f"{self.name}.{contender}" for contender in self.stages}
        return [
            contender
            for contender, name in full.items()
            if not names
            or any(one in (name, self.name) or (one.endswith(".") and name.startswith(one))
                   for one in names)
        ]


# ---- The places ----


def registries(number: int) -> Where:
    return lambda _, folder: docker_registries(folder, number)


def some_sinks(number: int) -> Where:
    return lambda inputs, folder: sinks(inputs.sink, folder, number)


def far(inputs: Inputs, folder: Path) -> contextlib.AbstractContextManager[Place]:
    return far_sink(inputs.sink, folder, inputs.round_trip_s)


def on_line(inputs: Inputs, folder: Path) -> contextlib.AbstractContextManager[Place]:
    return sink_on_line(inputs.sink, folder, inputs.line_rate)


# ---- The stages ----


def counted(place: Place, push: Callable[[], Cost]) -> Cost:
    """What `push` costs, with what the place has counted of it."""
    before = place.counts()
    cost = push()
    add_difference(cost, before, place.counts())
    return cost


def first_push(
    image: str,
    where: Where,
    *,
    short: bool = False,
    slow: bool = False,
    compression: str = "",
) -> Callable[[Way], Stage]:
    """Each push by one that knows nothing, to a new repository; of short ones several a turn."""

    @contextlib.contextmanager
    def stage(way: Way, inputs: Inputs, program: Program, folder: Path) -> Iterator[Turn]:
        rate = inputs.line_rate if slow else 0
        source = Source(inputs.image(image), rate, compression)
        with where(inputs, folder / "place") as place:

            def push(repository: str) -> Cost:
                with new_one(way, program, folder) as contender:
                    return contender.push(source, place.targets(repository))

            def push_all(number: int) -> Cost:
                pushes = range(inputs.pushes if short else 1)
                return total(push(f"bench/app-{number}-{one}") for one in pushes)

            yield lambda number: counted(place, lambda: push_all(number))

    return lambda way: functools.partial(stage, way)


def known_push(image: str, where: Where, *, elsewhere: bool) -> Callable[[Way], Stage]:
    """Each turn pushes several times what is known: to the same repository, or to new ones."""

    @contextlib.contextmanager
    def stage(way: Way, inputs: Inputs, program: Program, folder: Path) -> Iterator[Turn]:
        source = Source(inputs.image(image))
        with where(inputs, folder / "place") as place, way(program, folder / "own") as contender:
            contender.push(source, place.targets("bench/app"))

            def push_all(number: int) -> Cost:
                pushes = range(inputs.pushes)
                names = [f"bench/app-{number}-{push}" for push in pushes]
                return total(
                    contender.push(source, place.targets(name if elsewhere else "bench/app"))
                    for name in names
                )

            yield lambda number: counted(place, lambda: push_all(number))

    return lambda way: functools.partial(stage, way)


@contextlib.contextmanager
def held_push(inputs: Inputs, program: Program, folder: Path) -> Iterator[Turn]:
    """Only the sending: a gateway has the layer compressed, the line's registry nothing."""
    source = Source(inputs.image("big"))
    with on_line(inputs, folder / "place") as place:

        def turn(number: int) -> Cost:
            with sinks(inputs.sink, folder / f"near-{number}", 1) as near:
                with new_one(Service, program, folder) as gateway:
                    digest = gateway.hold(source, near.targets("bench/app"))
                    targets = place.targets(f"bench/app-{number}")
                    return counted(place, lambda: gateway.push_held(digest, targets))

        yield turn


def many_pushes(by_archive: bool, where: Where) -> Stage:
    """Each turn with a new gateway and a new registry, both with the base of all images."""

    @contextlib.contextmanager
    def stage(inputs: Inputs, program: Program, folder: Path) -> Iterator[Turn]:
        base, *images = inputs.small()

        def turn(number: int) -> Cost:
            with where(inputs, folder / f"place-{number}") as place:
                (host,) = place.hosts
                push = many.archive_push(host) if by_archive else many.registry_push
                config = {**MANY_CONFIG, "mirrors": [{"match": "**", "to": [f"{host}/**"]}]}
                with Service(program, folder / f"own-{number}", config) as service:
                    connect = many.connection(service.gateway.port, push)
                    many.push_bases(connect, base, len(images))

                    def push_all() -> Cost:
                        with service.measured() as cost:
                            many.push_images(connect, images)
                        return cost

                    return counted(place, push_all)

        yield turn

    return stage


def many_copies(where: Where) -> Stage:
    """The same by skopeo, which has pushed the base."""

    @contextlib.contextmanager
    def stage(inputs: Inputs, program: Program, folder: Path) -> Iterator[Turn]:
        base, *images = inputs.small()

        def turn(number: int) -> Cost:
            with where(inputs, folder / f"place-{number}") as place:
                skopeo = Skopeo(program, folder / f"own-{number}")
                connect, costs = many.copies(skopeo, *place.hosts)
                many.push_bases(connect, base, len(images))
                costs.clear()
                push_all = functools.partial(many.push_images, connect, images)
                return counted(place, lambda: many.total_of(costs, push_all))

        yield turn

    return stage


def many_by_all(where: Where) -> dict[str, Stage]:
    return {
        "skopeo": many_copies(where),
        "archives": many_pushes(True, where),
        "pushed": many_pushes(False, where),
    }


# ---- The rows ----


def by(make: Callable[[Way], Stage], *contenders: str) -> dict[str, Stage]:
    return {name: make(CONTENDERS[name]) for name in ("skopeo", *contenders)}


ALL = ("command", "gateway", "handed")
ONE, THREE = some_sinks(1), some_sinks(3)


def line_row(name: str, means: str, *, slow_in: bool, slow_out: bool) -> Row:
    """A whole push, and receiving, compressing and, where that takes time, sending alone."""
    push = first_push("big", on_line if slow_out else ONE, slow=slow_in)
    parts = {
        "receive": first_push("big", ONE, slow=slow_in, compression="none")(Command),
        "compress": first_push("big", ONE)(Command),
    }
    if slow_out:
        parts["send"] = held_push
    return Row(name, means, by(push, *ALL), wall=0.8 if slow_in else 1, whole=1.15, parts=parts)


ROWS = (
    Row(
        "registry",
        "docker save to docker-registry",
        by(first_push("archive", registries(1)), *ALL),
        wall=0.33,
        cpu=0.27,
    ),
    Row(
        "sink",
        "docker save to a registry that discards",
        by(first_push("archive", ONE), *ALL),
        wall=0.25,
        cpu=0.27,
    ),
    Row(
        "again",
        "docker save that is known, several times to the same repository",
        by(known_push("archive", ONE, elsewhere=False), *ALL),
        wall=1.5,
    ),
    Row(
        "other",
        "docker save that is known, several times to other repositories",
        by(known_push("archive", ONE, elsewhere=True), *ALL),
        wall=1,
    ),
    Row(
        "oci.folder",
        "OCI layout, a folder, several times",
        by(first_push("layout", ONE, short=True), "command", "handed"),
        wall=0.7,
    ),
    Row(
        "oci.tar",
        "OCI layout, a tar, several times",
        by(first_push("layout_tar", ONE, short=True), *ALL),
        wall=0.5,
    ),
    Row(
        "three",
        "docker save to three registries that discard",
        by(first_push("archive", THREE), *ALL),
        wall=0.1,
    ),
    Row(
        "three.registry",
        "docker save to three docker-registries",
        by(first_push("archive", registries(3)), *ALL),
        wall=0.25,
    ),
    Row(
        "many",
        "many small images with a new layer each, 16 at a time",
        many_by_all(ONE),
        wall=0.25,
    ),
    Row(
        "many.registry",
        "the same to docker-registry",
        many_by_all(registries(1)),
        wall=0.45,
    ),
    Row(
        "far.first",
        "small layers to a registry far away, several times",
        by(first_push("layers", far, short=True), *ALL),
        wall=0.2,
    ),
    Row(
        "far.again",
        "the same again, several times",
        by(known_push("layers", far, elsewhere=False), *ALL),
        wall=0.15,
    ),
    Row(
        "far.mounts",
        "the same to other repositories, several times, where its layers can be mounted",
        by(known_push("layers", far, elsewhere=True), *ALL),
        wall=0.15,
    ),
    line_row(
        "line.out", "one large layer over a slow line to the registry", slow_in=False, slow_out=True
    ),
    line_row(
        "line.in", "one large layer that arrives over a slow line", slow_in=True, slow_out=False
    ),
    line_row(
        "line.both", "one large layer over slow lines, in and out", slow_in=True, slow_out=True
    ),
)
