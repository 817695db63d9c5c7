"""What archives really are beyond one image in one form: artifacts, caches, signatures, several
platforms of which some are there, two tables of contents that do not agree, odd names.

Made by hand after what the programs named in each test write.
"""
from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from support.archives import OCI_INDEX, OCI_LAYER, OCI_MANIFEST, compact
from support.command import slipway
from support.curl import Reply
from support.front import Front
from support.gateway import Gateway, pushed
from support.layouts import (
    COSIGN_KIND,
    OCI_EMPTY,
    OCI_LAYER_GZIP,
    SIMPLE_SIGNING,
    Layout,
    descriptor,
    image_config,
    named,
    platform,
    small_tar,
)
from support.ports import refusing_port
from support.pulled import sha256
from support.registry import Registry
from support.tars import TarBuilder
from support.waiting import wait_until


class Archives:
    """Pushes layouts, each to a repository of its own."""

    def __init__(self, gateway: Gateway, registry: Registry, folder: Path, seed: str) -> None:
        self.gateway, self.registry, self.folder = gateway, registry, folder
        self.repository, self.count = f"kinds/{seed}", 0

    def post(self, layout: Layout, **parameters: str) -> Reply:
        self.count += 1
        path = layout.write(self.folder / f"{self.count}.tar")
        return self.gateway.post(path, f"{self.registry.host}/{self.name}:1", **parameters)

    @property
    def name(self) -> str:
        return f"{self.repository}-{self.count}"

    def push(self, layout: Layout, **parameters: str) -> bytes:
        """The manifest that the registry has then."""
        pushed(self.post(layout, **parameters))
        return self.registry.manifest(self.name, "1").body

    def refused(self, layout: Layout, code: str, *words: str, **parameters: str) -> None:
        reply = self.post(layout, **parameters)
        assert reply.error["code"] == code, reply.body
        for word in words:
            assert word in reply.error["message"], (word, reply.error)
        assert self.registry.tags(self.name) == []


@pytest.fixture
def archives(gateway: Gateway, registry: Registry, tmp_path: Path, seed: str) -> Archives:
    return Archives(gateway, registry, tmp_path, seed)


# ---- artifacts ----


def artifact(kind: str, seed: str, layout: Layout) -> bytes:
    """A tar that is nobody's layer, with what makes it an artifact."""
    tar = small_tar(seed)
    title = {"annotations": {"org.opencontainers.image.title": "weights.tar"}}
    layer = layout.put(OCI_LAYER, tar, **title)
    if kind == "empty-config":  # oras push FILE
        return layout.manifest(b"{}", layer, config_type=OCI_EMPTY)
    if kind == "artifact-type":  # oras push --artifact-type, with an image's config
        more = {"artifactType": "application/vnd.example.model"}
        return layout.manifest(image_config(tar), layer, **more)
    if kind == "config-without-rootfs":  # opa build, conftest
        return layout.manifest(b"{}", layer)
    if kind == "rootfs-without-layers":
        return layout.manifest(compact({"rootfs": {"type": "layers", "diff_ids": []}}), layer)
    if kind == "config-no-json":
        return layout.manifest(b"apiVersion: v2\n", layer)
    assert kind == "layers-of-two-kinds"  # helm with a provenance file
    other = layout.put("application/vnd.cncf.helm.chart.provenance.v1.prov", seed.encode())
    return layout.manifest(image_config(tar, tar), layer, other)


@pytest.mark.parametrize(
    "kind",
    (
        "empty-config",
        "artifact-type",
        "config-without-rootfs",
        "rootfs-without-layers",
        "config-no-json",
        "layers-of-two-kinds",
    ),
)
def test_artifacts_keep_their_bytes(archives: Archives, seed: str, kind: str) -> None:
    layout = Layout()
    manifest = artifact(kind, seed, layout)
    layout.top(descriptor(OCI_MANIFEST, manifest, **named("a:1")))
    assert archives.push(layout) == manifest
    for blob in json.loads(manifest)["layers"]:
        assert sha256(archives.registry.blob(archives.name, blob["digest"]).body) == blob["digest"]


