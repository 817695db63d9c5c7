"""`Accept: application/x-ndjson`: the push told while it runs."""
from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.archives import docker_save_old
from support.command import result_lines, slipway
from support.curl import Reply, images_path
from support.gateway import SOURCE_FOLDER, Gateway, failed, pushed
from support.images import make_image
from support.raw_http import RawConnection
from support.registry import Registry
from support.schema import complaints
from support.throttle import ThrottledProxy
from support.waiting import wait_until

NDJSON = "application/x-ndjson"
DOCUMENT: dict[str, Any] = yaml.safe_load((SOURCE_FOLDER / "docs/openapi.yaml").read_text())


def parse(body: bytes) -> list[dict[str, Any]]:
    """The lines, each checked against its description."""
    assert body.endswith(b"\n")
    lines = [json.loads(line) for line in body.decode().splitlines()]
    schema = DOCUMENT["components"]["schemas"]["Event"]
    for line in lines:
        assert not complaints(DOCUMENT, schema, line), line
    return lines


def events(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200, (reply.status, reply.body[:2000])
    assert reply.headers["content-type"] == NDJSON
    return parse(reply.body)


def post(gateway: Gateway, archive: Path, *to: str, accept: str = NDJSON, **more: Any) -> Reply:
    return gateway.post(archive, to, headers=[f"Accept: {accept}"], **more)


def statuses(lines: list[dict[str, Any]], target: str, layer: str) -> list[str]:
    """What one layer went through, bytes left out."""
    return [
        line["status"]
        for line in lines
        if line.get("target") == target
        and line.get("id") == layer
        and not line["progressDetail"]
    ]


@pytest.mark.parametrize("method", ("POST", "PUT"))
def test_events_of_one_push(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, method: str
) -> None:
    image = make_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, ["m/source:1.0"])], tmp_path / "image.tar")
    target = f"{registry.host}/events/{method.lower()}:1"
    lines = events(post(gateway, archive, target, method=method))
    first, *middle, last = lines
    assert first["push"]["id"] and first["push"]["image"]["config"] == image.config_digest
    assert middle[0] == {
        "status": f"The push refers to repository [{target.rsplit(':', 1)[0]}]",
        "target": target,
    }
    for diff_id in set(image.diff_ids):
        seen = statuses(middle, target, diff_id.split(":")[1][:12])
        assert seen[0] == "Preparing" and "Pushed" in seen, seen
    digest = first["push"]["image"]["manifest"]
    size = last["aux"]["Size"]
    assert last["aux"] == {"Tag": "1", "Digest": digest, "Size": size}
    assert middle[-1]["status"] == f"1: digest: {digest} size: {size}"
    assert (last["target"], last["result"]["state"]) == (target, "pushed")
    assert len(registry.manifest(f"events/{method.lower()}", "1").body) == size


def test_bytes_rise_to_the_total(gateway: Gateway, registry: Registry, larger_archive: Path) -> None:
    lines = events(post(gateway, larger_archive, f"{registry.host}/events/bytes:1"))
    moves: dict[str, list[dict[str, int]]] = {}
    for line in lines:
        if line.get("progressDetail"):
            assert line["status"] == "Pushing"
            moves.setdefault(line["id"], []).append(line["progressDetail"])
    assert len(moves) == 3
    for details in moves.values():
        currents = [detail["current"] for detail in details]
        assert currents == sorted(currents)
        assert currents[-1] == details[-1]["total"] > 0


def test_second_push_says_what_is_there(
    gateway: Gateway, registry: Registry, archive: Path
) -> None:
    target = f"{registry.host}/events/twice:1"
    pushed(gateway.post(archive, target))
    lines = events(post(gateway, archive, target))
    assert sum(line.get("status") == "Layer already exists" for line in lines) == 2
    assert not any(line.get("progressDetail") for line in lines)


