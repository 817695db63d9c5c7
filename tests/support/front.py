"""A client of the registry front by hand: every request as the test says, every answer checked.

It speaks to one port of this machine, on one connection that is kept as long as the server keeps
it, so that a test's later requests also show that its earlier ones left the connection in order.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

from support.curl import Reply
from support.pulled import sha256
from support.raw_http import RawConnection
from support.registry import MANIFEST_TYPES

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
BYTES = "application/octet-stream"
EMPTY_JSON = b"{}"

# "Error Codes" of the specification, and the one of its forerunner that it allows for tags.
CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
    "TAG_INVALID",
}
WARNING_BYTES = 4096


def sha512(data: bytes) -> str:
    return "sha512:" + hashlib.sha512(data).hexdigest()


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def descriptor(media_type: str, content: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(content), "size": len(content), **more}


def manifest_of(config: dict[str, Any], *layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An OCI image manifest; artifactType, subject, annotations come as `more`."""
    value = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
    return {**value, "config": config, "layers": list(layers), **more}


def index_of(*manifests: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(manifests), **more}


def path_of(location: str) -> str:
    """Path and query of a Location, absolute or relative."""
    parts = urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")


def with_digest(location: str, digest: str) -> str:
    """A session's URL that closes it, as clients make it: the query as it came, a colon encoded."""
    return f"{location}{'&' if '?' in location else '?'}digest={quote(digest, safe='')}"


def check_answer(method: str, reply: Reply) -> None:
    """What holds for each answer: the form of errors, and of warnings if there are any."""
    if reply.status >= 400 and method != "HEAD":
        assert reply.headers["content-type"].startswith("application/json"), reply
        assert re.fullmatch(r"[A-Z_]+", reply.error["code"]), reply.body
    warning = reply.headers.get("warning")
    if warning is not None:
        assert re.fullmatch(r'299 - "[^"]*"', warning), warning
        assert len(warning) <= WARNING_BYTES


