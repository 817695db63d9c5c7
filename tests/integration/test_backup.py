"""slipway backup: a copy of the data folder, made while clients push."""
from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from support.archives import docker_save_old
from support.command import slipway
from support.gateway import Gateway, files_below, pushed
from support.images import make_small_image
from support.registry import Registry
from support.waiting import wait_until


def archive_of(folder: Path, name: str) -> Path:
    image = make_small_image(folder / f"files-{name}", name)
    return docker_save_old([(image, [f"kept/{name}:1"])], folder / f"{name}.tar")


def report(folder: Path, command: str, data: Path, status: int = 0) -> dict[str, Any]:
    done = slipway(folder, command, "--json", "--data", data)
    assert done.returncode == status, done
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def back_up_while_clients_push(gateway: Gateway, host: str, folder: Path) -> dict[str, Any]:
    archives = [archive_of(folder, f"busy{i}") for i in range(3)]
    goes_on = [True]

    def push(number: int) -> int:
        count = 0
        while goes_on[0]:
            pushed(gateway.post(archives[number], f"{host}/busy/{number}:{count}"))
            count += 1
        return count

    with ThreadPoolExecutor(len(archives)) as pool:
        pushing = [pool.submit(push, number) for number in range(len(archives))]
        try:
            wait_until(lambda: len(gateway.blobs()) > 8, "something is held")
            report(gateway.folder, "backup", gateway.data)
            made = report(gateway.folder, "backup", gateway.data)
        finally:
            goes_on[0] = False
        assert all(one.result() > 0 for one in pushing)
    return made


def test_a_copy_made_while_clients_push_keeps_what_was_promised(
    registry: Registry, tmp_path: Path
) -> None:
    target = {"target": f"{registry.host}/kept/*", "name": "far"}
    config = {"mirrors": [{"match": "kept/*", "acknowledge": "stored", "to": [target]}]}
    with Gateway(tmp_path / "gateway", config) as gateway:
        (gateway.data / "trust_key.pem").write_text("a key")
        assert slipway(tmp_path, "pause", "far", "--data", gateway.data).returncode == 0
        assert gateway.post(archive_of(tmp_path, "promised")).status == 202
        made = back_up_while_clients_push(gateway, registry.host, tmp_path)
        copy = gateway.data / "backup"
        assert (made["path"], made["missing"]) == (str(copy), 0) and made["blobs"] > 8, made
        assert len(files_below(copy / "blobs")) == made["blobs"]
        assert report(tmp_path, "check", copy)["found"] == 0
        paths = [copy, *copy.rglob("*")]
        assert all(path.stat().st_mode & 0o077 == 0 for path in paths if path.name != "trust_key.pem")
        gateway.wait_nothing_staged()
        assert gateway.request("/v1/backup?to=x", method="POST").status == 400
    assert registry.tags("kept/promised") == []

    # What is lost is told, also of a folder that no gateway uses.
    largest = max((copy / "blobs").rglob("*"), key=lambda path: path.stat().st_size)
    restored = Gateway(tmp_path / "restored", config)
    shutil.copytree(copy, restored.data)
    (gateway.data / largest.relative_to(copy)).unlink()
    assert report(tmp_path, "backup", gateway.data, status=1)["missing"] == 1
    assert slipway(tmp_path, "backup", "--data", tmp_path / "nothing").returncode == 1

    with restored:
        assert (restored.data / "trust_key.pem").read_text() == "a key"
        assert slipway(tmp_path, "resume", "far", "--data", restored.data).returncode == 0
        wait_until(lambda: registry.tags("kept/promised") == ["1"], "what was promised")
    assert report(tmp_path, "check", restored.data)["found"] == 0
