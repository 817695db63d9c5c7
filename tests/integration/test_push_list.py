"""What became of pushes: lists, one of them, cancelling, trying again; who may ask."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.curl import Reply
from support.gateway import Gateway, pushed
from support.images import make_small_image
from support.ports import refusing_port
from support.registry import Registry
from support.waiting import wait_until

WAIT = 30


def archive(folder: Path, seed: str, *names: str) -> Path:
    folder.mkdir(parents=True)
    image = make_small_image(folder / "files", seed)
    return docker_save_old([(image, list(names))], folder / "image.tar")


def pushes(gateway: Gateway, query: str = "") -> list[dict[str, Any]]:
    reply = gateway.request(f"/v1/pushes{query}")
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json()["pushes"]
    return found


def one(gateway: Gateway, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.request(f"/v1/pushes/{identity}").json()
    return found


def retry(gateway: Gateway, path: str) -> Reply:
    return gateway.request(path, method="POST", headers=("Content-Type: application/json",))


def test_what_ended_is_listed_youngest_first(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    ids = []
    for number in range(5):
        target = f"{registry.host}/listed/{seed}:{number}"
        reply = gateway.post(archive(tmp_path / str(number), f"{seed}-{number}", "x:1"), target)
        pushed(reply)
        ids.append(reply.json()["id"])
    mine = f"?repository={registry.host}/listed/{seed}"
    found = wait_until(lambda: len(pushes(gateway, mine)) == 5 and pushes(gateway, mine), "all", WAIT)
    assert [push["id"] for push in found] == ids[::-1]
    (result,) = found[0]["results"]
    assert result["state"] == "pushed" and result["digest"] == found[0]["image"]["manifest"]
    assert result["target"] == f"{registry.host}/listed/{seed}:4" and result["ended_at"]
    page = gateway.request(f"/v1/pushes{mine}&limit=2").json()
    assert [push["id"] for push in page["pushes"]] == [ids[4], ids[3]] and page["next"] == ids[3]
    rest = gateway.request(f"/v1/pushes{mine}&limit=10&after={page['next']}").json()
    assert [push["id"] for push in rest["pushes"]] == [ids[2], ids[1], ids[0]]
    assert "next" not in rest
    assert [push["id"] for push in pushes(gateway, f"{mine}&since={found[0]['created_at']}")][0] == ids[4]
    assert pushes(gateway, f"{mine}&since=2100-01-01T00:00:00Z") == []
    assert pushes(gateway, f"{mine}&state=failed") == []
    assert len(pushes(gateway, f"{mine}&target=other:{registry.host}")) == 5
    assert pushes(gateway, f"{mine}&target=other:elsewhere") == []
    assert one(gateway, ids[2]) == found[2]


@pytest.mark.parametrize(
    "query",
    ("state=odd", "limit=0", "limit=1001", "limit=x", "since=yesterday", "order=up",
     "state=failed&state=failed", "after=" + 40 * "x"),
)
def test_a_wrong_parameter_is_named(gateway: Gateway, query: str) -> None:
    reply = gateway.request(f"/v1/pushes?{query}")
    assert (reply.status, reply.error["code"]) == (400, "BAD_REQUEST"), reply.body
    assert query.split("=")[0] in reply.error["message"], reply.body


@pytest.mark.parametrize("method", ("GET", "DELETE"))
def test_what_there_is_not_is_404(gateway: Gateway, method: str) -> None:
    for identity in ("0123456789abcdef", 100 * "a", "%2e%2e"):
        reply = gateway.request(f"/v1/pushes/{identity}", method=method)
        assert (reply.status, reply.error["code"]) == (404, "NOT_FOUND"), (identity, reply.body)
    assert retry(gateway, "/v1/pushes/0123456789abcdef/retry").status == 404


def test_all_is_not_retried_by_mistake(gateway: Gateway) -> None:
    for query in ("", "?repository=a", "?state=partial", "?limit=1"):
        assert retry(gateway, f"/v1/pushes/retry{query}").status == 400, query


def test_who_comes_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """As a trusted proxy says."""
    config = {"clients": {"trusted_proxies": ["127.0.0.1"]}}
    with Gateway(tmp_path / "gateway", config) as gateway:
        for path, method in (("/v1/pushes", "GET"), ("/v1/pushes/x", "GET"), ("/v1/pushes/x", "DELETE"),
                             ("/v1/pushes/x/retry", "POST"), ("/v1/pushes/retry?state=failed", "POST")):
            headers = ("X-Forwarded-For: 192.0.2.7", "Content-Type: application/json")
            reply = gateway.request(path, method=method, headers=headers)
            assert (reply.status, reply.error["code"]) == (403, "DENIED"), (path, reply.body)
            assert "192.0.2.7" in reply.error["message"]


def test_a_promise_is_seen_cancelled_and_tried_again(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    with refusing_port() as port:
        config = {
            "registries": {f"127.0.0.1:{port}": {"retry_wait": "10m", "plain_http": True}},
            "mirrors": [{"match": "kept/*", "acknowledge": "stored",
                         "to": [{"target": f"127.0.0.1:{port}/kept/*", "name": "far"},
                                f"{registry.host}/kept/*"]}],
        }
        with Gateway(tmp_path / "gateway", config) as gateway:
            image = archive(tmp_path / "image", seed, f"kept/{seed}:1")
            identity = gateway.post(image).json()["id"]

            def states() -> dict[str, str]:
                return {result["name"]: result["state"] for result in one(gateway, identity)["results"]}

            wait_until(lambda: states() == {"far": "waiting", registry.host: "pushed"}, "both", WAIT)
            assert one(gateway, identity)["state"] == "waiting"
            (far,) = [result for result in one(gateway, identity)["results"] if result["name"] == "far"]
            assert far["error"]["code"] == "CONNECT_FAILED" and far["next_at"] and far["deadline"]
            assert [push["id"] for push in pushes(gateway, "?state=waiting&target=far")] == [identity]
            assert retry(gateway, "/v1/pushes/retry?target=far").json() == {"retried": 1, "superseded": 0}
            wait_until(lambda: states()["far"] == "waiting", "another failure", WAIT)
            reply = gateway.request(f"/v1/pushes/{identity}", method="DELETE")
            assert reply.status == 200, reply.body
            wait_until(lambda: states()["far"] == "cancelled", "the end", WAIT)
            assert one(gateway, identity)["state"] == "partial"
            assert gateway.process.stop() == 0
            gateway.start()
            assert states()["far"] == "cancelled" and "go on" not in gateway.log()
            assert retry(gateway, f"/v1/pushes/{identity}/retry").json()["retried"] == 1
            wait_until(lambda: states()["far"] == "waiting", "it waits again", WAIT)


def test_history_has_an_end(registry: Registry, tmp_path: Path, seed: str) -> None:
    config = {"queue": {"history_count": 2}, "limits": {"upload_session": "1s"}}
    with Gateway(tmp_path / "gateway", config) as gateway:
        for number in range(4):
            target = f"{registry.host}/history/{seed}:{number}"
            pushed(gateway.post(archive(tmp_path / str(number), f"{seed}-{number}", "x:1"), target))
        wait_until(lambda: len(pushes(gateway)) == 2, "the oldest are gone", WAIT)
        assert [push["results"][0]["tag"] for push in pushes(gateway)] == ["3", "2"]
