"""slipway robot, by a gateway that runs and on the data folder of one that does not; /v1/robots."""
from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from support.command import slipway
from support.gateway import Gateway

from test_openapi import assert_as_described


def robot(data: Path, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = slipway(data.parent, "robot", *words, "--data", data)
    assert done.returncode == status, done.stderr
    return done


def listed(data: Path) -> dict[str, dict[str, Any]]:
    answer = json.loads(robot(data, "list", "--json").stdout)
    return {one["name"]: one for one in answer["robots"]}


def come_and_go(data: Path, name: str) -> None:
    made = robot(data, "create", name, "--expires", "2160h", "--note", "builds")
    assert made.stdout.startswith("slw_") and len(made.stdout) == 54
    assert "not shown again" in made.stderr
    (before,) = [one for one in listed(data).values() if one["name"] == name]
    assert before["state"] == "active" and before["note"] == "builds" and "secret" not in before
    again = robot(data, "create", name, "--expires", "1h", status=2)
    assert "already" in again.stderr and again.stdout == ""
    robot(data, "disable", name)
    assert re.search(rf"^{name} +disabled ", robot(data, "list").stdout, re.MULTILINE)
    robot(data, "remove", name)
    assert "no robot" in robot(data, "remove", name, status=1).stderr


def test_robots_with_and_without_a_gateway(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", {}) as gateway:
        data = gateway.data
        come_and_go(data, "ci-a")
        robot(data, "create", "stays", "--expires", "1h")
        kind = ["Content-Type: application/json"]
        body = json.dumps({"name": "ci-b", "expires": "1h"}).encode()
        made = gateway.request("/v1/robots", method="POST", data=body, headers=kind)
        assert made.status == 201 and made.json()["secret"].startswith("slw_")
        assert_as_described(made, "/v1/robots", "POST")
        assert_as_described(gateway.request("/v1/robots"), "/v1/robots", "GET")
        path = "/v1/robots/ci-b"
        disabled = gateway.request(f"{path}/disable", method="POST", headers=kind)
        assert disabled.status == 200
        assert_as_described(disabled, "/v1/robots/{name}/disable", "POST")
        gone = gateway.request(path, method="DELETE")
        assert gone.status == 204
        wrong = gateway.request("/v1/robots", method="POST", data=b"{}", headers=kind)
        assert wrong.status == 400 and b"BAD_REQUEST" in wrong.body
        assert made.json()["secret"] not in gateway.log()
    come_and_go(data, "ci-a")
    assert set(listed(data)) == {"stays"}
    robot(data, "create", "x", status=2)
    robot(data, "create", "x", "--expires", "90d", status=2)
    robot(data, "lose", "x", status=2)
