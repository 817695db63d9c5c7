"""Request ids, and the log: each line parses, and those of one request and one push are found by id."""
from __future__ import annotations

import fcntl
import json
import os
import re
import select
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.command import slipway
from support.front import Front
from support.gateway import SOURCE_FOLDER, Gateway, pushed
from support.http_server import LoopbackServer
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


class Valve(threading.Thread):
    """Reads a gateway's log from a pipe of 4 KiB into its file, but not while it is closed."""

    def __init__(self, pipe: Path, log: Path) -> None:
        super().__init__(daemon=True)
        os.mkfifo(pipe)
        self._fd = os.open(pipe, os.O_RDWR)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, 4096)
        self._log = log
        self.open = threading.Event()
        self.open.set()
        self.over = False

    def run(self) -> None:
        while not self.over:
            self.open.wait()
            if select.select([self._fd], [], [], 0.05)[0] and self.open.is_set():
                with self._log.open("ab") as out:
                    out.write(os.read(self._fd, 4096))


def test_a_log_that_nobody_reads(tmp_path: Path, registry: Registry, archive: Path) -> None:
    """Pushes go on, and every line is there once somebody reads."""
    folder = tmp_path / "gateway"
    folder.mkdir()
    pipe = folder / "log.pipe"
    valve = Valve(pipe, folder / "slipway.stderr")
    before = ["sh", "-c", f'exec "$@" 2>{pipe}', "sh"]
    config = {"log": {"format": "json", "level": "debug"}}
    valve.start()
    with Gateway(folder, config, before=before) as gateway:
        valve.open.clear()
        for number in range(6):
            pushed(gateway.post(archive, f"{registry.host}/log/unread{number}:1", seconds=60))
        assert gateway.request("/readyz").status == 200
        assert not of(gateway, event="target.pushed")
        valve.open.set()
        wait_until(lambda: len(of(gateway, event="target.pushed")) == 6, "all is told", 30)
        assert not of(gateway, event="log.lost")
    wait_until(lambda: "gateway.stopped" in gateway.log(), "its last line", 20)
    valve.over = True
    valve.join()


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
            f"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {sent}\r\n\r\n".encode()
        )
        reply = connection.read_reply("GET")
    assert reply.status == 200
    assert MADE.fullmatch(reply.headers["x-request-id"])


def test_refusals_of_the_exchange_have_an_id(gateway: Gateway) -> None:
    with RawConnection(gateway.port) as connection:
        connection.send(
            b"POST /v1/images HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: twice\r\n"
            b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n"
        )
        reply = connection.read_reply("GET")
    assert (reply.status, reply.headers["x-request-id"]) == (400, "twice")


# ---- the log ----


def test_lines_of_a_push_are_found_by_its_ids(
    json_gateway: Gateway, registry: Registry, archive: Path, seed: str
) -> None:
    target = f"{registry.host}/log/{seed}:1"
    reply = json_gateway.post(archive, target, headers=["X-Request-Id: ci-42"])
    (result,) = pushed(reply)
    push = reply.json()["id"]
    wait_until(lambda: of(json_gateway, event="request.answered", request="ci-42"), "its end")
    (accepted,) = of(json_gateway, event="push.accepted")
    assert accepted["digest"] == result["digest"] and accepted["targets"] == 1
    (done,) = of(json_gateway, event="target.pushed")
    assert (done["target"], done["digest"]) == (target, result["digest"])
    assert done["bytes"] == result["bytes_uploaded"]
    assert {(line["request"], line["push"]) for line in (accepted, done)} == {("ci-42", push)}
    (answered,) = of(json_gateway, event="request.answered", request="ci-42")
    assert (answered["method"], answered["path"]) == ("POST", "/v1/images")
    assert answered["status"] == 200 and answered["bytes"] == archive.stat().st_size
    assert answered["ms"] >= 0 and "code" not in answered
    assert answered["level"] == "info" and answered["client"] == "127.0.0.1"
    assert answered["agent"].startswith("curl/")
    # Another request does not have them.
    json_gateway.request("/healthz")
    wait_until(lambda: of(json_gateway, path="/healthz"), "the other request")
    (other,) = of(json_gateway, path="/healthz")
    assert other["request"] != "ci-42" and "push" not in other


def test_lines_of_a_failed_target(json_gateway: Gateway, archive: Path) -> None:
    reply = json_gateway.post(archive, "127.0.0.1:1/log/app:1", headers=["X-Request-Id: gone"])
    assert reply.status == 502
    (line,) = of(json_gateway, event="target.failed")
    error = reply.json()["results"][0]["error"]
    assert (line["code"], line["party"], line["error"]) == (
        error["code"],
        error["party"],
        error["message"],
    )
    assert (line["level"], line["request"], line["push"]) == ("warn", "gone", reply.json()["id"])


