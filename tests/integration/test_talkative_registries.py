"""Registries that say what they should not, or too much: nothing of it reaches a client or the log."""
from __future__ import annotations

import base64
import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from support.gateway import Gateway, failed
from support.http_server import LoopbackServer
from support.waiting import wait_until

USER = "ci-user"
PASSWORD = "open sesame=+/ü"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TOKEN = "eyJhbGciOi.J0b2tlbiI.c2lnbmF0dXJl"
# C1 and C0, a change of direction, a line separator, no width.
UNSEEN = set("\x9b\x1b\u202e\u2066\u200f\u2028\u200b\ufeff\u061c")
HOSTILE = "\x9b2J\x1b[31m\u202ehidden\u2066\u200f\u2028line\u200b\ufeff\u061c"


class Echo(BaseHTTPRequestHandler):
    """Refuses every upload, and says what it was sent, in each way there is."""

    protocol_version = "HTTP/1.1"
    scheme = "Basic"

    def _go(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        sent = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            self._answer(200, json.dumps({"token": TOKEN}))
        elif self.path.startswith("/away/"):
            self._answer(403, "no", ("Content-Type", "text/plain"))
        elif not sent:
            realm = f'realm="http://{self.headers["Host"]}/token",service="s"'
            self._answer(401, "{}", ("WWW-Authenticate", f"{self.scheme} {realm}"))
        elif self.path == "/v2/":
            self._answer(200, "{}")
        else:
            self._refuse(sent)

    def _refuse(self, sent: str) -> None:
        words = f"said {sent} {PASSWORD if self.scheme == 'Basic' else TOKEN} {HOSTILE} end"
        error = {"code": f"DENIED{HOSTILE}", "message": words, "detail": words}
        if "/plain/" in self.path:
            self._answer(403, words, ("Content-Type", "text/plain"))
        elif "/html/" in self.path:
            self._answer(403, f"<title>{words}</title>", ("Content-Type", "text/html"))
        elif "/moved/" in self.path:
            self._answer(307, "", ("Location", f"ftp://127.0.0.1/{sent.split()[1]}/x"))
        elif "/away/" in self.path:
            host = self.headers["Host"].replace("127.0.0.1", "localhost")
            self._answer(307, "", ("Location", f"http://{host}/away/{sent.split()[1]}/x"))
        elif "/session/" in self.path and self.command == "POST":
            self._answer(202, "", ("Location", f"{self.path.split('?')[0]}{sent.split()[1]}"))
        elif "/session/" in self.path:
            self._answer(403, "no", ("Content-Type", "text/plain"))
        elif "/reason/" in self.path:
            self.wfile.write(f"HTTP/1.1 {sent.split()[1]} {words}\r\n\r\n".encode())
            self.close_connection = True
        elif "/realm/" in self.path:
            realm = f'Bearer realm="ftp://127.0.0.1/{sent.split()[1]}/x"'
            self._answer(401, "{}", ("WWW-Authenticate", realm))
        elif "/cut/" in self.path:
            self._answer(403, "x" * 300 + words * 40, ("Content-Type", "text/plain"))
        else:
            self._answer(403, json.dumps({"errors": [error]}, ensure_ascii=False))

    def _answer(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in headers or (("Content-Type", "application/json"),):
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _go

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class BearerEcho(Echo):
    scheme = "Bearer"


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("handler", [Echo, BearerEcho])
def test_what_they_were_sent_is_not_told(
    tmp_path: Path, archive: Path, handler: type[Echo], form: str
) -> None:
    with LoopbackServer(handler) as server:
        host = f"127.0.0.1:{server.port}"
        config = {
            "log": {"level": "debug", "format": form},
            "registries": {
                host: {
                    "username": USER,
                    "password": PASSWORD,
                    "endpoints": [f"http://{host}"],
                    "retry_wait": "10ms",
                }
            },
        }
        with Gateway(tmp_path / "gateway", config) as gateway:
            told = ""
            kinds = ("json", "plain", "html", "cut", "moved", "away", "session", "reason", "realm")
            for kind in kinds:
                reply = gateway.post(archive, f"{host}/{kind}/app:1")
                assert reply.status == 502
                message = reply.json()["results"][0]["error"]["message"]
                assert "***" in message or kind == "reason", message
                told += message
            assert "hidden" in told and "end" in told
            log = gateway.log()
    for text in (told, log):
        for secret in (PASSWORD, BASIC.rstrip("="), TOKEN, TOKEN[:20]):
            assert secret not in text
        assert not UNSEEN & set(text)


class LongHeader(BaseHTTPRequestHandler):
    """Answers with one header of more than libcurl reads."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-Long", "x" * 110_000)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_a_header_without_end_is_the_registrys_fault(tmp_path: Path, archive: Path) -> None:
    with LoopbackServer(LongHeader) as server:
        host = f"127.0.0.1:{server.port}"
        config = {"registries": {host: {"endpoints": [f"http://{host}"], "retry_wait": "10ms"}}}
        with Gateway(tmp_path / "gateway", config) as gateway:
            error = failed(gateway.post(archive, f"{host}/a/b:1"), "REGISTRY_ANSWER", "registry")
            assert "head of the answer" in error["message"]


class Dribble(BaseHTTPRequestHandler):
    """Takes blobs a few bytes at a time, or confirms them so, and comes to no end with it."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()
    opened: ClassVar[list[str]] = []
    sessions: ClassVar[set[str]] = set()
    confirmed: ClassVar[set[str]] = set()  # sessions whose client still listens

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/v2/" else 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        location = f"{self.path.split('?')[0]}{len(self.opened)}"
        self.opened.append(location)
        self.sessions.add(location)
        self._answer(202, ("Location", location))

    def do_PUT(self) -> None:
        self.close_connection = True
        if "/thirsty/" in self.path:
            while not self.over.wait(0.02) and self.rfile.read1(100):
                pass
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        self.confirmed.add(self.path)
        self.send_response_only(201)
        self.end_headers()
        with suppress(OSError):
            while not self.over.wait(0.02):
                self.wfile.write(b"x")
        self.confirmed.discard(self.path)

    def do_DELETE(self) -> None:
        self.sessions.discard(self.path.split("?")[0])
        self._answer(204)

    def _answer(self, status: int, *headers: tuple[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_one_that_never_ends_is_given_up(tmp_path: Path, larger_archive: Path) -> None:
    """Whoever waits for the push is told; no upload and no session is left of it."""
    with LoopbackServer(Dribble) as server:
        host = f"127.0.0.1:{server.port}"
        config = {
            "limits": {"push_time": "2s"},
            "registries": {host: {"endpoints": [f"http://{host}"], "retry_wait": "10ms"}},
        }
        targets = [f"{host}/{kind}/app:1" for kind in ("thirsty", "slow")]
        with Gateway(tmp_path / "gateway", config) as gateway:
            reply = gateway.post(larger_archive, targets)
            assert reply.status == 504, reply
            for result, target in zip(reply.json()["results"], targets, strict=True):
                error = result["error"]
                assert (result["target"], result["state"]) == (target, "failed")
                assert (error["code"], error["party"]) == ("PUSH_TIMEOUT", "registry"), error
                assert "limits.push_time" in error["message"]
            assert Dribble.opened
            wait_until(lambda: not Dribble.sessions, "no session is left at a registry")
            wait_until(lambda: not Dribble.confirmed, "nobody listens to an answer any more")
            gateway.wait_nothing_staged()
        Dribble.over.set()
