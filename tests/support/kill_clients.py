"""Clients of a gateway that may be killed at any moment: each works until the gateway is gone, and
remembers what was answered.

A gateway that collects forgets what nothing needs once its grace is over. A client that took longer
than that since a blob was said to be there begins its image anew; such pauses are counted.
"""
from __future__ import annotations

import http.client
import io
import json
import random
import tarfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

from support.curl import images_path
from support.front import BYTES, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, descriptor
from support.front import manifest_of, path_of, to_json, with_digest
from support.pulled import sha256

LAYER_BYTES = 60_000
KINDS = ("nowhere", "stored", "pushed")
# Of the clients' own measure: an answer is on its way for a while.
GRACE_SECONDS = 0.9


class Over(Exception):
    """The round is, for this client."""


class Paused(Exception):
    """The client took so long that a blob may have been collected."""


class Session:
    """An upload that its client has not closed."""

    def __init__(self, repository: str, location: str, data: bytes) -> None:
        self.repository = repository
        self.location = location
        self.data = data
        self.acknowledged = 0
        self.closing = False


class Client:
    """What all of them do. `tags` are those of the registry that have been acknowledged; `held`
    those of the gateway."""

    def __init__(self, number: int, seed: str, registry: str) -> None:
        self._chance = random.Random(f"{seed} {type(self).__name__} {number}")
        self._number = number
        self._registry = registry
        self._images = 0
        self._connection: http.client.HTTPConnection | None = None
        self._ending = threading.Event()
        self.tags: dict[tuple[str, str], str] = {}
        self.held: dict[tuple[str, str], str] = {}
        self.complaints: list[str] = []
        self.pauses = 0

    def work(self, port: int, ending: threading.Event) -> None:
        """A round. `ending` is set before the gateway is."""
        self._ending = ending
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            self._go_on()
            while True:
                try:
                    self._images += 1
                    self._push_image()
                except Paused:
                    self.pauses += 1
        except (OSError, http.client.HTTPException) as error:
            if not ending.is_set():
                self.complaints.append(f"a connection ended under its request: {error!r}")
        except Over:
            pass
        finally:
            self._connection.close()

    def _go_on(self) -> None:
        """With what the last round has left."""

    def _push_image(self) -> None:
        raise NotImplementedError

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        assert self._connection is not None
        self._connection.request(method, path, body, dict(headers or {}))
        reply = self._connection.getresponse()
        return reply, reply.read()

    def _ask(
        self,
        wanted: int,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        said: float | None = None,
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """`said`: when the gateway said first that all is there that the request needs."""
        reply, content = self._send(method, path, body, headers)
        if reply.status == wanted:
            return reply, content
        if said and reply.status in (404, 409) and time.monotonic() > said + GRACE_SECONDS:
            raise Paused
        if not self._ending.is_set():
            self.complaints.append(f"{method} {path}: {reply.status} {content[:500]!r}")
        raise Over


class FrontClient(Client):
    """A registry client: blobs in each way, manifests, tags, and deletions of what goes nowhere."""

    def __init__(self, number: int, seed: str, registry: str) -> None:
        super().__init__(number, seed, registry)
        self.session: Session | None = None
        self.tried: dict[str, list[str]] = defaultdict(list)  # under "latest", in this order
        self.kept: dict[str, int] = {}  # which of them was answered for last

    def repositories(self) -> list[str]:
        """Of each kind one."""
        return [f"{kind}/client{self._number}" for kind in KINDS]

    # Blobs

    def _begin(self, repository: str, data: bytes) -> Session:
        reply, _ = self._ask(202, "POST", f"/v2/{repository}/blobs/uploads/")
        self.session = Session(repository, path_of(reply.headers["Location"]), data)
        return self.session

    def _patch(self, session: Session, end: int) -> None:
        at = session.acknowledged
        head = {"Content-Type": BYTES, "Content-Range": f"{at}-{end - 1}"}
        self._ask(202, "PATCH", session.location, session.data[at:end], head)
        session.acknowledged = end

    def _close(self, session: Session) -> None:
        session.closing = True
        path = with_digest(session.location, sha256(session.data))
        self._ask(201, "PUT", path, session.data[session.acknowledged :], {"Content-Type": BYTES})
        self.session = None

    def _go_on(self) -> None:
        """The session that the last round ended. Nothing that was acknowledged is missing, but it
        may be over when its end was under way."""
        session = self.session
        if session is None:
            return
        reply, _ = self._send("GET", session.location)
        if reply.status == 404 and session.closing:
            self.session = None
            return
        if reply.status != 204:
            self.complaints.append(f"session with {session.acknowledged} bytes: {reply.status}")
            self.session = None
            return
        last = int(reply.headers["Range"].removeprefix("0-"))
        there = last + 1 if last else 0
        if not session.acknowledged <= there <= len(session.data):
            self.complaints.append(f"session with {session.acknowledged} bytes has {there}")
        session.acknowledged = there
        self._close(session)

    def _push_blob(self, repository: str, data: bytes) -> None:
        way = self._chance.choice(("head", "put", "pieces", "whole", "mount"))
        path = f"/v2/{repository}/blobs/uploads/"
        if way == "head":
            reply, _ = self._send("HEAD", f"/v2/{repository}/blobs/{sha256(data)}")
            if reply.status == 200:
                return
        if way == "mount":
            source = self._chance.choice(self.repositories())
            reply, _ = self._send("POST", f"{path}?mount={sha256(data)}&from={source}")
            if reply.status == 201:
                return
            if reply.status == 202:
                self.session = Session(repository, path_of(reply.headers["Location"]), data)
                self._close(self.session)
                return
        if way == "whole":
            head = {"Content-Type": BYTES}
            self._ask(201, "POST", f"{path}?digest={sha256(data)}", data, head)
            return
        session = self._begin(repository, data)
        if way == "pieces":
            self._patch(session, len(data) // 2)
        self._close(session)

    # Images

    def _push_image(self) -> None:
        repository = self._chance.choice(self.repositories())
        config = to_json({"os": "linux", "author": f"client {self._number}, {self._images}"})
        own = self._chance.randbytes(self._chance.randrange(2, LAYER_BYTES))
        shared = b"layer of all, number %d" % self._chance.randrange(20)
        said = time.monotonic()
        for data in (config, own, shared):
            self._push_blob(repository, data)
        layers = (descriptor(OCI_LAYER, own), descriptor(OCI_LAYER, shared))
        manifest = to_json(manifest_of(descriptor(OCI_CONFIG, config), *layers))
        self._put(repository, f"t{self._images}", manifest, said)
        if self._chance.random() < 0.5:
            self.tried[repository].append(sha256(manifest))
            self._put(repository, "latest", manifest, said)
            self.kept[repository] = len(self.tried[repository]) - 1
        elif repository.startswith("nowhere/") and self._chance.random() < 0.5:
            self._delete(repository, f"t{self._images}")

    def _put(self, repository: str, tag: str, manifest: bytes, said: float) -> None:
        path = f"/v2/{repository}/manifests/{tag}"
        self._ask(201, "PUT", path, manifest, {"Content-Type": OCI_MANIFEST}, said=said)
        if tag == "latest":
            return
        self.held[repository, tag] = sha256(manifest)
        if not repository.startswith("nowhere/"):
            self.tags[repository, tag] = sha256(manifest)

    def _delete(self, repository: str, tag: str) -> None:
        digest = self.held.pop((repository, tag))
        self._ask(202, "DELETE", f"/v2/{repository}/manifests/{digest}")

    def latest(self, repository: str) -> list[str]:
        """What may be there under "latest": what was answered for last, or came later."""
        return self.tried[repository][self.kept[repository] :]


class Collector(Client):
    """Somebody who has the gateway collect, again and again."""

    def _push_image(self) -> None:
        reply, content = self._send("POST", "/v1/gc", b"{}", {"Content-Type": "application/json"})
        if reply.status not in (200, 409) and not self._ending.is_set():
            self.complaints.append(f"POST /v1/gc: {reply.status} {content[:500]!r}")
        if self._ending.wait(self._chance.uniform(0, 0.2)):
            raise Over


def tar_of(members: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def save_of(config: bytes, layers: list[bytes], name: str) -> bytes:
    """An archive as docker save makes it."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    entry = {"Config": "config.json", "RepoTags": [name], "Layers": names}
    manifest = {"manifest.json": to_json([entry]), "config.json": config}
    return tar_of({**dict(zip(names, layers)), **manifest})


class ArchiveClient(Client):
    """Hands in archives, layers and configs, and pushes what is held once more: waits for the
    registry, or takes the gateway's promise."""

    def _push_image(self) -> None:
        own = self._chance.randbytes(self._chance.randrange(2, LAYER_BYTES))
        shared = b"%d" % self._chance.randrange(20)
        layers = [tar_of({"own": own}), tar_of({"shared": shared})]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "author": f"archives {self._number}, {self._images}",
            "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        }
        push: Callable[[bytes, list[bytes]], None] = self._chance.choice(
            (self._archive, self._promised_archive, self._layers)
        )
        push(to_json(config), layers)

    def _target(self) -> tuple[str, str]:
        return f"archives/client{self._number}", f"t{self._images}"

    def _to(self, repository: str, tag: str) -> str:
        return f"{self._registry}/{repository}:{tag}"

    def _pushed(self, content: bytes, repository: str, tag: str) -> str:
        (result,) = json.loads(content)["results"]
        if result["state"] != "pushed":
            self.complaints.append(f"{repository}:{tag}: 200 and {result}")
        self.tags[repository, tag] = result["digest"]
        return str(result["digest"])

    def _archive(self, config: bytes, layers: list[bytes]) -> None:
        target = self._target()
        body = save_of(config, layers, "any/name:1")
        said = time.monotonic()
        _, content = self._ask(200, "POST", images_path([self._to(*target)]), body)
        digest = self._pushed(content, *target)
        self._images += 1
        self._held(digest, said)

    def _held(self, digest: str, said: float) -> None:
        """What is held goes to another repository."""
        repository, tag = f"again/client{self._number}", f"t{self._images}"
        body = to_json({"image": digest, "to": [self._to(repository, tag)]})
        head = {"Content-Type": "application/json"}
        reply, content = self._send("POST", "/v1/pushes", body, head)
        if reply.status == 200:
            self._pushed(content, repository, tag)
        elif reply.status == 422 and time.monotonic() > said + GRACE_SECONDS:
            raise Paused
        else:
            if not self._ending.is_set():
                self.complaints.append(f"POST /v1/pushes: {reply.status} {content[:500]!r}")
            raise Over

    def _promised_archive(self, config: bytes, layers: list[bytes]) -> None:
        repository, tag = f"stored/archives{self._number}", f"t{self._images}"
        body = save_of(config, layers, f"{repository}:{tag}")
        _, content = self._ask(202, "POST", "/v1/images", body)
        self.tags[repository, tag] = json.loads(content)["image"]["manifest"]

    def _layers(self, config: bytes, layers: list[bytes]) -> None:
        target = self._target()
        said = time.monotonic()
        for layer in layers:
            self._ask(201, "POST", f"/v1/layers?diff_id={sha256(layer)}", layer)
        path = images_path([self._to(*target)])
        _, content = self._ask(200, "POST", path, config, {"Content-Type": OCI_CONFIG}, said=said)
        self._pushed(content, *target)
