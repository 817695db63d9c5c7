"""Pushes of each kind, and a gateway on a disk that fails in one call of them."""
from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from support.command import slipway
from support.curl import Reply, images_path
from support.disk import SYNCS, Disk
from support.front import BYTES, OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, path_of
from support.front import to_json
from support.gateway import Gateway
from support.kill_clients import save_of, tar_of
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

LONG = bool(os.environ.get("SLIPWAY_LONG"))
GONE = (0, "no answer")  # the gateway has ended
REPOSITORY = "each/call"
STATUS_BROKEN = 1
CALLS_MOST = 300
# LMDB's own number, and its name.
MAP_FULL = -30792
NAMES = {**errno.errorcode, MAP_FULL: "MDB_MAP_FULL"}
# What a client may be told of a disk that fails, and nothing else.
TOLD = {
    (500, "IO_ERROR"),
    (500, "STORE_ERROR"),
    (503, "SYNC_FAILED"),
    (503, "STOPPING"),  # after that
    (507, "NO_SPACE"),
    (507, "STORE_FULL"),
}
Refusals = list[tuple[int, str]]


class Plan(NamedTuple):
    """Which calls fail, how, and how many in a row."""

    calls: str
    error: int
    times: int = 1

    def __str__(self) -> str:
        return f"{self.calls} {NAMES[self.error]}" + (f" {self.times}" if self.times > 1 else "")

    def count(self, counted: Counter[str]) -> int:
        """How many there are to begin with, by what Disk counted."""
        calls = self.calls.split(",")
        return sum(counted[call] for call in (calls if self.times == 1 else calls[:1]))


# A change of the metadata that fails in a group is tried again by itself, so two failures in a row
# are those of one change.
RECORDS = (
    Plan("put", MAP_FULL, 2),
    Plan("put", errno.EIO, 2),
    Plan("del", MAP_FULL, 2),
    Plan("commit", errno.EIO),
    Plan("commit", errno.ENOSPC, 2),
    Plan("envsync", errno.ENOSPC),
    Plan("envsync", errno.EIO),
)
FILES = (
    Plan("write", errno.EIO),
    Plan("write", errno.ENOSPC),
    Plan("short", errno.ENOSPC, 2),
    Plan("short,ftruncate", errno.EIO, 3),
    Plan("create", errno.ENOSPC),
    Plan("mkdir", errno.ENOSPC),
    Plan("rename", errno.EIO),
    Plan("link", errno.EIO),
    Plan("unlink", errno.EIO),
    Plan("mmap", errno.ENOMEM),
    Plan("fallocate", errno.EIO),
    Plan(SYNCS, errno.ENOSPC),
    Plan(SYNCS, errno.EIO),
)


def configuration(registry: Registry) -> dict[str, Any]:
    """A mirror of each kind, for the repositories of its name."""
    mirrors = [
        {"match": f"{kind}/*", "to": [f"{registry.host}/{kind}/*"], "acknowledge": kind}
        for kind in ("stored", "pushed")
    ]
    return {"mirrors": mirrors, "registries": {registry.host: {"retry_wait": "20ms"}}}


def is_served(registry: Registry, repository: str, tag: str, digest: str) -> bool:
    answer = registry.manifest(repository, tag)
    return answer.status == 200 and sha256(answer.body) == digest


class Image:
    """One that nobody else has, from a registry client, and which of its parts a gateway has
    acknowledged. `kind` is that of its mirror; without one it goes nowhere."""

    def __init__(self, registry: Registry | None = None, kind: str = "") -> None:
        self._registry = registry
        self._kind = kind
        self.repository = f"{kind}/each" if kind else REPOSITORY
        self.tag = secrets.token_hex(8)
        self.config = to_json({"architecture": "amd64", "os": "linux", "author": self.tag})
        self.layer = secrets.token_bytes(3000)
        self.manifest = to_json(
            manifest_of(descriptor(OCI_CONFIG, self.config), descriptor(OCI_LAYER, self.layer))
        )
        self.acknowledged: set[str] = set()
        self._session = ""

    def push(self, gateway: Gateway) -> Refusals:
        """The refusals, in order."""
        refusals = []
        for part in ("config", "layer", "manifest"):
            try:
                with Front(gateway.port) as front:
                    status, code = self._put(front, part)
            except OSError:
                refusals.append(GONE)
                continue
            if status == 201:
                self.acknowledged.add(part)
            elif (status, code) != (404, "MANIFEST_BLOB_UNKNOWN"):
                refusals.append((status, code))
        return refusals

    def _put(self, front: Front, part: str) -> tuple[int, str]:
        """The layer in a session, in two pieces, the config in one request."""
        if part == "config":
            path = f"/v2/{self.repository}/blobs/uploads/?digest={sha256(self.config)}"
            reply = front.ask("POST", path, self.config, {"Content-Type": BYTES})
        elif part == "manifest":
            reply = front.put(self.repository, self.tag, self.manifest)
        else:
            reply = self._send_layer(front)
        return reply.status, "" if reply.status < 300 else reply.error["code"]

    def _send_layer(self, front: Front) -> Reply:
        reply = front.ask("POST", f"/v2/{self.repository}/blobs/uploads/")
        if reply.status == 202:
            self._session = path_of(reply.headers["location"])
            reply = front.patch(self._session, self.layer[:1000])
            if reply.status == 202:
                reply = front.finish(self._session, sha256(self.layer), self.layer[1000:])
        return reply

    def is_settled(self) -> bool:
        return "manifest" not in self.acknowledged or self.is_served()

    def is_served(self) -> bool:
        return self._registry is None or is_served(
            self._registry, self.repository, self.tag, sha256(self.manifest)
        )

    def is_acknowledged(self) -> bool:
        return self.acknowledged == {"config", "layer", "manifest"}

    def check(self, gateway: Gateway) -> None:
        """What was acknowledged is there, and what is there is whole."""
        with Front(gateway.port) as front:
            for part, data in (("config", self.config), ("layer", self.layer)):
                reply = front.blob(self.repository, sha256(data))
                assert reply.status == 200 or part not in self.acknowledged, part
                assert reply.status == 404 or reply.body == data, part
            reply = front.manifest(self.repository, self.tag)
            assert reply.status == 200 or "manifest" not in self.acknowledged
            assert reply.status == 404 or reply.body == self.manifest
        assert self._kind != "pushed" or self.is_settled()