def test_images_are_compressed_beside_artifacts(archives: Archives, seed: str) -> None:
    """One index with both: each member is judged by itself."""
    layout = Layout()
    image = layout.image(seed, plain=True)
    other = artifact("empty-config", f"{seed}-other", layout)
    index = layout.index(descriptor(OCI_MANIFEST, image), descriptor(OCI_MANIFEST, other))
    layout.top(descriptor(OCI_INDEX, index))
    members = json.loads(archives.push(layout))["manifests"]
    assert members[0]["digest"] != sha256(image)
    assert members[1]["digest"] == sha256(other)


# ---- members of an index that are blobs ----


def cache(layout: Layout, seed: str) -> bytes:
    """BuildKit's --cache-to type=registry, and the folder of type=local."""
    layers = [
        layout.put(OCI_LAYER_GZIP, gzip.compress(small_tar(f"{seed}{n}"), mtime=0)) for n in "ab"
    ]
    records = {"layers": [{"blob": one["digest"], "parent": -1} for one in layers], "records": []}
    config = layout.put("application/vnd.buildkit.cacheconfig.v0", compact(records))
    tar = layout.put("application/vnd.example.sources+tar", small_tar(f"{seed}-sources"))
    note = layout.put("application/vnd.example.note+json", compact({"seed": seed}))
    return layout.index(*layers, config, tar, note)


def assert_cache_served(registry: Registry, name: str, index: bytes) -> None:
    assert registry.manifest(name, "1").body == index
    for member in json.loads(index)["manifests"]:
        assert sha256(registry.blob(name, member["digest"]).body) == member["digest"]


def test_cache_in_an_archive(archives: Archives, seed: str) -> None:
    layout = Layout()
    index = cache(layout, seed)
    layout.top(descriptor(OCI_INDEX, index, **named("cache:1")))
    archives.push(layout)
    assert_cache_served(archives.registry, archives.name, index)


@pytest.mark.parametrize("acknowledge", ("pushed", "stored"))
def test_cache_at_the_front(
    registry: Registry, tmp_path: Path, seed: str, acknowledge: str
) -> None:
    """Through a mirror, and once more to another place with /v1/pushes."""
    layout = Layout()
    index = cache(layout, seed)
    name = f"cache/{acknowledge}-{seed}"
    mirrors = [{"match": "cache/*", "to": [f"{registry.host}/{name}"], "acknowledge": acknowledge}]
    with Gateway(tmp_path / "gateway", {"mirrors": mirrors}) as gateway:
        with Front(gateway.port) as front:
            for member in json.loads(index)["manifests"]:
                blob = layout.entries["blobs/sha256/" + member["digest"].split(":")[1]]
                front.push_blob("cache/app", blob)
            front.must_put("cache/app", "1", index, OCI_INDEX)
        order = {"image": "cache/app:1", "to": [f"{registry.host}/{name}-again:1"]}
        reply = gateway.request(
            "/v1/pushes", method="POST", data=compact(order),
            headers=["Content-Type: application/json"],
        )
        pushed(reply)
        assert_cache_served(registry, f"{name}-again", index)
        wait_until(lambda: registry.manifest(name, "1").status == 200, "the cache at its mirror")
    assert_cache_served(registry, name, index)


# ---- which image of the archive ----


def docker_image(layout: Layout, seed: str) -> tuple[str, list[str]]:
    """The entries of a config and its layer, for manifest.json."""
    tar = small_tar(seed)
    return layout.blob(image_config(tar)), [layout.blob(tar)]


