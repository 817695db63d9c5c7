"""Request ids, and the log: each line parses, and those of one request and one push are found by id."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support.front import Front
from support.gateway import Gateway, pushed
from support.raw_http import RawConnection
from support.registry import Registry
from support.waiting import wait_until

MADE = re.compile(r"[0-9a-f]{16}")


def lines(gateway: Gateway) -> list[dict[str, Any]]:
    """The whole log: every line is one JSON object without a key that is there twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    found = [json.loads(line, object_pairs_hook=once) for line in gateway.log().splitlines()]
    for line in found:
        assert {"time", "level", "message"} <= set(line), line
    return found


def of(gateway: Gateway, **fields: Any) -> list[dict[str, Any]]:
    return [line for line in lines(gateway) if fields.items() <= line.items()]


@pytest.fixture
def json_gateway(tmp_path: Path) -> Any:
    config = {"log": {"format": "json", "level": "debug"}}
    with Gateway(tmp_path / "gateway", config) as running:
        yield running


# ---- ids ----


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/v1/version", 200),
        ("GET", "/v2/", 200),
        ("GET", "/v2/none/tags/list", 404),
        ("GET", "/nothing", 404),
        ("DELETE", "/v1/images", 405),
        ("POST", "/v1/pushes", 422),
        ("POST", "/v2/some/app/blobs/uploads/", 202),
    ],
)
def test_every_answer_has_an_id(gateway: Gateway, method: str, path: str, status: int) -> None:
    made = gateway.request(path, method=method)
    assert made.status == status
    assert MADE.fullmatch(made.headers["x-request-id"]), made.headers
    taken = gateway.request(path, method=method, headers=["X-Request-Id: run/17#a"])
    assert (taken.status, taken.headers["x-request-id"]) == (status, "run/17#a")
    again = gateway.request(path, method=method)
    assert again.headers["x-request-id"] != made.headers["x-request-id"]


@pytest.mark.parametrize("sent", ["two words", 'quo"te', "back\\slash", "m" * 129, "\x1b[31m", ""])
def test_an_id_that_cannot_be_shown_is_replaced(gateway: Gateway, sent: str) -> None:
    with RawConnection(gateway.port) as connection:
        connection.send(
            f"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: {sent}\r\n\r\n".encode()
        )
        reply = connection.read_reply("GET")
    assert reply.status == 200
    assert MADE.fullmatch(reply.headers["x-request-id"])


def test_refusals_of_the_exchange_have_an_id(gateway: Gateway) -> None:
    with RawConnection(gateway.port) as connection:
        connection.send(
            b"POST /v1/images HTTP/1.1\r\nHost: x\r\nX-Request-Id: twice\r\n"
            b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"
        )
        reply = connection.read_reply("GET")
    assert (reply.status, reply.headers["x-request-id"]) == (400, "twice")
