"""A running gateway is controlled: by the socket in its data folder, by its URL, and by whom; what
becomes of a push is followed."""
from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.archives import docker_save_old
from support.command import slipway, start_slipway
from support.gateway import SOURCE_FOLDER, Gateway, slipway_binary
from support.images import make_small_image
from support.ports import refusing_port
from support.processes import Process, plain_environment, run
from support.registry import Registry
from support.schema import complaints
from support.waiting import wait_until

WAIT = 30
DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 4


def archive(folder: Path, seed: str, *names: str) -> Path:
    folder.mkdir(parents=True)
    return docker_save_old([(make_small_image(folder / "files", seed), list(names))], folder / "i.tar")


def mirrors(port: int, *more: str) -> dict[str, Any]:
    """One that is away, and more."""
    far = {"target": f"127.0.0.1:{port}/kept/*", "name": "far"}
    return {
        "registries": {f"127.0.0.1:{port}": {"retry_wait": "10m", "plain_http": True}},
        "mirrors": [{"match": "kept/*", "acknowledge": "stored", "to": [far, *more]}],
    }


def over_socket(path: Path, *words: str | Path, url: str = "/v1/version") -> subprocess.CompletedProcess[str]:
    return run(["curl", "-q", "-sS", "--unix-socket", path, *words, f"http://localhost{url}"], seconds=30)


@pytest.fixture(scope="module")
def waiting(
    registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, str]]:
    """A gateway, and a push of it that one of two registries has got."""
    folder = tmp_path_factory.mktemp("waiting")
    with refusing_port() as port:
        config = mirrors(port, f"{registry.host}/kept/*")
        with Gateway(folder / "gateway", config) as gateway:
            identity = gateway.post(archive(folder / "image", "waiting", "kept/waiting:1")).json()["id"]
            path = f"/v1/pushes/{identity}"

            def states() -> list[str]:
                return [result["state"] for result in gateway.request(path).json()["results"]]

            wait_until(lambda: states() == ["waiting", "pushed"], "one of them waits", WAIT)
            yield gateway, identity


# ---- the socket ----


