"""Archives that are wrong in one way each, made from a right one.

A Draft is a small docker save as entries in order; each maker bends it and writes it.
"""
from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.archives import compact, docker_save_old, uncompressed_oci_manifest
from support.images import Image, make_small_image
from support.processes import must_run
from support.pulled import sha256
from support.tars import TarBuilder


@dataclass
class Draft:
    """Entries of an archive before it is written; `folder` is for files on the way."""

    image: Image
    folder: Path
    entries: dict[str, bytes | Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def write(self, more: Callable[[TarBuilder], Any] | None = None) -> Path:
        """All entries, then the links, then whatever `more` adds."""
        path = self.folder / "bad.tar"
        with TarBuilder(path) as tar:
            for name, content in self.entries.items():
                tar.file(name, content)
            for name, target in self.links.items():
                tar.symlink(name, target)
            if more:
                more(tar)
        return path

    @property
    def config_name(self) -> str:
        return f"{self.image.config_hex}.json"

    def set_manifest(self, **changes: Any) -> None:
        """Change members of the only entry of manifest.json."""
        entry = self.docker_entry() | changes
        self.entries["manifest.json"] = compact([entry])

    def docker_entry(self) -> dict[str, Any]:
        content = self.entries["manifest.json"]
        assert isinstance(content, bytes)
        entry: dict[str, Any] = json.loads(content)[0]
        return entry

    def set_config(self, config: bytes) -> None:
        self.entries[self.config_name] = config


def docker_draft(folder: Path, seed: str) -> Draft:
    """A right docker save with names that a test can recognise in a message."""
    image = make_small_image(folder / "files", seed)
    draft = Draft(image, folder)
    names = ("layers/bottom.tar", "layers/top.tar")
    draft.entries[draft.config_name] = image.config
    for name, layer in zip(names, image.layers):
        draft.entries[name] = layer.path
    draft.entries["manifest.json"] = compact(
        [{"Config": draft.config_name, "RepoTags": ["m/bad:1"], "Layers": list(names)}]
    )
    return draft


def oci_draft(folder: Path, seed: str) -> Draft:
    """A right OCI layout with uncompressed layers."""
    image = make_small_image(folder / "files", seed)
    draft = Draft(image, folder)
    manifest = uncompressed_oci_manifest(image)
    draft.entries["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    draft.entries["index.json"] = compact(
        {
            "schemaVersion": 2,
            "manifests": [
                {
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": sha256(manifest),
                    "size": len(manifest),
                }
            ],
        }
    )
    draft.entries[blob_name(sha256(manifest))] = manifest
    draft.entries[blob_name(image.config_digest)] = image.config
    for layer in image.layers:
        draft.entries[blob_name(layer.diff_id)] = layer.path
    return draft


def blob_name(digest: str) -> str:
    return "blobs/sha256/" + digest.split(":", 1)[1]


@dataclass(frozen=True)
class Bad:
    """One refusal: how the archive is made, and what the answer must say."""

    make: Callable[[Path, str], Path]
    code: str
    status: int
    says: str = ""  # has to be in the message: the entry's name above all


def raw(content: Callable[[Path, str], bytes]) -> Callable[[Path, str], Path]:
    def make(folder: Path, seed: str) -> Path:
        path = folder / "bad.bin"
        path.write_bytes(content(folder, seed))
        return path

    return make


def docker(bend: Callable[[Draft], Any]) -> Callable[[Path, str], Path]:
    """Bend a docker save; `bend` may return a callable that adds entries at its end."""

    def make(folder: Path, seed: str) -> Path:
        draft = docker_draft(folder, seed)
        more = bend(draft)
        return draft.write(more if callable(more) else None)

    return make


def oci(bend: Callable[[Draft], Any]) -> Callable[[Path, str], Path]:
    def make(folder: Path, seed: str) -> Path:
        draft = oci_draft(folder, seed)
        bend(draft)
        return draft.write()

    return make


def extra(add: Callable[[TarBuilder], Any]) -> Callable[[Path, str], Path]:
    """A right docker save with one entry too many."""
    return docker(lambda draft: add)


def drop(name: str) -> Callable[[Draft], None]:
    def bend(draft: Draft) -> None:
        del draft.entries[name]

    return bend


def small_archive(folder: Path, seed: str) -> Path:
    image = make_small_image(folder / "small", seed)
    return docker_save_old([(image, ["m/small:1"])], folder / "small.tar")


def changed_layer(draft: Draft) -> None:
    """A right tar that is not the one the config speaks of."""
    path = draft.folder / "changed.tar"
    with TarBuilder(path) as tar:
        tar.file("etc/changed", b"changed")
    draft.entries["layers/top.tar"] = path


def changed_blob(draft: Draft) -> None:
    """The bytes under a layer's name are another layer's."""
    first, second = draft.image.layers
    draft.entries[blob_name(second.diff_id)] = first.path


def changed_config_blob(draft: Draft) -> None:
    name = blob_name(draft.image.config_digest)
    draft.entries[name] = draft.image.config.replace(b"linux", b"xinul")


def fewer_diff_ids(draft: Draft) -> None:
    config = json.loads(draft.image.config)
    config["rootfs"]["diff_ids"].pop()
    draft.set_config(compact(config))


def link_loop(draft: Draft) -> None:
    draft.links["a/layer.tar"] = "../b/layer.tar"
    draft.links["b/layer.tar"] = "../a/layer.tar"
    draft.set_manifest(Layers=["layers/bottom.tar", "a/layer.tar"])


def dangling_link(draft: Draft) -> None:
    draft.links["a/layer.tar"] = "../nowhere/layer.tar"
    draft.set_manifest(Layers=["layers/bottom.tar", "a/layer.tar"])


def huge_manifest(folder: Path, seed: str) -> Path:
    """100 MB of manifest.json: valid JSON, so that only its size is wrong."""
    draft = docker_draft(folder, seed)
    content = draft.entries["manifest.json"]
    assert isinstance(content, bytes)
    draft.entries["manifest.json"] = content[:-1] + b" " * 100_000_000 + content[-1:]
    return draft.write()


def ten_thousand_members(draft: Draft) -> None:
    """One too many: an index, 99 times another one of 100 members, and one member more."""
    kind = "application/vnd.oci.image.index.v1+json"

    def put(*members: bytes) -> bytes:
        listed = [{"mediaType": kind, "digest": sha256(m), "size": len(m)} for m in members]
        index = compact({"schemaVersion": 2, "mediaType": kind, "manifests": listed})
        draft.entries[blob_name(sha256(index))] = index
        return index

    leaf = put()
    middle = put(*[leaf] * 100)
    top = put(*[middle] * 99, leaf)
    listed = [{"mediaType": kind, "digest": sha256(top), "size": len(top)}]
    draft.entries["index.json"] = compact({"schemaVersion": 2, "manifests": listed})


def deep_json(name: str, depth: int) -> Callable[[Path, str], Path]:
    """Arrays within arrays, in the place of a config or of another entry."""

    def bend(draft: Draft) -> None:
        key = draft.config_name if name == "config" else name
        draft.entries[key] = b"[" * depth + b"]" * depth

    return docker(bend)


def sparse(folder: Path, seed: str, form: str) -> Path:
    """Written by GNU tar from a file that really has a hole."""
    hole = folder / "hole"
    with hole.open("wb") as out:
        out.truncate(1 << 20)
        out.seek(512 << 10)
        out.write(b"in the middle")
    path = docker_draft(folder, seed).write()
    options = ["--sparse", f"--format={form}"]
    if form == "posix":
        options.append("--sparse-version=1.0")
    part = folder / "sparse.tar"
    must_run(["tar", *options, "-cf", part, "-C", folder, "hole"])
    must_run(["tar", "-Af", path, part])
    return path


def sparse_map(folder: Path, seed: str) -> Path:
    """GNU.sparse 1.0: the map is the beginning of the content, here of ten million pieces in a few
    kilobytes. Who reads it before looking at the entry needs gigabytes.
    """
    pieces, at_once = 10_000_000, 250_000
    size = 4 * pieces + 512
    info = tarfile.TarInfo("sparse/map.tar")
    info.size = size
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    info.pax_headers |= {"GNU.sparse.name": "sparse/map.tar", "GNU.sparse.realsize": "1000000000"}
    first = (b"%d\n" % pieces).ljust(12, b"\n")
    head = bz2.compress(info.tobuf(tarfile.PAX_FORMAT) + first)
    piece = bz2.compress(b"1\n1\n" * at_once)
    path = folder / "map.tar.bz2"
    rest = bz2.compress(bytes(size - len(first) - 4 * pieces + 1024))
    path.write_bytes(head + piece * (pieces // at_once) + rest)
    return path


def extended_header(folder: Path, seed: str) -> Path:
    """A name of a gigabyte, as a header claims it; there is none of it."""
    info = tarfile.TarInfo("././@LongLink")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1 << 30
    path = docker_draft(folder, seed).write()
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) + 511 & ~511
    path.write_bytes(data[:end] + info.tobuf())
    return path


def xz_dictionary(folder: Path, seed: str) -> Path:
    """One step over what is taken (.xz file format, 5.3.1), though not made use of."""
    data = bytearray(lzma.compress(small_archive(folder, seed).read_bytes(), preset=0))
    header = slice(12, 12 + 4 * (data[12] + 1))
    at = data.index(b"\x21\x01", header.start)
    data[at + 2] = 31
    crc = zlib.crc32(data[header.start : header.stop - 4])
    data[header.stop - 4 : header.stop] = crc.to_bytes(4, "little")
    path = folder / "dictionary.tar.xz"
    path.write_bytes(data)
    return path


def zstd_window(folder: Path, seed: str) -> Path:
    path = folder / "window.tar.zst"
    with path.open("wb") as out, small_archive(folder, seed).open("rb") as archive:
        command = ["zstd", "--long=28", "-c"]
        subprocess.run(command, stdin=archive, stdout=out, check=True)
    return path


def packed_thrice(folder: Path, seed: str) -> bytes:
    data = small_archive(folder, seed).read_bytes()
    return gzip.compress(bz2.compress(gzip.compress(data, mtime=0)), mtime=0)


def bomb(folder: Path, seed: str) -> Path:
    """Gzip of a tar with one gigabyte of zeros, on the way to a limit far below."""
    path = folder / "bomb.tar.gz"
    size = 1 << 30
    info = tarfile.TarInfo("bomb/layer.tar")
    info.size = size
    block = bytes(1 << 20)
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(info.tobuf())
        for _ in range(size // len(block)):
            out.write(block)
        out.write(bytes(1024))
    return path


def flipped(path: Path, data: bytes, position: int) -> Path:
    """`data` with one bit the other way."""
    changed = bytearray(data)
    changed[position] ^= 0x10
    path.write_bytes(changed)
    return path


def damaged_gzip(folder: Path, seed: str) -> Path:
    data = gzip.compress(small_archive(folder, seed).read_bytes(), mtime=0)
    return flipped(folder / "damaged.gz", data, len(data) // 2)


def damaged_bzip2(folder: Path, seed: str) -> Path:
    data = bz2.compress(small_archive(folder, seed).read_bytes())
    return flipped(folder / "damaged.bz2", data, len(data) // 2)


def damaged_header(folder: Path, seed: str) -> Path:
    """The checksum of the second entry's header does not fit."""
    data = bytearray(docker_draft(folder, seed).write().read_bytes())
    second = 512 + (_first_size(bytes(data)) + 511) // 512 * 512
    assert bytes(data[second : second + 11]) == b"layers/bott"
    data[second + 1] ^= 0x01
    path = folder / "header.tar"
    path.write_bytes(data)
    return path


def _first_size(data: bytes) -> int:
    return tarfile.TarInfo.frombuf(data[:512], "utf-8", "strict").size


def many_entries(folder: Path, seed: str) -> Path:
    """One entry more than the 20000 that are taken, each with a name to remember."""
    path = folder / "many.tar"
    with TarBuilder(path) as tar:
        for number in range(20_001):
            tar.file(f"n/{number}", b"")
    return path


def long_name(folder: Path, seed: str) -> Path:
    """1025 bytes, one over what is taken."""
    name = "long/" + "n" * (1025 - len("long/"))
    return extra(lambda tar: tar.file(name, b""))(folder, seed)


def zip_file(folder: Path, seed: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("manifest.json", "[]")
    return out.getvalue()


def tar_without_image(folder: Path, seed: str) -> Path:
    path = folder / "plain.tar"
    with TarBuilder(path) as tar:
        tar.file("README", b"no image here")
    return path


CONFIG = "config"

BAD: dict[str, Bad] = {
    # not an archive, or a damaged one
    "empty": Bad(raw(lambda f, s: b""), "ARCHIVE_EMPTY", 400),
    "garbage": Bad(raw(lambda f, s: b"garbage " * 4096), "ARCHIVE_UNRECOGNISED", 400),
    "html": Bad(raw(lambda f, s: b"<html><body>404</body></html>"), "ARCHIVE_UNRECOGNISED", 400),
    "zip": Bad(raw(zip_file), "ARCHIVE_UNRECOGNISED", 400),
    "gzip-of-text": Bad(
        raw(lambda f, s: gzip.compress(b"no tar " * 1000)), "ARCHIVE_UNRECOGNISED", 400
    ),
    "damaged-gzip": Bad(damaged_gzip, "ARCHIVE_CORRUPT", 400),
    "damaged-bzip2": Bad(damaged_bzip2, "ARCHIVE_CORRUPT", 400),
    "packed-thrice": Bad(raw(packed_thrice), "ARCHIVE_UNRECOGNISED", 400, "more than 2 times"),
    "xz-dictionary": Bad(xz_dictionary, "ARCHIVE_TOO_LARGE", 413, "134217728"),
    "zstd-window": Bad(zstd_window, "ARCHIVE_TOO_LARGE", 413, "134217728"),
    "damaged-header": Bad(damaged_header, "ARCHIVE_CORRUPT", 400),
    # what an entry may be
    "name-dotdot": Bad(extra(lambda t: t.file("x/../../up", b"")), "ENTRY_NAME_INVALID", 422, "up"),
    "name-absolute": Bad(
        extra(lambda t: t.file("/etc/absolute", b"")), "ENTRY_NAME_INVALID", 422, "/etc/absolute"
    ),
    "name-too-long": Bad(long_name, "ENTRY_NAME_INVALID", 422, "nnnn"),
    "link-leaves": Bad(
        extra(lambda t: t.symlink("x/leaves", "../../outside")), "LINK_INVALID", 422, "x/leaves"
    ),
    "link-absolute": Bad(
        extra(lambda t: t.symlink("x/away", "/etc/passwd")), "LINK_INVALID", 422, "x/away"
    ),
    "hardlink-leaves": Bad(
        extra(lambda t: t.hardlink("x/hard", "../outside")), "LINK_INVALID", 422, "x/hard"
    ),
    "link-loop": Bad(docker(link_loop), "LINK_INVALID", 422, "layer.tar"),
    "two-of-one-name": Bad(
        extra(lambda t: t.file("layers/top.tar", b"again")),
        "ENTRY_DUPLICATE",
        422,
        "layers/top.tar",
    ),
    "two-manifests": Bad(
        extra(lambda t: t.file("./manifest.json", b"[]")), "ENTRY_DUPLICATE", 422, "manifest.json"
    ),
    "sparse-gnu": Bad(lambda f, s: sparse(f, s, "gnu"), "ENTRY_UNSUPPORTED", 422, "hole"),
    "sparse-pax": Bad(lambda f, s: sparse(f, s, "posix"), "ENTRY_UNSUPPORTED", 422, "hole"),
    "sparse-map": Bad(sparse_map, "ENTRY_UNSUPPORTED", 422, "sparse/map.tar"),
    "extended-header": Bad(extended_header, "ARCHIVE_CORRUPT", 400, "@LongLink"),
    "device": Bad(
        extra(lambda t: t.special("dev/null", tarfile.CHRTYPE)),
        "ENTRY_UNSUPPORTED",
        422,
        "dev/null",
    ),
    "block-device": Bad(
        extra(lambda t: t.special("dev/sda", tarfile.BLKTYPE)), "ENTRY_UNSUPPORTED", 422, "dev/sda"
    ),
    "fifo": Bad(
        extra(lambda t: t.special("run/pipe", tarfile.FIFOTYPE)),
        "ENTRY_UNSUPPORTED",
        422,
        "run/pipe",
    ),
    "too-many-entries": Bad(many_entries, "ARCHIVE_TOO_LARGE", 413, "20000"),
    "bomb": Bad(bomb, "ARCHIVE_TOO_LARGE", 413, "bomb/layer.tar"),
    # a tar, but not an image
    "no-image": Bad(tar_without_image, "NOT_AN_IMAGE", 422),
    "no-manifest": Bad(docker(drop("manifest.json")), "NOT_AN_IMAGE", 422, "manifest.json"),
    "layer-missing": Bad(docker(drop("layers/top.tar")), "LAYER_MISSING", 422, "layers/top.tar"),
    "layer-link-dangling": Bad(docker(dangling_link), "LAYER_MISSING", 422, "a/layer.tar"),
    "config-missing": Bad(
        docker(lambda d: d.set_manifest(Config="gone.json")), "CONFIG_MISSING", 422, "gone.json"
    ),
    "layer-changed": Bad(docker(changed_layer), "DIFFID_MISMATCH", 422, "layers/top.tar"),
    "config-no-json": Bad(
        docker(lambda d: d.set_config(b"{not json")), "JSON_INVALID", 422, CONFIG
    ),
    "config-array": Bad(docker(lambda d: d.set_config(b"[]")), "CONFIG_INVALID", 422, CONFIG),
    "config-no-rootfs": Bad(
        docker(lambda d: d.set_config(b'{"os":"linux"}')), "CONFIG_INVALID", 422, CONFIG
    ),
    "config-fewer-diffids": Bad(docker(fewer_diff_ids), "CONFIG_INVALID", 422, CONFIG),
    "config-deep": Bad(deep_json("config", 3_000), "JSON_INVALID", 422, CONFIG),
    "config-very-deep": Bad(deep_json("config", 150_000), "JSON_TOO_LARGE", 413, CONFIG),
    "manifest-no-json": Bad(
        docker(lambda d: d.entries.update({"manifest.json": b"<html>"})),
        "JSON_INVALID",
        422,
        "manifest.json",
    ),
    "manifest-object": Bad(
        docker(lambda d: d.entries.update({"manifest.json": b"{}"})),
        "MANIFEST_INVALID",
        422,
        "manifest.json",
    ),
    "manifest-twice-a-key": Bad(
        docker(lambda d: d.entries.update({"manifest.json": b'[{"Config":"a","Config":"b"}]'})),
        "JSON_INVALID",
        422,
        "manifest.json",
    ),
    "manifest-layer-is-number": Bad(
        docker(lambda d: d.set_manifest(Layers=[1, 2])), "MANIFEST_INVALID", 422, "manifest.json"
    ),
    "manifest-deep": Bad(
        deep_json("manifest.json", 3_000), "JSON_INVALID", 422, "manifest.json"
    ),
    "manifest-very-deep": Bad(
        deep_json("manifest.json", 150_000), "JSON_TOO_LARGE", 413, "manifest.json"
    ),
    "manifest-huge": Bad(huge_manifest, "JSON_TOO_LARGE", 413, "manifest.json"),
    # OCI layouts
    "blob-changed": Bad(oci(changed_blob), "DIGEST_MISMATCH", 422, "blobs/sha256/"),
    "config-blob-changed": Bad(oci(changed_config_blob), "DIGEST_MISMATCH", 422, "blobs/sha256/"),
    "oci-layer-missing": Bad(
        oci(lambda d: drop(blob_name(d.image.layers[1].diff_id))(d)), "LAYER_MISSING", 422, "sha256"
    ),
    "oci-config-missing": Bad(
        oci(lambda d: drop(blob_name(d.image.config_digest))(d)), "CONFIG_MISSING", 422, "sha256"
    ),
    "oci-manifest-missing": Bad(
        oci(lambda d: drop(blob_name(sha256(uncompressed_oci_manifest(d.image))))(d)),
        "BLOB_MISSING",
        422,
        "sha256",
    ),
    "oci-index-empty": Bad(
        oci(lambda d: d.entries.update({"index.json": b'{"schemaVersion":2,"manifests":[]}'})),
        "NOT_AN_IMAGE",
        422,
        "index.json",
    ),
    "oci-index-of-indexes": Bad(oci(ten_thousand_members), "MANIFEST_INVALID", 422, "10000"),
    "oci-index-no-list": Bad(
        oci(lambda d: d.entries.update({"index.json": b'{"schemaVersion":2}'})),
        "MANIFEST_INVALID",
        422,
        "index.json",
    ),
}
