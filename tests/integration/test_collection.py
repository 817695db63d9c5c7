"""POST /v1/gc, slipway gc with and without a gateway, the schedule, and rules that say what they keep."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.command import slipway
from support.curl import Reply
from support.front import Front, sha256
from support.gateway import Gateway
from support.waiting import wait_until

from test_openapi import assert_as_described

KEEP = {"grace": "1s", "every": "720h", "rules": [{"match": "ruled/*", "tags": "v*"}]}


def gc(gateway: Gateway, body: bytes = b"{}") -> Reply:
    return gateway.request(
        "/v1/gc", method="POST", data=body, headers=["Content-Type: application/json"]
    )


def done(gateway: Gateway, **body: Any) -> dict[str, Any]:
    reply = gc(gateway, json.dumps(body).encode())
    assert reply.status == 200, reply.body
    assert_as_described(reply, "/v1/gc", "POST")
    found: dict[str, Any] = reply.json()
    return found


def test_what_a_rule_does_not_keep_goes_and_is_told(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", {"keep": KEEP}) as gateway:
        with Front(gateway.port) as front:
            kept = front.tagged("ruled/app", "v1")
            front.tagged("ruled/app", "old")
            front.tagged("free/app", "old")
            loose = front.push_blob("free/app", b"loose")
        for body in (b"[]", b'{"dry_run": 1}', b'{"dryrun": true}'):
            reply = gc(gateway, body)
            assert reply.status == 400, reply.body
            assert_as_described(reply, "/v1/gc", "POST")
        report = wait_until(
            lambda: (found := done(gateway, dry_run=True))["gone"]["blobs"] == 4 and found, "grace", 20
        )
        assert (report["held"]["blobs"], report["needed"]["blobs"], report["tags"]) == (10, 6, 1)
        fates = {(i["name"], i["tag"]): (i["goes"], i["why"]) for i in report["items"] if "tag" in i}
        assert fates == {
            ("ruled/app", "v1"): (False, "kept by rule 1"),
            ("ruled/app", "old"): (True, "no rule keeps it"),
        }
        assert len(gateway.blobs()) == 10
        shown = slipway(tmp_path, "gc", "--dry-run", "--data", gateway.data)
        assert shown.returncode == 0, shown.stderr
        assert "would go  tag ruled/app:old: no rule keeps it" in shown.stdout
        assert f"would go  blob {loose}: nothing needs it" in shown.stdout
        assert len(gateway.blobs()) == 10
        went = done(gateway)
        assert (went["gone"], went["tags"], went["manifests"]) == (report["gone"], 1, 1)
        assert len(gateway.blobs()) == 6
        assert 'tag=old' in gateway.log() and 'reason="no rule keeps it"' in gateway.log()
        with Front(gateway.port) as front:
            assert front.manifest("ruled/app", "v1").status == 200
            assert front.manifest("ruled/app", "old").status == 404
            assert front.manifest("free/app", "old").status == 200
            assert front.ask("DELETE", f"/v2/ruled/app/manifests/{kept}").status == 202
    config = tmp_path / "gateway/config.json"
    waits = ("gc", "--json", "--config", config, "--data", gateway.data)
    wait_until(lambda: json.loads(slipway(tmp_path, *waits).stdout)["held"]["blobs"] == 3, "grace", 20)
    assert len(gateway.blobs()) == 3
    missing = slipway(tmp_path, "gc", "--data", tmp_path / "nothing")
    assert missing.returncode == 1 and "there is no store" in missing.stderr
    assert not (tmp_path / "nothing").exists()


def test_the_schedule_collects(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", {"keep": {"grace": "1s", "every": "1s"}}) as gateway:
        with Front(gateway.port) as front:
            front.push_blob("free/app", b"loose")
            image = front.tagged("free/app", "1")
        wait_until(lambda: len(gateway.blobs()) == 3, "the loose one is gone", 30)
        with Front(gateway.port) as front:
            assert sha256(front.manifest("free/app", "1").body) == image
