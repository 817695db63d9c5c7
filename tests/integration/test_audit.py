"""The audit stream is what docs/audit.schema.json and docs/audit.md say."""
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from support.command import slipway
from support.gateway import SOURCE_FOLDER, Gateway, pushed, slipway_binary
from support.processes import must_run
from support.registry import Registry
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


def test_without_its_file_no_gateway_starts(tmp_path: Path) -> None:
    config = {"listen": "127.0.0.1:0", "data": str(tmp_path / "data"), "audit": {"file": str(tmp_path)}}
    (tmp_path / "slipway.json").write_text(json.dumps(config))
    done = slipway(tmp_path, "serve", "--config", tmp_path / "slipway.json")
    assert done.returncode != 0 and "audit.file is not written: " in done.stderr, done.stderr
