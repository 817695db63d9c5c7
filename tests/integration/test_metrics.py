"""GET /metrics as a strict reader of OpenMetrics takes it, while all is well and while nothing is."""
from __future__ import annotations

import errno
import re
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from support.archives import docker_save_old
from support.curl import Reply
from support.disk import Disk
from support.front import Front
from support.gateway import Gateway
from support.images import make_small_image
from support.ports import refusing_port
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

WAIT = 30


class Metrics:
    """What a scrape has brought: each sample by its name and labels."""

    def __init__(self, reply: Reply) -> None:
        assert reply.status == 200, reply.body
        assert reply.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
        self.text = reply.body.decode()
        assert self.text.endswith("# EOF\n")
        self.families = list(text_string_to_metric_families(self.text))
        self.samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families for sample in family.samples
        }

    def get(self, name: str, **labels: str) -> float:
        return float(self.samples[name, tuple(sorted(labels.items()))])

    def labels(self, label: str) -> set[str]:
        return {value for _, labels in self.samples for key, value in labels if key == label}


def archive(folder: Path, seed: str, name: str) -> Path:
    folder.mkdir(parents=True)
    image = make_small_image(folder / "files", seed)
    return docker_save_old([(image, [name])], folder / "image.tar")


def scrape(gateway: Gateway) -> Metrics:
    return Metrics(gateway.request("/metrics"))


def test_what_operators_are_alerted_by(registry: Registry, tmp_path: Path, seed: str) -> None:
    with refusing_port() as port:
        config: dict[str, Any] = {
            "registries": {f"127.0.0.1:{port}": {"retry_wait": "10m", "plain_http": True}},
            "mirrors": [{"match": "soon/*", "acknowledge": "stored",
                         "to": [{"target": f"{registry.host}/a/*", "name": "near"},
                                {"target": f"127.0.0.1:{port}/kept/*", "name": "far"}]}],
        }
        with Gateway(tmp_path / "gateway", config) as gateway:
            first = scrape(gateway)
            for target in ("near", "far", "other"):
                assert first.get("slipway_target_oldest_waiting_seconds", target=target) == 0
                assert first.get("slipway_target_last_success_timestamp_seconds", target=target) == 0
                assert first.get("slipway_target_circuit", target=target) == 0
                assert first.get("slipway_queue", target=target, state="waiting") == 0
                assert first.get("slipway_push_outcomes_total", target=target, outcome="pushed") == 0
            assert gateway.post(archive(tmp_path / "soon", seed, f"soon/{seed}:1")).status == 202
            mine = f"{registry.host}/mine/{seed}:1"
            assert gateway.post(archive(tmp_path / "mine", f"{seed}-mine", "x:1"), mine).status == 200

            def is_told() -> bool:
                now = scrape(gateway)
                return (now.get("slipway_queue", target="far", state="waiting") == 1
                        and now.get("slipway_target_circuit", target="far") == 2
                        and now.get("slipway_target_oldest_waiting_seconds", target="far") > 0
                        and now.get("slipway_push_outcomes_total", target="near", outcome="pushed") == 1)

            wait_until(is_told, "what waits and what is there", WAIT)
            now = scrape(gateway)
            assert now.get("slipway_target_last_success_timestamp_seconds", target="near") > 1.7e9
            assert now.get("slipway_push_outcomes_total", target="other", outcome="pushed") == 1
            assert now.labels("target") == {"near", "far", "other"}
            assert seed not in now.text and "sha256" not in now.text
            assert now.get("slipway_http_requests_total", route="/v1/images", method="POST", code="202") == 1
            assert now.get("slipway_http_request_seconds_count", route="/v1/images") == 2
            assert now.get("process_resident_memory_bytes") > 1e6
            assert 0 < now.get("slipway_metadata_bytes") < 1e6
            assert now.get("slipway_metadata_limit_bytes") == 32 << 30
            assert now.get("slipway_disk_free_bytes") > 0 < now.get("slipway_disk_kept_bytes")
            assert now.get("process_open_fds") > 5 and now.get("process_threads") > 3
            (build,) = [family for family in now.families if family.name == "slipway_build"]
            version = gateway.request("/v1/version").json()["version"]
            assert build.samples[0].labels == {"version": version}
            head = urllib.request.Request(f"{gateway.url}/metrics", method="HEAD")
            with urllib.request.urlopen(head, timeout=20) as answer:
                assert answer.status == 200 and int(answer.headers["content-length"]) > 1000
            assert gateway.request("/readyz").status == 200, "a backlog is no reason to take nothing more"
            assert gateway.request("/metrics", method="POST", data=b"x").status == 405


def test_they_are_told_while_the_store_is_broken(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    config = {"ops": {"listen": "127.0.0.1:0"}}
    with Gateway(tmp_path / "gateway", config, env=disk.env) as gateway:
        found = re.search(r"health is answered on 127\.0\.0\.1:(\d+)", gateway.log())
        assert found is not None
        disk.fail("write", errno.ENOSPC, gateway.data)
        with Front(gateway.port) as front:
            path = f"/v2/a/b/blobs/uploads/?digest={sha256(b'x')}"
            assert front.ask("POST", path, b"x", {"Content-Type": "application/octet-stream"}).status == 507
        assert gateway.request("/readyz").status == 503
        elsewhere = ("Host: metrics.example.com",)
        assert scrape(gateway).get("slipway_http_requests_total", route="/readyz", method="GET", code="503") > 0
        assert gateway.request("/v1/targets").json() == {"targets": []}
        assert gateway.request("/metrics", headers=elsewhere).status == 403
        gateway.port = int(found[1])
        assert scrape(gateway).get("slipway_target_circuit", target="other") == 0
        assert gateway.request("/v1/targets").status == 404
        assert gateway.request("/metrics", headers=elsewhere).status == 200
        disk.mend()