@pytest.mark.parametrize(
    "table",
    (
        b'{"schemaVersion":2,"manifests":null}',  # docker save ID, 25.0.0 to 25.0.2
        b"[]",
        b"null",
        b"{",
        compact({"schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST, b"elsewhere")]}),
        compact({"schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST, b"no manifest")]}),
        compact({"schemaVersion": 2, "manifests": [{"mediaType": OCI_MANIFEST}]}),
    ),
)
def test_unusable_index_beside_a_whole_table(
    archives: Archives, seed: str, table: bytes
) -> None:
    layout = Layout()
    layout.entries["index.json"] = table
    layout.blob(b"no manifest")
    config, layers = docker_image(layout, seed)
    layout.docker((config, ["m/app:1"], layers))
    assert sha256(layout.entries[config]) in archives.push(layout).decode()


@pytest.mark.parametrize("table", (b"[]", b"null", b'[{"Layers":[]}]', b'[{"Config":"gone.json"}]'))
def test_unusable_table_beside_a_whole_index(archives: Archives, seed: str, table: bytes) -> None:
    layout = Layout()
    image = layout.image(seed)
    layout.top(descriptor(OCI_MANIFEST, image, **named("m/app:1")))
    layout.entries["manifest.json"] = table
    assert archives.push(layout) == image


def test_each_table_has_one_image(archives: Archives, seed: str) -> None:
    """Each can be chosen, by name, id or digest; and no choice is ambiguous."""
    layout = Layout()
    first = layout.image(seed)
    layout.top(descriptor(OCI_MANIFEST, first, **named("m/one:1")))
    config, layers = docker_image(layout, f"{seed}-other")
    layout.docker((config, ["m/two:2"], layers))
    identity = sha256(layout.entries[config])
    archives.refused(layout, "AMBIGUOUS_IMAGE", "m/one:1", "m/two:2", "image=")
    archives.refused(layout, "IMAGE_UNKNOWN", "m/one:1", "m/two:2", image="m/three")
    for choice in ("m/two:2", identity):
        assert identity in archives.push(layout, image=choice).decode()
    for choice in ("m/one", sha256(first), json.loads(first)["config"]["digest"]):
        assert archives.push(layout, image=choice) == first


def test_what_is_listed_but_not_there_is_no_choice(archives: Archives, seed: str) -> None:
    layout = Layout()
    image, gone = layout.image(seed), layout.image(f"{seed}-gone")
    entries = [descriptor(OCI_MANIFEST, one, **named(name)) for one, name in
               ((gone, "m/gone:1"), (image, "m/app:1"))]
    layout.top(*entries)
    layout.drop(gone)
    assert archives.push(layout) == image
    archives.refused(layout, "BLOB_MISSING", sha256(gone), image="m/gone:1")


# ---- several platforms ----


def platforms(layout: Layout, seed: str, *names: str) -> dict[str, bytes]:
    return {name: layout.image(f"{seed}-{name}", architecture=name) for name in names}


def member(name: str, manifest: bytes, **more: Any) -> dict[str, Any]:
    return descriptor(OCI_MANIFEST, manifest, platform=platform(name), **more)


def save_of_containerd_store(layout: Layout, seed: str, *there: str) -> dict[str, bytes]:
    """`docker save` of Docker 29: the index names all platforms, with what attests them."""
    images = platforms(layout, seed, "amd64", "arm64", "s390x")
    attests = {"os": "unknown", "architecture": "unknown"}
    statement = layout.put("application/vnd.in-toto+json", compact({"seed": seed}))
    attestation = layout.manifest(image_config(small_tar(seed)), statement)
    members = [member(name, image) for name, image in images.items()]
    index = layout.index(*members, descriptor(OCI_MANIFEST, attestation, platform=attests))
    layout.top(descriptor(OCI_INDEX, index, **named("docker.io/m/app:1")))
    for name, image in images.items():
        if name not in there:
            layout.drop(image)
    return images


@pytest.mark.parametrize("table", (True, False))
def test_one_platform_is_there(archives: Archives, seed: str, table: bool) -> None:
    """It goes with its own digest, as docker push does it, with and without manifest.json."""
    layout = Layout()
    images = save_of_containerd_store(layout, seed, "arm64")
    image = json.loads(images["arm64"])
    if table:
        names = ["blobs/" + one["digest"].replace(":", "/") for one in image["layers"]]
        config = "blobs/" + image["config"]["digest"].replace(":", "/")
        layout.docker((config, ["m/app:1"], names))
    assert archives.push(layout) == images["arm64"]
    assert archives.push(layout, platform="linux/arm64") == images["arm64"]
    archives.refused(layout, "BLOB_MISSING", "linux/arm64", platform="linux/amd64")
    archives.refused(layout, "PLATFORM_UNKNOWN", "linux/arm64", platform="windows/amd64")


def test_some_platforms_are_there(archives: Archives, seed: str) -> None:
    layout = Layout()
    images = save_of_containerd_store(layout, seed, "amd64", "s390x")
    archives.refused(
        layout, "AMBIGUOUS_IMAGE", "3 platforms", "linux/amd64, linux/s390x", "platform="
    )
    assert archives.push(layout, platform="linux/s390x") == images["s390x"]
    assert archives.push(layout, image=sha256(images["amd64"])) == images["amd64"]


@pytest.mark.parametrize("name", (None, "m/app:1"))
def test_index_json_is_the_index(archives: Archives, seed: str, name: str | None) -> None:
    """crane, ko and apko write it so: without names, or all under one."""
    layout = Layout()
    images = platforms(layout, seed, "amd64", "arm64")
    more = named(name) if name else {}
    layout.top(*(member(one, image, **more) for one, image in images.items()))
    assert archives.push(layout) == layout.entries["index.json"]
    assert archives.push(layout, platform="linux/arm64") == images["arm64"]
    archives.refused(
        layout, "PLATFORM_UNKNOWN", "linux/amd64, linux/arm64", platform="linux/s390x"
    )
    if name:
        assert archives.push(layout, image=name, platform="linux/amd64") == images["amd64"]
    layout.top(member("amd64", images["amd64"], **more), member("amd64", images["arm64"], **more))
    archives.refused(layout, "AMBIGUOUS_IMAGE")


def test_platforms_beside_another_image(archives: Archives, seed: str) -> None:
    """Then index.json is not their index, and a platform has to be chosen."""
    layout = Layout()
    images = platforms(layout, seed, "amd64", "arm64")
    entries = [member(one, image, **named("m/app:1")) for one, image in images.items()]
    layout.top(*entries, descriptor(OCI_MANIFEST, layout.image(seed), **named("m/other:1")))
    archives.refused(layout, "AMBIGUOUS_IMAGE", "m/app:1", "m/other:1")
    archives.refused(layout, "AMBIGUOUS_IMAGE", "platform=", "linux/arm64", image="m/app:1")
    got = archives.push(layout, image="m/app:1", platform="linux/arm64")
    assert got == images["arm64"]


# ---- signatures ----


def signature(layout: Layout, seed: str, subject: bytes | None) -> bytes:
    """As cosign makes it: the config of an image, and what is signed as its layer."""
    image = {"docker-manifest-digest": sha256(subject)} if subject else {}
    payload = compact({"critical": {"image": image}, "optional": {"seed": seed}})
    return layout.manifest(image_config(payload), layout.put(SIMPLE_SIGNING, payload))


@pytest.mark.parametrize("told_by", ("kind", "media-type", "name", "only"))
@pytest.mark.parametrize("first", ("image", "signature"))
def test_signature_beside_its_image(
    archives: Archives, seed: str, told_by: str, first: str
) -> None:
    """cosign save (a kind, no names), hauler (both under the image's name), layouts that tell them
    apart by media types only; the subject by the payload, by the name, or as the only image."""
    layout = Layout()
    image = layout.image(seed)
    signed = signature(layout, seed, image if told_by in ("kind", "media-type") else None)
    name = {"name": "m/app:1"} if told_by == "name" else {}
    entries = {}
    for what, kind, manifest in (("image", "image", image), ("signature", "sigs", signed)):
        more: dict[str, str] = {} if told_by == "media-type" else {"kind": COSIGN_KIND + kind}
        annotations = named("m/app:1", **more) if name else {"annotations": more}
        entries[what] = descriptor(OCI_MANIFEST, manifest, **annotations)
    order = sorted(entries, key=lambda what: what != first)
    layout.top(*(entries[what] for what in order))
    choice = {"image": "m/app"} if name else {}
    assert archives.push(layout, **choice) == image
    tag = f"sha256-{sha256(image).split(':')[1]}.sig"
    assert archives.registry.manifest(archives.name, tag).body == signed


def test_signatures_of_two_images(archives: Archives, seed: str) -> None:
    """hauler store: each goes with the image of its name; attestations, too."""
    layout = Layout()
    entries = []
    images = {}
    for name in ("one", "two"):
        images[name] = layout.image(f"{seed}-{name}")
        kinds = {"image": images[name], "sigs": signature(layout, f"{seed}{name}", None)}
        envelope = layout.put("application/vnd.dsse.envelope.v1+json", compact({"of": name}))
        kinds["atts"] = layout.manifest(b"{}", envelope)
        for kind, manifest in kinds.items():
            annotations = named(f"r.example.com/{name}:1", kind=COSIGN_KIND + kind)
            entries.append(descriptor(OCI_MANIFEST, manifest, **annotations))
    layout.top(*entries)
    archives.refused(layout, "AMBIGUOUS_IMAGE", "r.example.com/one:1, r.example.com/two:1")
    assert archives.push(layout, image="r.example.com/two:1") == images["two"]
    stem = f"sha256-{sha256(images['two']).split(':')[1]}"
    assert sorted(archives.registry.tags(archives.name)) == ["1", f"{stem}.att", f"{stem}.sig"]


def test_a_signature_is_no_choice_beside_a_broken_image(archives: Archives, seed: str) -> None:
    layout = Layout()
    image = layout.image(seed)
    signed = signature(layout, seed, image)
    layout.top(descriptor(OCI_MANIFEST, image), descriptor(OCI_MANIFEST, signed))
    layer = json.loads(image)["layers"][0]["digest"]
    del layout.entries["blobs/" + layer.replace(":", "/")]
    archives.refused(layout, "LAYER_MISSING", layer)


# ---- names of entries ----


@pytest.mark.parametrize(
    "name",
    (
        "blobs/sha256/{hex}.tar.gz",  # Bazel's oci_load
        "blobs/sha256/{HEX}",
        "blobs/sha256/dir/layer",
        "blobs/md5/{hex}",
        "blobs/sha256/short",
    ),
)
def test_names_are_not_promises(archives: Archives, seed: str, name: str) -> None:
    """A layer of manifest.json under a name that is no digest, and what macOS puts beside files."""
    tar = small_tar(seed)
    layer = gzip.compress(tar, mtime=0)
    digest = sha256(layer).split(":")[1]
    entry = name.format(hex=digest, HEX=digest.upper())
    layout = Layout(**{entry: layer, f"blobs/sha256/._{digest}": b"\0\x05\x16\x07"})
    layout.docker((layout.blob(image_config(tar)), ["m/app:1"], [entry]))
    (pulled,) = json.loads(archives.push(layout))["layers"]
    assert pulled["digest"] == f"sha256:{digest}"


def test_blobs_are_found_by_their_bytes(archives: Archives, seed: str) -> None:
    """An OCI layout whose blobs have names of their own; two entries of one name that are equal."""
    layout = Layout()
    image = layout.image(seed)
    layout.top(descriptor(OCI_MANIFEST, image))
    entries = {
        name if name.endswith("json") or name == "oci-layout" else f"files/{position}": data
        for position, (name, data) in enumerate(layout.entries.items())
    }
    path = archives.folder / "renamed.tar"
    with TarBuilder(path) as tar:
        for name, data in [*entries.items(), *entries.items()]:
            tar.file(name, data)
            if name.startswith("files/"):
                tar.hardlink(name, name)
    target = f"{archives.registry.host}/kinds/renamed-{seed}:1"
    (result,) = pushed(archives.gateway.post(path, target))
    assert result["digest"] == sha256(image)


@pytest.mark.parametrize(
    "names",
    (
        ["bazel/MyService:image"],  # rules_docker
        ["", "<none>:<none>"],
        ["example.com/app"],
        ["app:" + "x" * 129, "m/app:7"],
    ),
)
def test_names_of_images_that_are_none(archives: Archives, seed: str, names: list[str]) -> None:
    """They do not matter where the target is named in full; else the message says them."""
    layout = Layout()
    config, layers = docker_image(layout, seed)
    layout.docker((config, names, layers))
    archives.push(layout)
    path = layout.write(archives.folder / "odd.tar")
    reply = archives.gateway.post(path, f"{archives.registry.host}/{archives.name}-bare")
    if "m/app:7" in names:
        assert [one["tag"] for one in pushed(reply)] == ["7"]
        return
    assert reply.error["code"] == "NO_TAG"
    reply = archives.gateway.post(path)
    odd = "" in names
    assert reply.error["code"] == ("NO_TARGET" if odd else "REFERENCE_INVALID")
    assert odd or names[0] in reply.error["message"]


# ---- many layers ----


def test_more_than_a_thousand_layers(
    archives: Archives, gateway: Gateway, registry: Registry, seed: str
) -> None:
    """A layer for each of 1391 files, in an archive and at the front."""
    layout = Layout()
    layers = []
    for number in range(1391):
        title = {"org.opencontainers.image.title": f"dir/file-{number}.tf"}
        text = f"{seed}{number % 7}".encode()
        layers.append(layout.put("application/octet-stream", text, annotations=title))
    manifest = layout.manifest(b"{}", *layers, config_type=OCI_EMPTY)
    layout.top(descriptor(OCI_MANIFEST, manifest))
    assert archives.push(layout) == manifest
    with Front(gateway.port) as front:
        for layer in layers[:7]:
            front.push_blob(f"many/{seed}", f"{seed}{layers.index(layer)}".encode())
        front.push_blob(f"many/{seed}", b"{}")
        front.must_put(f"many/{seed}", "1", manifest)
        members = [descriptor(OCI_MANIFEST, manifest, annotations={"n": str(n)})
                   for n in range(1200)]
        index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": members})
        front.must_put(f"many/{seed}", "all", index, OCI_INDEX)


# ---- what is no image, and what to do instead ----


def root_file_system(tar: TarBuilder, *, devices: bool) -> None:
    tar.file(".dockerenv", b"").folder("etc/").folder("usr/")
    if devices:
        tar.symlink("etc/mtab", "/proc/mounts").special("dev/console", tarfile.CHRTYPE)
    tar.file("etc/hostname", b"abc\n").file("usr/share/app/manifest.json", b"{}")


@pytest.mark.parametrize("devices", (True, False))
def test_a_file_system_is_told(archives: Archives, devices: bool) -> None:
    path = archives.folder / "export.tar"
    with TarBuilder(path) as tar:
        root_file_system(tar, devices=devices)
    reply = archives.gateway.post(path, f"{archives.registry.host}/kinds/export:1")
    assert reply.error["code"] == "NOT_AN_IMAGE"
    for word in ("file system", "docker save", "manifest.json"):
        assert word in reply.error["message"]
    assert not devices or "etc/mtab" in reply.error["message"]


def test_what_to_do_with_other_forms(archives: Archives, seed: str) -> None:
    image = Layout()
    manifest = image.image(seed)
    around = Layout()
    around.entries = {f"out/image/{name}": data for name, data in image.entries.items()}
    around.entries["out/image/index.json"] = b"{}"
    archives.refused(around, "NOT_AN_IMAGE", "tar -C out/image")
    directory = Layout(**{"manifest.json": manifest, "version": b"Directory Transport Version: 1.1"})
    archives.refused(directory, "NOT_AN_IMAGE", "dir:", "oci-archive:")


@pytest.mark.parametrize("form", ("xz", "bzip2"))
def test_layers_that_no_runtime_takes(archives: Archives, seed: str, form: str) -> None:
    pack = {"xz": lzma.compress, "bzip2": bz2.compress}[form]
    tar = small_tar(seed)
    docker = Layout(**{"layer": pack(tar)})
    docker.docker((docker.blob(image_config(tar)), ["m/app:1"], ["layer"]))
    archives.refused(docker, "ENTRY_UNSUPPORTED", f"compressed with {form}", "gzip or zstd")
    layout = Layout()
    for kind in (OCI_LAYER, OCI_LAYER_GZIP):
        manifest = layout.manifest(image_config(tar), layout.put(kind, pack(tar)))
        layout.top(descriptor(OCI_MANIFEST, manifest))
        archives.refused(layout, "ENTRY_UNSUPPORTED", f"compressed with {form}", "gzip or zstd")
    path = archives.folder / "layer"
    path.write_bytes(pack(tar))
    reply = archives.gateway.request("/v1/layers", method="POST", upload=path)
    assert reply.error["code"] == "ARCHIVE_UNRECOGNISED"
    assert f"in {form}, which no runtime takes" in reply.error["message"]


# ---- folders ----


def links(folder: Path, outside: Path, image: bytes) -> None:
    """The layer outside and a table beside it (rules_oci), the config within (debuerreotype)."""
    outside.mkdir()
    layer = "blobs/" + json.loads(image)["layers"][0]["digest"].replace(":", "/")
    config = "blobs/" + json.loads(image)["config"]["digest"].replace(":", "/")
    for name, place in ((layer, outside / "layer"), ("index.json", outside / "index.json"),
                        (config, folder / "blobs/config.json")):
        (folder / name).rename(place)
        (folder / name).symlink_to(os.path.relpath(place, (folder / name).parent))


def test_links_of_a_folder_are_followed(registry: Registry, tmp_path: Path, seed: str) -> None:
    layout = Layout()
    image = layout.image(seed)
    layout.top(descriptor(OCI_MANIFEST, image))
    folder = layout.unpack(tmp_path / "layout")
    links(folder, tmp_path / "outside", image)
    (tmp_path / "bin").symlink_to(folder)
    target = f"{registry.host}/kinds/links-{seed}:1"
    done = slipway(tmp_path, "push", tmp_path / "bin", target, "--data", tmp_path / "data")
    assert done.returncode == 0, done.stderr
    assert registry.manifest(f"kinds/links-{seed}", "1").body == image


def test_links_that_lead_nowhere_or_out(registry: Registry, tmp_path: Path, seed: str) -> None:
    """Each is named, with where it leads to: a file of somebody's, other bytes, nothing."""
    secret = tmp_path / "secret"
    secret.write_text("somebody's")
    layout = Layout()
    image = layout.image(seed)
    layout.top(descriptor(OCI_MANIFEST, image))
    digest = sha256(image).split(":")[1]
    for name, target, words in (
        ("note.txt", "../../../secret", "is outside of the folder"),
        (digest, "../../../secret", "have the digest"),
        (digest, "gone", "is not there"),
        (digest, digest, digest),
        (digest, "/dev", "is no file"),
    ):
        folder = layout.unpack(tmp_path / f"layout-{len(list(tmp_path.iterdir()))}")
        link = folder / "blobs/sha256" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        done = slipway(
            tmp_path, "push", folder, f"{registry.host}/kinds/out:1", "--data", tmp_path / "data"
        )
        assert done.returncode != 0
        assert words in done.stderr and name in done.stderr, done.stderr
    assert registry.tags("kinds/out") == []


def test_folders_that_are_none(registry: Registry, tmp_path: Path) -> None:
    for name, words in (("manifest.json", "oci-archive:"), ("etc usr", "file system"), ("x", "index.json")):
        folder = tmp_path / name
        for part in name.split():
            (folder / part).mkdir(parents=True)
        done = slipway(
            tmp_path, "push", folder, f"{registry.host}/kinds/none:1", "--data", tmp_path / "data"
        )
        assert words in done.stderr, done.stderr


# ---- many images in one archive ----


def bundle(folder: Path, seed: str, **names: str) -> Path:
    """Images as rke2 and k3s bundle them: a docker save of many, each with a name."""
    layout = Layout()
    images = []
    for seed_of, name in names.items():
        config, layers = docker_image(layout, f"{seed}-{seed_of}")
        images.append((config, [name], layers))
    layout.docker(*images)
    return layout.write(folder / "bundle.tar")


@pytest.mark.parametrize("acknowledge", ("pushed", "stored"))
def test_all_images_go_where_their_names_lead(
    registry: Registry, tmp_path: Path, seed: str, acknowledge: str
) -> None:
    team, other = ({"match": f"{name}/**", "to": [f"{registry.host}/{seed}/{name}/**"]}
                   for name in ("team", "other"))
    mirrors = [{**team, "acknowledge": acknowledge}, other]
    folder = f"{seed}/team"
    path = bundle(tmp_path, seed, a="team/a:1", b="team/b:2", c="other/c:3")
    with Gateway(tmp_path / "gateway", {"mirrors": mirrors}) as gateway:
        reply = gateway.post(path)
        assert reply.status == 200, reply.body
        assert [*reply.json()] == ["state", "pushes"]
        assert reply.json()["state"] == "pushed"
        states = {"pushed": ["pushed"] * 3, "stored": ["stored", "stored", "pushed"]}[acknowledge]
        assert [push["state"] for push in reply.json()["pushes"]] == states
        assert len({push["id"] for push in reply.json()["pushes"]}) == 3
        lines = gateway.post(path, headers=["Accept: application/x-ndjson"]).body.splitlines()
        told = [json.loads(line) for line in lines]
        assert sum("push" in line for line in told) == 3
        assert sum("result" in line for line in told) == 3
        for name, tag in ((f"{folder}/a", "1"), (f"{folder}/b", "2"), (f"{seed}/other/c", "3")):
            wait_until(lambda: tag in registry.tags(name), f"{name} at its mirror")
        assert gateway.post(path, f"{registry.host}/{seed}/x:1").error["code"] == "AMBIGUOUS_IMAGE"
        (one,) = gateway.post(path, image="team/b").json()["results"]
        assert one["target"].endswith("team/b:2")


def test_all_images_or_none(registry: Registry, tmp_path: Path, seed: str) -> None:
    """One that nobody has a place for, or two for one place: nothing is pushed. A target that is
    down fails its own image only."""
    with refusing_port() as port:
        mirrors = [
            {"match": "team/**", "to": [f"{registry.host}/{seed}/team/**"]},
            {"match": "down/**", "to": [f"127.0.0.1:{port}/x/**"]},
        ]
        with Gateway(tmp_path / "gateway", {"mirrors": mirrors}) as gateway:
            lost = gateway.post(bundle(tmp_path, seed, a="team/a:1", b="lost/b:1"))
            assert (lost.error["code"], "lost/b:1" in lost.error["message"]) == ("NO_TARGET", True)
            twice = gateway.post(bundle(tmp_path, seed, a="team/a:1", b="team/a:1"))
            assert twice.error["code"] == "AMBIGUOUS_IMAGE"
            assert registry.tags(f"{seed}/team/a") == []
            reply = gateway.post(bundle(tmp_path, seed, a="down/a:1", b="team/b:1"))
            assert (reply.status, reply.json()["state"]) == (502, "failed")
            assert [push["state"] for push in reply.json()["pushes"]] == ["failed", "pushed"]
    assert registry.tags(f"{seed}/team/b") == ["1"]
