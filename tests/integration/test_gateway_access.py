"""`slipway push --gateway` through a proxy that speaks TLS and asks who is there: nginx as
docs/operations.md has it, word for word but for addresses and paths."""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.certificates import Authority, ServerCertificate
from support.command import result_lines, slipway
from support.curl import images_path
from support.gateway import SOURCE_FOLDER, Gateway
from support.nginx import Nginx
from support.pages import one_block
from support.processes import must_run, run
from support.registry import Registry, htpasswd_file

USER, PASSWORD = "ci", "pass/w0rd?#é"
ESCAPED = "pass%2Fw0rd%3F%23%C3%A9"
PUSHED, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 4


@dataclass(frozen=True)
class Front:
    """nginx before a gateway."""

    nginx: Nginx
    gateway: Gateway
    authority: Authority

    @property
    def host(self) -> str:
        return f"localhost:{self.nginx.port}"

    @property
    def url(self) -> str:
        return f"https://{self.host}"


def documented_site(certificate: ServerCertificate, users: Path, upstream: str, port: int) -> str:
    text = one_block(SOURCE_FOLDER / "docs/operations.md", "nginx").text
    for written, here in (
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("gateway.example.com", "localhost"),
        ("/etc/nginx/slipway/gateway.pem", str(certificate.certificate)),
        ("/etc/nginx/slipway/gateway.key", str(certificate.key)),
        ("/etc/nginx/slipway/users", str(users)),
        ("127.0.0.1:5000", upstream),
    ):
        assert written in text, written
        text = text.replace(written, here)
    return text