class Resumed(Image):
    """Its client goes on where its session says that it is, in the second push."""

    def _send_layer(self, front: Front) -> Reply:
        where = front.ask("GET", self._session) if self._session else None
        if where is None or where.status == 404:
            return super()._send_layer(front)
        assert where.status == 204
        first, last = where.headers["range"].split("-")
        assert first == "0" and int(last) < len(self.layer)
        at = int(last) + 1 if int(last) > 0 else 0
        return front.finish(self._session, sha256(self.layer), self.layer[at:])


class Delivery:
    """An image that nobody else has, by the API, for a registry: promised, or waited for."""

    promised = False

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.tag = secrets.token_hex(8)
        self.repository = f"{'stored' if self.promised else 'waited'}/{type(self).__name__.lower()}"
        self.layer = tar_of({"own": secrets.token_bytes(3000)})
        rootfs = {"type": "layers", "diff_ids": [sha256(self.layer)]}
        config = {"architecture": "amd64", "os": "linux", "author": self.tag, "rootfs": rootfs}
        self.config = to_json(config)
        self.digest = ""

    def _to(self) -> list[str]:
        return [f"{self._registry.host}/{self.repository}:{self.tag}"]

    def _requests(self) -> list[tuple[str, bytes, dict[str, str]]]:
        """Paths, bodies and headers."""
        raise NotImplementedError

    def push(self, gateway: Gateway) -> Refusals:
        for path, body, headers in self._requests():
            connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
            try:
                connection.request("POST", path, body, headers)
                reply = connection.getresponse()
                value = json.load(reply)
            except (OSError, http.client.HTTPException):
                return [GONE]
            finally:
                connection.close()
            if reply.status >= 300:
                failed = value.get("errors") or [result["error"] for result in value["results"]]
                return [(reply.status, failed[0]["code"])]
        assert reply.status == (202 if self.promised else 200)
        self.digest = value["image"]["manifest"]
        return []

    def is_acknowledged(self) -> bool:
        return self.digest != ""

    def check(self, gateway: Gateway) -> None:
        """What was acknowledged is at the registry, or about to be; what is said to be, is."""
        assert self.promised or self.is_settled()

    def is_settled(self) -> bool:
        return not self.digest or self.is_served()

    def is_served(self) -> bool:
        return is_served(self._registry, self.repository, self.tag, self.digest)


class Archive(Delivery):
    """A registry gets it while its client waits."""

    def _body(self) -> bytes:
        return save_of(self.config, [self.layer], f"{self.repository}:{self.tag}")

    def _requests(self) -> list[tuple[str, bytes, dict[str, str]]]:
        return [(images_path(self._to()), self._body(), {})]


class MirroredArchive(Archive):
    """Its sender names no target; the mirror promises it."""

    promised = True

    def _requests(self) -> list[tuple[str, bytes, dict[str, str]]]:
        return [(images_path([]), self._body(), {})]


class AsyncArchive(Archive):
    """Its sender does not want to wait."""

    promised = True

    def _requests(self) -> list[tuple[str, bytes, dict[str, str]]]:
        return [(images_path(self._to()), self._body(), {"Prefer": "respond-async"})]


class Parts(Delivery):
    """Its layer, and then its config."""

    def _requests(self) -> list[tuple[str, bytes, dict[str, str]]]:
        return [
            (f"/v1/layers?diff_id={sha256(self.layer)}", self.layer, {}),
            (images_path(self._to()), self.config, {"Content-Type": OCI_CONFIG}),
        ]


