"""Identities for a gateway with a policy: users, an identity provider, and clients that say who
they are."""
from __future__ import annotations

import base64
import hmac
import http.client
import json
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.curl import Reply
from support.front import BYTES, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Front, path_of, sha256
from support.front import descriptor, manifest_of, to_json, with_digest
from support.gateway import Gateway
from support.images import Image, make_small_image
from support.registry import MANIFEST_TYPES, htpasswd_file

USERS = {"ann": "ann's pass:word", "bob": "bob-p4ss", "olga": "olga-p4ss"}
"""ann pushes to team-a, bob pulls from there, olga may do everything; public is for everybody."""

POLICY: list[dict[str, Any]] = [
    {"who": ["ann", "ci-app", "robot:ci-a"], "may": ["pull", "push"], "repositories": ["team-a/**"]},
    {"who": ["bob"], "may": ["pull"], "repositories": ["team-a/**"]},
    {"who": ["anonymous", "authenticated"], "may": ["pull"], "repositories": ["public/**"]},
    {"who": ["olga"], "may": ["*"], "repositories": ["**"], "targets": ["**"]},
]
AUDIENCE = "gateway.example.com"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
JWT_LEEWAY_SECONDS = 60
FORM = "application/x-www-form-urlencoded"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def authorization(user: str) -> str:
    return basic(user, USERS[user])


# ---- an identity provider


def _encode(data: bytes | Mapping[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Issuer:
    """Signs what CI jobs show; its public key is in `path` (JWKS)."""

    path: Path
    url: str = "https://issuer.example.com"
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rotate("first")

    def rotate(self, kid: str) -> None:
        """Another key takes the place of those that were there."""
        self.keys = {kid: ec.generate_private_key(ec.SECP256R1())}
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps({"keys": [self._public(name) for name in self.keys]}))
        draft.rename(self.path)

    def _public(self, kid: str) -> dict[str, str]:
        point = self.keys[kid].public_key().public_numbers()
        x, y = (_encode(number.to_bytes(32, "big")) for number in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "use": "sig", "kid": kid, "x": x, "y": y}

    def claims(self, **more: Any) -> dict[str, Any]:
        """Of a job of the repository 1234, with five minutes to live."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + 300}
        value = {"iss": self.url, "aud": AUDIENCE, "sub": "job", "repository_id": "1234"}
        return {**value, **times, **more}

    def jwt(self, kid: str | None = None, alg: str = "ES256", **claims: Any) -> str:
        ((name, key),) = self.keys.items()
        header = {"alg": alg, "typ": "JWT", "kid": kid or name}
        text = f"{_encode(header)}.{_encode(self.claims(**claims))}"
        if alg == "none":
            return text + "."
        if alg == "HS256":  # the public key as a secret, as verifiers took it that believe `alg`
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            return f"{text}.{_encode(hmac.digest(public, text.encode(), 'sha256'))}"
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def setting(self) -> dict[str, Any]:
        """Its entry in clients.oidc."""
        mapping = {"claims": {"repository_id": "1234"}, "identity": "ci-app", "ttl": "1h"}
        return {"name": "ci", "issuer": self.url, "audiences": [AUDIENCE],
                "jwks_file": str(self.path), "mappings": [mapping]}


def access_config(folder: Path, issuer: Issuer, **clients: Any) -> dict[str, Any]:
    """A gateway's configuration with all of the above."""
    folder.mkdir(parents=True, exist_ok=True)
    users = str(htpasswd_file(folder, USERS))
    return {"clients": {"htpasswd": users, "oidc": [issuer.setting()], **clients},
            "policy": POLICY, "log": {"format": "json"}}


# ---- clients


class SignedFront(Front):
    """A client that sends the same Authorization with each request, as curl and Python do."""

    def __init__(self, port: int, authorization: str) -> None:
        super().__init__(port)
        self._authorization = authorization

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        chunked: bool = False,
    ) -> Reply:
        signed = {"Authorization": self._authorization, **(headers or {})}
        return super().ask(method, path, body, signed, chunked=chunked)


@contextmanager
def as_user(port: int, user: str) -> Iterator[Front]:
    with SignedFront(port, authorization(user)) as front:
        yield front


def _put_image(front: Front, repository: str, image: Image) -> None:
    layers = [layer.path.read_bytes() for layer in image.layers]
    for blob in (image.config, *layers):
        front.push_blob(repository, blob)
    kind = OCI_LAYER.removesuffix("+gzip")
    described = [descriptor(kind, layer) for layer in layers]
    data = to_json(manifest_of(descriptor(OCI_CONFIG, image.config), *described))
    front.must_put(repository, "1.0", data)


@contextmanager
def identity_gateway(folder: Path, issuer: Issuer) -> Iterator[Gateway]:
    """A gateway with access_config(), and an image in a repository of each kind."""
    image = make_small_image(folder / "files", secrets.token_hex(8))
    with Gateway(folder, access_config(folder, issuer)) as running:
        with as_user(running.port, "olga") as olga:
            for repository in ("public/app", "team-a/app", "secret/app"):
                _put_image(olga, repository, image)
        yield running


def mounted(gateway: Gateway, repository: str) -> int:
    """How many blobs were mounted into a repository."""
    events = [json.loads(line) for line in gateway.log().splitlines() if line.startswith("{")]
    return sum(
        one.get("event") == "blob.mounted" and one.get("repository") == repository for one in events
    )


def parse_challenge(value: str) -> dict[str, str]:
    """The parts of a Bearer challenge."""
    assert value.startswith("Bearer "), value
    return dict(re.findall(r'(\w+)="([^"]*)"', value))