@pytest.fixture(scope="module")
def front(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("front")
    authority = Authority(folder / "ca")
    certificate = authority.server()
    users = htpasswd_file(folder, {USER: PASSWORD})
    users.chmod(0o644)  # nginx drops its rights where it is root's
    upstream = f"127.0.0.1:{gateway.port}"
    with Nginx(
        folder / "nginx",
        upstream,
        site=lambda port: documented_site(certificate, users, upstream, port),
    ) as nginx:
        yield Front(nginx, gateway, authority)


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


def docker_login(folder: Path, host: str, secret: str = PASSWORD) -> None:
    path = folder / "home/.docker/config.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{USER}:{secret}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def configured(folder: Path, front: Front) -> Path:
    entry = {"ca": str(front.authority.path), "username": USER, "password_file": "password"}
    path = folder / "slipway.json"
    path.write_text(json.dumps({"registries": {front.host: entry}}))
    return path


WAYS = ("options", "environment", "url", "configuration", "docker", "both")


@pytest.mark.parametrize("way", WAYS)
def test_ways_in(
    front: Front, registry: Registry, archive: Path, tmp_path: Path, password_file: Path, way: str
) -> None:
    """Each way to name authorities and user, and none shows the password."""
    ca = str(front.authority.path)
    target = f"{registry.host}/access/{way}:1"
    words: list[str | Path] = ["push", archive, target]
    env: dict[str, str] = {}
    if way == "options":
        words += ["--gateway", front.url, "--ca", ca]
        words += ["--user", USER, "--password-file", password_file]
    elif way == "environment":
        env = {"SLIPWAY_GATEWAY": front.url + "/", "SLIPWAY_CA": ca}
        env["SLIPWAY_USER"] = f"{USER}:{PASSWORD}"
    elif way == "url":
        words += ["--gateway", f"https://{USER}:{ESCAPED}@{front.host}", "--ca", ca]
    elif way == "configuration":
        words += ["--gateway", front.url, "--config", configured(tmp_path, front)]
    elif way == "docker":
        docker_login(tmp_path, front.host)
        words += ["--gateway", front.url]
        env = {"SSL_CERT_FILE": ca}
    else:  # what is closer counts
        words += ["--gateway", front.url, "--user", f"{USER}:{PASSWORD}"]
        env = {"SLIPWAY_CA": ca, "SSL_CERT_FILE": "/nonexistent"}
    done = slipway(tmp_path, *words, env=env)
    assert done.returncode == PUSHED, done.stderr
    assert result_lines(done.stdout)[0]["target"] == target
    assert PASSWORD not in done.stderr and ESCAPED not in done.stderr


GATEWAYS = (
    "https://ci:s3cret@{host}",
    "https://ci:s3/cret@{host}",
    "ci:s3cret@{host}",
    "https://ci:s3cret@localhost:1",
    "https://ci:s3cret@localhost:x",
    "https://ci:s3@cret/@{host}",
    "https://ci:s3@localhost:1#/cret@{host}",
    "https://ci:33/s3cret@{host}",
)


def test_no_text_has_the_password_of_a_url(front: Front, archive: Path, tmp_path: Path) -> None:
    """Refused, unreachable or no URL; a target, an archive, a typing error; in the settings."""
    url = f"https://ci:s3cret@{front.host}"
    rest = [archive, "r.example.com/x:1"]
    asked: list[tuple[str | Path, ...]] = [
        ("push", *rest, "--gateway", one.format(host=front.host)) for one in GATEWAYS
    ]
    asked += [("push", archive, f"{url}/x:1"), ("push", url, rest[1])]
    asked += [("push", *rest, "--data", tmp_path / "data")]
    asked += [("push", *rest, f"--gatway={url}"), (url,)]
    path = tmp_path / "wrong.json"
    for words in asked:
        proxy = {"https_proxy": "http://ci:s3@localhost/cret@127.0.0.1:1"}
        done = slipway(tmp_path, *words, env=proxy)
        assert done.returncode != PUSHED
        assert "s3" not in done.stderr and "cret" not in done.stdout + done.stderr, done.stderr
    for value in (
        {"registries": {url: {}}},
        {"registries": {"r.example.com": {"endpoints": [url]}}},
        {"mirrors": [{"match": "**", "to": [f"{url}/**"]}]},
        {"hosts": [url]},
        {url: 1},
    ):
        path.write_text(json.dumps(value))
        done = slipway(tmp_path, "config", "--config", path)
        assert done.returncode == USAGE and "s3cret" not in done.stdout + done.stderr, done.stderr


def test_the_log_hides_it_too(own_gateway: Gateway, archive: Path) -> None:
    """A target that is a URL, and a request whose target is one (RFC 9112, 3.2.2)."""
    target = "https://ci:s3cret@r.example.com/x:1"
    reply = own_gateway.request(images_path([target]), method="POST", upload=archive)
    assert reply.status == 400 and b"s3cret" not in reply.body, reply.body
    with own_gateway.connect() as connection:
        connection.sendall(
            b"DELETE http://ci:s3cret@127.0.0.1/v9/x HTTP/1.1\r\n"
            b"Host: 127.0.0.1\r\nConnection: close\r\n\r\n"
        )
        while connection.recv(65536):
            pass
    assert "s3cret" not in own_gateway.log()
    assert "r.example.com" in own_gateway.log()


REFUSALS = {
    "nobody": ([], {}, ("no user and password are known", "--user", "SLIPWAY_USER")),
    "wrong": (["--user", f"{USER}:wr0ng"], {}, ('the user "ci"', "--user")),
    "docker": ([], {"docker": "wr0ng"}, (".docker/config.json",)),
    "variable": ([], {"SLIPWAY_USER": "who:wr0ng"}, ('the user "who"', "SLIPWAY_USER")),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_refused_by_the_proxy(front: Front, archive: Path, tmp_path: Path, why: str) -> None:
    options, env, says = REFUSALS[why]
    if "docker" in env:
        docker_login(tmp_path, front.host, env["docker"])
        env = {}
    words = ["push", archive, "r.example.com/x:1", "--gateway", front.url]
    words += ["--ca", front.authority.path, *options]
    done = slipway(tmp_path, *words, env=env)
    assert done.returncode == UNREACHABLE, done.stderr
    assert "401" in done.stderr and front.url in done.stderr
    assert all(part in done.stderr for part in says), done.stderr
    assert "wr0ng" not in done.stderr


def test_refused_by_the_gateway_itself(tmp_path: Path) -> None:
    """Before the body, so that the reason is read over TLS, too: the archive fills every socket."""
    authority = Authority(tmp_path / "ca")
    made = authority.server()
    (tmp_path / "large.tar").write_bytes(bytes(32 << 20))
    config = {
        "tls": {"certificate": str(made.certificate), "key": str(made.key)},
        "clients": {"htpasswd": str(htpasswd_file(tmp_path, {USER: PASSWORD}))},
        "policy": [{"who": [USER], "targets": ["**"]}],
    }
    with Gateway(tmp_path / "gateway", config) as gateway:
        url = f"https://localhost:{gateway.port}"
        words = ["push", tmp_path / "large.tar", "r.example.com/x:1", "--gateway", url]
        words += ["--ca", authority.path]
        for user, says in (
            ("ci:wr0ng", ("the password is wrong", 'the user "ci"', "SLIPWAY_USER")),
            ("", ("log in: push", "--user and --password-file")),
        ):
            done = slipway(tmp_path, *words, env={"SLIPWAY_USER": user})
            assert done.returncode == REFUSED, done.stderr
            assert all(part in done.stderr for part in says), done.stderr
            assert "wr0ng" not in done.stderr


@pytest.mark.parametrize(
    "words, env, says",
    (
        ((), {}, ("unknown authority", "--ca, SLIPWAY_CA")),
        (("--ca", "/nonexistent"), {}, ("--ca: open /nonexistent",)),
        ((), {"SLIPWAY_CA": "/dev/null"}, ("SLIPWAY_CA: /dev/null", "no certificate")),
        ((), {"SSL_CERT_FILE": "/nonexistent"}, ("/nonexistent", "(SSL_CERT_FILE)")),
        (("--user", "ci"), {}, ("--password-file", "SLIPWAY_USER=USER:PASSWORD")),
        (("--password-file", "/nonexistent"), {}, ("--user",)),
        (("--user", "ci", "--password-file", "/nonexistent"), {}, ("/nonexistent",)),
        (("--config", "/nonexistent"), {}, ("/nonexistent",)),
    ),
)
def test_advice_names_what_there_is(
    front: Front,
    archive: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    env: Mapping[str, str],
    says: tuple[str, ...],
) -> None:
    done = slipway(
        tmp_path, "push", archive, "r.example.com/x:1", "--gateway", front.url, *words, env=env
    )
    assert done.returncode == (USAGE if words or env else UNREACHABLE), done.stderr
    assert all(part in done.stderr for part in says), done.stderr
    # The key that the advice names is one that the configuration takes.
    if not words and not env:
        path = tmp_path / "slipway.json"
        assert f'registries."{front.host}".ca' in done.stderr
        path.write_text(json.dumps({"registries": {front.host: {"ca": str(front.authority.path)}}}))
        assert slipway(tmp_path, "config", "--config", path).returncode == 0


ANSWERS = {
    "small": ("client_max_body_size 1k; proxy_pass {up};", "client_max_body_size 0"),
    "moved": ("return 301 https://gw.example.com$request_uri;", "https://gw.example.com/moved/v1"),
    "down": ("proxy_pass http://127.0.0.1:1;", "proxy_read_timeout"),
    "page": ("return 200 hello;", "status 200, hello"),
}


def test_what_else_answers(gateway: Gateway, archive: Path, tmp_path: Path) -> None:
    places = "".join(
        f"location /{name}/ {{ {answer.format(up=gateway.url)} }}"
        for name, (answer, _) in ANSWERS.items()
    )
    with Nginx(
        tmp_path / "nginx", "", site=lambda port: f"server {{ listen 127.0.0.1:{port}; {places} }}"
    ) as nginx:
        for name, (_, says) in ANSWERS.items():
            url = f"http://{nginx.host}/{name}"
            done = slipway(tmp_path, "push", archive, "r.example.com/x:1", "--gateway", url)
            assert done.returncode == UNREACHABLE
            assert says in done.stderr and url in done.stderr, done.stderr


def test_access_without_a_gateway_is_wrong_usage(archive: Path, tmp_path: Path) -> None:
    done = slipway(tmp_path, "push", archive, "r.example.com/x:1", "--user", "ci:x")
    assert done.returncode == USAGE and "--gateway" in done.stderr


def test_registry_clients_through_the_proxy(
    front: Front, archive: Path, tmp_path: Path, seed: str
) -> None:
    """The documented proxy also serves them: layers without a limit, and the way back."""
    certs = tmp_path / "certs.d"
    certs.mkdir()
    (certs / "ca.crt").write_bytes(front.authority.path.read_bytes())
    place = f"docker://{front.host}/proxied/{seed}:1"
    login = ["--creds", f"{USER}:{PASSWORD}"]
    must_run(
        ["skopeo", "copy", "--quiet", f"--dest-cert-dir={certs}", "--dest-creds", login[1],
         f"docker-archive:{archive}", place]
    )
    must_run(["skopeo", "inspect", f"--cert-dir={certs}", *login, place])
    stranger = run(["skopeo", "inspect", f"--cert-dir={certs}", "--no-creds", place])
    assert stranger.returncode != 0
    assert front.gateway.request(f"/v2/proxied/{seed}/manifests/1").status == 200
