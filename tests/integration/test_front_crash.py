"""The gateway is killed again and again under its clients: what it answered for is there.

Clients push small images into three repositories each, one that goes nowhere, one whose pushes are
promised and one whose pushes are waited for. In most rounds the gateway gets a SIGKILL at a random
moment, in some a SIGTERM and another one. The next round has the same data folder. Whatever was
answered 201 has to be there afterwards, here and in the registry; a session that was not closed
goes on where it was.
"""
from __future__ import annotations

import http.client
import random
import secrets
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.front import BYTES, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Front, descriptor
from support.front import manifest_of, path_of, to_json, with_digest
from support.gateway import Gateway, files_below
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

ROUNDS = 15
MOST_ROUNDS = 60
ORDERLY = 5  # every so many rounds the end is a SIGTERM
CLIENTS = 4
LONGEST_SECONDS = 1.2
LAYER_BYTES = 60_000
DELIVERY_SECONDS = 60.0
KINDS = ("nowhere", "stored", "pushed")


class Over(Exception):
    """The round is, for this client."""


class Session:
    """An upload that its client has not closed."""

    def __init__(self, repository: str, location: str, data: bytes) -> None:
        self.repository = repository
        self.location = location
        self.data = data
        self.acknowledged = 0
        self.closing = False


class Client:
    """One who pushes until the gateway is gone, and remembers what was answered."""

    def __init__(self, number: int, seed: str) -> None:
        self._chance = random.Random(f"{seed} {number}")
        self._number = number
        self._images = 0
        self._connection: http.client.HTTPConnection | None = None
        self._ending = threading.Event()
        self.session: Session | None = None
        self.blobs: dict[tuple[str, str], int] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.tried: dict[str, list[str]] = defaultdict(list)  # under "latest", in this order
        self.kept: dict[str, int] = {}  # which of them was answered for last
        self.complaints: list[str] = []

    def repositories(self) -> list[str]:
        """Of each kind one."""
        return [f"{kind}/client{self._number}" for kind in KINDS]

    def work(self, port: int, ending: threading.Event) -> None:
        """A round. `ending` is set before the gateway is."""
        self._ending = ending
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            self._go_on()
            while True:
                self._push_image()
        except (OSError, http.client.HTTPException) as error:
            if not ending.is_set():
                self.complaints.append(f"a connection ended under its request: {error!r}")
        except Over:
            pass
        finally:
            self._connection.close()

    def _ask(
        self,
        wanted: int,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        assert self._connection is not None
        self._connection.request(method, path, body, dict(headers or {}))
        reply = self._connection.getresponse()
        content = reply.read()
        if reply.status != wanted:
            if not self._ending.is_set():
                self.complaints.append(f"{method} {path}: {reply.status} {content[:500]!r}")
            raise Over
        return reply

    # Blobs

    def _begin(self, repository: str, data: bytes) -> Session:
        reply = self._ask(202, "POST", f"/v2/{repository}/blobs/uploads/")
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
        self._have(session.repository, session.data)

    def _go_on(self) -> None:
        """The session that the last round ended. Nothing that was acknowledged is missing, but it
        may be over when its end was under way."""
        session = self.session
        assert self._connection is not None
        if session is None:
            return
        self._connection.request("GET", session.location)
        reply = self._connection.getresponse()
        reply.read()
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

    def _have(self, repository: str, data: bytes) -> None:
        self.blobs[repository, sha256(data)] = len(data)

    def _push_blob(self, repository: str, data: bytes) -> None:
        way = self._chance.choice(("put", "pieces", "whole", "mount"))
        path = f"/v2/{repository}/blobs/uploads/"
        sources = [r for r in self.repositories() if (r, sha256(data)) in self.blobs]
        if way == "mount" and sources:
            self._ask(201, "POST", f"{path}?mount={sha256(data)}&from={sources[0]}")
        elif way == "whole":
            head = {"Content-Type": BYTES}
            self._ask(201, "POST", f"{path}?digest={sha256(data)}", data, head)
        else:
            session = self._begin(repository, data)
            if way == "pieces":
                self._patch(session, len(data) // 2)
            self._close(session)
        self._have(repository, data)

    # Images

    def _push_image(self) -> None:
        repository = self._chance.choice(self.repositories())
        self._images += 1
        config = to_json({"os": "linux", "author": f"client {self._number}, {self._images}"})
        own = self._chance.randbytes(self._chance.randrange(2, LAYER_BYTES))
        shared = b"layer of all, number %d" % self._chance.randrange(20)
        for data in (config, own, shared):
            self._push_blob(repository, data)
        layers = (descriptor(OCI_LAYER, own), descriptor(OCI_LAYER, shared))
        manifest = to_json(manifest_of(descriptor(OCI_CONFIG, config), *layers))
        self._put(repository, f"t{self._images}", manifest)
        if self._chance.random() < 0.5:
            self.tried[repository].append(sha256(manifest))
            self._put(repository, "latest", manifest)
            self.kept[repository] = len(self.tried[repository]) - 1

    def _put(self, repository: str, tag: str, manifest: bytes) -> None:
        path = f"/v2/{repository}/manifests/{tag}"
        self._ask(201, "PUT", path, manifest, {"Content-Type": OCI_MANIFEST})
        if tag != "latest":
            self.tags[repository, tag] = sha256(manifest)

    def latest(self, repository: str) -> list[str]:
        """What may be there under "latest": what was answered for last, or came later."""
        return self.tried[repository][self.kept[repository] :]


def configuration(registry: Registry, session: str) -> dict[str, Any]:
    return {
        "limits": {"upload_session": session},
        "registries": {registry.host: {"retry_wait": "50ms"}},
        "mirrors": [
            {
                "match": f"{acknowledge}/*",
                "to": [f"{registry.host}/{acknowledge}/*"],
                "acknowledge": acknowledge,
            }
            for acknowledge in ("stored", "pushed")
        ],
    }


def end(gateway: Gateway, orderly: bool, chance: random.Random) -> None:
    if orderly:
        gateway.process.signal(signal.SIGTERM)
        time.sleep(chance.uniform(0, 0.3))  # the moment is what is tested
        gateway.process.signal(signal.SIGTERM)
        assert gateway.process.wait() in (0, 1), gateway.log()
    else:
        gateway.process.signal(signal.SIGKILL)
        assert gateway.process.wait() == -signal.SIGKILL
    gateway.process.assert_no_sanitizer_report()


def one_round(
    gateway: Gateway,
    clients: list[Client],
    orderly: bool,
    chance: random.Random,
    longest_seconds: float,
) -> None:
    gateway.start()
    ending = threading.Event()
    threads = [threading.Thread(target=c.work, args=(gateway.port, ending)) for c in clients]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0, longest_seconds))  # the moment is what is tested
    ending.set()
    end(gateway, orderly, chance)
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()