class Front:
    """One client; a context manager."""

    def __init__(self, port: int, seconds: float = 60, login: str = "") -> None:
        """`login` is USER:PASSWORD, sent with each request."""
        self.port = port
        self._seconds = seconds
        self._connection: RawConnection | None = None
        self.connections = 0
        self.headers: Mapping[str, str] = (  # of every request
            {"Authorization": "Basic " + b64encode(login.encode()).decode()} if login else {}
        )

    def __enter__(self) -> Front:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> RawConnection:
        if self._connection is None:
            self._connection = RawConnection(self.port, self._seconds)
            self.connections += 1
        return self._connection

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Reply:
        """One request and its answer. The path goes out as it is."""
        head = {**self.headers, **(headers or {})}
        if chunked:
            head["Transfer-Encoding"] = "chunked"
        elif body is not None or method in ("POST", "PUT", "PATCH"):
            head.setdefault("Content-Length", str(len(body or b"")))
        connection = self._open()
        connection.send_head(method, path, head)
        # A refusal may come, and the connection end, while the body is still being sent.
        with contextlib.suppress(ConnectionError):
            if chunked:
                for part in (body, b"") if body else (b"",):
                    connection.send_chunk(part)
            elif body:
                connection.send(body)
        reply = connection.read_reply(method)
        if reply.headers.get("connection", "").lower() == "close":
            self.close()
        check_answer(method, reply)
        return reply

    def send_part(self, method: str, path: str, headers: Mapping[str, str], part: bytes) -> None:
        """A request that is never completed: the connection ends behind this part of its body."""
        connection = self._open()
        connection.send_head(method, path, {**self.headers, **headers})
        connection.send(part)
        self.close()

    # Blobs

    def begin(self, repository: str) -> str:
        """A new upload session; the path of its Location."""
        reply = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        assert reply.status == 202, reply
        return path_of(reply.headers["location"])

    def patch(
        self, location: str, data: bytes, content_range: str | None = None, *, chunked: bool = False
    ) -> Reply:
        head = {"Content-Type": BYTES}
        if content_range is not None:
            head["Content-Range"] = content_range
        return self.ask("PATCH", location, data, head, chunked=chunked)

    def finish(
        self, location: str, digest: str, data: bytes = b"", content_range: str | None = None
    ) -> Reply:
        head = {"Content-Type": BYTES} if data else {}
        if content_range is not None:
            head["Content-Range"] = content_range
        return self.ask("PUT", with_digest(location, digest), data, head)

    def push_blob(self, repository: str, data: bytes, digest: str | None = None) -> str:
        digest = digest or sha256(data)
        reply = self.finish(self.begin(repository), digest, data)
        assert reply.status == 201, reply
        return digest

    def blob(self, repository: str, digest: str, method: str = "GET") -> Reply:
        return self.ask(method, f"/v2/{repository}/blobs/{digest}")

    # Manifests

    def put(
        self, repository: str, reference: str, data: bytes, media_type: str | None = OCI_MANIFEST
    ) -> Reply:
        head = {"Content-Type": media_type} if media_type else {}
        return self.ask("PUT", f"/v2/{repository}/manifests/{reference}", data, head)

    def must_put(
        self, repository: str, reference: str, data: bytes, media_type: str = OCI_MANIFEST
    ) -> Reply:
        reply = self.put(repository, reference, data, media_type)
        assert reply.status == 201, (reply.status, reply.body)
        return reply

    def manifest(
        self, repository: str, reference: str, method: str = "GET", accept: str = MANIFEST_TYPES
    ) -> Reply:
        head = {"Accept": accept} if accept else {}
        return self.ask(method, f"/v2/{repository}/manifests/{reference}", None, head)

    def image(self, repository: str, **more: Any) -> bytes:
        """The manifest of a new image whose config and layer were pushed; it is not put."""
        config = to_json({"architecture": "amd64", "os": "linux", "author": secrets.token_hex(8)})
        layer = secrets.token_bytes(300)
        self.push_blob(repository, config)
        self.push_blob(repository, layer)
        return to_json(
            manifest_of(descriptor(OCI_CONFIG, config), descriptor(OCI_LAYER, layer), **more)
        )

    def tagged(self, repository: str, *tags: str) -> str:
        """A new image under these tags; its digest."""
        data = self.image(repository)
        for tag in tags:
            self.must_put(repository, tag, data)
        return sha256(data)

    def artifact(self, repository: str, subject: bytes | str, **more: Any) -> bytes:
        """artifact_of(), with its blob pushed; it is not put."""
        self.push_blob(repository, EMPTY_JSON)
        return self.artifact_of(subject, **more)

    def artifact_of(self, subject: bytes | str, **more: Any) -> bytes:
        """The manifest of what refers to a manifest, given by its bytes or only its digest."""
        value = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 7}
        if isinstance(subject, bytes):
            value = descriptor(OCI_MANIFEST, subject)
        empty = descriptor(OCI_EMPTY, EMPTY_JSON)
        more.setdefault("config", empty)
        config = more.pop("config")
        return to_json(manifest_of(config, empty, subject=value, **more))

    # Lists

    def pages(self, path: str) -> Iterator[Any]:
        """The JSON of this answer and of all that its Links lead to."""
        for _ in range(1000):
            reply = self.ask("GET", path)
            assert reply.status == 200, reply
            yield reply.json()
            link = reply.headers.get("link")
            if link is None:
                return
            path = next_path(link, path)
        raise AssertionError("a list without an end")

    def tags(self, repository: str, query: str = "") -> list[str]:
        reply = self.ask("GET", f"/v2/{repository}/tags/list{query}")
        assert reply.status == 200, reply
        return list(reply.json()["tags"] or [])

    def referrers(self, repository: str, digest: str, query: str = "") -> list[dict[str, Any]]:
        """All of them, Links followed."""
        found = []
        for page in self.pages(f"/v2/{repository}/referrers/{digest}{query}"):
            found += page["manifests"]
        return found


def next_path(link: str, path: str) -> str:
    """The target of a `Link: <target>; rel="next"` (RFC 5988), absolute or relative to `path`."""
    found = re.fullmatch(r'<([^>]+)>\s*;\s*rel="?next"?', link)
    assert found, link
    target = path_of(found.group(1))
    if target.startswith("/"):
        return target
    return path.split("?")[0].rsplit("/", 1)[0] + "/" + target