def test_several_targets_one_fails(gateway: Gateway, registry: Registry, archive: Path) -> None:
    good = [f"{registry.host}/events/several:{number}" for number in range(2)]
    bad = "127.0.0.1:1/events/several:1"
    lines = events(post(gateway, archive, good[0], bad, good[1]))
    ends = lines[-3:]
    assert [line["target"] for line in ends] == [good[0], bad, good[1]]
    assert [("aux" in line, "errorDetail" in line) for line in ends] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    failure = ends[1]
    assert failure["errorDetail"] == {"code": 502, "message": failure["error"]}
    assert "127.0.0.1:1" in failure["error"]
    assert failure["result"]["error"]["code"] == "CONNECT_FAILED"
    assert not any("aux" in line or "error" in line for line in lines[:-3])


def test_refused_before_the_push_is_a_plain_error(gateway: Gateway, tmp_path: Path) -> None:
    """Nothing was streamed yet, so the status can still say it."""
    path = tmp_path / "no.tar"
    path.write_bytes(b"no tar at all" * 100)
    reply = post(gateway, path, "127.0.0.1:1/x:1")
    assert (reply.status, reply.error["code"]) == (400, "ARCHIVE_UNRECOGNISED")
    assert reply.headers["content-type"] == "application/json"
    reply = post(gateway, path, "127.0.0.1:1/Bad//x:1")
    assert (reply.status, reply.error["code"]) == (400, "REFERENCE_INVALID")


@pytest.mark.parametrize(
    "accept, streamed",
    (
        ("application/x-ndjson", True),
        ("Application/X-NDJSON", True),
        ("text/html, application/x-ndjson;q=0.5, */*;q=0.1", True),
        ("application/x-ndjson; charset=utf-8", True),
        ("application/x-ndjson;q=0", False),
        ("application/x-ndjson; q=0.0, application/json", False),
        ("application/x-ndjsonx", False),
        ("application/json", False),
        ("*/*", False),
    ),
)
def test_accept(gateway: Gateway, archive: Path, accept: str, streamed: bool) -> None:
    reply = post(gateway, archive, "127.0.0.1:1/x:1", accept=accept)
    assert (reply.status == 200) == streamed
    if streamed:
        assert "errorDetail" in events(reply)[-1]
    else:
        failed(reply, "CONNECT_FAILED", "network")


def test_lines_come_while_the_push_runs(
    gateway: Gateway, registry: Registry, larger_archive: Path, tmp_path: Path
) -> None:
    """curl -N shows the first events while the registry is held; the last when it goes on."""
    with ThrottledProxy(registry.port, hold_after=200_000) as proxy:
        url = gateway.url + images_path([f"127.0.0.1:{proxy.port}/events/live:1"])
        seen = tmp_path / "seen"
        with seen.open("wb") as out:
            argv = ["curl", "-q", "-sS", "-N", "--noproxy", "*", "-H", f"Accept: {NDJSON}"]
            client = subprocess.Popen([*argv, "-T", str(larger_archive), url], stdout=out)
        try:
            wait_until(proxy.held, "the push is on its way")
            wait_until(lambda: b"Preparing" in seen.read_bytes(), "the first events")
            assert client.poll() is None and b"aux" not in seen.read_bytes()
            proxy.release()
            assert client.wait(60) == 0
        finally:
            client.kill()
            client.wait()
    assert "aux" in parse(seen.read_bytes())[-1]


def send(connection: RawConnection, target: str, data: bytes) -> None:
    head = {"Accept": NDJSON, "Content-Length": str(len(data))}
    connection.send_head("POST", images_path([target]), head)
    connection.send(data)


def test_connection_is_reused_after_a_stream(
    gateway: Gateway, registry: Registry, archive: Path
) -> None:
    data = archive.read_bytes()
    with RawConnection(gateway.port) as connection:
        for number in range(3):
            send(connection, f"{registry.host}/events/reuse:{number}", data)
            status, headers = connection.read_head()
            assert status == 200
            assert parse(connection.read_body(headers))[-1]["aux"]["Tag"] == str(number)


