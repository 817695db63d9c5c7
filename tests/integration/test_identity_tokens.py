"""The token endpoint, what is no proof of an identity, and that nobody learns what is held where
they may not read."""
from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from support.curl import Reply
from support.front import OCI_MANIFEST
from support.gateway import Gateway
from support.identity import (
    CRANE,
    EXCHANGE,
    FORM,
    JWT_LEEWAY_SECONDS,
    JWT_TYPE,
    USERS,
    Issuer,
    TokenClient,
    access_config,
    as_user,
    authorization,
    basic,
)
from support.identity_fixtures import gateway, issuer  # noqa: F401
from support.ports import refusing_port
from support.pulled import sha256
from support.waiting import wait_until

ANN = {"Authorization": authorization("ann")}
BOTH = "repository:team-a/app:pull,push"
"""What ann may have of team-a/app."""


@pytest.fixture
def client(gateway: Gateway) -> Iterator[TokenClient]:
    """At an address of its own: logins that fail count by address."""
    address = ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
    with TokenClient(CRANE, gateway.port, address=f"127.{address}") as made:
        yield made


def get(client: TokenClient, query: str, headers: dict[str, str] = ANN) -> Reply:
    return client.plain("GET", f"/token?{query}", None, headers)


def post(client: TokenClient, *pairs: tuple[str, str], **more: str) -> Reply:
    body = urlencode([*pairs, *more.items()]).encode()
    return client.plain("POST", "/token", body, {"Content-Type": FORM})


