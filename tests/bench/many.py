"""Many small images at once, as a build farm pushes them: archives, or through the registry API."""
from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.contenders import Skopeo, Source
from bench.cost import Cost, total
from bench.images import SmallImage
from support.curl import images_path
from support.front import OCI_MANIFEST, with_digest
from support.pulled import sha256

CLIENTS = 16
REPOSITORIES = 10


class Wire:
    """A connection that costs next to nothing: 16 clients and a gateway share the machine, and it is
    not the clients that are measured. Answers are taken as the gateway gives them: with a length."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = self._socket.makefile("rb")

    def close(self) -> None:
        self._answers.close()
        self._socket.close()

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream"
    ) -> tuple[int, str, bytes]:
        """Status, Location and body."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status = int(self._answers.readline().split()[1])
        location, length = "", 0
        while (line := self._answers.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"location":
                location = value.strip().decode()
            elif name.lower() == b"content-length":
                length = int(value)
        answer = self._answers.read(length) if length > 0 and method != "HEAD" else b""
        return status, location, answer

    def expect(self, status: int, method: str, path: str, body: bytes = b"", **more: str) -> str:
        answer = self.ask(method, path, body, **more)
        assert answer[0] == status, (method, path, answer)
        return answer[1]


# Pushes an image as REPOSITORY:TAG by way of the gateway that the client is connected to.
Push = Callable[[Wire, str, str, SmallImage], None]
# The same for a client that stands.
Client = Callable[[str, str, SmallImage], None]
Connect = Callable[[], contextlib.AbstractContextManager[Client]]


def connection(port: int, push: Push) -> Connect:
    """Clients of a gateway, each with a connection that it keeps."""

    @contextlib.contextmanager
    def connect() -> Iterator[Client]:
        with contextlib.closing(Wire(port)) as wire:
            yield lambda repository, tag, image: push(wire, repository, tag, image)

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

    def push(wire: Wire, repository: str, tag: str, image: SmallImage) -> None:
        path = images_path([f"{host}/{repository}:{tag}"])
        status, _, answer = wire.ask("POST", path, image.archive.read_bytes())
        assert status == 200 and json.loads(answer)["state"] == "pushed", (path, answer)

    return push


def registry_push(wire: Wire, repository: str, tag: str, image: SmallImage) -> None:
    """As docker does: each blob that is not there goes in one PATCH, then the manifest."""
    below = f"/v2/{repository}"
    for data in (*image.layers, image.config):
        digest = sha256(data)
        if wire.ask("HEAD", f"{below}/blobs/{digest}")[0] == 200:
            continue
        session = wire.expect(202, "POST", f"{below}/blobs/uploads/")
        session = wire.expect(202, "PATCH", session, data)
        wire.expect(201, "PUT", with_digest(session, digest))
    wire.expect(201, "PUT", f"{below}/manifests/{tag}", image.manifest, kind=OCI_MANIFEST)


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
