"""Real clients at a gateway with a policy: each says who it is in its own way, and may do what the
policy says.

crane, helm and oras are in test_identity_programs.py. With SLIPWAY_LONG=1 buildah is there, too,
and tokens of docker and skopeo end by the clock while they push.
"""
from __future__ import annotations

import os
import re
import secrets
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.archives import Podman, docker_save_old
from support.certificates import Authority
from support.containerd import Containerd
from support.docker_engine import DockerEngine
from support.gateway import Gateway
from support.identity import USERS, Issuer, access_config, as_user, authorization
from support.identity import mounted
from support.identity_fixtures import gateway, issuer  # noqa: F401
from support.images import Image, image_config, make_small_image, seal
from support.nginx import Nginx
from support.processes import must_run, plain_environment
from support.tars import TarBuilder
from support.throttle import ThrottledProxy

LONG = os.environ.get("SLIPWAY_LONG") == "1"
# buildah speaks as podman does: it is the same library.
CLIENTS = ("docker", "podman", "skopeo", *(["buildah"] if LONG else []))
RATE = 40_000  # bytes a second, of what takes its time
DENIED = re.compile(r"denied|unauthorized|authentication required|invalid username/password", re.I)
ABSENT = re.compile(r"no such manifest|not found|unknown|404", re.I)
NAME = "m/client:1.0"


@pytest.fixture(scope="module")
def other_gateway(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Gateway]:
    """For logins that fail, which count by address."""
    folder = tmp_path_factory.mktemp("other")
    with Gateway(folder, access_config(folder, issuer)) as running:
        yield running


# ---- what Debian has


