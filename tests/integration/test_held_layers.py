"""A gateway is asked first: what it holds is not sent to it again."""
from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from support.archives import compressed_docker, docker_save_new, docker_save_old, oci_folder
from support.command import result_lines, slipway
from support.gateway import Gateway
from support.http_server import LoopbackServer, answer_json
from support.identity import USERS
from support.images import Image, files_layer, image_config, make_image, make_small_image
from support.registry import Registry, htpasswd_file
from support.throttle import ThrottledProxy

PUSHED, REFUSED = 0, 3
NAME = "held:1.0"
NO_LAYER_BYTES = 40_000  # tables, config, headers of requests


def oci(image: Image, path: Path) -> Path:
    return oci_folder(image, path.with_suffix(""), NAME)


def oci_tar(image: Image, path: Path) -> Path:
    layout = oci(image, path)
    with tarfile.open(path, "w") as tar:
        tar.add(layout, ".")
    return path


def save_old(image: Image, path: Path) -> Path:
    return docker_save_old([(image, [NAME])], path)


def save_new(image: Image, path: Path) -> Path:
    return docker_save_new([(image, [NAME])], path)


def save_compressed(image: Image, path: Path) -> Path:
    return compressed_docker([(image, [NAME])], path)


KNOWN = [save_old, save_new, oci, oci_tar]


def push(
    gateway: Gateway, archive: Path, target: str, folder: Path, *options: str
) -> tuple[str, int]:
    """The digest, and how many bytes went to the gateway."""
    with ThrottledProxy(gateway.port, to_server=0) as line:
        url = f"http://127.0.0.1:{line.port}"
        done = slipway(folder, "push", "--gateway", url, *options, archive, target)
        assert done.returncode == PUSHED, done.stderr
        (result,) = result_lines(done.stdout)
        return result["digest"], line.sent_up


def policy_gateway(folder: Path, host: str) -> Gateway:
    """All may push anywhere; only olga may pull, so she may have what others have sent."""
    everywhere = {"repositories": ["**"], "targets": [f"{host}/**"]}
    rules = [
        {"who": ["ann", "bob"], "may": ["push", "tag:move"], **everywhere},
        {"who": ["olga"], "may": ["*"], **everywhere},
    ]
    users = htpasswd_file(folder, USERS)
    return Gateway(
        folder / "gateway", {"clients": {"htpasswd": str(users)}, "policy": rules}
    )


