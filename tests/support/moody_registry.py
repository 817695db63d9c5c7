"""A registry that a test sends away, makes busy, deaf or forgetful, and that notes every request.

Small, in memory, and strict: a manifest whose blobs its repository does not hold is refused, by
name. With users it wants Basic credentials, for everything.
"""
from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler

from support.http_server import LoopbackServer


class Mood(Enum):
    """What it does with a request."""

    WELL = "answers"
    AWAY = "drops the connection"
    BUSY = "503 and Retry-After"
    DEAF = "reads, and answers nothing"


@dataclass(frozen=True)
class Request:
    """One that came, whatever became of it."""

    at: float
    method: str
    path: str
    user: str | None

    @property
    def repository(self) -> str:
        found = re.match(r"/v2/(.+)/(?:blobs|manifests)/", self.path)
        return found[1] if found else ""


@dataclass
class MoodyRegistry:
    """A context manager; fields may be changed while it runs."""

    mood: Mood = Mood.WELL
    retry_after_s: int = 1
    users: dict[str, str] = field(default_factory=dict)
    """Passwords; none: everybody may do everything."""
    requests: list[Request] = field(default_factory=list)
    blobs: set[tuple[str, str]] = field(default_factory=set)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    """Digests of manifests, also by their digests."""
    puts: list[tuple[str, str, float]] = field(default_factory=list)
    """Of manifests that were taken: repository, reference, when."""

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._server = LoopbackServer(_handler_of(self))

    def __enter__(self) -> MoodyRegistry:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.turn(Mood.AWAY)
        self._server.__exit__(None, None, None)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.port}"

    def turn(self, mood: Mood) -> float:
        """Returns when."""
        with self._changed:
            self.mood = mood
            self._changed.notify_all()
            return time.monotonic()

    def wipe(self) -> None:
        with self.lock:
            self.blobs.clear()
            self.tags.clear()

    def since(self, when: float, user: str | None = None) -> list[Request]:
        with self.lock:
            return [one for one in self.requests
                    if one.at >= when and user in (None, one.user)]

    def wait_until_not_deaf(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.mood is not Mood.DEAF)


def _error(code: str, detail: object = None) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code, "detail": detail}]}).encode()


def _user_of(authorization: str) -> tuple[str | None, str]:
    if not authorization.startswith("Basic "):
        return None, ""
    user, _, password = base64.b64decode(authorization[len("Basic "):]).decode().partition(":")
    return user, password


def _handler_of(registry: MoodyRegistry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def log_message(self, format: str, *args: object) -> None:
            pass

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            user, password = _user_of(self.headers.get("Authorization") or "")
            with registry.lock:
                registry.requests.append(
                    Request(time.monotonic(), self.command, self.path, user)
                )
                mood = registry.mood
                known = not registry.users or registry.users.get(user or "") == password
            if mood is Mood.DEAF:
                registry.wait_until_not_deaf()
            if mood in (Mood.AWAY, Mood.DEAF):
                self.close_connection = True
            elif mood is Mood.BUSY:
                self._answer(503, {"Retry-After": str(registry.retry_after_s)})
            elif not known:
                self._answer(401, {"WWW-Authenticate": 'Basic realm="moody"'},
                             _error("UNAUTHORIZED"))
            else:
                with registry.lock:
                    answer = self._act(body)
                self._answer(*answer)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

        def _answer(
            self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _act(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            path, _, query = self.path.partition("?")
            if path == "/v2/":
                return 200, {"Content-Type": "application/json"}, b"{}"
            found = re.fullmatch(r"/v2/(.+)/(blobs/uploads|blobs|manifests)/(.*)", path)
            if found is None:
                return 404, {}, _error("NOT_FOUND")
            repository, kind, last = found.groups()
            if kind == "blobs/uploads":
                return self._upload(repository, query, body)
            if kind == "blobs":
                held = (repository, last) in registry.blobs
                return (200 if held else 404), {"Docker-Content-Digest": last}, b""
            return self._manifest(repository, last, body)

        def _upload(
            self, repository: str, query: str, body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            there = f"/v2/{repository}/blobs/uploads/session"
            if self.command == "POST":
                return 202, {"Location": there, "Range": "0-0"}, b""
            if self.command != "PUT":
                return 405, {}, _error("UNSUPPORTED")
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            if digest.replace(":", "%3A") not in query.replace(":", "%3A"):
                return 400, {}, _error("DIGEST_INVALID")
            registry.blobs.add((repository, digest))
            return 201, {"Location": there, "Docker-Content-Digest": digest}, b""

        def _manifest(
            self, repository: str, reference: str, body: bytes
        ) -> tuple[int, dict[str, str], bytes]:
            if self.command != "PUT":
                digest = registry.tags.get((repository, reference))
                return (200 if digest else 404), {"Docker-Content-Digest": digest or ""}, b""
            value = json.loads(body)
            for part in (value["config"], *value["layers"]):
                if (repository, part["digest"]) not in registry.blobs:
                    return 404, {}, _error("MANIFEST_BLOB_UNKNOWN", {"digest": part["digest"]})
            digest = "sha256:" + hashlib.sha256(body).hexdigest()
            registry.tags[repository, reference] = digest
            registry.tags[repository, digest] = digest
            registry.puts.append((repository, reference, time.monotonic()))
            return 201, {"Docker-Content-Digest": digest}, b""

    return Handler