class Full(BaseHTTPRequestHandler):
    """A registry without room, which says so once it may."""

    protocol_version = "HTTP/1.1"
    reason = "the disk of the registry is full"
    goes_on: threading.Event

    def _go(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.goes_on.wait(60)
        body = b"{}" if self.command in ("GET", "HEAD") else self.reason.encode()
        self.send_response(200 if self.path == "/v2/" else 404 if body == b"{}" else 507)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = _go

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.mark.parametrize("acknowledge", ["pushed", "stored"])
def test_each_result_is_told_once_and_at_once(
    tmp_path: Path, registry: Registry, seed: str, acknowledge: str
) -> None:
    """Of two repositories of a registry that is full beside a good one."""
    goes_on = threading.Event()
    with LoopbackServer(type("Held", (Full,), {"goes_on": goes_on})) as full:
        bad = f"127.0.0.1:{full.port}"
        targets = [f"{host}/log-{seed}/{name}" for host, name in
                   ((registry.host, "good"), (bad, "one"), (bad, "two"))]
        config = {
            "log": {"format": "json", "level": "debug"},
            # So long that both are under way before the first one's attempts are used up.
            "registries": {bad: {"retry_wait": "100ms", "plain_http": True}},
            "mirrors": [{"match": "**", "to": targets, "acknowledge": acknowledge}],
        }
        with Gateway(tmp_path / "gateway", config) as gateway:

            def put() -> None:
                with Front(gateway.port) as front:
                    front.put("log/app", "1", front.image("log/app"))

            client = threading.Thread(target=put)
            client.start()
            wait_until(lambda: of(gateway, event="target.pushed"), "the good one", 30)
            goes_on.set()
            client.join()
            failed = "target.failed" if acknowledge == "pushed" else "target.waiting"
            wait_until(lambda: len(of(gateway, event=failed)) == 2, "both others", 30)
            (good,) = of(gateway, event="target.pushed")
            assert good["target"] == f"{targets[0]}:1" and {"bytes", "ms"} < set(good)
            for line in of(gateway, event=failed):
                assert (line["code"], line["party"]) == ("REGISTRY_FAULT", "registry")
                assert {"bytes", "ms"} < set(line) and Full.reason in line["error"]
                assert (line["push"], line["digest"]) == (good["push"], good["digest"])
            wait_until(lambda: of(gateway, event="request.answered", reference="1"), "the answer")
            told = [line for line in lines(gateway)
                    if Full.reason in str(line) and line["level"] != "debug"]
            events = sorted(str(line.get("event")) for line in told)
            assert events == ["attempt.failed", failed, failed]
            (answered,) = of(gateway, event="request.answered", reference="1")
            code = answered.get("code"), answered.get("party")
            assert code == (("REGISTRY_FAULT", "registry") if acknowledge == "pushed" else (None, None))


def test_a_command_says_what_it_waits_for(tmp_path: Path, archive: Path) -> None:
    goes_on = threading.Event()
    goes_on.set()
    with LoopbackServer(type("Full", (Full,), {"goes_on": goes_on})) as full:
        host = f"127.0.0.1:{full.port}"
        path = tmp_path / "slipway.json"
        setting = {"retry_wait": "500ms", "plain_http": True}
        path.write_text(json.dumps({"registries": {host: setting}}))
        words = ["push", archive, f"{host}/log/app:1", "--config", path]
        done = slipway(tmp_path, *words, "--data", tmp_path / "data")
    waits = re.findall(rf"^waiting \d+ s for registry {host}, until [0-9:]{{8}} UTC: .*", done.stderr, re.MULTILINE)
    assert done.returncode == 1 and waits and all(Full.reason in wait for wait in waits), done.stderr
    assert len(waits) < 8 and "attempt 1 of" not in done.stderr, done.stderr


def test_lines_of_a_registry_client(json_gateway: Gateway, seed: str) -> None:
    with Front(json_gateway.port) as front:
        digest = front.push_blob(f"log/{seed}", seed.encode())
        assert front.blob(f"log/{seed}", digest).status == 200
        assert front.blob(f"log/{seed}", "sha256:" + "0" * 64).status == 404
    (finished,) = of(json_gateway, event="upload.finished")
    assert (finished["repository"], finished["digest"]) == (f"log/{seed}", digest)
    assert finished["bytes"] == len(seed) and MADE.fullmatch(finished["request"])
    # What is not there is asked for all the time.
    (missing,) = of(json_gateway, event="request.refused")
    assert (missing["level"], missing["status"], missing["code"]) == ("debug", 404, "BLOB_UNKNOWN")


HOSTILE = b"\x1b[31m%0a\xc2\x9b\xff\xe2\x80\xae\"\\x"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_hostile_path_stays_on_its_line(tmp_path: Path, form: str) -> None:
    with Gateway(tmp_path / "gateway", {"log": {"format": form}}) as gateway:
        with RawConnection(gateway.port) as connection:
            connection.send(b"POST /v2/app/manifests/" + HOSTILE + b" HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: h\r\n\r\n")
            assert connection.read_reply("POST").status == 404
        wait_until(lambda: "request refused" in gateway.log(), "the refusal")
        data = gateway.process.stderr_path.read_bytes()
        (line,) = [line for line in data.splitlines() if b"request refused" in line]
        assert b"\x1b" not in line and b"\xc2\x9b" not in line and b"\xe2\x80\xae" not in line
        assert b"\\u001b[31m%0a\\u009b\xef\xbf\xbd\\u202e" in line
        line.decode()
        if form == "json":
            (refused,) = of(gateway, event="request.refused")
            assert refused["reference"] == HOSTILE.decode(errors="replace")
            assert (refused["code"], refused["request"]) == ("MANIFEST_UNKNOWN", "h")


VALID = {"name": "team/app", "id": "0123abcd", "reference": "1.0", "digest": "sha256:" + "0" * 64}
INVALID = {"name": "Team/%41", "id": "%00", "reference": "%2e%2e", "digest": "sha256:%30"}
TARGET = {"name": "far"}  # has no slash
NO_PATHS = ("/", "/v1/images/x", "/v2/app/other/list", "/v20", "/v2/uploads/x")


def test_paths_are_told_by_their_pattern(json_gateway: Gateway) -> None:
    """However many there are, patterns are those of docs/openapi.yaml; what fills them is aside."""
    paths = yaml.safe_load((SOURCE_FOLDER / "docs/openapi.yaml").read_text())["paths"]
    asked = [
        (path, filled | {"diff_id": "0"} | (TARGET if path.startswith(("/v1/targets/", "/v1/robots/")) else {}))
        for path in paths
        for filled in (VALID, INVALID)
    ]
    asked += [(path, {}) for path in NO_PATHS]
    with Front(json_gateway.port) as front:
        for path, filled in asked:
            front.ask("PATCH", path.format(**filled))
    wait_until(lambda: len(of(json_gateway, method="PATCH")) == len(asked), "all lines")
    for line, (path, filled) in zip(of(json_gateway, method="PATCH"), asked, strict=True):
        assert line["path"] == (path if filled else "other")
        expected = {part: filled[part] for part in re.findall(r"{(.*?)}", path)}
        names = {"repository": "name", "target": "name"}
        told = {names.get(key, key): value for key, value in line.items()}
        assert {key: told[key] for key in {*VALID, "diff_id"} & set(told)} == expected
        assert filled or "there is no" in line["error"]


def test_a_client_that_goes_away_is_told(json_gateway: Gateway) -> None:
    with RawConnection(json_gateway.port) as connection:
        connection.send_head(
            "POST", "/v1/layers", {"Content-Length": "1000", "X-Request-Id": "half"}
        )
        connection.send(b"x" * 100)
    wait_until(lambda: of(json_gateway, event="request.aborted"), "the end")
    (line,) = of(json_gateway, event="request.aborted")
    assert (line["request"], line["path"], line["bytes"]) == ("half", "/v1/layers", 100)


def test_start_and_end(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway", {"log": {"format": "json"}}) as gateway:
        (line,) = of(gateway, event="gateway.listening")
        assert line["port"] == gateway.port and line["data"] == str(gateway.data)
    assert [line["event"] for line in lines(gateway)] == [
        "gateway.listening",
        "gateway.stopping",
        "gateway.stopped",
    ]


def test_events_are_those_of_the_guide() -> None:
    guide = (SOURCE_FOLDER / "docs/operations.md").read_text()
    table = guide.split("## The log")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[a-z]+\.[^|]*)\|", table, re.MULTILINE)
    written = {name for cell in cells for name in re.findall(r"`([a-z]+\.[a-z]+)`", cell)}
    subjects = {name.split(".")[0] for name in written}
    known = set()
    for folder in ("base", "net", "image", "store", "upstream", "gateway"):
        for path in (SOURCE_FOLDER / folder).rglob("*.c"):
            known |= set(re.findall(r'"([a-z]+\.(?!json)[a-z]+)"', path.read_text()))
    assert written == {name for name in known if name.split(".")[0] in subjects}
