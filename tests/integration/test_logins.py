"""Guessed passwords: what they cost, and whom they hold up (tests/bench/logins.py has figures)."""
from __future__ import annotations

import base64
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.gateway import Gateway
from support.processes import run
from support.registry import htpasswd_file

GUESSES, AT_ONCE = 400, 8
LOOKED_AT = 30  # 5 that are free, one that runs then, and those of ten minutes of waiting
PATHS = ("/v2/", "/token", "/v1/pushes")


def ask(
    port: int, path: str, login: str, source: str = "127.0.0.1", method: str = "GET"
) -> tuple[int, str, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60, source_address=(source, 0))
    head = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    connection.request(method, path, headers=head)
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    if reply.status == 429:
        assert 1 <= int(reply.headers["Retry-After"]) <= 60
        assert json.loads(body)["errors"][0]["code"] == "TOOMANYREQUESTS"
    return reply.status, ", ".join(reply.headers.get_all("WWW-Authenticate", [])), body


def guess(port: int, number: int) -> int:
    name = ("ann", "eve")[number % 2]
    return ask(port, PATHS[number % len(PATHS)], f"{name}:guess{number}")[0]


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return htpasswd_file(tmp_path, {"ann": "ann-pw", "bob": "bob-pw"})


def configured(users: Path) -> dict[str, object]:
    rule = {"who": ["authenticated"], "may": ["*"], "repositories": ["**"], "targets": ["**"]}
    return {"clients": {"htpasswd": str(users)}, "policy": [rule]}


def test_guesses_are_few_and_hold_up_nobody(users: Path, tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", configured(users)) as gateway, ThreadPoolExecutor(AT_ONCE) as pool:
        port = gateway.port
        assert ask(port, "/v2/", "bob:bob-pw")[0] == 200
        statuses = Counter(pool.map(lambda number: guess(port, number), range(GUESSES)))
        assert set(statuses) == {401, 429} and 5 <= statuses[401] <= LOOKED_AT, statuses
        assert ask(port, "/v2/", "bob:bob-pw")[0] == 200  # who is known goes on
        assert ask(port, "/token", "bob:bob-pw")[0] == 200
        assert ask(port, "/v2/", "ann:ann-pw", "127.0.0.2")[0] == 200


def test_clients_understand_that_a_password_is_wrong(users: Path, tmp_path: Path) -> None:
    """Below /v2/ the answer is the challenge for a token, elsewhere Basic is beside it."""
    with Gateway(tmp_path / "gateway", configured(users)) as gateway:
        status, challenge, _ = ask(gateway.port, "/v2/", "ann:wrong", "127.0.0.3")
        realm = f'Bearer realm="http://localhost:{gateway.port}/token",service="slipway"'
        assert status == 401 and challenge == realm
        status, challenge, _ = ask(gateway.port, "/v1/pushes", "ann:wrong", "127.0.0.3")
        assert status == 401 and challenge.startswith("Bearer ") and ", Basic " in challenge
        place = f"docker://127.0.0.1:{gateway.port}/team/app:1"
        words = ["skopeo", "inspect", "--tls-verify=false", "--creds"]
        wrong = run([*words, "ann:wrong", place])
        assert wrong.returncode != 0 and "invalid username/password" in wrong.stderr, wrong
        right = run([*words, "ann:ann-pw", place])
        assert right.returncode != 0 and "there is no repository team/app" in right.stderr, right


def test_upload_sessions_are_counted_by_who_begins_them(users: Path, tmp_path: Path) -> None:
    config = {**configured(users), "limits": {"upload_sessions_per_client": 2}}
    with Gateway(tmp_path / "gateway", config) as gateway:

        def begin(login: str, source: str) -> tuple[int, str, str]:
            return ask(gateway.port, "/v2/team/app/blobs/uploads/", login, source, "POST")

        for source in ("127.0.0.1", "127.0.0.2"):
            assert begin("ann:ann-pw", source)[0] == 202
        status, _, body = begin("ann:ann-pw", "127.0.0.3")
        assert status == 429 and "the client ann has 2 unfinished uploads" in body
        assert begin("bob:bob-pw", "127.0.0.1")[0] == 202