def test_only_its_user_may_open_the_socket(waiting: tuple[Gateway, str]) -> None:
    gateway, _ = waiting
    path = gateway.data / "control.sock"
    assert stat.S_ISSOCK(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o600
    done = over_socket(path, url="/v1/pushes?limit=1")
    assert json.loads(done.stdout)["pushes"], done


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become somebody else")
def test_another_user_is_refused(waiting: tuple[Gateway, str], tmp_path: Path) -> None:
    gateway, identity = waiting
    nobody = pwd.getpwnam("nobody")
    binary = shutil.copy(slipway_binary(), tmp_path / "slipway")
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run(
        [binary, "cancel", identity, "--data", gateway.data],
        user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[],
        env=plain_environment(tmp_path), capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == UNREACHABLE, done
    assert "control.sock" in done.stderr and "--gateway" in done.stderr, done.stderr


def test_the_socket_comes_and_goes_with_the_gateway(tmp_path: Path) -> None:
    """Also below a path that is too long for the address of one, and after a crash."""
    folder = tmp_path / ("a" * 60) / ("b" * 60)
    gateway = Gateway(folder)
    path = gateway.data / "control.sock"
    with gateway:
        assert slipway(tmp_path, "pushes", "--data", gateway.data).returncode == DONE
        second = slipway(tmp_path, "serve", "--data", gateway.data, "--listen", "127.0.0.1:0")
        assert second.returncode == USAGE and "another" in second.stderr, second.stderr
        assert slipway(tmp_path, "pushes", "--data", gateway.data).returncode == DONE
        gateway.process.popen.kill()
        gateway.process.popen.wait()
        assert path.exists()
        gone = slipway(tmp_path, "pushes", "--data", gateway.data)
        assert gone.returncode == UNREACHABLE and "no gateway runs" in gone.stderr, gone.stderr
        gateway.start()
        assert slipway(tmp_path, "pushes", "--data", gateway.data).returncode == DONE
    assert not path.exists()


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path / "gateway")
    gateway.data.mkdir()
    (gateway.data / "control.sock").write_text("mine")
    with gateway:
        assert gateway.request("/readyz").status == 200
        assert "cannot control this gateway" in gateway.log(), gateway.log()
    assert (gateway.data / "control.sock").read_text() == "mine"


def test_clients_of_the_port_take_no_place_of_the_socket(tmp_path: Path) -> None:
    with Gateway(tmp_path / "gateway") as gateway:
        crowd = [gateway.connect() for _ in range(1100)]
        try:
            for one in crowd:
                one.sendall(b"P")
            assert slipway(tmp_path, "pushes", "--data", gateway.data).returncode == DONE
        finally:
            for one in crowd:
                one.close()


# ---- commands ----


@pytest.fixture(params=("socket", "url"))
def where(request: pytest.FixtureRequest, waiting: tuple[Gateway, str]) -> list[str]:
    gateway, _ = waiting
    return ["--data", str(gateway.data)] if request.param == "socket" else ["--gateway", gateway.url]


def ask(folder: Path, *words: str) -> Any:
    done = slipway(folder, *words, "--json")
    assert done.returncode == DONE, done.stderr
    return json.loads(done.stdout)


def test_pushes_are_listed(waiting: tuple[Gateway, str], where: list[str], tmp_path: Path) -> None:
    _, identity = waiting
    listed = ask(tmp_path, "pushes", *where)
    assert [push["id"] for push in listed["pushes"]] == [identity] and "next" not in listed
    done = slipway(tmp_path, "pushes", "--state", "waiting", "--target", "far", *where)
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["PUSH", "ACCEPTED", "STATE", "TARGET", "DETAIL"] and len(rows) == 2
    assert rows[0].split()[0] == identity and "CONNECT_FAILED" in rows[0], done.stdout
    assert ask(tmp_path, "pushes", "--state", "expired", *where)["pushes"] == []
    one = ask(tmp_path, "pushes", identity, *where)
    assert (one["id"], one["image"]) == (identity, listed["pushes"][0]["image"])
    shown = slipway(tmp_path, "pushes", identity, *where)
    assert shown.returncode == DONE and "kept/waiting:1" in shown.stdout, shown.stdout


def test_what_waits_is_retried_and_cancelled(
    waiting: tuple[Gateway, str], where: list[str], tmp_path: Path
) -> None:
    _, identity = waiting
    assert ask(tmp_path, "retry", "--target", "far", *where)["superseded"] == 0
    cancelled = slipway(tmp_path, "cancel", identity, *where)
    assert cancelled.returncode == DONE and "partial" in cancelled.stdout, cancelled
    again = slipway(tmp_path, "cancel", identity, *where)
    assert again.returncode == DONE, "a cancelled push is cancelled"
    retried = slipway(tmp_path, "retry", identity, *where)
    assert retried.stdout == "1 target is tried again\n", retried
    wait_until(
        lambda: ask(tmp_path, "pushes", "--state", "waiting", *where)["pushes"], "it waits again", WAIT
    )


def test_targets_are_paused_and_resumed(
    waiting: tuple[Gateway, str], where: list[str], tmp_path: Path
) -> None:
    def far() -> dict[str, Any]:
        (found,) = [one for one in ask(tmp_path, "targets", *where)["targets"] if one["name"] == "far"]
        return dict(found)

    head, *rows = slipway(tmp_path, "targets", *where).stdout.splitlines()
    assert head.split()[:2] == ["TARGET", "STATE"] and len(rows) == 2, (head, rows)
    assert rows[0].split()[:2] == ["far", "away"] and "CONNECT_FAILED" in rows[0], rows
    assert rows[1].split()[1] == "good", rows
    paused = slipway(tmp_path, "pause", "far", *where)
    assert paused.returncode == DONE and paused.stdout.splitlines()[1].split()[:2] == ["far", "paused"]
    assert far()["paused"]
    resumed = slipway(tmp_path, "resume", "far", *where)
    assert resumed.returncode == DONE and not far()["paused"], resumed
    wait_until(lambda: far()["counts"]["waiting"] == 1, "it waits again", WAIT)


@pytest.mark.parametrize(
    ("words", "status"),
    (
        (("pushes", "0000"), REFUSED),
        (("pushes", "--state", "odd"), USAGE),
        (("pushes", "--limit", "none"), USAGE),
        (("pushes", "--follow"), USAGE),
        (("pushes", "x", "--state", "waiting"), USAGE),
        (("cancel",), USAGE),
        (("cancel", "0000"), REFUSED),
        (("retry",), USAGE),
        (("retry", "x", "--state", "failed"), USAGE),
        (("retry", "--state", "odd"), USAGE),
        (("pushes", "--gateway", "http://127.0.0.1:1"), USAGE),
        (("pushes", "--odd"), USAGE),
        (("targets", "x"), USAGE),
        (("pause",), USAGE),
        (("resume", "nowhere"), REFUSED),
        (("reconcile",), USAGE),
        (("reconcile", "far", "--match", "kept/*"), USAGE),
        (("reconcile", "nowhere"), REFUSED),
        (("backfill", "far", "--match", ""), USAGE),
    ),
)
def test_what_is_wrong_is_said(
    waiting: tuple[Gateway, str], tmp_path: Path, words: tuple[str, ...], status: int
) -> None:
    gateway, _ = waiting
    done = slipway(tmp_path, *words, "--data", gateway.data)
    assert done.returncode == status and done.stderr and not done.stdout, done


def test_nobody_at_a_url_is_unreachable(tmp_path: Path) -> None:
    with refusing_port() as port:
        done = slipway(tmp_path, "pushes", "--gateway", f"http://127.0.0.1:{port}")
    assert done.returncode == UNREACHABLE and "cannot connect" in done.stderr, done


# ---- events ----


OPENAPI = yaml.safe_load((SOURCE_FOLDER / "docs/openapi.yaml").read_text())


def state_of(line: dict[str, Any]) -> str:
    """Of the target that it is about."""
    return str(line.get("result", {}).get("state", ""))


def lines_of(process: Process) -> list[dict[str, Any]]:
    complete = process.stdout().rpartition("\n")[0]
    return [json.loads(line) for line in complete.splitlines()]


def test_a_push_is_followed_to_its_end(tmp_path: Path, seed: str) -> None:
    with refusing_port() as port:
        gateway = Gateway(tmp_path / "gateway", mirrors(port))
        gateway.start()
        identity = gateway.post(archive(tmp_path / "image", seed, f"kept/{seed}:1")).json()["id"]
        place = ("--data", gateway.data)
        told = start_slipway(tmp_path, "pushes", identity, "--follow", "--json", *place, name="told")
        seen = start_slipway(tmp_path, "pushes", identity, "--follow", *place, name="seen")
        told.wait_for(
            lambda: any(state_of(line) == "waiting" for line in lines_of(told)), "its wait", WAIT
        )
    first = lines_of(told)[0]
    assert first["push"]["id"] == identity and first["push"]["created_at"], first
    (wait, *_) = [line for line in lines_of(told) if state_of(line) == "waiting"]
    assert wait["result"]["error"]["code"] == "CONNECT_FAILED", wait
    assert wait["result"]["next_at"] in wait["status"], wait
    http = {"http": {"addr": f"127.0.0.1:{port}", "secret": "only for tests"}}
    with Registry(tmp_path / "registry", more=http):
        assert slipway(tmp_path, "retry", identity, *place).returncode == DONE
        assert told.wait(WAIT) == DONE and seen.wait(WAIT) == DONE
    schema = OPENAPI["components"]["schemas"]["FollowEvent"]
    assert [found for line in lines_of(told) for found in complaints(OPENAPI, schema, line)] == []
    last = lines_of(told)[-1]
    assert last["result"]["state"] == "pushed" and last["aux"]["Digest"], last
    assert seen.stdout().splitlines()[-1].startswith(f"127.0.0.1:{port}/kept/{seed}:1: pushed sha256:")
    # Afterwards, the whole story at once.
    ended = slipway(tmp_path, "pushes", identity, "--follow", "--json", *place)
    replayed = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == DONE and [set(line) & {"push", "result"} for line in replayed] == [
        {"push"}, {"result"}
    ]
    assert gateway.process.stop() == 0


def parse_events(text: str) -> list[dict[str, str]]:
    """Server-sent events, as HTML 9.2.6 reads them."""
    events = []
    for block in text.split("\n\n")[:-1]:
        event: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                event[name] = value.removeprefix(" ")
        if event:
            events.append(event)
    return events


def test_server_sent_events_go_on_where_they_ended(
    waiting: tuple[Gateway, str], tmp_path: Path
) -> None:
    gateway, identity = waiting
    path = f"/v1/pushes/{identity}/events"
    sse = "Accept: text/event-stream"

    def follow(name: str, *headers: str) -> Process:
        words = [word for header in (sse, *headers) for word in ("-H", header)]
        return Process(["curl", "-q", "-sSN", *words, gateway.url + path], tmp_path, name)

    def states(process: Process) -> list[str]:
        values = [json.loads(event["data"]) for event in parse_events(process.stdout())]
        return [state_of(value) or "begin" for value in values]

    with follow("first") as first:
        first.wait_for(lambda: {"waiting", "pushed"} <= set(states(first)), "the replay", WAIT)
        assert states(first)[0] == "begin"
        last = parse_events(first.stdout())[-1]["id"]
    with follow("second", f"Last-Event-ID: {last}") as second:
        # What was told is not told again: the first that comes is new.
        assert slipway(tmp_path, "cancel", identity, "--gateway", gateway.url).returncode == DONE
        assert second.wait(WAIT) == 0
        assert "cancelled" in states(second) and "begin" not in states(second), second.stdout()
        last = parse_events(second.stdout())[-1]["id"]
    done = gateway.request(path, headers=(sse, f"Last-Event-ID: {last}"))
    assert (done.status, done.body) == (204, b"")
    ended = gateway.request(path, headers=(sse,))
    assert ended.headers["content-type"] == "text/event-stream" and ended.headers["cache-control"] == "no-cache"
    assert len(parse_events(ended.body.decode())) == 3
    assert slipway(tmp_path, "pushes", identity, "--follow", "--gateway", gateway.url).returncode == REFUSED
    assert slipway(tmp_path, "retry", identity, "--gateway", gateway.url).returncode == DONE


def test_there_are_so_many_followers_and_no_more(waiting: tuple[Gateway, str]) -> None:
    """None has a thread, and the stop of the gateway behind this test ends them all."""
    gateway, identity = waiting
    request = f"GET /v1/pushes/{identity}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    tasks = Path(f"/proc/{gateway.process.pid}/task")

    def follow() -> socket.socket:
        follower = gateway.connect()
        follower.sendall(request)
        assert b" 200 " in follower.recv(100)
        return follower

    before = len(list(tasks.iterdir()))
    followers = [follow() for _ in range(128)]
    assert len(list(tasks.iterdir())) <= before + 8
    reply = gateway.request(f"/v1/pushes/{identity}/events")
    assert reply.status == 429 and "follow" in reply.error["message"], reply.body
    for follower in followers:
        follower.close()


def test_a_stop_ends_the_streams(tmp_path: Path, seed: str) -> None:
    with refusing_port() as port, Gateway(tmp_path / "gateway", mirrors(port)) as gateway:
        identity = gateway.post(archive(tmp_path / "image", seed, f"kept/{seed}:1")).json()["id"]
        told = start_slipway(
            tmp_path, "pushes", identity, "--follow", "--json", "--gateway", gateway.url, name="told"
        )
        told.wait_for(lambda: len(lines_of(told)) > 1, "its beginning", WAIT)
        assert gateway.process.stop() == 0
        assert told.wait(WAIT) == UNREACHABLE
        assert "stopping" in lines_of(told)[-1]["status"], told.stdout()


def test_whom_it_is_not_for(tmp_path: Path) -> None:
    config = {"clients": {"trusted_proxies": ["127.0.0.1"]}}
    with Gateway(tmp_path / "gateway", config) as gateway:
        elsewhere = "X-Forwarded-For: 192.0.2.7"
        reply = gateway.request("/v1/pushes/x/events", headers=(elsewhere,))
        assert (reply.status, reply.error["code"]) == (403, "DENIED"), reply.body
        assert gateway.request("/v1/pushes/0123/events").status == 404
        # Whoever has the socket is its administrator, whatever a header says.
        done = over_socket(gateway.data / "control.sock", "-H", elsewhere, url="/v1/pushes")
        assert json.loads(done.stdout) == {"pushes": []}, done
