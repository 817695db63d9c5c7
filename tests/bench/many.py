"""Many small images at once, as a build farm pushes them: archives, or through the registry API."""
from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.contenders import Skopeo, Source
from bench.cost import Cost, total
from bench.images import SmallImage
from support.curl import images_path
from support.front import Front
from support.pulled import sha256

CLIENTS = 16
REPOSITORIES = 10

# Pushes an image as REPOSITORY:TAG by way of the gateway that the client is connected to.
Push = Callable[[Front, str, str, SmallImage], None]
# The same for a client that stands.
Client = Callable[[str, str, SmallImage], None]
Connect = Callable[[], contextlib.AbstractContextManager[Client]]


def connection(port: int, push: Push) -> Connect:
    """Clients of a gateway, each with a connection that it keeps."""

    @contextlib.contextmanager
    def connect() -> Iterator[Client]:
        with Front(port) as front:
            yield lambda repository, tag, image: push(front, repository, tag, image)

    return connect


def copies(skopeo: Skopeo, host: str) -> tuple[Connect, list[Cost]]:
    """Each image is a `skopeo copy`; what they cost is added to the list."""
    costs: list[Cost] = []

    def push(repository: str, tag: str, image: SmallImage) -> None:
        costs.append(skopeo.push(Source(image.archive), [f"{host}/{repository}:{tag}"]))

    return lambda: contextlib.nullcontext(push), costs


def total_of(costs: list[Cost], push_all: Callable[[], None]) -> Cost:
    """What `push_all` adds to the list; seconds are those of the clock, the peak is that of one."""
    start = time.monotonic()
    push_all()
    wall = time.monotonic() - start
    cost = total(costs)
    cost.wall_s = wall
    return cost


def archive_push(host: str) -> Push:
    """POST /v1/images of a `docker save` for this registry."""

    def push(client: Front, repository: str, tag: str, image: SmallImage) -> None:
        path = images_path([f"{host}/{repository}:{tag}"])
        reply = client.ask("POST", path, image.archive.read_bytes())
        assert reply.status == 200 and reply.json()["state"] == "pushed", (path, reply)

    return push


def registry_push(client: Front, repository: str, tag: str, image: SmallImage) -> None:
    """As docker does: each blob that is not there goes in one PATCH, then the manifest."""
    for data in (*image.layers, image.config):
        digest = sha256(data)
        if client.blob(repository, digest, "HEAD").status == 200:
            continue
        location = client.begin(repository)
        reply = client.patch(location, data)
        assert reply.status == 202, reply
        reply = client.finish(reply.headers["location"], digest)
        assert reply.status == 201, reply
    client.must_put(repository, tag, image.manifest)


def push_bases(connect: Connect, base: SmallImage, images: int) -> None:
    """Each repository of so many images gets what they have in common."""
    with connect() as push:
        for number in range(min(REPOSITORIES, images)):
            push(f"many/app-{number}", "base", base)


def push_images(connect: Connect, images: Iterable[SmallImage]) -> None:
    """All of them, by CLIENTS at a time."""
    work = enumerate(images)
    lock = threading.Lock()

    def next_ones() -> Iterator[tuple[int, SmallImage]]:
        while True:
            with lock:
                found = next(work, None)
            if found is None:
                return
            yield found

    def client(_: int) -> None:
        with connect() as push:
            for number, image in next_ones():
                push(f"many/app-{number % REPOSITORIES}", f"v{number}", image)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
