"""Pushes of each kind, and a gateway on a disk that fails in one call of them."""
from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.command import slipway
from support.curl import images_path
from support.disk import Disk
from support.front import BYTES, OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, to_json
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


def chosen(first: int, step: int) -> range:
    """Which calls, counted from 0: all, or in CI every `step`th."""
    return range(CALLS_MOST) if LONG else range(first, CALLS_MOST, step)


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
            reply = front.ask("POST", f"/v2/{self.repository}/blobs/uploads/")
            if reply.status == 202:
                location = reply.headers["location"]
                reply = front.patch(location, self.layer[:1000])
                if reply.status == 202:
                    reply = front.finish(location, sha256(self.layer), self.layer[1000:])
        return reply.status, "" if reply.status < 300 else reply.error["code"]

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


class Stage:
    """A gateway on a disk that can fail, which is started again as often as it ends."""

    def __init__(self, folder: Path, config: Mapping[str, Any] | None = None) -> None:
        self.disk = Disk(folder / "disk")
        self.gateway = Gateway(folder / "gateway", config, env=self.disk.env)
        self.images: list[Image | Delivery] = []
        self.ended = 0

    def fail_one(
        self, calls: str, error: int, skip: int, image: Image | Delivery, times: int = 1
    ) -> bool:
        """A push in which the call fails that comes after so many. False: there were no more."""
        self.images.append(image)
        self.disk.fail(calls, error, self.gateway.data, skip, times)
        refusals = image.push(self.gateway)
        # A promise's own writes come after its answer.
        wait_until(lambda: image.is_settled() or not self._lives(), "the end of the push")
        fired = self.disk.fired()
        self.disk.mend()
        assert set(refusals) <= {*TOLD, GONE}, (calls, skip, refusals)
        assert fired or not refusals
        if any(status == 503 for status, _ in refusals) or GONE in refusals or not self._lives():
            self.start_again()
        image.check(self.gateway)
        assert image.push(self.gateway) == [], (calls, skip)
        assert image.is_acknowledged()
        image.check(self.gateway)
        return fired

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