@dataclass
class Client:
    """A program with logins of its own."""

    name: str
    folder: Path
    docker: DockerEngine | None
    podman: Podman | None
    port: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.logins = self.folder / "auth.json"
        self.logins.write_text("{}")
        self.env = plain_environment(self.folder)

    def _run(self, *words: str | Path) -> str:
        if self.docker:
            return self.docker.docker(*words)
        if self.podman and self.name == "podman":
            return self.podman.run(*words)
        options = ["--storage-driver", "vfs", "--root", f"{self.folder}/root", "--runroot"]
        buildah = ["buildah", *options, f"{self.folder}/run"]
        argv = buildah if self.name == "buildah" else ["skopeo"]
        return must_run([*argv, *words], env=self.env)

    @property
    def _options(self) -> list[str]:
        return [] if self.docker else ["--tls-verify=false", "--authfile", str(self.logins)]

    def at(self, repository: str) -> str:
        return f"127.0.0.1:{self.port}/{repository}:1.0"

    def log_in(self, user: str, password: str) -> None:
        words = ["login", *self._options, "-u", user, "-p", password, f"127.0.0.1:{self.port}"]
        self._run(*words)

    def log_out(self) -> None:
        if self.docker:
            self._run("logout", f"127.0.0.1:{self.port}")
        self.logins.write_text("{}")

    def has(self, image: Image) -> None:
        """The image is there to be pushed, under NAME."""
        archive = docker_save_old([(image, [NAME])], self.folder / "image.tar")
        if self.name == "buildah":
            self._run("pull", "--quiet", "--authfile", self.logins, f"docker-archive:{archive}")
        elif self.name != "skopeo":
            self._run("load", "--quiet", "-i", archive)

    def push(self, repository: str) -> None:
        to = self.at(repository)
        if self.docker:
            self._run("tag", NAME, to)
            self._run("push", to)
        elif self.name == "skopeo":
            options = ["--dest-tls-verify=false", "--authfile", self.logins]
            source = f"docker-archive:{self.folder}/image.tar"
            self._run("copy", "--quiet", *options, source, f"docker://{to}")
        else:
            kind = "docker://" if self.name == "buildah" else ""
            self._run("push", "--quiet", *self._options, f"localhost/{NAME}", kind + to)

    def see(self, repository: str) -> None:
        """Pull the image, or its manifest where the program does that."""
        if self.docker:
            self._run("pull", "--quiet", self.at(repository))
        elif self.name == "skopeo":
            self._run("inspect", "--raw", *self._options, f"docker://{self.at(repository)}")
        else:
            self._run("pull", "--quiet", *self._options, self.at(repository))

    def fails(self, what: str, *words: str, says: re.Pattern[str] = DENIED) -> None:
        with pytest.raises(RuntimeError) as caught:
            getattr(self, what)(*words)
        assert says.search(str(caught.value)), caught.value


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    with DockerEngine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module", params=CLIENTS)
def client(
    request: pytest.FixtureRequest, gateway: Gateway, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    name = request.param
    engine = request.getfixturevalue("engine") if name == "docker" else None
    with Podman() as podman, tempfile.TemporaryDirectory(prefix="client-") as folder:
        made = Client(name, Path(folder), engine, podman, gateway.port)
        made.has(make_small_image(made.folder / "files", secrets.token_hex(8)))
        yield made


@pytest.fixture(autouse=True)
def logged_out(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "client" in request.fixturenames:
        request.getfixturevalue("client").log_out()


def test_without_a_login(client: Client) -> None:
    client.see("public/app")
    client.fails("see", "team-a/app")
    client.fails("push", "team-a/anonymous")


def test_pushes_and_mounts_from_where_it_may_read(client: Client, gateway: Gateway) -> None:
    client.log_in("ann", USERS["ann"])
    client.push(f"team-a/{client.name}")
    client.see(f"team-a/{client.name}")
    client.push(f"team-a/{client.name}-second")
    assert mounted(gateway, f"team-a/{client.name}-second") > 0
    client.fails("push", f"public/{client.name}")
    client.fails("see", "secret/app", says=ABSENT)


def test_only_pulls(client: Client) -> None:
    client.log_in("bob", USERS["bob"])
    client.see("team-a/app")
    client.fails("push", "team-a/app")


def test_sends_what_it_may_not_mount(client: Client, gateway: Gateway, seed: str) -> None:
    client.has(make_small_image(client.folder / "other", seed))
    client.log_in("olga", USERS["olga"])
    client.push(f"secret/{client.name}")
    client.log_out()
    client.log_in("ann", USERS["ann"])
    client.push(f"team-a/{client.name}-third")
    assert mounted(gateway, f"team-a/{client.name}-third") == 0


def test_a_token_of_ci_is_a_password(client: Client, issuer: Issuer) -> None:
    client.log_in("oidc", issuer.jwt())
    client.push(f"team-a/{client.name}-ci")


def test_a_wrong_password(client: Client, other_gateway: Gateway) -> None:
    own, client.port = client.port, other_gateway.port
    try:
        client.fails("log_in", "ann", "wrong")
    finally:
        client.port = own


def test_containerd(gateway: Gateway, tmp_path: Path) -> None:
    at, new = (f"127.0.0.1:{gateway.port}/team-a/{name}:1.0" for name in ("app", "ctr"))
    with Containerd(tmp_path) as containerd:

        def ctr(verb: str, user: str, *words: str) -> str:
            login = ["--user", user] if user else []
            return containerd.ctr("images", verb, "--plain-http", *login, *words)

        ann, bob = (f"{user}:{USERS[user]}" for user in ("ann", "bob"))
        for user in ("", "ann:wrong"):
            with pytest.raises(RuntimeError, match="(?i)unauthorized|authorization failed|denied"):
                ctr("pull", user, "--snapshotter", "native", at)
        ctr("pull", bob, "--snapshotter", "native", at)
        with pytest.raises(RuntimeError, match="(?i)unauthorized|forbidden|denied|scope"):
            ctr("push", bob, new, at)
        ctr("push", ann, new, at)
    with as_user(gateway.port, "bob") as front:
        assert front.manifest("team-a/ctr", "1.0").status == 200


def test_curl_and_python(gateway: Gateway, other_gateway: Gateway) -> None:
    """Basic with each request; what is not enough says so before any body."""
    path = "/v2/team-a/app/manifests/1.0"

    def curl(at: Gateway, *options: str) -> str:
        format = "%{http_code} %header{www-authenticate}"
        return must_run(["curl", "-qsS", "-o", "/dev/null", "-w", format, *options, at.url + path])

    assert curl(gateway, "-u", f"bob:{USERS['bob']}").startswith("200 ")
    bearer = f'Bearer realm="http://localhost:{gateway.port}/token",service="slipway"'
    scope = ',scope="repository:team-a/app:pull'
    assert curl(gateway) == f'401 {bearer}{scope}"'
    assert curl(other_gateway, "-u", "bob:wrong").startswith("401 Bearer ")
    assert curl(gateway, "-u", f"bob:{USERS['bob']}", "-X", "PUT").startswith("403 ")
    assert curl(gateway, "-X", "PUT") == f'401 {bearer}{scope},push"'
    both = ("-H", "Authorization: Basic eDp5", "-H", "Authorization: Bearer x")
    assert curl(gateway, *both).startswith("40")
    request = urllib.request.Request(gateway.url + path)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request, timeout=20)
    request.add_header("Authorization", authorization("bob"))
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200 and len(answer.read()) == int(answer.headers["Content-Length"])


# ---- behind a proxy

SITE = """
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    client_max_body_size 0;
    location / {{
      proxy_pass {upstream};
      proxy_http_version 1.1;
      proxy_request_buffering off;
      proxy_set_header Host localhost;
      proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-For $remote_addr;
    }}
  }}
"""


def proxied_site(folder: Path, upstream: str) -> Callable[[int], str]:
    made = Authority(folder / "authority").server()
    return lambda port: SITE.format(
        port=port, certificate=made.certificate, key=made.key, upstream=upstream
    )


def realm_of(url: str, folder: Path, *headers: str) -> str:
    """What /v2/ says to whoever has no token."""
    head = [word for header in headers for word in ("-H", header)]
    told = folder / "challenge"
    argv = ["curl", "-qsSk", "--noproxy", "*", "-o", "/dev/null", "-D", told]
    must_run([*argv, *head, f"{url}/v2/"])
    return re.findall(r'^WWW-Authenticate: Bearer realm="([^"]+)"', told.read_text(), re.M)[0]


def test_tls_ends_at_a_proxy(client: Client, issuer: Issuer, tmp_path: Path) -> None:
    """The realm is the gateway as the client reached it: the proxy, by https."""
    if client.name != "docker" and not LONG:
        pytest.skip("one of them in CI")
    config = access_config(tmp_path, issuer, trusted_proxies=["127.0.0.1"])
    with Gateway(tmp_path / "gateway", config) as gateway:
        site = proxied_site(tmp_path, gateway.url)
        with Nginx(tmp_path / "nginx", "", site=site) as nginx:
            realm = realm_of(f"https://{nginx.host}", tmp_path)
            assert realm == f"https://localhost:{nginx.port}/token"
            own, client.port = client.port, nginx.port
            try:
                client.log_in("ann", USERS["ann"])
                client.push("team-a/proxied")
                client.log_out()
            finally:
                client.port = own
            asked = [one for one in nginx.requests() if one.path.startswith("/token")]
            assert asked and all(one.status == 200 for one in asked)
        with as_user(gateway.port, "bob") as front:
            assert front.manifest("team-a/proxied", "1.0").status == 200


def test_only_a_trusted_proxy_says_where_the_client_is(gateway: Gateway, tmp_path: Path) -> None:
    headers = ("X-Forwarded-Host: evil.example.com", "X-Forwarded-Proto: https")
    assert realm_of(gateway.url, tmp_path, *headers) == f"http://localhost:{gateway.port}/token"


# ---- a push that is longer than its token


def larger_image(folder: Path) -> Image:
    """Of layers that take half a minute each at RATE."""
    layers = []
    for number in range(3):
        with TarBuilder(folder / f"{number}.tar") as tar:
            tar.file(f"data/{number}", os.urandom(30 * RATE))
        layers.append(seal(folder / f"{number}.tar"))
    return Image(image_config(layers, "long"), tuple(layers))


@pytest.mark.skipif(not LONG, reason="takes minutes")
def test_real_tokens_end_in_mid_push(client: Client, issuer: Issuer, tmp_path: Path) -> None:
    """A token lives a minute, the push nearly two."""
    if client.name not in ("docker", "skopeo"):
        pytest.skip("the others speak as skopeo does")
    client.has(larger_image(tmp_path))
    config = access_config(tmp_path, issuer, token_ttl="1m")
    with Gateway(tmp_path / "gateway", config) as gateway:
        with ThrottledProxy(gateway.port, to_server=RATE, shared=True) as line:
            own, client.port = client.port, line.port
            try:
                client.log_in("oidc", issuer.jwt())
                begun = time.monotonic()
                client.push("team-a/long")
                assert time.monotonic() - begun > 80
                client.log_out()
            finally:
                client.port = own
        with as_user(gateway.port, "bob") as front:
            assert front.manifest("team-a/long", "1.0").status == 200