def test_with_a_policy_a_layer_is_held_for_who_sent_it(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    """And for who may pull everything; to others it is not there, and they send it, too."""
    archive = save_old(make_image(tmp_path / "files", seed), tmp_path / "image.tar")
    target = f"{registry.host}/held/{seed}"
    with policy_gateway(tmp_path, registry.host) as gateway:
        sent = {}
        for turn, user in enumerate(("ann", "ann", "bob", "bob", "olga")):
            password = tmp_path / f"{user}.password"
            password.write_text(USERS[user])
            login = ("--user", user, "--password-file", str(password))
            sent[turn] = push(gateway, archive, f"{target}-{turn}:1", tmp_path, *login)[1]
    little = [size < NO_LAYER_BYTES for size in sent.values()]
    assert little == [False, True, False, True, True], sent


def whole_digest(archive: Path, registry: Registry, folder: Path) -> str:
    """What the command gives by itself, which sends everything."""
    target = f"{registry.host}/held/whole-{archive.parent.name}:1"
    done = slipway(folder, "push", "--data", folder / "whole", archive, target)
    assert done.returncode == PUSHED, done.stderr
    return str(result_lines(done.stdout)[0]["digest"])


@pytest.mark.parametrize("write", KNOWN)
def test_what_is_held_is_not_sent_again(
    own_gateway: Gateway,
    registry: Registry,
    tmp_path: Path,
    seed: str,
    write: Callable[[Image, Path], Path],
) -> None:
    archive = write(make_image(tmp_path / "files", seed), tmp_path / "image.tar")
    expected = whole_digest(archive, registry, tmp_path)
    first, sent = push(own_gateway, archive, f"{registry.host}/held/{seed}-1:1", tmp_path)
    assert sent > 10 * NO_LAYER_BYTES
    again, sent = push(own_gateway, archive, f"{registry.host}/held/{seed}-2:1", tmp_path)
    assert sent < NO_LAYER_BYTES
    assert first == again == expected


@pytest.mark.parametrize("write", KNOWN)
def test_only_the_layer_that_is_missing_is_sent(
    own_gateway: Gateway,
    registry: Registry,
    tmp_path: Path,
    seed: str,
    write: Callable[[Image, Path], Path],
) -> None:
    image = make_image(tmp_path / "files", seed)
    path = tmp_path / "changed.tar"
    top = files_layer(tmp_path / "top.tar", f"{seed} changed", [Path("/usr/bin/xz")])
    layers = (*image.layers, top)
    changed = write(Image(image_config(layers, seed), layers), path)
    target = f"{registry.host}/held/{seed}"
    push(own_gateway, write(image, tmp_path / "image.tar"), f"{target}:1", tmp_path)
    digest, sent = push(own_gateway, changed, f"{target}:2", tmp_path)
    assert sent < top.path.stat().st_size + 2 * NO_LAYER_BYTES
    assert digest == whole_digest(changed, registry, tmp_path)


def test_compressed_layers_that_only_a_table_names_are_sent(
    own_gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    """The table says what they unpack to, and the gateway may hold that as other bytes."""
    image = make_image(tmp_path / "files", seed)
    target = f"{registry.host}/held/{seed}"
    push(own_gateway, save_old(image, tmp_path / "plain.tar"), f"{target}:1", tmp_path)
    archive = save_compressed(image, tmp_path / "packed.tar")
    digest, sent = push(own_gateway, archive, f"{target}:2", tmp_path)
    assert sent > 10 * NO_LAYER_BYTES
    assert digest == whole_digest(archive, registry, tmp_path)


def test_an_archive_that_is_wrong_is_refused_as_a_whole_one(
    own_gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = make_image(tmp_path / "files", seed)
    config = json.loads(image.config)
    config["rootfs"]["diff_ids"][0] = "sha256:" + "0" * 64
    bad = Image(json.dumps(config).encode(), image.layers)
    archive = save_old(bad, tmp_path / "bad.tar")
    words = ["push", "--gateway", own_gateway.url, archive, f"{registry.host}/held/{seed}:1"]
    done = slipway(tmp_path, *words)
    assert done.returncode == REFUSED
    assert "sha256:" + "0" * 64 in done.stderr


def without_layers(archive: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(archive) as source, tarfile.open(fileobj=out, mode="w") as tar:
        for entry in source:
            if entry.isfile() and not entry.name.endswith("layer.tar"):
                tar.addfile(entry, source.extractfile(entry))
    return out.getvalue()


def test_the_question_by_itself(
    own_gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = make_image(tmp_path / "files", seed)
    archive = save_old(image, tmp_path / "image.tar")
    path = tmp_path / "asked.tar"
    path.write_bytes(without_layers(archive))
    target = f"{registry.host}/held/{seed}:1"
    refused = own_gateway.post(path, target, held="1")
    assert (refused.status, refused.error["code"]) == (409, "LAYER_UNKNOWN")
    assert sorted(refused.error["detail"]["diff_ids"]) == sorted(set(image.diff_ids))
    assert registry.tags(f"held/{seed}") == []
    missing = own_gateway.post(path, target)
    assert (missing.status, missing.error["code"]) == (422, "LAYER_MISSING")
    assert own_gateway.post(archive, target).status == 200
    pushed = own_gateway.post(path, target, held="1")
    assert (pushed.status, pushed.json()["results"][0]["state"]) == (200, "pushed")
    assert own_gateway.post(path, target, held="2").status == 400


class OlderGateway(BaseHTTPRequestHandler):
    """Knows no parameters but those of 0.1.0's first days, and says so before the body comes."""

    protocol_version = "HTTP/1.1"
    digest = "sha256:" + "1" * 64
    bodies: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        self.close_connection = True
        if "held=" in self.path or "early=" in self.path:
            error = {"code": "BAD_REQUEST", "message": "no such parameter"}
            answer_json(self, 400, {"errors": [error]})
            return
        self.bodies.append(len(self.rfile.read(int(self.headers["Content-Length"]))))
        result = {
            "target": "r.example.com/a/b:1", "state": "pushed", "digest": self.digest, "size": 1
        }
        answer_json(self, 200, {"id": "1", "state": "pushed", "image": {}, "results": [result]})

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_an_older_gateway_gets_the_whole_archive(tmp_path: Path, seed: str) -> None:
    archive = save_old(make_small_image(tmp_path / "files", seed), tmp_path / "image.tar")
    with LoopbackServer(OlderGateway) as server:
        url = f"http://127.0.0.1:{server.port}"
        done = slipway(tmp_path, "push", "--gateway", url, archive, "r.example.com/a/b:1")
    assert done.returncode == PUSHED, done.stderr
    assert result_lines(done.stdout)[0]["digest"] == OlderGateway.digest
    assert OlderGateway.bodies == [archive.stat().st_size]
