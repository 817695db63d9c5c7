"""A gateway is after a thousand pushes what it was before: threads, descriptors, memory.

In CI there are fewer of them; all with SLIPWAY_LONG=1. Measured on the build without sanitizers,
which keep what was freed.
"""
from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support.archives import docker_save_new
from support.curl import images_path
from support.front import Front
from support.gateway import Gateway
from support.images import Image, files_layer, image_config
from support.processes import Process
from support.sink import Sink

LONG = os.environ.get("SLIPWAY_LONG") == "1"
PUSHES = 1000 if LONG else 150
CLIENTS = 8
# As many pushes bring all that is made once and kept: connections, arenas, pages of the tables.
WARM_UP = 100
MIB = 1 << 20
# The allocator's own, and the records in memory of the pushes that ended.
MORE_BYTES = 4 * MIB
MORE_THREADS = 2
# Warm connections to the registry, which are kept for a while: docs/configuration.md, as limits of
# what is on its way there, and one.
WARM_CONNECTIONS = 5 + 16 + 1
# Workers that have nothing to do have ended by then.
IDLE_SECONDS = 3.0
SECONDS = 30.0

Push = Callable[[Front, int], None]


@dataclass(frozen=True)
class State:
    threads: int
    connections: int
    other_descriptors: int
    memory: int


def state_of(process: Process) -> State:
    proc = Path(f"/proc/{process.pid}")
    (memory,) = (
        int(line.split()[1]) << 10
        for line in (proc / "status").read_text().splitlines()
        if line.startswith("RssAnon:")
    )
    descriptors = process.descriptors()
    sockets = sum(name.startswith("socket:") for name in descriptors)
    return State(len(os.listdir(proc / "task")), sockets, len(descriptors) - sockets, memory)


def no_more_than(state: State, before: State) -> bool:
    return (
        state.threads <= before.threads + MORE_THREADS
        and state.connections <= before.connections + WARM_CONNECTIONS
        and state.other_descriptors <= before.other_descriptors
        and state.memory <= before.memory + MORE_BYTES
    )


def push_all(port: int, push: Push, start: int, count: int) -> None:
    def client(number: int) -> None:
        with Front(port) as front:
            for one in range(start + number, start + count, CLIENTS):
                push(front, one)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))


def archives(folder: Path, host: str) -> Push:
    """The same `docker save` to as many repositories as there are pushes."""
    layers = tuple(files_layer(folder / f"{number}.tar", f"{number}", ()) for number in range(3))
    image = Image(image_config(layers, "thousand"), layers)
    data = docker_save_new([(image, ["m/thousand:1"])], folder / "image.tar").read_bytes()

    def push(front: Front, number: int) -> None:
        reply = front.ask("POST", images_path([f"{host}/thousand/{number}:1"]), data)
        assert reply.status == 200 and reply.json()["state"] == "pushed", reply

    return push


def images(front: Front, number: int) -> None:
    """Each another one, by the registry API."""
    front.tagged(f"team/app-{number % CLIENTS}", f"v{number}")


def test_nothing_is_left(release: Path, tmp_path: Path) -> None:
    sink = release.parent / "tests/bench_sink"
    with Sink(sink, tmp_path / "sink") as registry:
        config = {
            "limits": {"uploads": 4 * CLIENTS},
            "mirrors": [{"match": "**", "to": [f"{registry.host}/**"]}],
        }
        with Gateway(tmp_path / "gateway", config, binary=release) as gateway:
            for push in (archives(tmp_path, registry.host), images):
                push_all(gateway.port, push, 0, WARM_UP)
                time.sleep(IDLE_SECONDS)
                before = state_of(gateway.process)
                push_all(gateway.port, push, WARM_UP, PUSHES)
                end = time.monotonic() + SECONDS
                after = state_of(gateway.process)
                while not no_more_than(after, before) and time.monotonic() < end:
                    time.sleep(0.2)
                    after = state_of(gateway.process)
                print(f"before {before}, after {PUSHES} pushes {after}")
                assert no_more_than(after, before)
