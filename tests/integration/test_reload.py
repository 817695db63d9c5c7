"""The configuration is read again while clients are busy: SIGHUP, POST /v1/reload, a changed file."""
from __future__ import annotations

import base64
import http.client
import itertools
import json
import signal
import ssl
import subprocess
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

from support.certificates import Authority, ServerCertificate
from support.command import slipway
from support.front import Front
from support.gateway import Gateway
from support.registry import Registry, htpasswd_file
from support.waiting import wait_until
from test_openapi import assert_as_described

ANN = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
CLIENTS = 64
RELOADS = 4


def policy(*may: str) -> list[dict[str, Any]]:
    """Ann may do this in some repositories, and pull and push in her own."""
    return [
        {"who": ["ann"], "may": list(may), "repositories": ["shared/**"]},
        {"who": ["ann"], "may": ["pull", "push", "tag:move"], "repositories": ["own/**"], "targets": ["**"]},
        {"who": ["ann"], "may": ["queue:read", "admin"], "repositories": ["**"]},
    ]


class Reloaded(Gateway):
    """A gateway whose configuration is written again."""

    def __init__(self, folder: Path, **keys: Any) -> None:
        users = htpasswd_file(folder, {"ann": "secret"})
        self.keys = {"clients": {"htpasswd": str(users)}, "policy": policy("pull", "push"), **keys}
        self.file = folder / "gateway/config.json"
        super().__init__(folder / "gateway", self.keys)

    def write(self, **keys: Any) -> None:
        self.keys.update(keys)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({key: value for key, value in self.keys.items() if value is not None}))
        new.rename(self.file)

    def reload(self, *options: str) -> subprocess.CompletedProcess[str]:
        return slipway(self.folder, "reload", "--data", self.data, *options)

    def reloads(self, outcome: str) -> int:
        with Front(self.port) as front:
            page = front.ask("GET", "/metrics", headers=ANN).body.decode()
        return int(page.split(f'slipway_config_reloads_total{{outcome="{outcome}"}} ')[1].split()[0])

    def may_push(self) -> bool:
        with Front(self.port) as front:
            status = front.ask("POST", "/v2/shared/app/blobs/uploads/", headers=ANN).status
        assert status in (202, 403), status
        return status == 202

    def state(self) -> str:
        with Front(self.port) as front:
            found = front.ask("GET", "/v1/pushes", headers=ANN).json()["pushes"]
        return str(found[-1]["results"][0]["state"])


def mirrors(*targets: str) -> list[dict[str, Any]]:
    return [{"match": "own/**", "acknowledge": "stored",
             "to": [{"target": f"{target}/**", "name": f"t{i}"} for i, target in enumerate(targets)]}]


def test_the_ways_to_reload_and_what_is_refused(tmp_path: Path) -> None:
    with Reloaded(tmp_path) as gateway:
        assert gateway.may_push()
        gateway.write(policy=policy("pull"), limits={"pushes": 7, "push_time": "2h"})
        done = gateway.reload("--json")
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert set(report["changed"]) == {"policy", "limits.push_time"}
        assert report["restart"] == ["limits.pushes"]
        headers = ["Content-Type: application/json", f"Authorization: {ANN['Authorization']}"]
        asked = gateway.request("/v1/reload", method="POST", headers=headers)
        assert asked.status == 200 and asked.json()["changed"] == []
        assert_as_described(asked, "/v1/reload", "POST")
        assert not gateway.may_push()
        gateway.write(policy=policy("pull", "push"))
        gateway.process.signal(signal.SIGHUP)
        wait_until(gateway.may_push, "the signal counts", 30)
        gateway.write(policy=policy("pull"))
        wait_until(lambda: not gateway.may_push(), "the file is looked at", 30)
        wait_until(lambda: gateway.reloads("success") >= 4, "each is counted", 30)

        for wrong, why in (
            ({"policy": None, "clients": None}, "policy: taking the last rule away needs a restart"),
            ({"policy": policy("fly")}, "policy[0].may"),
            ({"policy": policy("push"), "clients": {"htpasswd": "/nowhere"}}, "/nowhere"),
        ):
            keys = dict(gateway.keys)
            gateway.write(**wrong)
            refused = gateway.reload()
            assert refused.returncode == 1 and why in refused.stderr, refused.stderr
            assert not gateway.may_push()
            gateway.write(**keys)
        wait_until(lambda: gateway.reloads("failure") >= 3, "each is counted", 30)
        assert "the configuration stays as it was: " in gateway.log()
        assert "until slipway is restarted: limits.pushes" in gateway.log()
    lost = slipway(tmp_path, "reload", "--data", gateway.data)
    assert lost.returncode == 4  # nobody is there