def scopes_of(reply: Reply) -> set[str]:
    """What was granted; the token says the same."""
    assert reply.status == 200, reply.body
    value = reply.json()
    assert value["token"] == value["access_token"] and value["token_type"] == "Bearer", value
    assert value["expires_in"] == 3600 and value["issued_at"].endswith("Z"), value
    assert reply.headers["cache-control"] == "no-store"
    middle = value["token"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    named = {f"{one['type']}:{one['name']}:{','.join(one['actions'])}" for one in claims["access"]}
    assert named == set(value["scope"].split()), value
    return named


# ---- the endpoint


@pytest.mark.parametrize(
    ("query", "granted"),
    [
        ("", set()),
        ("scope=", set()),
        (f"scope={BOTH}", {BOTH}),
        (f"scope={BOTH}&scope={BOTH}&scope=", {BOTH}),
        ("scope=repository:team-a/app:push,pull%20repository:team-a/app:pull", {BOTH}),
        ("scope=repository:team-a/app:pull&scope=repository:team-a/app:push", {BOTH}),
        (f"scope={BOTH}&scope=repository:secret/app:pull", {BOTH}),
        ("scope=repository:team-a/app:*", {BOTH}),
        ("scope=repository:secret/app:pull,push", set()),
        (f"scope=nonsense&scope=a:b:c&scope=::&scope={BOTH}%20%20", {BOTH}),
        (f"scope={BOTH}+repository:public/app:pull", {BOTH, "repository:public/app:pull"}),
    ],
)
def test_scopes_are_a_union(client: TokenClient, query: str, granted: set[str]) -> None:
    assert scopes_of(get(client, query)) == granted
    values = [part.split("=", 1)[1] for part in query.split("&") if "=" in part]
    login = {"grant_type": "password", "username": "ann", "password": USERS["ann"]}
    pairs = [("scope", value.replace("%20", " ").replace("+", " ")) for value in values]
    assert scopes_of(post(client, *pairs, **login)) == granted


def test_forms(client: TokenClient, issuer: Issuer) -> None:
    login = {"username": "ann", "password": USERS["ann"], "access_type": "offline", "scope": BOTH}
    first = post(client, grant_type="password", **login)
    assert scopes_of(first) == {BOTH}
    renewed = first.json()["refresh_token"]
    again = post(client, grant_type="refresh_token", refresh_token=renewed, scope=BOTH)
    assert scopes_of(again) == {BOTH}
    assert "refresh_token" not in get(client, f"scope={BOTH}").json()
    by_get = get(client, f"scope={BOTH}&offline_token=true").json()["refresh_token"]
    assert scopes_of(post(client, grant_type="refresh_token", refresh_token=by_get)) == set()
    job = post(client, grant_type=EXCHANGE, subject_token=issuer.jwt(), subject_token_type=JWT_TYPE,
               scope=BOTH)
    assert scopes_of(job) == {BOTH}
    assert job.json()["issued_token_type"].endswith(":access_token")
    # One kind of token is none of the other.
    access = first.json()["token"]
    assert post(client, grant_type="refresh_token", refresh_token=access).status == 401
    shown = client.plain("GET", "/v2/", None, {"Authorization": f"Bearer {renewed}"})
    assert shown.status == 401
    assert get(client, "", {"Authorization": f"Bearer {access}"}).status == 401
    assert get(client, f"scope={BOTH}", {}).json()["scope"] == ""


def test_a_robot_has_a_password(gateway: Gateway, client: TokenClient) -> None:
    body = json.dumps({"name": "ci-a", "expires": "1h"}).encode()
    head = {"Authorization": authorization("olga"), "Content-Type": "application/json"}
    made = client.plain("POST", "/v1/robots", body, head)
    assert made.status == 201, made.body
    login = {"Authorization": basic("robot:ci-a", made.json()["secret"])}
    reply = get(client, f"scope={BOTH}&offline_token=true", login)
    assert scopes_of(reply) == {BOTH}
    assert client.plain("GET", "/v2/team-a/app/manifests/1.0", None, login).status == 200
    assert client.plain("GET", "/v2/secret/app/manifests/1.0", None, login).status == 404
    assert client.plain("GET", "/v1/robots", None, login).status == 403
    renewed = reply.json()["refresh_token"]
    gone = client.plain("DELETE", "/v1/robots/ci-a", None, head)
    assert gone.status == 204, gone.body
    assert post(client, grant_type="refresh_token", refresh_token=renewed).status == 401
    assert client.plain("GET", "/v2/", None, login).status == 401


def test_forms_that_are_none(client: TokenClient) -> None:
    def refused(reply: Reply, status: int, word: str) -> None:
        assert reply.status == status and reply.json()["error"] == word, (reply.status, reply.body)
        assert "token" not in reply.json()

    refused(post(client, grant_type="client_credentials"), 400, "unsupported_grant_type")
    refused(post(client, scope=BOTH), 400, "invalid_request")
    refused(post(client, grant_type="password", username="ann"), 400, "invalid_request")
    twice = (("username", "ann"), ("username", "bob"))
    refused(post(client, *twice, grant_type="password", password="x"), 400, "invalid_request")
    refused(post(client, grant_type="password", username="ann", password="x" * 70_000),
            400, "invalid_request")
    refused(get(client, "&".join(f"scope=repository:{n}:pull" for n in range(100))),
            400, "invalid_scope")
    for kind in ("application/json", "", "application/x-www-form-urlencodedx"):
        reply = client.plain("POST", "/token", b"{}", {"Content-Type": kind})
        assert reply.status == 404, (kind, reply.body)
    for method in ("PUT", "DELETE", "PATCH", "HEAD"):
        reply = client.plain(method, "/token", None, ANN)
        assert reply.status == 405 and reply.headers["allow"] == "GET, POST"


# ---- what is no proof


def logins(client: TokenClient, jwt: str) -> list[Reply]:
    """As the password of `docker login`, in both ways to say it, at any path, and exchanged."""
    head = {"Authorization": basic("oidc", jwt)}
    return [
        get(client, f"scope={BOTH}", head),
        post(client, grant_type=EXCHANGE, subject_token=jwt, subject_token_type=JWT_TYPE),
        client.plain("GET", "/v2/team-a/app/manifests/1.0", None, head),
    ]


FORGERIES: dict[str, tuple[dict[str, Any], str]] = {
    "none": ({"alg": "none"}, "alg"),
    "hmac": ({"alg": "HS256"}, "alg"),
    "audience": ({"aud": "another.example.com"}, "aud"),
    "issuer": ({"iss": "https://evil.example.com"}, "issuer"),
    "future": ({"nbf": time.time() + 86400}, "nbf"),
    "expired": ({"exp": time.time() - JWT_LEEWAY_SECONDS - 2}, "exp"),
    "kid": ({"kid": "../../dev/null"}, "key"),
    "claims": ({"repository_id": "12345"}, "mapping"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_proof_gets_nothing(client: TokenClient, issuer: Issuer, forgery: str) -> None:
    changes, word = FORGERIES[forgery]
    for reply in logins(client, issuer.jwt(**changes)):
        assert reply.status == 401 and b"token\":" not in reply.body, reply
        assert word in reply.body.decode(), reply.body


def test_keys_that_changed(gateway: Gateway, client: TokenClient, issuer: Issuer) -> None:
    old, unseen = issuer.jwt(), issuer.jwt(jti="unseen")
    assert [reply.status for reply in logins(client, old)] == [200, 200, 200]
    issuer.rotate(secrets.token_hex(4))
    new = issuer.jwt()

    def counts() -> bool:
        with TokenClient(CRANE, gateway.port, address=f"127.7.{secrets.randbelow(256)}.1") as one:
            return get(one, "", {"Authorization": basic("oidc", new)}).status == 200

    wait_until(counts, "the new key counts", 20)
    assert [reply.status for reply in logins(client, old)[:2]] == [401, 401]
    assert [reply.status for reply in logins(client, unseen)] == [401, 401, 401]


def test_keys_that_cannot_be_had(tmp_path: Path) -> None:
    """An issuer that is away: its tokens count for nothing, and everybody else goes on."""
    with refusing_port() as port:
        issuer = Issuer(tmp_path / "jwks.json", f"http://127.0.0.1:{port}")
        config = access_config(tmp_path, issuer)
        del config["clients"]["oidc"][0]["jwks_file"]
        with Gateway(tmp_path / "gateway", config) as gateway:
            with TokenClient(CRANE, gateway.port) as client:
                for reply in logins(client, issuer.jwt()):
                    assert reply.status >= 500 and b"token\":" not in reply.body, reply
                assert scopes_of(get(client, f"scope={BOTH}")) == {BOTH}


# ---- what one may not read cannot be told from what is not there


@dataclass(frozen=True)
class Look:
    """A request below /v2/: REPO is a repository, DIGEST a digest, TAG a tag."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()


LOOKS = [
    *(Look(method, f"/v2/REPO/{path}")
      for method in ("GET", "HEAD", "DELETE")
      for path in ("blobs/DIGEST", "manifests/TAG", "manifests/DIGEST")),
    *(Look("GET", f"/v2/REPO/{path}")
      for path in ("tags/list", "tags/list?n=0", "blobs/uploads/1234", "referrers/DIGEST",
                   "referrers/DIGEST?artifactType=a/b", "referrers/DIGEST?last=DIGEST")),
    *(Look("GET", f"/v2/REPO/{path}", (header,))
      for path in ("blobs/DIGEST", "manifests/DIGEST")
      for header in (("If-None-Match", "*"), ("Range", "bytes=0-0"), ("Range", "bytes=9999999-"))),
    Look("POST", "/v2/REPO/blobs/uploads/"),
    Look("PUT", "/v2/REPO/manifests/TAG", (("Content-Type", OCI_MANIFEST),)),
    Look("PATCH", "/v2/REPO/blobs/uploads/1234"),
    Look("POST", "/v2/team-a/app/blobs/uploads/?mount=DIGEST&from=REPO"),
    Look("POST", "/v2/team-a/app/blobs/uploads/?mount=DIGEST"),
    Look("GET", "/token?scope=repository:REPO:pull,push"),
]
OTHERS = {"REPO": "secret/abc", "TAG": "1.1", "DIGEST": "sha256:" + "ab" * 32}


def secret_names(port: int) -> dict[str, str]:
    """What is held, and nobody but olga may know."""
    with as_user(port, "olga") as olga:
        digest = olga.push_blob("secret/app", secrets.token_bytes(99))
        data = olga.image("secret/app")
        olga.must_put("secret/app", digest.split(":")[1][:12], data)
        olga.push_blob("secret/app", data)
        olga.must_put("secret/app", "of", olga.artifact("secret/app", data, artifactType="a/b"))
        assert len(olga.referrers("secret/app", sha256(data), "?artifactType=a/b")) == 1
    return {"REPO": "secret/app", "TAG": digest.split(":")[1][:12], "DIGEST": sha256(data)}


def seen(client: TokenClient, look: Look, names: dict[str, str], head: dict[str, str]) -> Any:
    """All of the answer but what the request itself says and what is of each answer alone."""
    path = look.path
    for name, value in names.items():
        path = path.replace(name, value)
    reply = client.plain(look.method, path, None, {**head, **dict(look.headers)})
    text = json.dumps([reply.status, sorted(reply.headers.items()), reply.body.decode("latin-1")])
    for name, value in names.items():
        text = text.replace(value, name)
    text = re.sub(r"uploads/[0-9a-f-]{16,}|eyJ[\w.-]+", "...", text)
    own = {"date", "x-request-id", "docker-upload-uuid", "content-length"}
    status, headers, body = json.loads(text)
    return status, [(name, value) for name, value in headers if name not in own], body


@pytest.mark.parametrize("who", ("ann", "bob", "anonymous", "token"))
def test_nobody_learns_what_is_held(gateway: Gateway, client: TokenClient, who: str) -> None:
    held = secret_names(gateway.port)
    head = {"Authorization": authorization(who)} if who in USERS else {}
    if who == "token":
        token = get(client, "scope=repository:secret/app:pull,push").json()["token"]
        head = {"Authorization": f"Bearer {token}"}
    statuses = set()
    for look in LOOKS:
        there = seen(client, look, held, head)
        statuses.add(there[0])
        for name in OTHERS:
            other = seen(client, look, {**held, name: OTHERS[name]}, head)
            assert other == there, (look, name)
        # Nor can it be told from what one may read; an upload is a write.
        reads = look.method in ("GET", "HEAD") and not re.search("/uploads/|/token", look.path)
        if who in USERS and reads:
            absent = seen(client, look, {**held, "REPO": "team-a/absent"}, head)
            assert absent == there, look
    assert statuses <= {200, 202, 401, 403, 404, 405} and len(statuses) > 1, statuses
