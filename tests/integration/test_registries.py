"""Registries that ask who pushes, or cannot be reached: what works, and what is said if not."""
from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.curl import Reply
from support.gateway import Gateway, failed, pushed, slipway_binary
from support.http_server import LoopbackServer
from support.ports import refusing_port
from support.processes import plain_environment, run
from support.registry import Registry, htpasswd_file
from support.token_server import TokenServer, token_server

USER = "ci-user"
PASSWORD = "p4ss-w0rd:with/odd+signs"
WRONG = "wr0ng-p4ss-w0rd"
REFRESH = "refresh-t0ken-0123456789"
SECRETS = (
    PASSWORD,
    WRONG,
    REFRESH,
    base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(),
    base64.b64encode(f"{USER}:{WRONG}".encode()).decode(),
)
# Nobody should wait longer than this to hear that a registry cannot be reached.
REFUSAL_SECONDS = 90


def assert_no_secret(text: str) -> None:
    for secret in SECRETS:
        assert secret not in text


def login_file(folder: Path, value: dict[str, Any]) -> dict[str, str]:
    """A Docker configuration folder, and the environment that points at it."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(value))
    return {"DOCKER_CONFIG": str(folder)}


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry(tmp_path_factory.mktemp("guarded"), users={USER: PASSWORD}) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    folder = tmp_path_factory.mktemp("tokens")
    with token_server(folder, {USER: PASSWORD}, {REFRESH: USER}) as running:
        yield running


@pytest.fixture(scope="module")
def token_registry(
    tmp_path_factory: pytest.TempPathFactory, tokens: TokenServer
) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("token-registry")
    with Registry(folder, auth=tokens.registry_auth()) as running:
        yield running


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def push_with(
    folder: Path,
    archive: Path,
    target: str,
    config: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
) -> Reply:
    """One push through a fresh gateway; its whole log and answer are searched for secrets."""
    config = {"log": {"level": "debug"}, **(config or {})}
    with Gateway(folder / "gateway", config, env=env) as gateway:
        reply = gateway.post(archive, target, seconds=REFUSAL_SECONDS)
        assert_no_secret(reply.body.decode())
    assert_no_secret(gateway.log())
    return reply


# Credentials, each way they can be given.


def test_credentials_in_the_configuration(
    guarded: Registry, archive: Path, tmp_path: Path
) -> None:
    entry = {"username": USER, "password": PASSWORD}
    reply = push_with(
        tmp_path, archive, f"{guarded.host}/a/config:1", {"registries": {guarded.host: entry}}
    )
    pushed(reply)
    assert guarded.tags("a/config") == ["1"]


def test_password_file(guarded: Registry, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway/password").write_text(PASSWORD + "\n")
    # Relative to the configuration's folder.
    entry = {"username": USER, "password_file": "password"}
    target = f"{guarded.host}/a/file:1"
    pushed(push_with(tmp_path, archive, target, {"registries": {guarded.host: entry}}))


def test_password_env(guarded: Registry, archive: Path, tmp_path: Path) -> None:
    entry = {"username": USER, "password_env": "CI_REGISTRY_PASSWORD"}
    target = f"{guarded.host}/a/env:1"
    config = {"registries": {guarded.host: entry}}
    pushed(push_with(tmp_path, archive, target, config, {"CI_REGISTRY_PASSWORD": PASSWORD}))


@pytest.mark.parametrize("form", ("auth", "username"))
def test_docker_login(guarded: Registry, archive: Path, tmp_path: Path, form: str) -> None:
    entry = {"auth": basic(USER, PASSWORD)}
    if form == "username":
        entry = {"username": USER, "password": PASSWORD}
    env = login_file(tmp_path / "docker", {"auths": {guarded.host: entry}})
    pushed(push_with(tmp_path, archive, f"{guarded.host}/a/login-{form}:1", env=env))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have a /run of its own")
@pytest.mark.parametrize("owner", (0, 1))
def test_login_without_a_session(
    guarded: Registry, archive: Path, tmp_path: Path, owner: int
) -> None:
    """Without XDG_RUNTIME_DIR podman and skopeo log in below /run/containers, which the first of
    their users may have closed to all others: then there is no login."""
    value = {"auths": {guarded.host: {"auth": basic(USER, PASSWORD)}}}
    (tmp_path / "auth.json").write_text(json.dumps(value))
    env = plain_environment(tmp_path)
    del env["XDG_RUNTIME_DIR"]
    place = "/run/containers"
    script = (
        f"mount -t tmpfs none /run && mkdir -p {place}/0"
        f" && cp '{tmp_path}/auth.json' {place}/0 && chown {owner} {place} && chmod 700 {place}"
        ' && exec setpriv --bounding-set=-dac_override,-dac_read_search "$@"'
    )
    words = [slipway_binary(), "push", archive, f"{guarded.host}/a/session:{owner}"]
    words += ["--data", str(tmp_path / "data")]
    done = run(["unshare", "--mount", "sh", "-c", script, "sh", *words], env=env)
    assert_no_secret(done.stderr)
    if owner == 0:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1 and "none are known" in done.stderr, done.stderr


@pytest.mark.parametrize("key", ("credHelpers", "credsStore"))
def test_credential_helper(guarded: Registry, archive: Path, tmp_path: Path, key: str) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    helper = programs / "docker-credential-slipwaytest"
    answer = json.dumps({"ServerURL": "%s", "Username": USER, "Secret": PASSWORD})
    asked = tmp_path / "asked"
    helper.write_text(
        "#!/bin/sh\n"
        '[ "$1" = get ] || exit 1\n'
        "read -r host || [ -n \"$host\" ] || exit 1\n"
        f'echo "$host" >>"{asked}"\n'
        f"printf '{answer}\\n' \"$host\"\n"
    )
    helper.chmod(0o755)
    value = {"credHelpers": {guarded.host: "slipwaytest"}}
    if key == "credsStore":
        value = {"credsStore": "slipwaytest", "auths": {guarded.host: {}}}
    env = login_file(tmp_path / "docker", value)
    env["PATH"] = f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin"
    pushed(push_with(tmp_path, archive, f"{guarded.host}/a/helper-{key.lower()}:1", env=env))
    assert guarded.host in asked.read_text()


def test_password_command(archive: Path, tmp_path: Path) -> None:
    """A password that lasts for a while: the program is asked at first, and when it was refused."""
    printed, runs = tmp_path / "printed", tmp_path / "runs"
    printed.write_text(PASSWORD)
    script = f"echo run >>'{runs}'; cat '{printed}'"
    entry = {"username": USER, "password_command": ["sh", "-c", script]}
    with Registry(tmp_path / "registry", users={USER: PASSWORD}) as registry:
        host = registry.host
        config = {"registries": {host: entry}, "log": {"level": "debug"}}
        with Gateway(tmp_path / "gateway", config) as gateway:
            for tag in ("1", "2"):
                pushed(gateway.post(archive, f"{host}/a/command:{tag}"))
            assert runs.read_text().count("run") == 1
            htpasswd_file(tmp_path / "registry", {USER: REFRESH})
            error = failed(gateway.post(archive, f"{host}/a/command:3"), "UNAUTHORIZED", "registry")
            assert f'registries."{host}".password_command' in error["message"]
            assert runs.read_text().count("run") == 2, "asked again once"
            printed.write_text(REFRESH + "\n")
            pushed(gateway.post(archive, f"{host}/a/command:4"))
            assert runs.read_text().count("run") == 3
            htpasswd_file(tmp_path / "registry", {USER: PASSWORD})
            printed.unlink()
            error = failed(
                gateway.post(archive, f"{host}/a/command:5"), "UNAUTHORIZED", "registry"
            )
        assert "cat: " in gateway.log() and "exit status 1" in gateway.log()
        assert_no_secret(gateway.log() + error["message"])


def test_configuration_wins_over_docker_login(
    guarded: Registry, archive: Path, tmp_path: Path
) -> None:
    env = login_file(tmp_path / "docker", {"auths": {guarded.host: {"auth": basic(USER, WRONG)}}})
    entry = {"username": USER, "password": PASSWORD}
    target = f"{guarded.host}/a/wins:1"
    pushed(push_with(tmp_path, archive, target, {"registries": {guarded.host: entry}}, env))


def test_login_made_while_the_gateway_runs(
    guarded: Registry, archive: Path, tmp_path: Path
) -> None:
    env = login_file(tmp_path / "docker", {"auths": {}})
    with Gateway(tmp_path / "gateway", env=env) as gateway:
        target = f"{guarded.host}/a/later:1"
        failed(gateway.post(archive, target), "UNAUTHORIZED", "registry")
        value = {"auths": {guarded.host: {"auth": basic(USER, PASSWORD)}}}
        (tmp_path / "docker/config.json").write_text(json.dumps(value))
        pushed(gateway.post(archive, target))


def test_token_server(
    tokens: TokenServer, token_registry: Registry, archive: Path, tmp_path: Path
) -> None:
    host = token_registry.host
    entry = {"username": USER, "password": PASSWORD}
    before = len(tokens.requests)
    pushed(push_with(tmp_path, archive, f"{host}/t/basic:1", {"registries": {host: entry}}))
    asked = tokens.requests[before:]
    assert all(request.granted and request.user == USER for request in asked)
    assert any(
        scope.startswith("repository:t/basic:") and "push" in scope
        for request in asked
        for scope in request.scopes
    )
    assert len(asked) <= 3, "a token is for all requests of a push"


def test_identity_token(
    tokens: TokenServer, token_registry: Registry, archive: Path, tmp_path: Path
) -> None:
    entry = {"auth": basic("<token>", ""), "identitytoken": REFRESH}
    env = login_file(tmp_path / "docker", {"auths": {token_registry.host: entry}})
    before = len(tokens.requests)
    pushed(push_with(tmp_path, archive, f"{token_registry.host}/t/identity:1", env=env))
    assert {request.method for request in tokens.requests[before:]} == {"POST"}


# TLS.


def test_own_authority(authority: Authority, archive: Path, tmp_path: Path) -> None:
    with Registry(
        tmp_path / "r", users={USER: PASSWORD}, tls=authority.server(), ca=authority.path
    ) as registry:
        entry = {"ca": str(authority.path), "username": USER, "password": PASSWORD}
        target = f"{registry.host}/s/app:1"
        pushed(push_with(tmp_path, archive, target, {"registries": {registry.host: entry}}))
        assert registry.tags("s/app") == ["1"]


@pytest.mark.parametrize("why", ("unknown authority", "expired", "other authority"))
def test_certificate_refused(
    authority: Authority, archive: Path, tmp_path: Path, why: str
) -> None:
    certificate = authority.server("bad", expired=why == "expired")
    with Registry(tmp_path / "r", tls=certificate, ca=authority.path) as registry:
        entry: dict[str, Any] = {}
        if why == "expired":
            entry = {"ca": str(authority.path)}
        elif why == "other authority":
            entry = {"ca": str(Authority(tmp_path / "other", "another CA").path)}
        config = {"registries": {registry.host: entry}}
        reply = push_with(tmp_path, archive, f"{registry.host}/s/refused:1", config)
        error = failed(reply, "CERTIFICATE_REFUSED", "network")
        assert registry.host in error["message"]
        # Nothing may follow in the clear: no request at all reached it.
        assert registry.requests("POST") == []


def test_client_certificate(authority: Authority, archive: Path, tmp_path: Path) -> None:
    """The registry lets in who shows one: configured, or found where docker and podman look."""
    client = authority.server("client")
    with Registry(
        tmp_path / "r", tls=authority.server(), ca=authority.path, clients=authority.path
    ) as registry:
        entry = {"ca": str(authority.path), "retry_wait": "10ms"}
        config = {"registries": {registry.host: entry}}
        reply = push_with(tmp_path / "without", archive, f"{registry.host}/s/none:1", config)
        error = failed(reply, "CERTIFICATE_REFUSED", "network")
        assert "wants a client certificate" in error["message"]
        assert f'registries."{registry.host}".client_certificate' in error["message"]

        shown = {"client_certificate": str(client.certificate), "client_key": str(client.key)}
        config = {"registries": {registry.host: {**entry, **shown}}}
        pushed(push_with(tmp_path / "configured", archive, f"{registry.host}/s/app:1", config))

        folder = tmp_path / ".config/containers/certs.d" / registry.host
        folder.mkdir(parents=True)
        for name, path in (
            ("ca.crt", authority.path), ("ci.cert", client.certificate), ("ci.key", client.key)
        ):
            (folder / name).write_bytes(path.read_bytes())
        home = {"HOME": str(tmp_path)}
        pushed(push_with(tmp_path / "found", archive, f"{registry.host}/s/found:1", env=home))


# Refusals.


@pytest.mark.parametrize("kind", ("htpasswd", "token"))
@pytest.mark.parametrize("password", (WRONG, None))
def test_unauthorized(
    guarded: Registry,
    token_registry: Registry,
    archive: Path,
    tmp_path: Path,
    kind: str,
    password: str | None,
) -> None:
    registry = guarded if kind == "htpasswd" else token_registry
    config = {}
    if password:
        config = {"registries": {registry.host: {"username": USER, "password": password}}}
    reply = push_with(tmp_path, archive, f"{registry.host}/u/{kind}:1", config)
    error = failed(reply, "UNAUTHORIZED", "registry")
    assert error["status"] == 401
    assert registry.host in error["message"]


def test_advice_is_about_the_password_at_fault(
    guarded: Registry, archive: Path, tmp_path: Path
) -> None:
    """What `docker login` does not mend is not advised by it; a client hears whose login it is."""
    folder, docker = tmp_path / "gateway", tmp_path / "docker"
    folder.mkdir()
    (folder / "secret").write_text(WRONG)
    helper = "docker-credential-wrong"
    hosts = {name: f"{name}.example.com" for name in ("text", "file", "variable", "login", "helper")}
    env = login_file(
        docker,
        {
            "auths": {hosts["login"]: {"auth": basic(USER, WRONG)}},
            "credHelpers": {hosts["helper"]: "wrong"},
        },
    )
    answer = json.dumps({"Username": USER, "Secret": WRONG})
    (docker / helper).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (docker / helper).chmod(0o755)
    env |= {"THE_PASSWORD": WRONG, "PATH": f"{docker}:{os.environ['PATH']}"}
    named: dict[str, dict[str, str]] = {
        "text": {"username": USER, "password": WRONG},
        "file": {"username": USER, "password_file": "secret"},
        "variable": {"username": USER, "password_env": "THE_PASSWORD"},
    }
    url = f"http://{guarded.host}"
    config = {
        "registries": {
            host: {"endpoints": [url], **named.get(name, {})} for name, host in hosts.items()
        },
        "mirrors": [{"match": f"{name}/**", "to": [f"{host}/**"]} for name, host in hosts.items()],
    }
    says = {
        "text": (f'registries."{hosts["text"]}".password', str(folder / "config.json")),
        "file": (f'registries."{hosts["file"]}".password_file', str(folder / "secret")),
        "variable": (f'registries."{hosts["variable"]}".password_env', "THE_PASSWORD"),
        "login": (f'"docker login {hosts["login"]}"', str(docker / "config.json")),
        "helper": (f'"docker login {hosts["helper"]}"', helper),
    }
    with Gateway(folder, config, env=env) as gateway:
        for name, parts in says.items():
            reply = gateway.post(archive, f"{hosts[name]}/x:1", seconds=REFUSAL_SECONDS)
            text = failed(reply, "UNAUTHORIZED", "registry")["message"]
            assert all(part in text for part in (*parts, USER)), text
            assert ("docker login" in text) == ("docker login" in parts[0]), text
            assert_no_secret(text)
        argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false"]
        argv += [f"docker-archive:{archive}", f"docker://127.0.0.1:{gateway.port}/file/x:1"]
        client = run(argv)
        assert client.returncode != 0
        assert "to the gateway's login there, not yours" in client.stderr, client.stderr
        assert str(folder / "secret") in client.stderr
    assert_no_secret(client.stderr + gateway.log())


def test_unknown_host(archive: Path, tmp_path: Path) -> None:
    reply = push_with(tmp_path, archive, "no-such-host.invalid/team/app:1")
    error = failed(reply, "HOST_UNKNOWN", "network")
    assert "no-such-host.invalid" in error["message"]


def test_closed_port(archive: Path, tmp_path: Path) -> None:
    with refusing_port() as port:
        host = f"127.0.0.1:{port}"
        error = failed(
            push_with(tmp_path, archive, f"{host}/team/app:1"), "CONNECT_FAILED", "network"
        )
        assert host in error["message"]


class QuietFiles(SimpleHTTPRequestHandler):
    """Python's own file server: HTML for everything, no registry."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory="/usr/share/common-licenses")

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class Welcome(BaseHTTPRequestHandler):
    """A web site that answers 200 and a page to anything."""

    protocol_version = "HTTP/1.1"

    def _page(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = b"<html><body>Welcome</body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _page

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.mark.parametrize("handler", (QuietFiles, Welcome))
def test_not_a_registry(
    archive: Path, tmp_path: Path, handler: type[BaseHTTPRequestHandler]
) -> None:
    with LoopbackServer(handler) as server:
        host = f"127.0.0.1:{server.port}"
        reply = push_with(tmp_path, archive, f"{host}/team/app:1")
        error = failed(reply, "NOT_A_REGISTRY", "registry")
        assert host in error["message"]
        assert "<html" not in error["message"].lower()


def test_one_failed_target_does_not_stop_the_other(
    registry: Registry, gateway: Gateway, archive: Path
) -> None:
    with refusing_port() as port:
        targets = [f"127.0.0.1:{port}/team/app:1", f"{registry.host}/o/app:1"]
        reply = gateway.post(archive, targets, seconds=REFUSAL_SECONDS)
    assert reply.status == 502
    value = reply.json()
    assert value["state"] == "failed"
    bad, good = value["results"]
    assert (bad["target"], bad["state"]) == (targets[0], "failed")
    assert (good["target"], good["state"]) == (targets[1], "pushed")
    assert good["digest"] == value["image"]["manifest"]
    assert registry.tags("o/app") == ["1"]


def test_endpoints_are_tried_in_order(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """The first endpoint is away, the second takes the push."""
    with refusing_port() as port:
        endpoints = [f"http://127.0.0.1:{port}", f"http://{registry.host}"]
        config = {"registries": {"r.example.com": {"endpoints": endpoints, "plain_http": True}}}
        reply = push_with(tmp_path, archive, "r.example.com/e/app:1", config)
    (result,) = pushed(reply)
    assert result["target"] == "r.example.com/e/app:1"
    assert registry.tags("e/app") == ["1"]