def test_slow_reader(gateway: Gateway, registry: Registry, archive: Path) -> None:
    """A client that looks away gets everything that matters when it looks again."""
    targets = [f"{registry.host}/events/slow{number}:1" for number in range(40)]
    data = archive.read_bytes()
    with RawConnection(gateway.port) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        head = {"Accept": NDJSON, "Content-Length": str(len(data))}
        connection.send_head("POST", images_path(targets), head)
        connection.send(data)
        wait_until(lambda: all(registry.tags(f"events/slow{n}") for n in range(40)), "pushed", 60)
        status, headers = connection.read_head()
        assert status == 200
        lines = parse(connection.read_body(headers))
    assert [line["target"] for line in lines[-40:]] == targets
    assert all("aux" in line for line in lines[-40:])
    ends = ("Pushed", "Layer already exists", "Mounted from")
    for target in targets:
        told = [line for line in lines if line.get("target") == target and "id" in line]
        assert len({line["id"] for line in told if line["status"].startswith(ends)}) == 2


def test_reader_that_goes_away(
    own_gateway: Gateway, registry: Registry, larger_archive: Path
) -> None:
    """The push goes on: at every point at which a client may have gone."""
    data = larger_archive.read_bytes()
    with ThrottledProxy(registry.port, hold_after=200_000) as proxy:
        for number, chunks in enumerate((0, 1, 1)):
            with RawConnection(own_gateway.port) as connection:
                send(connection, f"127.0.0.1:{proxy.port}/events/gone{number}:1", data)
                status, _ = connection.read_head()
                assert status == 200
                for _ in range(chunks):
                    assert connection.read_chunk()
        proxy.release()
        wait_until(lambda: own_gateway.log().count(" target pushed target=") == 3, "all are pushed", 60)
    for number in range(3):
        assert registry.tags(f"events/gone{number}") == ["1"]
    own_gateway.wait_nothing_staged()


def test_sigterm_lets_the_stream_end(
    own_gateway: Gateway, registry: Registry, larger_archive: Path
) -> None:
    with ThrottledProxy(registry.port, hold_after=200_000) as proxy:
        with RawConnection(own_gateway.port) as connection:
            target = f"127.0.0.1:{proxy.port}/events/stop:1"
            send(connection, target, larger_archive.read_bytes())
            status, headers = connection.read_head()
            assert status == 200
            wait_until(proxy.held, "the push is on its way")
            own_gateway.process.signal(signal.SIGTERM)
            wait_until(lambda: "stopping" in own_gateway.log(), "it stops")
            proxy.release()
            lines = parse(connection.read_body(headers))
    assert lines[-1]["aux"]["Tag"] == "1"
    assert own_gateway.process.wait() == 0


# slipway push --gateway


def test_command_shows_the_gateways_events(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    target = f"{registry.host}/events/command:1"
    done = slipway(tmp_path, "push", archive, target, "--gateway", gateway.url)
    assert done.returncode == 0, done.stderr
    assert f"The push refers to repository [{target[:-2]}]" in done.stderr
    assert re.search(r"^1: digest: sha256:[0-9a-f]{64} size: \d+$", done.stderr, re.MULTILINE)
    (line,) = result_lines(done.stdout)
    assert line["target"] == target


def test_command_puts_the_push_object_together(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    targets = [f"{registry.host}/events/object:1", "127.0.0.1:1/x:1"]
    done = slipway(tmp_path, "push", archive, *targets, "--gateway", gateway.url, "--json")
    assert done.returncode == 1
    value = json.loads(done.stdout)
    assert list(value) == ["id", "state", "image", "results"] and value["state"] == "failed"
    assert not complaints(DOCUMENT, DOCUMENT["components"]["schemas"]["Push"], value)
    plain = gateway.post(archive, targets).json()
    assert value["image"] == plain["image"]
    for mine, theirs in zip(value["results"], plain["results"], strict=True):
        for member in ("target", "state", "digest", "size", "media_type", "error"):
            assert mine.get(member) == theirs.get(member)