def check_gateway(front: Front, client: Client) -> None:
    for (repository, digest), size in client.blobs.items():
        reply = front.blob(repository, digest)
        assert (reply.status, len(reply.body)) == (200, size), (repository, digest)
        assert sha256(reply.body) == digest
    for (repository, tag), digest in client.tags.items():
        reply = front.manifest(repository, tag)
        assert (reply.status, sha256(reply.body)) == (200, digest), (repository, tag)
    for repository in client.kept:
        reply = front.manifest(repository, "latest")
        assert reply.status == 200 and sha256(reply.body) in client.latest(repository)


def check_registry(registry: Registry, client: Client) -> None:
    def digest_at(repository: str, tag: str) -> str:
        answer = registry.manifest(repository, tag)
        return sha256(answer.body) if answer.status == 200 else ""

    for (repository, tag), digest in client.tags.items():
        if not repository.startswith("nowhere/"):
            assert digest_at(repository, tag) == digest, (repository, tag)
    for repository in client.kept:
        if not repository.startswith("nowhere/"):
            assert digest_at(repository, "latest") in client.latest(repository), repository


def test_gateway_is_killed_again_and_again(registry: Registry, tmp_path: Path) -> None:
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    chance = random.Random(seed)
    clients = [Client(number, seed) for number in range(CLIENTS)]
    gateway = Gateway(tmp_path / "gateway", configuration(registry, "1h"))
    try:
        for number in range(MOST_ROUNDS):
            if number >= ROUNDS and all(client.tags for client in clients):
                break
            # On a busy machine no image is pushed in so short a life.
            longest = LONGEST_SECONDS * (1 + number // ROUNDS)
            one_round(gateway, clients, number % ORDERLY == ORDERLY - 1, chance, longest)
            assert [c.complaints for c in clients if c.complaints] == []
    finally:
        gateway.process.stop()
    assert all(client.tags for client in clients), "some images were pushed"

    with Gateway(tmp_path / "gateway", configuration(registry, "1s")) as last:
        wait_until(lambda: promises(registry, clients), "all promises", DELIVERY_SECONDS)
        with Front(last.port) as front:
            for client in clients:
                check_gateway(front, client)
                check_registry(registry, client)
        last.wait_nothing_staged()
        wait_until(lambda: not files_below(last.data / "uploads"), "no session is left")
    with Gateway(tmp_path / "gateway", configuration(registry, "1h")) as once_more:
        assert "pending pushes go on" not in once_more.log()


def promises(registry: Registry, clients: list[Client]) -> bool:
    """Whether the registry has each promised tag; the digests are looked at afterwards."""
    for client in clients:
        repository = client.repositories()[KINDS.index("stored")]
        there = set(registry.tags(repository))
        if not {tag for name, tag in client.tags if name == repository} <= there:
            return False
    return True
