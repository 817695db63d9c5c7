"""A Bearer token server as docker-registry's `auth.token` expects one.

Basic credentials (GET) and refresh tokens (POST, OAuth2) are exchanged for RS256 tokens whose
header carries the certificate in `x5c`; the registry trusts them by `rootcertbundle`. Requests are
recorded without their secrets' fate being decided here: the test looks at them.
"""
from __future__ import annotations

import base64
import contextlib
import datetime
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.x509.oid import NameOID

from support.certificates import new_key
from support.http_server import LoopbackServer, answer_json

ISSUER = "slipway-test-issuer"
SERVICE = "slipway-test-registry"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class TokenRequest:
    method: str
    scopes: tuple[str, ...]
    service: str
    user: str  # "" for an anonymous request
    granted: bool


@dataclass
class TokenServer:
    """What a registry's configuration needs to know, and what was asked."""

    folder: Path
    users: dict[str, str]
    refresh_tokens: dict[str, str] = field(default_factory=dict)  # token -> user
    lifetime_seconds: int = 300
    # docker-registry takes a token for a minute longer than it says. So much is taken off the claim,
    # not off what is answered, where the clock alone is to end a token.
    leeway_seconds: int = 0
    requests: list[TokenRequest] = field(default_factory=list)
    realm: str = ""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = new_key()
        now = datetime.datetime.utcnow()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.bundle = self.folder / "token-root.pem"
        self.bundle.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def registry_auth(self) -> dict[str, object]:
        """The `auth` part of the registry's configuration."""
        return {
            "token": {
                "realm": self.realm,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self.bundle),
            }
        }

    def token(self, user: str, scopes: tuple[str, ...]) -> str:
        der = self._certificate.public_bytes(serialization.Encoding.DER)
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": user,
            "aud": SERVICE,
            "nbf": now - 5,
            "iat": now,
            "exp": now + self.lifetime_seconds - self.leeway_seconds,
            "jti": f"{now}-{len(self.requests)}",
            "access": [_access(scope) for scope in scopes],
        }
        signed = ".".join(_encode(json.dumps(part).encode()) for part in (header, claims))
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode(signature)}"


def _access(scope: str) -> dict[str, object]:
    kind, rest = scope.split(":", 1)
    name, actions = rest.rsplit(":", 1)
    return {"type": kind, "name": name, "actions": actions.split(",")}


def _scopes(fields: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(part for value in fields.get("scope", []) for part in value.split())


@contextlib.contextmanager
def token_server(
    folder: Path, users: dict[str, str], refresh_tokens: dict[str, str] | None = None
) -> Iterator[TokenServer]:
    """A running token server."""
    state = TokenServer(folder, users, refresh_tokens or {})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Quiet: requests are recorded, and lines could hold secrets."""

        def do_GET(self) -> None:
            fields = parse_qs(urlsplit(self.path).query)
            user, known = self._basic()
            self._grant(fields, user, known)

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            fields = parse_qs(self.rfile.read(length).decode())
            kind = fields.get("grant_type", [""])[0]
            user, known = "", False
            if kind == "refresh_token":
                user = state.refresh_tokens.get(fields.get("refresh_token", [""])[0], "")
                known = bool(user)
            elif kind == "password":
                user = fields.get("username", [""])[0]
                known = bool(user) and state.users.get(user) == fields.get("password", [""])[0]
            self._grant(fields, user, known, oauth=True)

        def _basic(self) -> tuple[str, bool]:
            kind, _, value = self.headers.get("Authorization", "").partition(" ")
            if kind.lower() != "basic":
                return "", False
            user, _, password = base64.b64decode(value).decode().partition(":")
            return user, state.users.get(user) == password

        def _grant(
            self, fields: dict[str, list[str]], user: str, known: bool, oauth: bool = False
        ) -> None:
            scopes = _scopes(fields)
            service = fields.get("service", [""])[0]
            state.requests.append(TokenRequest(self.command, scopes, service, user, known))
            if not known:
                answer_json(self, 401, {"details": "incorrect username or password"})
                return
            token = state.token(user, scopes)
            issued = datetime.datetime.utcnow().strftime("%Y-%m-%dT%H:%M:%SZ")
            answer: dict[str, object] = {"expires_in": state.lifetime_seconds, "issued_at": issued}
            answer["access_token" if oauth else "token"] = token
            answer_json(self, 200, answer)

    with LoopbackServer(Handler) as server:
        state.realm = f"http://localhost:{server.port}/token"
        yield state