class Held(Delivery):
    """What is held already. The first one's is an archive."""

    held = ""

    def _requests(self) -> list[tuple[str, bytes, dict[str, str]]]:
        assert self.held
        body = to_json({"image": self.held, "to": self._to()})
        head = {"Content-Type": "application/json", "Idempotency-Key": self.tag}
        return [("/v1/pushes", body, head)]


KINDS: dict[str, Callable[[Registry], Image | Delivery]] = {
    "archive": Archive,
    "mirrored": MirroredArchive,
    "async": AsyncArchive,
    "parts": Parts,
    "held": Held,
    "nowhere": lambda registry: Image(),
    "resumed": lambda registry: Resumed(),
    "stored": lambda registry: Image(registry, "stored"),
    "pushed": lambda registry: Image(registry, "pushed"),
}


@dataclass
class Fault:
    fired: bool = False  # known when it is over


class Stage:
    """A gateway on a disk that can fail, which is started again as often as it ends."""

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        self.disk = Disk(folder / "disk")
        self.gateway = Gateway(folder / "gateway", config, env=self.disk.env)
        self.images: list[Image | Delivery] = []
        self.ended = 0
        self._unremoved: set[str] = set()  # from staging: it goes at the next start

    @contextlib.contextmanager
    def failing(self, plan: Plan, skip: int) -> Iterator[Fault]:
        """Meanwhile the call fails that comes after so many."""
        fault = Fault()
        self.disk.fail(plan.calls, plan.error, self.gateway.data, skip, plan.times)
        yield fault
        fault.fired = self.disk.fired()
        self.disk.mend()

    def fail_one(self, plan: Plan, skip: int, image: Image | Delivery) -> bool:
        """A push in which a call fails. False: there were no more."""
        self.images.append(image)
        with self.failing(plan, skip) as fault:
            refusals = self._push(image)
        assert set(refusals) <= {*TOLD, GONE}, (plan, skip, refusals)
        assert fault.fired or not refusals
        self.settle(fault, refusals)
        if plan.calls == "unlink" and fault.fired:
            self._unremoved.update(self.gateway.staged())
        wait_until(lambda: set(self.gateway.staged()) <= self._unremoved, "nothing is staged")
        image.check(self.gateway)
        assert image.push(self.gateway) == [], (plan, skip)
        assert image.is_acknowledged()
        image.check(self.gateway)
        return fault.fired

    def count(self, image: Image | Delivery) -> Counter[str]:
        """The calls of a push in which none fails."""
        self.images.append(image)
        self.disk.count(self.gateway.data)
        assert self._push(image) == []
        self.disk.mend()
        return self.disk.counted()

    def _push(self, image: Image | Delivery) -> Refusals:
        refusals = image.push(self.gateway)
        # A promise's own writes come after its answer.
        wait_until(lambda: image.is_settled() or not self._lives(), "the end of the push")
        return refusals

    def settle(self, fault: Fault, refusals: Refusals) -> None:
        """Start it again if it has ended by itself, or is about to. The records of one more push
        are written behind those that were under way."""
        if self._is_broken(refusals) or (fault.fired and self._is_broken(Image().push(self.gateway))):
            self.start_again()

    def _is_broken(self, refusals: Refusals) -> bool:
        refused = any(status == 503 for status, _ in refusals)
        return refused or GONE in refusals or not self._lives()

    def _lives(self) -> bool:
        return self.gateway.process.running() and "SYNC_FAILED" not in self.gateway.log()

    def start_again(self) -> None:
        """It has to have ended by itself, and to have said why."""
        assert self.gateway.process.wait() == STATUS_BROKEN
        self.gateway.process.assert_no_sanitizer_report()
        assert "the disk did not take" in self.gateway.log()
        assert "code=SYNC_FAILED" in self.gateway.log()
        self.gateway.process.stop()
        self.ended += 1
        self._unremoved.clear()
        if LONG:
            check_folder(self.gateway)
        self.gateway.start()


def check_folder(gateway: Gateway) -> int:
    """What is on the disk is whole, but for files without a record; how many of these."""
    done = slipway(gateway.folder, "check", "--json", "--data", gateway.data)
    problems = json.loads(done.stdout)["problems"]
    assert {problem["kind"] for problem in problems} <= {"stray"}, problems
    return len(problems)


def check_listed(gateway: Gateway, registry: Registry) -> int:
    """Each push comes to its end, and what is said to be pushed is. How many are listed."""

    def listed() -> list[dict[str, Any]]:
        pushes = gateway.request("/v1/pushes?limit=1000").json()["pushes"]
        return [result for push in pushes for result in push["results"]]

    final = ("pushed", "superseded", "failed")
    wait_until(lambda: all(result["state"] in final for result in listed()), "all ends")
    results = listed()
    for result in results:
        if result["state"] == "pushed":
            name = result["target"].split("/", 1)[1].rpartition(":")[0]
            assert registry.manifest(name, result["digest"]).status == 200, result
    return len(results)
