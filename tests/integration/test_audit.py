"""The audit stream is what docs/audit.schema.json and docs/audit.md say."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support.command import slipway
from support.front import BYTES, Front
from support.gateway import SOURCE_FOLDER, Gateway, pushed, slipway_binary
from support.processes import must_run
from support.pulled import sha256
from support.registry import Registry, htpasswd_file
from support.schema import complaints
from support.waiting import wait_until

SCHEMA = json.loads((SOURCE_FOLDER / "docs/audit.schema.json").read_text())
ACTIONS = set(SCHEMA["properties"]["action"]["enum"])


def check(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        assert complaints(SCHEMA, SCHEMA, line) == [], line


def test_lines_of_every_action_are_as_described(tmp_path: Path) -> None:
    program = slipway_binary().parent / "tests/unit_gateway_access_audit"
    must_run([program, tmp_path / "lines"])
    text = (tmp_path / "lines").read_bytes()
    assert not re.search(rb"[^\x20-\x7e\n]", text)
    lines = [json.loads(line) for line in text.splitlines()]
    check(lines)
    assert {line["action"] for line in lines} == ACTIONS
    page = (SOURCE_FOLDER / "docs/audit.md").read_text()
    first_cells = " ".join(re.findall(r"^\| (`[^|]*`) \|", page, re.M))
    assert set(re.findall(r"`([a-z.]+)`", first_cells)) == {"action", *ACTIONS}
    for name in SCHEMA["properties"]:
        assert f"`{name}`" in page, name


def test_the_schema_refuses_what_no_line_is() -> None:
    line = {"schema": 1, "id": "0123456789abcdef-1", "time": "2026-01-31T12:00:00.123Z",
            "action": "check", "outcome": "success"}
    check([line])
    wrong: tuple[dict[str, Any], ...] = (
        {"schema": 2}, {"id": "1"}, {"time": "now"}, {"action": "other"}, {"outcome": "maybe"},
        {"more": 1}, {"action": "target.end"}, {"actor": {"id": "ann"}}, {"address": ""},
    )
    for change in wrong:
        assert complaints(SCHEMA, SCHEMA, {**line, **change}), change


def lines_of(file: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    check(lines)
    return lines


def test_a_push_is_in_the_file_also_after_a_rotation(
    registry: Registry, archive: Path, tmp_path: Path, seed: str
) -> None:
    file, old = tmp_path / "audit.ndjson", tmp_path / "audit.ndjson.1"
    with Gateway(tmp_path / "gateway", {"audit": {"file": str(file)}}) as gateway:
        ids = []
        for tag in ("1", "2"):
            reply = gateway.post(archive, f"{registry.host}/audited/{seed}:{tag}")
            pushed(reply)
            ids.append(reply.json()["id"])
            if tag == "1":
                wait_until(lambda: len(lines_of(file)) == 2, "both lines", 30)
                file.rename(old)
                wait_until(file.exists, "another file", 30)
        assert b"slipway_audit_dropped_total 0" in gateway.request("/metrics").body
    lines = lines_of(old) + lines_of(file)
    assert [line["action"] for line in lines] == 2 * ["push.accept", "target.end"]
    assert [line["push"] for line in lines] == [ids[0], ids[0], ids[1], ids[1]]
    assert [line["id"].split("-")[1] for line in lines] == ["1", "2", "3", "4"]
    assert all(line["outcome"] == "success" for line in lines)
    accepted, ended = lines[2:]
    assert accepted["address"] == "127.0.0.1" and accepted["user_agent"].startswith("curl/")
    assert ended["targets"] == [{"target": f"{registry.host}/audited/{seed}:2", "state": "pushed"}]
    assert ended["digest"] == accepted["digest"]
    assert file.stat().st_mode & 0o777 == 0o600


POLICY = [
    {"who": ["bob"], "may": ["push", "delete"], "repositories": ["closed/**"], "deny": True},
    {"who": ["bob"], "may": ["pull", "push"], "repositories": ["**"]},
    {"who": ["ann"], "may": ["*"], "repositories": ["**"], "targets": ["**"]},
]
JSON = {"Content-Type": "application/json"}


def control(front: Front, data: bytes) -> None:
    """What an operator can do by HTTP: each has its line."""
    for path, body, status in (
        ("/v1/targets/prod/pause", b"", 200),
        ("/v1/targets/nowhere/pause", b"", 404),
        ("/v1/targets/prod/resume", b"", 200),
        ("/v1/targets/prod/reconcile", b"", 200),
        ("/v1/targets/prod/backfill", b'{"dry_run": true}', 200),
        ("/v1/pushes/retry?target=prod", b"", 200),
        ("/v1/gc", b"", 200),
        ("/v1/gc", b'{"dry_run": true}', 200),
        ("/v1/check", b"", 202),
        ("/v1/backup", b"", 200),
        ("/v1/robots", data, 201),
        ("/v1/robots/night/disable", b"", 200),
    ):
        reply = front.ask("POST", path, body, JSON)
        assert reply.status == status, (path, reply)
    assert front.ask("DELETE", "/v1/robots/night").status == 204


def said(lines: list[dict[str, Any]], *keys: str) -> list[tuple[Any, ...]]:
    return [(line["action"], line["outcome"], *(line.get(key) for key in keys)) for line in lines]


def test_who_did_what_and_who_was_kept_from_it(registry: Registry, tmp_path: Path, seed: str) -> None:
    file, repository = tmp_path / "audit.ndjson", f"open/{seed}"
    config = {
        "audit": {"file": str(file)},
        "clients": {"htpasswd": str(htpasswd_file(tmp_path, {"ann": "a-pw", "bob": "b-pw"}))},
        "policy": POLICY,
        "mirrors": [{"match": "sent/**", "to": [{"target": f"{registry.host}/sent/**", "name": "prod"}]}],
    }
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port, login="ann:a-pw") as ann:
        first, second = ann.tagged(repository, "1"), ann.image(repository)
        for _ in range(2):
            ann.must_put(repository, "1", second)
        for what in (f"manifests/{sha256(second)}", f"blobs/{ann.push_blob(repository, b'x')}"):
            assert ann.ask("DELETE", f"/v2/{repository}/{what}").status == 202
        assert ann.ask("DELETE", f"/v2/{repository}/blobs/{sha256(b'x')}").status == 404
        control(ann, b'{"name": "night", "expires": "1h"}')
        with Front(gateway.port, login="bob:b-pw") as bob:
            bob.tagged(repository, "2")
            assert bob.put(repository, "2", bob.image(repository)).status == 403
            assert bob.ask("POST", "/v2/closed/a/blobs/uploads/").status == 403
            assert bob.ask("POST", "/v2/sent/a/blobs/uploads/").status == 403
            assert bob.ask("DELETE", f"/v2/{repository}/manifests/2").status == 403
            target = f"/v1/images?to={registry.host}/sent/b:1"
            assert bob.ask("POST", target, b"", {"Content-Type": "application/x-tar"}).status == 403
            assert bob.ask("GET", "/v1/targets").status == 403
            assert bob.ask("GET", "/token?scope=repository:a:pull").status == 200
        with Front(gateway.port, login="bob:w-pw") as wrong:
            refused = wrong.ask("GET", "/v2/")
            assert refused.status == 401 and refused.headers["www-authenticate"].startswith("Bearer ")
            assert wrong.ask("GET", "/token").status == 401
        with Front(gateway.port) as nobody:
            assert nobody.ask("GET", "/v2/").status == 401
            assert nobody.manifest(repository, "2").status == 401
            head = {"Authorization": "Bearer x", "Content-Type": BYTES}
            assert nobody.ask("GET", "/v2/", None, head).status == 401
        log = gateway.log()
    lines = lines_of(file)
    asked = [line for line in lines if line.get("actor", {}).get("id") == "ann"]
    assert said(asked, "object", "count") == [
        ("tag.move", "success", None, None),
        ("delete", "success", None, None),
        ("delete", "success", None, None),
        ("target.pause", "success", "prod", None),
        ("target.pause", "failure", "nowhere", None),
        ("target.resume", "success", "prod", None),
        ("target.reconcile", "success", "prod", None),
        ("push.retry", "success", "prod", None),
        ("collection", "success", None, None),
        ("check", "success", None, None),
        ("backup", "success", str(gateway.data / "backup"), None),
        ("robot.create", "success", "night", None),
        ("robot.disable", "success", "night", None),
        ("robot.remove", "success", "night", None),
    ]
    moved = asked[0]
    assert (moved["tag"], moved["was"], moved["digest"]) == ("1", first, sha256(second))
    assert all(line["address"] == "127.0.0.1" and line["request"] for line in asked)
    denied = [line for line in lines if line["action"] == "policy.deny"]
    assert said(denied, "operation", "rule", "repository") == [
        ("policy.deny", "denied", "tag:move", 0, repository),
        ("policy.deny", "denied", "push", 1, "closed/a"),
        ("policy.deny", "denied", "push", 0, "sent/a"),
        ("policy.deny", "denied", "delete", 0, repository),
        ("policy.deny", "denied", "push", 0, None),
        ("policy.deny", "denied", "queue:read", 0, None),
        ("policy.deny", "denied", "pull", 0, repository),
    ]
    assert log.count("policy denied an operation") == len(denied)
    tokens = [line for line in lines if line["action"] in ("token.issue", "login")]
    assert said(tokens, "object") == [
        ("token.issue", "success", None),
        ("login", "denied", "bob"),
        ("token.issue", "denied", "bob"),
        ("login", "denied", None),
    ]
    assert tokens[0]["actor"] == {"kind": "user", "id": "bob"}
    assert not any(word in file.read_text() + log for word in ("a-pw", "b-pw", "w-pw", "slw_"))


def test_without_its_file_no_gateway_starts(tmp_path: Path) -> None:
    config = {"listen": "127.0.0.1:0", "data": str(tmp_path / "data"), "audit": {"file": str(tmp_path)}}
    (tmp_path / "slipway.json").write_text(json.dumps(config))
    done = slipway(tmp_path, "serve", "--config", tmp_path / "slipway.json")
    assert done.returncode != 0 and "audit.file is not written: " in done.stderr, done.stderr
