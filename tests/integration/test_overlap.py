"""Blobs go on to a mirror while the client still sends: what is left when the manifest comes.

The sanitizers are too slow for the rates, so this is a build without them, as in test_memory.
"""
from __future__ import annotations

import http.client
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from support.gateway import Gateway
from support.pulled import sha256
from support.registry import Registry
from support.throttle import Pace, ThrottledProxy

LAYERS = 10
LAYER_BYTES = 20 * 10**6
RATE = 50 * 10**6
LAYER_SECONDS = LAYER_BYTES / RATE
LIMIT_SECONDS = 1.5 * LAYER_SECONDS
RUNS = 3 if os.environ.get("SLIPWAY_LONG") == "1" else 1
RUNS_MAX = 10
PIECE = 128 << 10

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Client:
    """A registry client that sends at RATE, one blob after the other."""

    def __init__(self, port: int, repository: str) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._base = f"/v2/{repository}"
        self._pace = Pace(RATE)

    def _ask(self, method: str, path: str, body: object = None, **headers: str) -> str:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self._http.request(method, path, body=body, headers=names)  # type: ignore[arg-type]
        answer = self._http.getresponse()
        text = answer.read()
        assert answer.status in (201, 202), (method, path, answer.status, text[:1000])
        return answer.headers.get("Location", "")

    def _pieces(self, data: bytes) -> object:
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            self._pace.wait(len(piece))
            yield piece

    def blob(self, data: bytes, media_type: str) -> dict[str, object]:
        digest = sha256(data)
        where = self._ask("POST", f"{self._base}/blobs/uploads/", Content_Length="0")
        where += ("&" if "?" in where else "?") + "digest=" + digest.replace(":", "%3A")
        self._ask("PUT", where, self._pieces(data), Content_Length=str(len(data)))
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    def manifest(self, tag: str, data: bytes) -> None:
        self._ask("PUT", f"{self._base}/manifests/{tag}", data, Content_Type=MANIFEST)


def after_all_is_in(gateway: Gateway, line: ThrottledProxy) -> float:
    """The control: the same image to where no mirror is, and on from there when all of it is in."""
    push_image(gateway, line, "elsewhere/overlap")
    order = {"image": "elsewhere/overlap:1", "to": [f"127.0.0.1:{line.port}/late/overlap:1"]}
    client = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=60)
    start = time.monotonic()
    client.request("POST", "/v1/pushes", json.dumps(order))
    answer = client.getresponse()
    assert answer.status == 200, answer.read()
    return time.monotonic() - start


@dataclass
class Run:
    sending: float  # seconds for all blobs
    waiting: float  # seconds from the last blob's answer to the manifest's
    forwarded: int  # bytes that had gone over the line when the last blob was answered
    total: int  # when the manifest was


def push_image(gateway: Gateway, line: ThrottledProxy, repository: str) -> Run:
    config = json.dumps({"architecture": "amd64", "os": "linux", "seed": repository}).encode()
    layers = [secrets.token_bytes(LAYER_BYTES) for _ in range(LAYERS)]
    client = Client(gateway.port, repository)
    start, before = time.monotonic(), line.sent_up
    value = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": client.blob(config, CONFIG),
        "layers": [client.blob(data, LAYER) for data in layers],
    }
    came, forwarded = time.monotonic(), line.sent_up - before
    client.manifest("1", json.dumps(value).encode())
    return Run(came - start, time.monotonic() - came, forwarded, line.sent_up - before)


def test_manifest_waits_only_for_what_is_left(
    release: Path, registry: Registry, tmp_path: Path
) -> None:
    runs: list[Run] = []
    with ThrottledProxy(registry.port, to_server=RATE, shared=True) as line:
        mirror = {"match": "team/**", "to": [f"127.0.0.1:{line.port}/team/**"]}
        with Gateway(tmp_path / "gateway", {"mirrors": [mirror]}, binary=release) as gateway:
            # The best of some: what else the machine does only makes them longer.
            while len(runs) < RUNS or (
                min(run.waiting for run in runs) > LIMIT_SECONDS and len(runs) < RUNS_MAX
            ):
                repository = f"team/overlap-{len(runs)}"
                runs.append(push_image(gateway, line, repository))
                assert registry.tags(repository) == ["1"]
            control = after_all_is_in(gateway, line)
    for run in runs:
        print(
            f"blobs in {run.sending:.2f} s, manifest after {run.waiting:.2f} s more, "
            f"{run.forwarded / 1e6:.0f} of {run.total / 1e6:.0f} MB forwarded by then"
        )
    print(f"sent when all of it was in: {control:.2f} s")
    # The rate is what it should be: this is no test of an idle line.
    assert all(run.sending > 0.95 * LAYERS * LAYER_SECONDS for run in runs)
    # Each blob goes over the line once.
    assert all(run.total < 1.02 * LAYERS * LAYER_BYTES for run in runs)
    best = min(runs, key=lambda run: run.waiting)
    assert best.waiting <= LIMIT_SECONDS, best
    # Nearly all had gone before; without that the manifest would have to wait for all layers.
    assert control > 0.9 * LAYERS * LAYER_SECONDS
    assert best.forwarded >= (LAYERS - 1.5) * LAYER_BYTES, best
    assert best.forwarded < best.total
