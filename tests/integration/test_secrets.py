"""No secret is told: not by logs, answers, audit, data folder or programs, whatever goes wrong.

A gateway is given secrets of every kind, and what it talks to echoes them: a registry whose errors
repeat the Authorization of the request, redirects and realms with tokens in the query, a proxy that
repeats its own. What is documented to hold secrets is left out: the programs' inherited environment
(docs/configuration.md), and answers whose purpose is a token.
"""
from __future__ import annotations

import base64
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from support.certificates import Authority, new_key
from support.command import slipway
from support.gateway import Gateway, files_below
from support.http_server import LoopbackServer
from support.registry import htpasswd_file

USER = "pusher"
AUDIENCE = "gateway.example.com"
MANNERS = ("echo-403", "echo-500", "echo-401", "lead", "upload")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Planted:
    """Secrets by what they are; each is a word that is found nowhere by chance."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def new(self, name: str) -> str:
        return self.add(name, f"S3cr3t-{secrets.token_hex(12)}")

    def add(self, name: str, value: str) -> str:
        self.values[name] = value
        return value

    def login(self, name: str, user: str = USER) -> str:
        password = self.new(name)
        self.add(f"{name}, Basic", basic(user, password).rstrip("="))
        return password

    def told_by(self, text: bytes, but: tuple[str, ...] = ()) -> list[str]:
        return [
            name
            for name, value in self.values.items()
            if value.encode() in text and not name.startswith(but or ("\0",))
        ]


class Gossip(BaseHTTPRequestHandler):
    """Registry, token server and proxy: what is asked for decides how it misbehaves."""

    protocol_version = "HTTP/1.1"
    planted: ClassVar[Planted]
    seen: ClassVar[set[str]]  # values of Authorization, or what was in them

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def _send(self, status: int, value: Any, **headers: str) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, content in headers.items():
            self.send_header(name.replace("_", "-"), content)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _complain(self, status: int, **headers: str) -> None:
        """Everything that the request had, as a message and as a detail."""
        words = " ".join((*self.headers.values(), self.path))
        errors = [{"code": "UNKNOWN", "message": f"you sent {words}", "detail": words}]
        self._send(status, {"errors": errors}, **headers)

    def _answer(self) -> None:
        given = self.headers.get("Authorization", "")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
        self.seen.update((given, body, self.headers.get("Proxy-Authorization", "")))
        path = urlsplit(self.path).path
        host = f"http://{self.headers['Host']}"
        if self.path.startswith("http:"):
            self._complain(502)
        elif path == "/token":
            token = self.planted.new(f"bearer token {len(self.planted.values)}")
            renews = self.planted.new(f"a registry's refresh token {len(self.planted.values)}")
            self._send(200, {"token": token, "refresh_token": renews, "expires_in": 300})
        elif not given.startswith("Bearer ") and "led" not in path:
            state = self.planted.values["token in a realm"]
            challenge = f'Bearer realm="{host}/token?state={state}",service="gossip"'
            self._send(401, {"errors": []}, WWW_Authenticate=challenge)
        elif path == "/v2/":
            self._send(200, {})
        elif "/lead/" in path:
            token = self.planted.values["token in a redirect"]
            self._send(307, {}, Location=f"{host}/v2/led?X-Token={token}")
        elif "/upload/" in path and self.command == "POST":
            token = self.planted.values["token in a Location"]
            self._send(202, {}, Location=f"/v2/x/upload/blobs/uploads/1?sig={token}")
        elif "/upload/" in path and self.command in ("GET", "HEAD"):
            self._send(404, {"errors": []})
        else:
            status = re.search(r"/echo-(\d+)/", path)
            code = int(status.group(1)) if status else 403
            self._complain(code, **({"WWW_Authenticate": "Basic realm=x"} if code == 401 else {}))

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer


def jwt(planted: Planted, key: Any, name: str, **claims: Any) -> str:
    now = int(time.time())
    value = {"iss": "https://ci.example.com", "aud": AUDIENCE, "iat": now, "exp": now + 300}
    parts = [{"alg": "RS256", "kid": "k"}, {**value, "repository_id": "7", **claims}]
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    signature = encoded(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))
    planted.add(f"{name}, signature", signature)
    return f"{text}.{signature}"


def jwks(key: Any) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    n, e = (encoded(v.to_bytes((v.bit_length() + 7) // 8, "big")) for v in (public.n, public.e))
    return {"keys": [{"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig", "n": n, "e": e}]}


class Scene:
    """A gateway with secrets of every kind, and the clients that it hears."""

    def __init__(self, folder: Path, planted: Planted, port: int, form: str) -> None:
        self.folder, self.planted, self.key = folder, planted, new_key()
        self.audit, self.programs = folder / "audit.ndjson", folder / "programs"
        self.users = {"ann": planted.login("a user's password", "ann")}
        (folder / "jwks.json").write_text(json.dumps(jwks(self.key)))
        registries, self.hosts, env = self._registries(port)
        config = {
            "clients": {
                "htpasswd": str(htpasswd_file(folder, self.users)),
                "oidc": [{
                    "name": "ci", "issuer": "https://ci.example.com", "audiences": [AUDIENCE],
                    "jwks_file": str(folder / "jwks.json"),
                    "mappings": [{"claims": {"repository_id": "7"}, "identity": "job"}],
                }],
            },
            "policy": [{
                "who": ["ann", "robot:ci", "job"], "may": ["*"], "repositories": ["**"],
                "targets": ["**", *(f"{host}/**" for host in registries)],
            }],
            "registries": registries,
            "audit": {"file": str(self.audit)},
            "log": {"level": "debug", "format": form},
        }
        self.gateway = Gateway(folder / "g", config, env=env)

    def _program(self, name: str, prints: str) -> Path:
        """Notes how it was called, repeats its answer on stderr, and answers."""
        path = self.programs / name
        self.programs.mkdir(exist_ok=True)
        said = self.programs / f"{name}.said"
        path.write_text(
            f"#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ >>'{said}'\n"
            f"echo '{prints}' >&2\necho '{prints}'\n"
        )
        path.chmod(0o755)
        return path

    def _registries(self, port: int) -> tuple[dict[str, Any], list[str], dict[str, str]]:
        planted, folder = self.planted, self.folder
        (folder / "password").write_text(planted.login("password_file"))
        command = self._program("ask", planted.login("password_command"))
        helped = json.dumps({"Username": USER, "Secret": planted.login("a helper's secret")})
        self._program("docker-credential-gossip", helped)
        client = Authority(folder / "ca").server("client")
        lines = client.key.read_text().splitlines()
        planted.add("the key of a client certificate", lines[len(lines) // 2])
        ways: dict[str, dict[str, Any]] = {
            "text": {"username": USER, "password": planted.login("password")},
            "file": {"username": USER, "password_file": str(folder / "password")},
            "variable": {"username": USER, "password_env": "GOSSIP_PASSWORD"},
            "command": {"username": USER, "password_command": [str(command)]},
            "login": {}, "identity": {}, "helper": {},
            "certificate": {"client_certificate": str(client.certificate), "client_key": str(client.key)},
        }
        for entry in ways.values():
            entry.update(endpoints=[f"http://127.0.0.1:{port}"], retry_wait="10ms")
        registries = {f"{name}.test": entry for name, entry in ways.items()}
        registries["proxied.example.com"] = {
            "endpoints": ["http://proxied.example.com"], "plain_http": True, "retry_wait": "10ms",
            "username": USER, "password": planted.login("password behind a proxy")}
        (folder / "docker").mkdir()
        (folder / "docker/config.json").write_text(json.dumps({
            "auths": {
                "login.test": {"auth": basic(USER, planted.login("docker login"))},
                "identity.test": {"identitytoken": planted.new("an identity token")},
            },
            "credHelpers": {"helper.test": "gossip"},
        }))
        proxy = f"http://proxy:{planted.login('the password of a proxy', 'proxy')}@127.0.0.1:{port}"
        env = {"DOCKER_CONFIG": str(folder / "docker"), "HTTP_PROXY": proxy,
               "GOSSIP_PASSWORD": planted.login("password_env"),
               "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
        return registries, list(registries), env

    def ask(self, path: str, login: str, **options: Any) -> bytes:
        """The answer with its headers; nobody who asks is told a secret back."""
        headers = [f"Authorization: {login}", *options.pop("headers", ())]
        reply = self.gateway.request(path, headers=headers, **options)
        text = json.dumps(dict(reply.headers)).encode() + reply.body
        if reply.status != 200 or path != "/token":
            assert self.planted.told_by(text) == [], (path, reply.status, text[:3000])
        return reply.body

    def logins(self) -> None:
        """Good ones of each kind, and ones that are wrong by a little."""
        made = slipway(self.folder, "robot", "create", "ci", "--expires", "1h", "--data", self.gateway.data)
        robot = self.planted.add("a robot's secret", made.stdout.strip())
        assert robot.startswith("slw_"), made.stderr
        wrong = self.planted.login("a wrong password", "ann")
        good, late = (jwt(self.planted, self.key, name, **claims) for name, claims in
                      (("a JWT", {}), ("an old JWT", {"exp": 1, "iat": 0})))
        pairs = (("ann", self.users["ann"]), ("robot:ci", robot), ("oidc", good))
        form = "grant_type=password&service=x&access_type=offline&client_id=c&username={}&password={}"
        for user, password in pairs:
            self.ask("/v2/", f"Basic {basic(user, password)}")
            data = form.format(user, password).encode()
            kind = ["Content-Type: application/x-www-form-urlencoded"]
            reply = self.gateway.request("/token", method="POST", data=data, headers=kind)
            assert reply.status == 200, reply.body
            token = self.planted.add(f"a token for {user}", reply.json()["access_token"])
            self.planted.add(f"a refresh token for {user}", reply.json()["refresh_token"])
            self.ask("/v2/x/tags/list", f"Bearer {token}")
            self.ask("/v2/x/tags/list", f"Bearer {token}x")
            refresh = f"grant_type=refresh_token&refresh_token={token}&service=x".encode()
            self.ask("/token", "x", method="POST", data=refresh, headers=kind)
        for user, password in (("ann", wrong), ("oidc", late), ("robot:ci", robot + "x")):
            self.ask("/v2/", f"Basic {basic(user, password)}")
        self.ask(f"/v2/x/manifests/{wrong}/{wrong}", f"Digest {wrong}")

    def pushes(self, archive: Path, manners: tuple[str, ...]) -> None:
        login = f"Basic {basic('ann', self.users['ann'])}"
        broken = self.folder / "broken.tar"
        broken.write_bytes(archive.read_bytes()[:3000])
        self.ask("/v1/images?to=text.test/x:1", login, method="POST", upload=broken)
        url = f"https://u:{self.planted.new('a password in to=')}@text.test/x:1"
        self.ask(f"/v1/images?to={url}", login, method="POST", upload=archive)
        for manner in manners:
            hosts = self.hosts if manner == MANNERS[0] else self.hosts[:1]
            to = "&".join(f"to={host}/x/{manner}:1" for host in hosts)
            self.ask(f"/v1/images?{to}", login, method="POST", upload=archive)
        self.ask("/v1/pushes", login)
        self.ask("/v1/targets", login)


@pytest.fixture
def planted() -> Planted:
    found = Planted()
    for place in ("redirect", "realm", "Location"):
        found.new(f"token in a {place}")
    return found


@pytest.fixture
def gossip(planted: Planted) -> Iterator[LoopbackServer]:
    Gossip.planted, Gossip.seen = planted, set()
    with LoopbackServer(Gossip) as running:
        yield running


@pytest.mark.parametrize("form", ("text", *(["json"] if os.environ.get("SLIPWAY_LONG") == "1" else [])))
def test_no_secret_is_told(
    planted: Planted, gossip: LoopbackServer, archive: Path, tmp_path: Path, form: str
) -> None:
    scene = Scene(tmp_path, planted, gossip.port, form)
    with scene.gateway as gateway:
        if form == "text":
            scene.logins()
        scene.pushes(archive, MANNERS if form == "text" else MANNERS[:1])
        command_line = Path(f"/proc/{gateway.process.pid}/cmdline").read_bytes()
    # What nobody was sent would be found nowhere in any case.
    sent = " ".join(Gossip.seen)
    kinds = ("password_", "password,", "the password of a proxy", "a helper's", "docker login", "an id")
    for name, value in planted.values.items():
        if name.startswith(kinds) and name.endswith((", Basic", "token")):
            assert value in sent, f"{name} was never sent"
    told = {"the log": gateway.log().encode(), "stdout": gateway.process.stdout().encode(),
            "audit": scene.audit.read_bytes(), "the command line": command_line}
    told |= {name: (gateway.data / name).read_bytes() for name in files_below(gateway.data)}
    for place, text in told.items():
        assert planted.told_by(text) == [], place
    said = [path.read_bytes() for path in scene.programs.glob("*.said")]
    assert len(said) == 2
    for text in said:
        assert b"DOCKER_CONFIG=" in text and b"GOSSIP_PASSWORD" not in text
        assert planted.told_by(text, ("the password of a proxy",)) == []
    assert b'"target.end"' in told["audit"]


# ---- memory

UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if os.geteuid() == 0 else []
"""The superuser reads everything: without its capabilities it is a user like any other."""


def read_by_another_process(pid: int, what: str) -> bytes:
    """What a process of the same user reads in /proc; empty: it may not."""
    argv = [*UNPRIVILEGED, "dd", "status=none", "bs=64K", "count=1", f"if=/proc/{pid}/{what}"]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 0 or b"ermission denied" in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("asked", (False, True))
@pytest.mark.parametrize("number", (signal.SIGABRT, signal.SIGSEGV))
def test_memory_is_nobodys(
    planted: Planted, release: Path, tmp_path: Path, asked: bool, number: signal.Signals
) -> None:
    """Not of a process beside the gateway, nor of who finds a core file, unless that was asked for."""
    config = {"registries": {"r.test": {"username": USER, "password": planted.new("password")}}}
    env = {"GOSSIP": planted.new("variable")} | ({"SLIPWAY_CORE_DUMPS": "1"} if asked else {})
    own = resource.getrlimit(resource.RLIMIT_CORE)[1]
    before = (*UNPRIVILEGED, "env", "-C", tmp_path, "prlimit", f"--core={own}")
    gateway = Gateway(tmp_path / "g", config, env=env, binary=release, before=before)
    gateway.start()
    with gateway.process as process:
        shown = read_by_another_process(process.pid, "environ")
        assert (planted.values["variable"].encode() in shown) == asked
        assert bool(read_by_another_process(process.pid, "maps")) == asked
        if not asked:
            assert read_by_another_process(process.pid, "mem") == b""
        process.signal(number)
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None and ended.si_status == number
    if not asked:
        assert ended.si_code == os.CLD_KILLED
        assert not list(tmp_path.glob("core*"))
    elif own != 0 and not Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")):
        assert ended.si_code == os.CLD_DUMPED
