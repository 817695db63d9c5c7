"""Many clients at once: every digest right, memory bounded, nothing left open.

Measured on the build without sanitizers, which multiply memory.
"""
from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.gateway import Gateway
from support.images import Layer, files_layer, image_config, readable_files, take_bytes
from support.processes import Process, must_run, plain_environment
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

MIB = 1 << 20
CLIENTS = 64
PEAK = (64 + 4 * CLIENTS) * MIB
SHARED_LAYERS = 3
SHARED_BYTES = 12 * 10**6
OCI = "application/vnd.oci.image."


def blob(layout: Path, data: bytes, media_type: str) -> dict[str, object]:
    digest = sha256(data)
    (layout / "blobs/sha256" / digest.split(":", 1)[1]).write_bytes(data)
    return {"mediaType": OCI + media_type, "digest": digest, "size": len(data)}


class Layouts:
    """OCI layouts of images that share all layers but the topmost; each is compressed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        files = readable_files("/usr", 20_000, 4 * MIB)
        self._shared = []
        for number in range(SHARED_LAYERS):
            chosen = take_bytes(files, SHARED_BYTES)
            layer = files_layer(folder / f"shared-{number}.tar", os.urandom(8).hex(), chosen)
            self._shared.append((layer, gzip.compress(layer.path.read_bytes(), 1)))

    @property
    def shared_digests(self) -> list[str]:
        return [sha256(data) for _, data in self._shared]

    def make(self, name: str) -> tuple[Path, str]:
        """A layout and the digest of its image."""
        layout = self._folder / name
        (layout / "blobs/sha256").mkdir(parents=True)
        programs = take_bytes(readable_files("/usr/bin", 10, 10**6), 10**6)
        own = files_layer(layout / "own.tar", name, programs)
        top = (own, gzip.compress(own.path.read_bytes(), 1))
        layers: list[tuple[Layer, bytes]] = [*self._shared, top]
        config = image_config([layer for layer, _ in layers], name)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI + "manifest.v1+json",
                "config": blob(layout, config, "config.v1+json"),
                "layers": [blob(layout, data, "layer.v1.tar+gzip") for _, data in layers],
            }
        ).encode()
        entry = blob(layout, manifest, "manifest.v1+json")
        entry["annotations"] = {"org.opencontainers.image.ref.name": "1"}
        (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        return layout, sha256(manifest)


@pytest.fixture
def gateway(release: Path, tmp_path: Path, registry: Registry) -> Iterator[Gateway]:
    config = {"mirrors": [{"match": "**", "to": [f"{registry.host}/crowd/**"]}]}
    with Gateway(tmp_path / "gateway", config, binary=release) as running:
        yield running


def lasting(process: Process) -> int:
    """Descriptors that are no connection: those to registries are kept warm for a while."""
    return sum(not name.startswith("socket:") for name in process.descriptors())


def push(gateway: Gateway, layout: Path, name: str) -> str:
    said = layout / "digest"
    argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile", said]
    to = f"docker://127.0.0.1:{gateway.port}/team/{name}:1"
    must_run([*argv, f"oci:{layout}:1", to], env=plain_environment(layout), seconds=240)
    return said.read_text()


def test_sixty_four_clients(gateway: Gateway, registry: Registry, tmp_path: Path) -> None:
    layouts = Layouts(tmp_path)
    warm, _ = layouts.make("warm-up")
    push(gateway, warm, "warm-up")
    wait_until(lambda: not gateway.staged(), "nothing staged")
    before = lasting(gateway.process)

    images = {f"client-{n}": layouts.make(f"client-{n}") for n in range(CLIENTS)}
    with ThreadPoolExecutor(CLIENTS) as pool:
        jobs = {
            name: pool.submit(push, gateway, layout, name)
            for name, (layout, _) in images.items()
        }
        said = {name: job.result() for name, job in jobs.items()}
    peak = gateway.process.peak_memory_bytes()
    print(f"{CLIENTS} clients at once: {peak / MIB:.1f} MiB")

    for name, (_, digest) in images.items():
        assert said[name] == digest
        answer = registry.manifest(f"crowd/team/{name}", "1")
        assert answer.status == 200 and sha256(answer.body) == digest
        for layer in json.loads(answer.body)["layers"]:
            held = registry.ask(f"/v2/crowd/team/{name}/blobs/{layer['digest']}", method="HEAD")
            assert held.status == 200, (name, layer)
    assert peak <= PEAK, f"{peak / MIB:.1f} MiB"
    wait_until(lambda: lasting(gateway.process) <= before, "no descriptor is left open")
    assert not gateway.staged()


def test_sixty_four_clients_of_one_image(
    gateway: Gateway, registry: Registry, tmp_path: Path
) -> None:
    """The same image to one repository by everybody: one upload upstream of each blob."""
    layout, digest = Layouts(tmp_path).make("same")

    def push_own(number: int) -> str:
        said = tmp_path / f"digest-{number}"
        argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile", said]
        to = f"docker://127.0.0.1:{gateway.port}/team/same:{number}"
        home = tmp_path / f"home-{number}"
        must_run([*argv, f"oci:{layout}:1", to], env=plain_environment(home), seconds=240)
        return said.read_text()

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert set(pool.map(push_own, range(CLIENTS))) == {digest}
    assert len(registry.tags("crowd/team/same")) == CLIENTS
    commits = [
        line
        for line in registry.requests("PUT", "/v2/crowd/team/same/blobs/uploads/")
        if '" 201 ' in line
    ]
    assert len(commits) == 5, "four layers and a config, each once"
