"""Clients push, mount, pull and delete images that share layers, while what nobody needs is collected.

No push may fail for a blob that its client was told is there less than the grace ago; those that took
longer are counted, and those of them that failed. At the end the store has what the images that are left
need, and nothing else. With SLIPWAY_LONG=1 it goes on for 100,000 operations over 400 collections, or
SLIPWAY_SOAK_OPERATIONS and as many collections for each, and prints how far it is.
"""
from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path

from support.command import slipway
from support.curl import Reply
from support.front import OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, path_of, sha256, to_json
from support.gateway import Gateway, files_below

LONG = os.environ.get("SLIPWAY_LONG") == "1"
OPERATIONS = int(os.environ.get("SLIPWAY_SOAK_OPERATIONS", "100000")) if LONG else 60
COLLECTIONS = OPERATIONS // 250 if LONG else 3
CLIENTS = 24 if LONG else 8
PAUSE_S = 0.2  # the most between two steps of a push
GRACE_S = 1.0
LAYERS = [f"shared layer {number} ".encode() * 50 for number in range(48)]
REPOSITORIES = [f"soak/{name}" for name in "abcdef"]
TAGS = [str(number) for number in range(6)]


class Shared:
    """What the clients and the collector tell each other."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        self.stop = threading.Event()

    def count(self, what: str) -> int:
        with self.lock:
            self.counts[what] += 1
            return self.counts[what]

    def wrong(self, what: str) -> None:
        with self.lock:
            self.broken.append(what)
        self.stop.set()


class Client(threading.Thread):
    """Pushes and deletes what it likes; two may well do so with the same tag."""

    def __init__(self, port: int, shared: Shared, number: int) -> None:
        super().__init__()
        self.front = Front(port)
        self.shared = shared
        self.random = random.Random(number)

    def run(self) -> None:
        steps = (self.push, self.push, self.push, self.remove_tag, self.remove_manifest, self.pull)
        try:
            with self.front:
                while not self.shared.stop.is_set():
                    self.random.choice(steps)()
                    self.shared.count("operations")
        except Exception as error:  # noqa: BLE001
            self.shared.wrong(repr(error))

    def pause(self) -> None:
        time.sleep(self.random.uniform(0, PAUSE_S))

    def bring(self, repository: str, data: bytes) -> float:
        """As clients do: asked for, mounted, or sent. When that was told."""
        digest = sha256(data)
        told = time.monotonic()
        if self.front.blob(repository, digest, "HEAD").status == 200:
            self.shared.count("told")
            return told
        other = self.random.choice(["", *(f"&from={name}" for name in REPOSITORIES)])
        told = time.monotonic()
        reply = self.front.ask("POST", f"/v2/{repository}/blobs/uploads/?mount={digest}{other}")
        if reply.status == 201:
            self.shared.count("mounted")
            return told
        assert reply.status == 202, reply
        self.pause()
        told = time.monotonic()
        reply = self.front.finish(path_of(reply.headers["location"]), digest, data)
        assert reply.status == 201, reply
        self.shared.count("sent")
        return told

    def push(self) -> None:
        repository = self.random.choice(REPOSITORIES)
        layers = self.random.sample(LAYERS, self.random.randint(1, 4))
        config = to_json({"architecture": "amd64", "os": "linux", "author": str(self.random.random())})
        told = []
        for data in (*layers, config):
            told.append(self.bring(repository, data))
            self.pause()
        document = to_json(
            manifest_of(
                descriptor(OCI_CONFIG, config), *(descriptor(OCI_LAYER, data) for data in layers)
            )
        )
        reply = self.front.put(repository, self.random.choice(TAGS), document)
        slow = time.monotonic() - min(told) > GRACE_S
        if slow:
            self.shared.count("slower than the grace")
        if reply.status == 201:
            self.shared.count("pushed")
        elif slow:
            self.shared.count("failed after the grace")
        else:
            self.shared.wrong(f"{repository}: {reply.status} {reply.body!r}")

    def remove_tag(self) -> None:
        repository, tag = self.random.choice(REPOSITORIES), self.random.choice(TAGS)
        reply = self.front.ask("DELETE", f"/v2/{repository}/manifests/{tag}")
        assert reply.status in (202, 404), reply

    def remove_manifest(self) -> None:
        repository, tag = self.random.choice(REPOSITORIES), self.random.choice(TAGS)
        reply = self.front.manifest(repository, tag, "HEAD")
        if reply.status == 200:
            digest = reply.headers["docker-content-digest"]
            assert self.front.ask("DELETE", f"/v2/{repository}/manifests/{digest}").status in (202, 404)

    def pull(self) -> None:
        """What a tag names is there as a whole, unless somebody has deleted or moved the tag."""
        repository, tag = self.random.choice(REPOSITORIES), self.random.choice(TAGS)
        reply = self.front.manifest(repository, tag)
        if reply.status != 200:
            return
        for part in parts_of(reply):
            found = self.front.blob(repository, part["digest"])
            if found.status == 200:
                continue
            again = self.front.manifest(repository, tag, "HEAD")
            same = again.headers.get("docker-content-digest") == sha256(reply.body)
            if same:
                self.shared.wrong(f"{repository}:{tag} lacks {part['digest']}")
        self.shared.count("pulled")


def parts_of(reply: Reply) -> list[dict[str, object]]:
    document = json.loads(reply.body)
    return [document["config"], *document["layers"]]


def collect(gateway: Gateway, **body: object) -> dict[str, object]:
    reply = gateway.request(
        "/v1/gc",
        method="POST",
        data=json.dumps(body).encode(),
        headers=["Content-Type: application/json"],
    )
    if reply.status == 409:
        return {"gone": {"blobs": 0}}
    assert reply.status == 200, reply.body
    found: dict[str, object] = reply.json()
    return found


def needed(front: Front) -> dict[str, int]:
    """Digest -> size of all that the tags which are left need."""
    sizes: dict[str, int] = {}
    for repository in REPOSITORIES:
        for tag in TAGS:
            reply = front.manifest(repository, tag)
            if reply.status == 200:
                sizes[sha256(reply.body)] = len(reply.body)
                sizes.update({part["digest"]: part["size"] for part in parts_of(reply)})
    return sizes


def test_no_push_fails_while_blobs_are_collected(tmp_path: Path) -> None:
    config = {"keep": {"grace": "1s", "untagged": "1s", "every": "720h"}}
    shared = Shared()
    gone = collections = 0
    with Gateway(tmp_path / "gateway", config) as gateway:
        clients = [Client(gateway.port, shared, number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        while not shared.stop.is_set():
            gone += collect(gateway)["gone"]["blobs"]
            collections += 1
            if LONG and collections % 20 == 0:
                print(f"{collections} collections, {gone} blobs gone, {dict(shared.counts)}", flush=True)
            if shared.counts["operations"] >= OPERATIONS and collections >= COLLECTIONS:
                shared.stop.set()
            shared.stop.wait(0.3)
        for client in clients:
            client.join()
        print(f"{collections} collections, {gone} blobs gone, {dict(shared.counts)}")
        assert not shared.broken, shared.broken
        with Front(gateway.port) as front:
            sizes = needed(front)
        deadline = time.monotonic() + 30
        report = collect(gateway, dry_run=True)
        while report["held"]["blobs"] != len(sizes) and time.monotonic() < deadline:
            time.sleep(0.2)  # until the grace of the last ones is over
            report = collect(gateway)
            gone += report["gone"]["blobs"]
        report = collect(gateway)
        assert report["held"] == report["needed"] == {"blobs": len(sizes), "bytes": sum(sizes.values())}
        assert report["leased"]["blobs"] == report["gone"]["blobs"] == report["unreadable"] == 0
        assert report["members"] == report["manifests"] == 0
        files = {Path(name).name for name in files_below(gateway.data / "blobs")}
        assert files == {digest.split(":")[1] for digest in sizes}
        assert gone > 0 and shared.counts["pushed"] > 0
        assert not files_below(gateway.data / "uploads") and not gateway.staged()
        gateway.process.stop()
        checked = slipway(gateway.folder, "check", "--data", gateway.data)
        assert checked.returncode == 0, checked
