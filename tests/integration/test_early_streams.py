"""early=1: layers of an archive that comes as a stream leave before its tables have come."""
from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.command import result_lines, slipway
from support.curl import images_path
from support.front import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    descriptor,
    index_of,
    manifest_of,
    to_json,
)
from support.gateway import Gateway
from support.pulled import sha256
from support.raw_http import RawConnection
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

PUSHED, REFUSED = 0, 3
OCI_PLAIN_LAYER = "application/vnd.oci.image.layer.v1.tar"
MIB = 1 << 20


def tar_of(size: int) -> bytes:
    """A layer that no compression makes smaller."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("data")
        entry.size = size
        tar.addfile(entry, io.BytesIO(os.urandom(size)))
    return out.getvalue()


@dataclass(frozen=True)
class Streamed:
    first: bytes
    rest: bytes  # of the archive: its last files

    @property
    def whole(self) -> bytes:
        return self.first + self.rest


def written(files: dict[str, bytes], ends: int = 1) -> Streamed:
    """So many of the files are the rest."""
    out = io.BytesIO()
    split = 0
    with tarfile.open(fileobj=out, mode="w") as tar:
        for number, (name, content) in enumerate(files.items()):
            if number == len(files) - ends:
                split = out.tell()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return Streamed(out.getvalue()[:split], out.getvalue()[split:])


def streamed(*, extra: bool = True, bad: bool = False) -> Streamed:
    """A docker save: first its layers and a tar that no table names, last what says so."""
    layers = [tar_of(2 * MIB), tar_of(3 * MIB)]
    diff_ids = tuple(sha256(layer) for layer in layers)
    named = [*diff_ids[:-1], sha256(b"another layer")] if bad else list(diff_ids)
    config = to_json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": named},
        }
    )
    table = [{"Config": "config.json", "RepoTags": None, "Layers": ["0.tar", "1.tar"]}]
    files = {f"{number}.tar": layer for number, layer in enumerate(layers)}
    if extra:
        files["extra.tar"] = tar_of(MIB + 4096)
    return written(files | {"manifest.json": to_json(table), "config.json": config}, ends=2)


@contextmanager
def begun(gateway: Gateway, targets: list[str], archive: Streamed, **words: str) -> Iterator[Any]:
    """A POST of which all but the tables was sent."""
    with RawConnection(gateway.port, 60) as connection:
        path = images_path(targets, **words)
        connection.send_head("POST", path, {"Transfer-Encoding": "chunked"})
        for at in range(0, len(archive.first), 64 << 10):
            connection.send_chunk(archive.first[at : at + (64 << 10)])
        yield connection


def end(connection: RawConnection, archive: Streamed) -> tuple[int, Any]:
    connection.send_chunk(archive.rest)
    connection.send_chunk(b"")
    status, _, answer = connection.read_answer()
    return status, answer


def uploads(registry: Registry, repository: str) -> int:
    return len(registry.requests("PUT", f"/v2/{repository}/blobs/"))


def test_layers_leave_before_the_tables_come(registry: Registry, gateway: Gateway) -> None:
    """And the answer lists what was not needed."""
    archive = streamed()
    targets = [f"{registry.host}/streams/{name}:1" for name in ("one", "other")]
    with begun(gateway, targets, archive, early="1") as connection:
        wait_until(
            lambda: uploads(registry, "streams/one") + uploads(registry, "streams/other") >= 3,
            "all three are at the registry, which mounts them in one of the two",
        )
        status, answer = end(connection, archive)
    assert (status, answer["state"]) == (200, "pushed"), answer
    assert sum(result["layers"]["uploaded"] for result in answer["results"]) in (2, 3, 4)
    (unused,) = answer["unused"]
    assert registry.blob("streams/one", unused["digest"]).status == 200
    assert unused["size"] > MIB
    manifest = registry.manifest("streams/one", "1").json()
    assert unused["digest"] not in [layer["digest"] for layer in manifest["layers"]]


def test_uninvited_nothing_leaves(registry: Registry, gateway: Gateway) -> None:
    archive = streamed()
    with begun(gateway, [f"{registry.host}/streams/waits:1"], archive) as connection:
        wait_until(lambda: len(gateway.staged()) >= 3, "all of it is in")
        assert uploads(registry, "streams/waits") == 0
        status, answer = end(connection, archive)
    assert status == 200 and "unused" not in answer
    assert uploads(registry, "streams/waits") == 3  # two layers, config


def test_of_a_bad_archive_no_manifest_is_put(registry: Registry, gateway: Gateway) -> None:
    """Whoever sent it is told what had left by then."""
    archive = streamed(extra=False, bad=True)
    with begun(gateway, [f"{registry.host}/streams/bad:1"], archive, early="1") as connection:
        wait_until(lambda: uploads(registry, "streams/bad") == 2, "the layers are there")
        status, answer = end(connection, archive)
    (error,) = answer["errors"]
    assert (status, error["code"]) == (422, "DIFFID_MISMATCH"), answer
    assert "2 of its layers may have left" in error["message"]
    assert registry.tags("streams/bad") == []
    assert registry.open_uploads("streams/bad") == []
    gateway.wait_nothing_staged()


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([], {"early": "1"}),
        (["r.example.com/a/b:1"], {"early": "1", "image": "a:1"}),
        (["r.example.com/a/b:1"], {"early": "1", "platform": "linux/amd64"}),
        (["r.example.com/a/b:1"], {"early": "yes"}),
    ],
)
def test_where_it_cannot_be_meant(
    gateway: Gateway, tmp_path: Path, targets: list[str], words: dict[str, str]
) -> None:
    (tmp_path / "image.tar").write_bytes(streamed().whole)
    reply = gateway.post(tmp_path / "image.tar", targets, **words)
    assert (reply.status, reply.error["code"]) == (400, "BAD_REQUEST"), reply
    assert "early" in reply.error["message"]


def test_a_file_sends_what_its_tables_name(
    registry: Registry, tmp_path: Path
) -> None:
    """The same bytes in a file: the tables are read first, so nothing has to be guessed."""
    (tmp_path / "image.tar").write_bytes(streamed().whole)
    target = f"{registry.host}/streams/file:1"
    done = slipway(tmp_path, "push", "--json", tmp_path / "image.tar", target)
    assert done.returncode == PUSHED, done.stderr
    assert "unused" not in json.loads(done.stdout)
    assert uploads(registry, "streams/file") == 3  # two layers, config


@pytest.mark.parametrize("by_gateway", [False, True])
def test_the_command_sends_a_pipe_early(
    registry: Registry, gateway: Gateway, tmp_path: Path, by_gateway: bool
) -> None:
    target = f"{registry.host}/streams/pipe-{int(by_gateway)}:1"
    way = ("--gateway", gateway.url) if by_gateway else ()
    done = slipway(tmp_path, "push", *way, "--json", "-", target, data=streamed().whole)
    assert done.returncode == PUSHED, done.stderr
    (unused,) = json.loads(done.stdout)["unused"]
    assert unused["size"] > MIB
    done = slipway(tmp_path, "push", *way, "-", f"{target}1", data=streamed().whole)
    assert len(result_lines(done.stdout)) == 1
    assert "not needed" in done.stderr


@pytest.mark.parametrize("by_gateway", [False, True])
def test_so_does_a_compressed_file(
    registry: Registry, gateway: Gateway, tmp_path: Path, by_gateway: bool
) -> None:
    """Its tables cannot be read before its layers, as little as those of a pipe."""
    target = f"{registry.host}/streams/compressed-{int(by_gateway)}:1"
    way = ("--gateway", gateway.url) if by_gateway else ()
    for name, compress in {"gz": gzip.compress, "xz": lzma.compress}.items():
        archive = tmp_path / f"image.tar.{name}"
        archive.write_bytes(compress(streamed().whole))
        done = slipway(tmp_path, "push", *way, "--json", str(archive), f"{target}{name}")
        assert done.returncode == PUSHED, done.stderr
        (unused,) = json.loads(done.stdout)["unused"]
        assert unused["size"] > MIB


def layout_first(layers: list[tuple[bytes, dict[str, Any]]], diff_ids: list[str]) -> Streamed:
    """An OCI layout whose index and manifest stand before the layers, the config last."""
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = to_json({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs})
    listed = [descriptor(OCI_LAYER, content) | more for content, more in layers]
    manifest = to_json(manifest_of(descriptor(OCI_CONFIG, config), *listed))
    index = to_json(index_of(descriptor(OCI_MANIFEST, manifest)))
    contents = [manifest, *(content for content, _ in layers), config]
    blobs = {f"blobs/{sha256(it).replace(':', '/')}": it for it in contents}
    return written({"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index} | blobs)


def test_where_the_tables_come_first_nobody_has_to_ask(
    registry: Registry, gateway: Gateway
) -> None:
    """But for a tar that its manifest calls something else: it is pushed as it is."""
    tars = [tar_of(2 * MIB), tar_of(2 * MIB), tar_of(3 * MIB)]
    zipped = gzip.compress(tars[0], 1)
    listed = [(zipped, {}), (tars[1], {"mediaType": OCI_PLAIN_LAYER}), (tars[2], {})]
    archive = layout_first(listed, [sha256(tar) for tar in tars])
    with begun(gateway, [f"{registry.host}/streams/layout:1"], archive) as connection:
        wait_until(lambda: uploads(registry, "streams/layout") == 2, "two layers are there")
        wait_until(lambda: len(gateway.staged()) >= 4, "all of it is in")
        assert uploads(registry, "streams/layout") == 2
        status, answer = end(connection, archive)
    assert status == 200 and "unused" not in answer, answer
    assert uploads(registry, "streams/layout") == 4  # and the tar as it is, and the config
    layers = registry.manifest("streams/layout", "1").json()["layers"]
    assert [layer["digest"] for layer in layers][::2] == [sha256(zipped), sha256(tars[2])]


def test_a_layer_that_is_elsewhere_does_not_leave(registry: Registry, gateway: Gateway) -> None:
    """This registry takes no manifest with urls; what matters is what was sent until then."""
    tars = [tar_of(2 * MIB), tar_of(2 * MIB)]
    zipped = [gzip.compress(tar, 1) for tar in tars]
    listed = [(zipped[0], {"urls": ["https://example.com/layer"]}), (zipped[1], {})]
    archive = layout_first(listed, [sha256(tar) for tar in tars])
    with begun(gateway, [f"{registry.host}/streams/foreign:1"], archive) as connection:
        wait_until(lambda: uploads(registry, "streams/foreign") == 1, "the other layer is there")
        end(connection, archive)
    assert registry.blob("streams/foreign", sha256(zipped[0])).status == 404
    assert registry.blob("streams/foreign", sha256(zipped[1])).status == 200


def test_of_two_images_none_leaves(registry: Registry, gateway: Gateway, tmp_path: Path) -> None:
    """manifest.json comes first, and what it lists is to be chosen from. The same in a file that the
    command hands to a gateway."""
    tars = {f"{number}.tar": tar_of(2 * MIB) for number in range(2)}
    configs = {
        f"{number}.json": to_json(
            {"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": [sha256(tar)]}}
        )
        for number, tar in enumerate(tars.values())
    }
    table = [
        {"Config": f"{number}.json", "RepoTags": [f"a/{number}:1"], "Layers": [f"{number}.tar"]}
        for number in range(2)
    ]
    archive = written({"manifest.json": to_json(table)} | tars | configs)
    target = f"{registry.host}/streams/two:1"
    with begun(gateway, [target], archive) as connection:
        wait_until(lambda: len(gateway.staged()) >= 3, "both layers are in")
        status, answer = end(connection, archive)
    assert answer["errors"][0]["code"] == "AMBIGUOUS_IMAGE", (status, answer)
    (tmp_path / "image.tar").write_bytes(archive.whole)
    done = slipway(tmp_path, "push", "--gateway", gateway.url, tmp_path / "image.tar", target)
    assert done.returncode == REFUSED and "name one image" in done.stderr, done.stderr
    assert registry.requests("POST", "/v2/streams/two/") == []


def test_what_was_seen_waits_to_be_mounted(registry: Registry, gateway: Gateway) -> None:
    """Also where it comes compressed, and is known by what it unpacks to."""
    tar = tar_of(2 * MIB)
    archive = layout_first([(gzip.compress(tar, 1), {})], [sha256(tar)])
    for name in ("seen", "mounts"):
        with begun(gateway, [f"{registry.host}/streams/{name}:1"], archive) as connection:
            wait_until(lambda: gateway.staged(), "it is in")
            status, answer = end(connection, archive)
        assert status == 200, answer
    assert answer["results"][0]["layers"]["mounted"] == 1
    assert uploads(registry, "streams/mounts") == 1  # the config


def test_a_running_push_can_be_looked_at(registry: Registry, gateway: Gateway) -> None:
    archive = streamed()
    with ThrottledProxy(registry.port, to_server=2 * MIB) as line:
        target = f"127.0.0.1:{line.port}/streams/looked-at:1"
        with begun(gateway, [target], archive, early="1") as connection:
            connection.send_chunk(archive.rest)
            connection.send_chunk(b"")
            found = wait_until(
                lambda: gateway.request("/v1/pushes?state=running").json()["pushes"], "it runs"
            )
            path = f"/v1/pushes/{found[0]['id']}"
            for _ in range(20):
                assert gateway.request(path).json()["state"] == "running"
            status, _, answer = connection.read_answer()
    assert status == 200 and len(answer["unused"]) == 1
