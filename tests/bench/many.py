"""Many small images at once, as a build farm pushes them: archives, or through the registry API."""
from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.images import SmallImage
from support.curl import images_path
from support.front import Front
from support.pulled import sha256

CLIENTS = 16
REPOSITORIES = 10

# Pushes an image as REPOSITORY:TAG by way of the gateway that the client is connected to.
Push = Callable[[Front, str, str, SmallImage], None]


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


def push_bases(port: int, push: Push, base: SmallImage) -> None:
    """Each repository gets what all its images have in common."""
    with Front(port) as client:
        for number in range(REPOSITORIES):
            push(client, f"many/app-{number}", "base", base)


def push_images(port: int, push: Push, images: Iterable[SmallImage]) -> None:
    """All of them, by CLIENTS at a time, each with a connection that it keeps."""
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
        with Front(port) as connection:
            for number, image in next_ones():
                push(connection, f"many/app-{number % REPOSITORIES}", f"v{number}", image)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(client, range(CLIENTS)))