def test_targets_go_and_come_back(registry: Registry, tmp_path: Path, seed: str) -> None:
    away = "127.0.0.1:1"
    near = mirrors(f"{registry.host}/{seed}")
    with Reloaded(tmp_path, mirrors=mirrors(away)) as gateway:
        with Front(gateway.port) as front:
            front.headers = ANN
            front.tagged("own/app", "1")
        gateway.write(mirrors=near, queue={"history_count": 20})
        assert gateway.reload().returncode == 0
        wait_until(lambda: gateway.state() == "orphaned", "its target is gone", 30)
        with Front(gateway.port) as front:
            front.headers = ANN
            front.tagged("own/app", "2")
        wait_until(lambda: registry.tags(f"{seed}/app") == ["2"], "the new target", 30)
        assert gateway.state() == "orphaned"
        gateway.write(mirrors=mirrors(away))
        assert gateway.reload().returncode == 0
        assert gateway.state() in ("queued", "running", "waiting")


def test_no_request_is_lost_under_load(registry: Registry, tmp_path: Path, seed: str) -> None:
    """Each answer is one that the policy before or the one behind gives."""
    settings = itertools.cycle((
        {"policy": policy("push"), "mirrors": mirrors(f"{registry.host}/{seed}/a")},
        {"policy": policy("pull", "push"), "mirrors": mirrors(f"{registry.host}/{seed}/b")},
    ))
    over = threading.Event()
    faults: list[str] = []
    counts = {200: 0, 404: 0}

    def work(number: int) -> None:
        try:
            with Front(gateway.port) as front:
                front.headers = ANN
                while not over.is_set():
                    status = front.ask("GET", "/v2/shared/app/tags/list").status
                    counts[status] += 1
                    front.must_put("own/app", f"t{number}", image)
                    assert front.manifest("own/app", f"t{number}").body == image
        except Exception as error:  # noqa: BLE001
            faults.append(f"{number}: {error!r}")

    with Reloaded(tmp_path, mirrors=mirrors(f"{registry.host}/{seed}/b")) as gateway:
        with Front(gateway.port) as front:
            front.headers = ANN
            front.tagged("shared/app", "1")
            image = front.image("own/app")
        threads = [threading.Thread(target=work, args=(i,)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for _ in range(RELOADS):
            gateway.write(**next(settings))
            done = gateway.reload()
            assert done.returncode == 0, done.stderr
            seen = dict(counts)
            wait_until(lambda: sum(counts.values()) >= sum(seen.values()) + CLIENTS // 4 or faults,
                       "requests in between", 60)
        over.set()
        for thread in threads:
            thread.join(60)
        assert faults == []
        assert counts[200] > 0 and counts[404] > 0, counts


def shown_to(port: int, client: ServerCertificate | None = None) -> tuple[bytes, int]:
    """The certificate of the gateway, and what GET /v2/ answers who shows this one of its own."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client:
        context.load_cert_chain(client.certificate, client.key)
    with closing(http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)) as connection:
        connection.request("GET", "/v2/")
        status = connection.getresponse().status
        der = connection.sock.getpeercert(binary_form=True)
    return ssl.DER_cert_to_PEM_cert(der).encode(), status


def take_over(pair: ServerCertificate, of: ServerCertificate) -> None:
    for ours, theirs in ((pair.certificate, of.certificate), (pair.key, of.key)):
        new = ours.with_suffix(".new")
        new.write_bytes(theirs.read_bytes())
        new.rename(ours)


def test_certificates_are_renewed(tmp_path: Path) -> None:
    """The gateway's own by files that are replaced, and by other files; its clients' authority."""
    authority, other = Authority(tmp_path / "one"), Authority(tmp_path / "other")
    first, second, third = (authority.server(name) for name in ("first", "second", "third"))
    mine, theirs = authority.server("mine"), other.server("theirs")
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.path.read_bytes())
    live = authority.server("live")
    take_over(live, first)
    tls = {"certificate": str(live.certificate), "key": str(live.key), "client_ca": str(clients)}
    rules = [{"who": ["cert:*"], "may": ["pull"], "repositories": ["**"]}]
    with Reloaded(tmp_path, tls=tls, policy=rules, ops={"listen": "127.0.0.1:0"}) as gateway:
        pem = first.certificate.read_bytes()
        assert shown_to(gateway.port, mine) == (pem, 200)
        assert shown_to(gateway.port, theirs) == (pem, 401)
        assert shown_to(gateway.port) == (pem, 401)
        context = ssl.create_default_context(cafile=str(authority.path))
        old = http.client.HTTPSConnection("127.0.0.1", gateway.port, timeout=30, context=context)
        old.request("GET", "/healthz")
        assert old.getresponse().read()
        take_over(live, second)
        pem = second.certificate.read_bytes()
        wait_until(lambda: shown_to(gateway.port)[0] == pem, "the renewed certificate", 30)
        live.key.write_bytes(third.key.read_bytes())
        refused = gateway.reload()
        assert refused.returncode == 1 and "tls.key" in refused.stderr, refused.stderr
        gateway.write(tls={**tls, "certificate": str(third.certificate), "key": str(third.key)})
        clients.write_bytes(other.path.read_bytes())
        report = json.loads(gateway.reload("--json").stdout)
        assert report == {"changed": ["tls.certificate", "tls.key"], "restart": []}
        pem = third.certificate.read_bytes()
        assert shown_to(gateway.port, mine) == (pem, 401)
        assert shown_to(gateway.port, theirs) == (pem, 200)
        old.request("GET", "/healthz")  # by the connection that there was
        assert old.getresponse().status == 200
        old.close()