@dataclass(frozen=True)
class Program:
    """How a program asks for tokens and how it sends a blob."""

    name: str
    client_id: str
    form: bool  # a password goes to the token endpoint in a form, not as Basic
    patch: bool  # PATCH and an empty PUT, not one PUT
    actions: str


CRANE = Program("crane", "go-containerregistry", form=False, patch=True, actions="push,pull")
HELM = Program("helm", "helm", form=True, patch=False, actions="pull,push")
ORAS = Program("oras", "oras-go", form=False, patch=False, actions="pull,push")


class TokenClient:
    """What crane, helm and oras send, request by request; a context manager.

    Each has its address below 127.0.0.0/8, since logins that fail count by address.
    """

    def __init__(
        self,
        program: Program,
        port: int,
        login: tuple[str, str] | None = None,
        address: str = "127.0.0.1",
    ) -> None:
        self.program = program
        self._login = login
        self.offline = False  # ask for a refresh token, as `docker login` does
        self.refresh_token = ""
        self._token = ""
        self._scopes: list[str] = []
        self.tokens = 0  # that it was given
        self._http = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=60, source_address=(address, 0)
        )

    def __enter__(self) -> TokenClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @property
    def shown(self) -> str:
        return f"Bearer {self._token}"

    def plain(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, with nothing added."""
        self._http.request(method, path, body, dict(headers or {}))
        answer = self._http.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())

    def fetch(self, challenge: Mapping[str, str]) -> Reply:
        """A token for what this client knows that it needs."""
        realm = urlsplit(challenge["realm"])
        assert realm.hostname and not re.fullmatch(r"[0-9.]+|.*:.*", realm.hostname), "no address"
        pairs = [("service", challenge["service"])]
        if self.refresh_token or (self._login and self.program.form):
            pairs += [("client_id", self.program.client_id), ("scope", " ".join(self._scopes))]
            if self.refresh_token:
                pairs += [("grant_type", "refresh_token"), ("refresh_token", self.refresh_token)]
            elif self._login:
                pairs += [("grant_type", "password"), ("username", self._login[0])]
                pairs += [("password", self._login[1])]
            return self.plain("POST", realm.path, urlencode(pairs).encode(), {"Content-Type": FORM})
        pairs += [("scope", scope) for scope in self._scopes]
        pairs += [("offline_token", "true")] if self.offline else []
        head = {"Authorization": basic(*self._login)} if self._login else {}
        return self.plain("GET", f"{realm.path}?{urlencode(pairs)}", None, head)

    def _want(self, *scopes: str) -> None:
        self._scopes += [scope for scope in scopes if scope not in self._scopes]

    def _renew(self, challenge: Mapping[str, str]) -> bool:
        if "scope" in challenge:
            self._want(challenge["scope"])
        reply = self.fetch(challenge)
        if reply.status == 200:
            value = reply.json()
            assert value["token"] == value["access_token"] and value["expires_in"] > 0, value
            self._token = value["token"]
            self.refresh_token = value.get("refresh_token", "")
            self.tokens += 1
        return reply.status == 200

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """With the token at hand; where that is not enough, once more with another one."""
        for attempt in range(2):
            head = {"Authorization": self.shown} if self._token else {}
            reply = self.plain(method, path, body, {**head, **(headers or {})})
            if reply.status != 401 or attempt == 1:
                break
            if not self._renew(parse_challenge(reply.headers["www-authenticate"])):
                break
        return reply

    def log_in(self) -> bool:
        """`helm registry login`, `oras login`: does a token without a scope count at /v2/?"""
        self._scopes = []
        return self.ask("GET", "/v2/").status == 200

    def send(self, repository: str, data: bytes, mount_from: str = "") -> int:
        """HEAD, POST, and the bytes unless it is there or was mounted; the status of the last."""
        digest = sha256(data)
        self._want(f"repository:{repository}:{self.program.actions}")
        query = ""
        if mount_from:
            self._want(f"repository:{mount_from}:pull")
            query = f"?mount={quote(digest, safe='')}&from={quote(mount_from, safe='')}"
            query += "&origin=127.0.0.1" if self.program is CRANE else ""
        head = self.ask("HEAD", f"/v2/{repository}/blobs/{digest}")
        if head.status == 200:
            return 200
        kind = {"Content-Type": "application/json"} if self.program is CRANE else {}
        begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/{query}", None, kind)
        if begun.status != 202:
            return begun.status
        place = path_of(begun.headers["location"])
        if self.program.patch:
            sent = self.ask("PATCH", place, data, {"Content-Type": BYTES})
            assert sent.status in (202, 401, 403), sent
            if sent.status != 202:
                return sent.status
            return self.ask("PUT", with_digest(path_of(sent.headers["location"]), digest)).status
        return self.ask("PUT", with_digest(place, digest), data, {"Content-Type": BYTES}).status

    def put(self, repository: str, tag: str, config: bytes, layer: bytes) -> int:
        """The manifest of what was sent."""
        data = to_json(manifest_of(descriptor(OCI_CONFIG, config), descriptor(OCI_LAYER, layer)))
        path = f"/v2/{repository}/manifests/{tag}"
        self.ask("HEAD", path, None, {"Accept": MANIFEST_TYPES})
        return self.ask("PUT", path, data, {"Content-Type": OCI_MANIFEST}).status

    def push(self, repository: str, seed: str, mount_from: str = "") -> list[int]:
        """Config, layer and manifest of a small image: the statuses that ended each."""
        config, layer = to_json({"seed": seed}), f"layer {seed}".encode()
        sent = [self.send(repository, config), self.send(repository, layer, mount_from)]
        return [*sent, self.put(repository, "1", config, layer)]
