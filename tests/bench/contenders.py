"""The ways to push: skopeo, slipway as a command, and by way of a gateway."""
from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cost import (
    Calls,
    Cost,
    ProgramFailed,
    add_difference,
    run_once,
    run_program,
    total,
    watched,
)
from support.curl import Reply
from support.gateway import Gateway, pushed
from support.processes import plain_environment
from support.throttle import Pace

SECONDS = 600
CHUNK_BYTES = 64 << 10
# Of skopeo: docker-registry writes the links of blobs in place, and refuses a manifest whose blob's
# link it reads meanwhile. An attempt in vain costs skopeo nothing but the clock's seconds.
ATTEMPTS = 5


@dataclass(frozen=True)
class Program:
    """A slipway, and what counts its calls, if it can."""

    binary: Path
    counts: Path | None = None


@dataclass(frozen=True)
class Source:
    """What is pushed; with a rate it arrives through a pipe at so many bytes a second."""

    path: Path
    rate: float = 0
    compression: str = ""


@contextlib.contextmanager
def arriving(source: Source) -> Iterator[Path]:
    """The pipe that it comes through."""
    reader, writer = os.pipe()

    def feed() -> None:
        pace = Pace(source.rate)
        with source.path.open("rb") as data, open(writer, "wb", buffering=0) as pipe:
            with contextlib.suppress(BrokenPipeError):
                while piece := data.read(CHUNK_BYTES):
                    pace.wait(len(piece))
                    pipe.write(piece)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        yield Path(f"/dev/fd/{reader}")
    finally:
        os.close(reader)
        thread.join()


class Skopeo:
    """`skopeo copy`, once for each target, with a cache of what it pushed before."""

    def __init__(self, _: Program, folder: Path) -> None:
        self._folder = folder
        # As root it would look for the system's cache.
        self._env = plain_environment(folder, {"_CONTAINERS_ROOTLESS_UID": "1000"})

    def __enter__(self) -> Skopeo:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _copy(self, image: Path, target: str) -> Cost:
        kind = "docker-archive"
        if ".layout" in image.suffixes:
            kind = "oci" if image.is_dir() else "oci-archive"
        argv = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false"]
        argv += [f"{kind}:{image}", f"docker://{target}"]
        for _ in range(ATTEMPTS - 1):
            with contextlib.suppress(ProgramFailed):
                return run_once(argv, self._env)
        return run_program(argv, self._env)

    def push(self, source: Source, targets: Sequence[str]) -> Cost:
        if not source.rate:
            return total(self._copy(source.path, target) for target in targets)
        # It needs a file: what comes through a pipe is put into one before.
        start = time.monotonic()
        arrived = self._folder / "arrived.tar"
        with arriving(source) as pipe, pipe.open("rb") as data, arrived.open("wb") as file:
            shutil.copyfileobj(data, file, CHUNK_BYTES)
        waited = Cost(wall_s=time.monotonic() - start)
        return total([waited, *(self._copy(arrived, target) for target in targets)])


class Command:
    """`slipway push` over one data folder; a process each push."""

    def __init__(self, program: Program, folder: Path) -> None:
        self._binary, self._data = program.binary, folder / "data"
        self._calls = Calls(program.counts, folder)
        self._env = plain_environment(folder, self._calls.env)

    def __enter__(self) -> Command:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def _options(self) -> list[str | Path]:
        return ["--data", self._data]

    def _run(self, source: Source, targets: Sequence[str]) -> Cost:
        words = ["--compression", source.compression] if source.compression else []
        argv = [self._binary, "push", "-" if source.rate else source.path, *targets, *words]
        argv += self._options()
        if not source.rate:
            return run_program(argv, self._env)
        with arriving(source) as pipe, pipe.open("rb") as stdin:
            return run_program(argv, self._env, stdin)

    def push(self, source: Source, targets: Sequence[str]) -> Cost:
        before = self._calls.counts()
        cost = self._run(source, targets)
        add_difference(cost, before, self._calls.counts())
        return cost


class Service:
    """`curl -T`, with early=1, to one `slipway serve`, whose cost it is."""

    def __init__(
        self, program: Program, folder: Path, config: Mapping[str, object] | None = None
    ) -> None:
        self._calls = Calls(program.counts, folder / "gateway")
        self.gateway = Gateway(
            folder / "gateway", config, env=self._calls.env, binary=program.binary
        )

    def __enter__(self) -> Service:
        self.gateway.__enter__()
        return self

    def __exit__(self, *how: object) -> None:
        self.gateway.__exit__(*how)

    @contextlib.contextmanager
    def measured(self) -> Iterator[Cost]:
        before = self._calls.counts()
        with watched(self.gateway.process.pid) as cost:
            yield cost
        add_difference(cost, before, self._calls.counts())

    def _post(self, source: Source, targets: Sequence[str]) -> Reply:
        words = {"early": "1"}
        if source.compression:
            words["compression"] = source.compression
        if not source.rate:
            return self.gateway.post(source.path, targets, seconds=SECONDS, **words)
        with arriving(source) as pipe:
            return self.gateway.post(pipe, targets, chunked=True, seconds=SECONDS, **words)

    def push(self, source: Source, targets: Sequence[str]) -> Cost:
        with self.measured() as cost:
            reply = self._post(source, targets)
        pushed(reply, len(targets))
        return cost

    def push_held(self, digest: str, targets: Sequence[str]) -> Cost:
        """What the gateway has goes on to other targets."""
        order = json.dumps({"image": digest, "to": list(targets)}).encode()
        with self.measured() as cost:
            reply = self.gateway.request(
                "/v1/pushes", method="POST", data=order, seconds=SECONDS,
                headers=["Content-Type: application/json"],
            )
        pushed(reply, len(targets))
        return cost

    def hold(self, source: Source, targets: Sequence[str]) -> str:
        """The digest of what it has now."""
        digest: str = pushed(self._post(source, targets), len(targets))[0]["digest"]
        return digest


class Handed(Command):
    """`slipway push --gateway`: what it and the gateway cost together."""

    def __init__(self, program: Program, folder: Path) -> None:
        super().__init__(program, folder / "client")
        self._service = Service(program, folder)

    def __enter__(self) -> Handed:
        self._service.__enter__()
        return self

    def __exit__(self, *how: object) -> None:
        self._service.__exit__(*how)

    def _options(self) -> list[str | Path]:
        return ["--gateway", self._service.gateway.url]

    def push(self, source: Source, targets: Sequence[str]) -> Cost:
        with self._service.measured() as served:
            cost = super().push(source, targets)
        served.wall_s = 0
        return total([cost, served])


Way = type[Skopeo] | type[Command] | type[Service]

# By the last word of a row's full name.
CONTENDERS: dict[str, Way] = {
    "skopeo": Skopeo,
    "command": Command,
    "gateway": Service,
    "handed": Handed,
}


@contextlib.contextmanager
def new_one(way: Way, program: Program, folder: Path) -> Iterator[Skopeo | Command | Service]:
    """One that knows nothing, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(dir=folder) as own, way(program, Path(own)) as contender:
        yield contender
