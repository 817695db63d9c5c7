"""Targets as an operator sees them: how each is, pauses, and what outlives a restart."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from test_openapi import assert_as_described

from support.archives import docker_save_old
from support.curl import Reply
from support.gateway import Gateway, pushed
from support.images import make_small_image
from support.ports import refusing_port
from support.registry import Registry
from support.waiting import wait_until

WAIT = 30


def archive(folder: Path, seed: str, name: str) -> Path:
    folder.mkdir(parents=True)
    image = make_small_image(folder / "files", seed)
    return docker_save_old([(image, [name])], folder / "image.tar")


def targets(gateway: Gateway) -> dict[str, dict[str, Any]]:
    reply = gateway.request("/v1/targets")
    assert reply.status == 200, reply.body
    assert_as_described(reply, "/v1/targets", "GET")
    return {target["name"]: target for target in reply.json()["targets"]}


def order(gateway: Gateway, name: str, what: str) -> Reply:
    reply = gateway.request(
        f"/v1/targets/{name}/{what}", method="POST", headers=("Content-Type: application/json",)
    )
    assert_as_described(reply, f"/v1/targets/{{name}}/{what}", "POST")
    return reply


def test_a_pause_outlives_a_restart(registry: Registry, tmp_path: Path, seed: str) -> None:
    """Two targets at one registry, of which one is paused, and one that is away."""
    with refusing_port() as port:
        config = {
            "registries": {f"127.0.0.1:{port}": {"retry_wait": "10m", "plain_http": True}},
            "mirrors": [
                {"match": "soon/*", "acknowledge": "stored",
                 "to": [{"target": f"{registry.host}/a/*", "name": "near"},
                        {"target": f"{registry.host}/b/*", "name": "beside"},
                        {"target": f"127.0.0.1:{port}/kept/*", "name": "far"}]},
                {"match": "now/*",
                 "to": [{"target": f"{registry.host}/c/*", "name": "direct"},
                        {"target": f"{registry.host}/d/*", "name": "best-effort", "required": False}]},
            ],
        }
        with Gateway(tmp_path / "gateway", config) as gateway:
            assert list(targets(gateway)) == ["near", "beside", "far", "direct", "best-effort"]
            reply = order(gateway, "nobody", "pause")
            assert (reply.status, reply.error["code"]) == (404, "NOT_FOUND"), reply.body
            assert "near, beside, far, direct" in reply.error["message"]
            for name in ("near", "best-effort"):
                paused = order(gateway, name, "pause").json()
                assert paused["paused"] and paused["paused_at"], paused

            reply = gateway.post(archive(tmp_path / "soon", seed, f"soon/{seed}:1"))
            assert reply.status == 202, reply.body
            identity = reply.json()["id"]

            def states() -> dict[str, str]:
                push = gateway.request(f"/v1/pushes/{identity}").json()
                return {result["name"]: result["state"] for result in push["results"]}

            wanted = {"near": "waiting", "beside": "pushed", "far": "waiting"}
            wait_until(lambda: states() == wanted, "what is not paused", WAIT)
            wait_until(lambda: targets(gateway)["far"]["circuit"]["state"] == "open", "its circuit", WAIT)
            found = targets(gateway)
            assert found["near"]["counts"] == {"queued": 0, "running": 0, "waiting": 1}
            assert found["near"]["oldest_waiting"]["push"] == identity
            assert found["near"]["circuit"] == {"state": "closed"}
            assert found["beside"]["last_success_at"] and "oldest_waiting" not in found["beside"]
            assert found["far"]["circuit"]["error"]["code"] == "CONNECT_FAILED"
            assert found["far"]["circuit"]["until"] and found["far"]["last_error"]["at"]
            push = gateway.request(f"/v1/pushes/{identity}").json()
            (result,) = [result for result in push["results"] if result["name"] == "near"]
            assert result["error"]["code"] == "TARGET_PAUSED", result
            assert result["error"]["party"] == "operator" and "next_at" not in result, result
            reply = gateway.post(archive(tmp_path / "now", f"{seed}-now", f"now/{seed}:1"))
            assert reply.status == 200 and reply.json()["state"] == "pushed", reply.body
            assert [result["state"] for result in reply.json()["results"]] == ["pushed", "failed"]

            assert gateway.process.stop() == 0
            gateway.start()
            after = targets(gateway)
            assert after["near"]["paused_at"] == found["near"]["paused_at"]
            assert after["beside"]["last_success_at"] == found["beside"]["last_success_at"]
            assert after["far"]["last_error"]["code"] == "CONNECT_FAILED"
            assert states()["near"] == "waiting" and registry.ask(f"/v2/a/{seed}/manifests/1").status == 404
            assert not order(gateway, "near", "resume").json()["paused"]
            wait_until(lambda: states()["near"] == "pushed", "it goes on", WAIT)
            assert registry.tags(f"a/{seed}") == registry.tags(f"b/{seed}") == ["1"]
            log = gateway.log()
            assert "target goes on" in log and gateway.request("/readyz").status == 200


def test_who_waits_for_a_paused_target_is_refused(registry: Registry, tmp_path: Path, seed: str) -> None:
    config = {"mirrors": [{"match": "now/*", "to": [{"target": f"{registry.host}/now/*", "name": "direct"}]}]}
    with Gateway(tmp_path / "gateway", config) as gateway:
        image = archive(tmp_path / "image", seed, f"now/{seed}:1")
        order(gateway, "direct", "pause")
        reply = gateway.post(image)
        assert reply.status == 503, reply.body
        (result,) = reply.json()["results"]
        assert (result["error"]["code"], result["error"]["party"]) == ("TARGET_PAUSED", "operator")
        assert "direct is paused by an operator" in result["error"]["message"]
        order(gateway, "direct", "resume")
        pushed(gateway.post(image))


def test_who_comes_from_elsewhere_is_refused(tmp_path: Path) -> None:
    config = {"clients": {"trusted_proxies": ["127.0.0.1"]}}
    with Gateway(tmp_path / "gateway", config) as gateway:
        for path, method in (("/v1/targets", "GET"), ("/v1/targets/x/pause", "POST"),
                             ("/v1/targets/x/resume", "POST")):
            headers = ("X-Forwarded-For: 192.0.2.7", "Content-Type: application/json")
            reply = gateway.request(path, method=method, headers=headers)
            assert (reply.status, reply.error["code"]) == (403, "DENIED"), (path, reply.body)
