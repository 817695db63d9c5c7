"""Registries that may be spoken to without TLS: what is tried first, and what is remembered."""
from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from support.certificates import Authority
from support.command import slipway
from support.gateway import Gateway, pushed
from support.http_server import LoopbackServer
from support.registry import Registry
from support.throttle import ThrottledProxy

USER, PASSWORD = "ci-user", "p4ss-w0rd"


def tried(line: ThrottledProxy, folder: Path, archive: Path, *options: str | Path) -> list[str]:
    """Push the archive over the line: what the new connections began with, each kind once."""
    before = len(line.openings)
    target = f"127.0.0.1:{line.port}/plain/app:1"
    done = slipway(folder, "push", *options, archive, target)
    assert done.returncode == 0, done.stderr
    kinds = ["TLS" if data.startswith(b"\x16\x03") else "HTTP" for data in line.openings[before:]]
    return list(dict.fromkeys(kinds))


def test_a_registry_without_tls_is_known_by_the_next_process(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    with ThrottledProxy(registry.port) as line:
        assert tried(line, tmp_path, archive) == ["TLS", "HTTP"]
        assert tried(line, tmp_path, archive) == ["HTTP"]
        assert tried(line, tmp_path, archive) == ["HTTP"]


def test_credentials_try_tls_each_time(archive: Path, tmp_path: Path) -> None:
    """Whether there is still none is worth two round trips where a password goes along."""
    with Registry(tmp_path / "r", users={USER: PASSWORD}) as registry:
        with ThrottledProxy(registry.port) as line:
            host = f"127.0.0.1:{line.port}"
            config = tmp_path / "slipway.json"
            entry = {"username": USER, "password": PASSWORD}
            text = {"data": str(tmp_path / "data"), "registries": {host: entry}}
            config.write_text(json.dumps(text))
            for _ in range(2):
                assert tried(line, tmp_path, archive, "--config", config) == ["TLS", "HTTP"]


def test_one_that_got_tls_is_found(registry: Registry, archive: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    data = tmp_path / "data"
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps({"data": str(data)}))
    with Registry(tmp_path / "r", tls=authority.server(), ca=authority.path) as secured:
        with ThrottledProxy(registry.port) as line:
            for kinds in (["TLS", "HTTP"], ["HTTP"]):
                assert tried(line, tmp_path, archive, "--config", plain) == kinds
            entry = {"ca": str(authority.path)}
            hosts = {f"127.0.0.1:{line.port}": entry}
            trusting = tmp_path / "trusting.json"
            trusting.write_text(json.dumps({"data": str(data), "registries": hosts}))
            line.lead_to(secured.port)
            assert tried(line, tmp_path, archive, "--config", trusting) == ["HTTP", "TLS"]
            assert secured.tags("plain/app") == ["1"]
            assert tried(line, tmp_path, archive, "--config", trusting) == ["TLS"]


def test_a_login_that_comes_later_is_not_sent_in_the_clear_first(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """What was learned without credentials says nothing to who has some."""
    authority = Authority(tmp_path / "ca")
    with Registry(
        tmp_path / "r", users={USER: PASSWORD}, tls=authority.server(), ca=authority.path
    ) as secured:
        with ThrottledProxy(registry.port) as line:
            host = f"127.0.0.1:{line.port}"
            data = tmp_path / "data"
            assert tried(line, tmp_path, archive, "--data", data) == ["TLS", "HTTP"]
            line.lead_to(secured.port)
            entry = {"ca": str(authority.path), "username": USER, "password": PASSWORD}
            config = tmp_path / "slipway.json"
            config.write_text(json.dumps({"data": str(data), "registries": {host: entry}}))
            assert tried(line, tmp_path, archive, "--config", config) == ["TLS"]


@pytest.mark.parametrize("status", [403, 429, 500])
def test_what_answers_without_tls_need_not_be_the_registry(
    registry: Registry, archive: Path, tmp_path: Path, status: int
) -> None:
    """Whoever sees to it that TLS is used from now on."""

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

    authority = Authority(tmp_path / "ca")
    data = tmp_path / "data"
    with Registry(tmp_path / "r", tls=authority.server(), ca=authority.path) as secured:
        with ThrottledProxy(registry.port) as line, LoopbackServer(Refuses) as refusing:
            assert tried(line, tmp_path, archive, "--data", data) == ["TLS", "HTTP"]
            line.lead_to(secured.port)
            line.lead_plain_to(refusing.port)
            hosts = {f"127.0.0.1:{line.port}": {"ca": str(authority.path)}}
            config = tmp_path / "slipway.json"
            config.write_text(json.dumps({"data": str(data), "registries": hosts}))
            assert tried(line, tmp_path, archive, "--config", config) == ["HTTP", "TLS"]
            assert tried(line, tmp_path, archive, "--config", config) == ["TLS"]


def test_credentials_try_tls_though_others_did_not(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """One process, in which a push without credentials was first."""
    with ThrottledProxy(registry.port) as line:
        host = f"127.0.0.1:{line.port}"
        data = tmp_path / "gateway/data"
        assert tried(line, tmp_path, archive, "--data", data) == ["TLS", "HTTP"]
        docker = tmp_path / "docker"
        docker.mkdir()
        env = {"DOCKER_CONFIG": str(docker)}
        with Gateway(tmp_path / "gateway", env=env) as gateway:
            before = len(line.openings)
            pushed(gateway.post(archive, f"{host}/plain/one:1"))
            assert not any(first.startswith(b"\x16") for first in line.openings[before:])
            login = {"auths": {host: {"username": USER, "password": PASSWORD}}}
            (docker / "config.json").write_text(json.dumps(login))
            before = len(line.openings)
            pushed(gateway.post(archive, f"{host}/plain/two:1"))
            assert any(first.startswith(b"\x16") for first in line.openings[before:])


def test_a_registry_without_tls_may_ask_for_patience(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """Then TLS is tried, in vain, and the registry is waited for as any other."""
    asked = threading.Event()

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.set()
            self.send_response(429)
            self.send_header("Retry-After", "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with ThrottledProxy(registry.port) as line, LoopbackServer(Busy) as busy:
        hosts = {f"127.0.0.1:{line.port}": {"retry_wait": "300ms"}}
        config = tmp_path / "slipway.json"
        config.write_text(json.dumps({"data": str(tmp_path / "data"), "registries": hosts}))
        assert tried(line, tmp_path, archive, "--config", config) == ["TLS", "HTTP"]
        line.lead_plain_to(busy.port)

        def let_in() -> None:
            asked.wait(30)
            time.sleep(0.2)
            line.lead_plain_to(registry.port)

        patient = threading.Thread(target=let_in)
        patient.start()
        assert tried(line, tmp_path, archive, "--config", config) == ["HTTP", "TLS"]
        patient.join()
