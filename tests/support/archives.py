"""Every form in which clients write an image into an archive.

Where a real program writes the form and is here (skopeo, podman, umoci), it writes it. The forms of
Docker's own `save` are written by hand after what it does; test_docker_engine.py has the real one.
"""
from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.images import Image, make_image
from support.processes import must_run, plain_environment
from support.pulled import sha256
from support.tars import TarBuilder, tar_folder

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"

# An image with the names it has in the archive ("m/source:1.0").
Named = tuple[Image, Sequence[str]]


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chain_id(image: Image, position: int) -> str:
    """The folder of a layer in `docker save` up to 24: an id of its own per place in an image."""
    return hashlib.sha256(f"{image.config_digest} {position}".encode()).hexdigest()


def _names_by_repository(images: Sequence[Named]) -> dict[str, dict[str, str]]:
    """The `repositories` file: repository -> tag -> id of the top layer."""
    found: dict[str, dict[str, str]] = {}
    for image, names in images:
        for name in names:
            repository, tag = name.rsplit(":", 1)
            found.setdefault(repository, {})[tag] = _chain_id(image, len(image.layers) - 1)
    return found


def _old_files(image: Image) -> tuple[dict[str, bytes | Path], dict[str, str], list[str]]:
    """Files, links and the layer list of one image in the old form of `docker save`."""
    files: dict[str, bytes | Path] = {f"{image.config_hex}.json": image.config}
    links: dict[str, str] = {}
    order: list[str] = []
    first: dict[str, str] = {}
    for position, layer in enumerate(image.layers):
        folder = _chain_id(image, position)
        files[f"{folder}/VERSION"] = b"1.0"
        files[f"{folder}/json"] = compact({"id": folder, "os": "linux"})
        order.append(f"{folder}/layer.tar")
        if layer.diff_id in first:
            links[order[-1]] = f"../{first[layer.diff_id]}/layer.tar"
        else:
            first[layer.diff_id] = folder
            files[order[-1]] = layer.path
    return files, links, order


def docker_save_old(images: Sequence[Named], path: Path) -> Path:
    """Docker up to 24: ID/layer.tar, a repeated layer as a symbolic link, manifest.json late."""
    files: dict[str, bytes | Path] = {}
    links: dict[str, str] = {}
    manifest = []
    for image, names in images:
        image_files, image_links, order = _old_files(image)
        files.update(image_files)
        links.update(image_links)
        tags = list(names) or None
        manifest.append({"Config": f"{image.config_hex}.json", "RepoTags": tags, "Layers": order})
    files["manifest.json"] = compact(manifest) + b"\n"
    if repositories := _names_by_repository(images):
        files["repositories"] = compact(repositories) + b"\n"
    folders = {f"{name.split('/')[0]}/" for name in [*files, *links] if "/" in name}
    with TarBuilder(path) as tar:
        for name in sorted([*files, *links, *folders]):
            if name in folders:
                tar.folder(name)
            elif name in links:
                tar.symlink(name, links[name])
            else:
                tar.file(name, files[name])
    return path


def _descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def _blob_name(digest: str) -> str:
    return "blobs/sha256/" + digest.split(":", 1)[1]


def uncompressed_oci_manifest(image: Image) -> bytes:
    """The OCI manifest of an image whose layers are stored as plain tars."""
    layers = [
        {"mediaType": OCI_LAYER, "digest": one.diff_id, "size": one.path.stat().st_size}
        for one in image.layers
    ]
    return compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(OCI_CONFIG, image.config),
            "layers": layers,
        }
    )


def _index_entries(manifest: bytes, names: Sequence[str]) -> list[dict[str, Any]]:
    if not names:
        return [_descriptor(OCI_MANIFEST, manifest)]
    return [
        _descriptor(
            OCI_MANIFEST,
            manifest,
            annotations={
                "io.containerd.image.name": f"docker.io/{name}",
                "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
            },
        )
        for name in names
    ]


def docker_save_new(images: Sequence[Named], path: Path, *, docker_names: bool = True) -> Path:
    """Docker 25 and later: an OCI layout with plain-tar layers and manifest.json beside it.

    Without `docker_names` only the OCI layout is written, as the containerd store exports it.
    """
    blobs: dict[str, bytes | Path] = {}
    entries: list[dict[str, Any]] = []
    docker: list[dict[str, Any]] = []
    for image, names in images:
        manifest = uncompressed_oci_manifest(image)
        entries += _index_entries(manifest, names)
        blobs[_blob_name(image.config_digest)] = image.config
        blobs[_blob_name(sha256(manifest))] = manifest
        blobs.update({_blob_name(layer.diff_id): layer.path for layer in image.layers})
        docker.append(
            {
                "Config": _blob_name(image.config_digest),
                "RepoTags": list(names) or None,
                "Layers": [_blob_name(layer.diff_id) for layer in image.layers],
            }
        )
    index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    with TarBuilder(path) as tar:
        tar.folder("blobs/").folder("blobs/sha256/")
        for name in sorted(blobs):
            tar.file(name, blobs[name])
        tar.file("index.json", index)
        if docker_names:
            tar.file("manifest.json", compact(docker) + b"\n")
        tar.file("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        if docker_names:
            tar.file("repositories", compact(_names_by_repository(images)) + b"\n")
    return path


def compressed_docker(images: Sequence[Named], path: Path) -> Path:
    """A Docker tarball with gzip layers, as crane, ko, jib, kaniko and Bazel write it."""
    manifest = []
    written: set[str] = set()
    with TarBuilder(path) as tar:
        for image, names in images:
            tar.file(image.config_digest, image.config)
            order = []
            for layer in image.layers:
                packed = gzip.compress(layer.path.read_bytes(), 6, mtime=0)
                name = sha256(packed).split(":", 1)[1] + ".tar.gz"
                order.append(name)
                if name not in written:
                    tar.file(name, packed)
                    written.add(name)
            manifest.append(
                {"Config": image.config_digest, "RepoTags": list(names), "Layers": order}
            )
        tar.file("manifest.json", compact(manifest))
    return path


def oci_folder(image: Image, folder: Path, name: str, *options: str) -> Path:
    """An OCI layout by skopeo, with gzip layers unless `options` say otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    source = docker_save_old([(image, [name])], folder / "source.tar")
    layout = folder / "layout"
    tag = name.rsplit(":", 1)[1]
    must_run(
        ["skopeo", "copy", "--quiet", *options, f"docker-archive:{source}", f"oci:{layout}:{tag}"]
    )
    source.unlink()
    return layout


def skopeo_docker_archive(image: Image, folder: Path, name: str) -> Path:
    """DIFFID.tar files with ID/layer.tar as links to them, by skopeo itself."""
    layout = oci_folder(image, folder, name)
    path = folder / "skopeo-docker.tar"
    tag = name.rsplit(":", 1)[1]
    must_run(["skopeo", "copy", "--quiet", f"oci:{layout}:{tag}", f"docker-archive:{path}:{name}"])
    return path


class Podman:
    """A podman with storage of its own; needs neither mounts nor a network.

    podman takes no run folder of more than 50 characters, which a test's own folder has.
    """

    def __enter__(self) -> Podman:
        self._folder = tempfile.TemporaryDirectory(prefix="podman-")
        folder = Path(self._folder.name)
        self._argv = ["podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]
        self._argv += ["--events-backend", "none", "--root", str(folder / "root")]
        self._argv += ["--runroot", str(folder / "run"), "--tmpdir", str(folder / "tmp")]
        self._env = plain_environment(folder)
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def run(self, *words: str | Path) -> str:
        return must_run([*self._argv, *words], env=self._env)


def podman_archive(image: Image, folder: Path, name: str, form: str) -> Path:
    """`podman save --format FORM` of an image that podman loaded."""
    folder.mkdir(parents=True, exist_ok=True)
    source = docker_save_old([(image, [name])], folder / "source.tar")
    path = folder / f"podman-{form}.tar"
    with Podman() as podman:
        podman.run("load", "--quiet", "-i", source)
        podman.run("save", "--quiet", "--format", form, "-o", path, f"localhost/{name}")
    return path


def umoci_layout(folder: Path, seed: str, tag: str = "1.0") -> Path:
    """An OCI layout by umoci, with the manifests and configs of each step left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    layout = folder / "layout"
    image = f"{layout}:{tag}"
    note = folder / "seed"
    note.write_text(seed)
    must_run(["umoci", "init", "--layout", layout])
    must_run(["umoci", "new", "--image", image])
    must_run(["umoci", "insert", "--image", image, "/usr/bin/busybox", "/bin/busybox"])
    must_run(["umoci", "insert", "--image", image, note, "/etc/seed"])
    must_run(["umoci", "config", "--image", image, "--config.cmd", "/bin/busybox"])
    return layout


def index_layout(folder: Path, seed: str, tag: str = "1.0") -> Path:
    """A layout with one index of two platforms, made over two real images."""
    platforms = (("amd64", None), ("arm64", "v8"))
    target = folder / "layout"
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)
    children = []
    for architecture, variant in platforms:
        image = make_image(
            folder / architecture, f"{seed}-{architecture}", architecture=architecture
        )
        part = oci_folder(image, folder / f"oci-{architecture}", f"m/part:{architecture}")
        for blob in (part / "blobs/sha256").iterdir():
            blob.rename(blobs / blob.name)
        (child,) = json.loads((part / "index.json").read_text())["manifests"]
        child["platform"] = {"architecture": architecture, "os": "linux"}
        if variant:
            child["platform"]["variant"] = variant
        child.pop("annotations", None)
        children.append(child)
    index = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": children})
    (blobs / sha256(index).split(":", 1)[1]).write_bytes(index)
    name = {"org.opencontainers.image.ref.name": tag}
    outer = {"schemaVersion": 2, "manifests": [_descriptor(OCI_INDEX, index, annotations=name)]}
    (target / "index.json").write_bytes(compact(outer))
    (target / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
    return target


Maker = Callable[[Path, str], Path]


def _image(folder: Path, seed: str) -> Image:
    return make_image(folder / "files", seed)


NAME = "m/source:1.0"

# Every form, by name: folder and seed in, archive out.
FORMS: dict[str, Maker] = {
    "docker-old": lambda f, s: docker_save_old([(_image(f, s), [NAME])], f / "a.tar"),
    "docker-new": lambda f, s: docker_save_new([(_image(f, s), [NAME])], f / "a.tar"),
    "docker-gzip-layers": lambda f, s: compressed_docker([(_image(f, s), [NAME])], f / "a.tar"),
    "skopeo-docker": lambda f, s: skopeo_docker_archive(_image(f, s), f, NAME),
    "podman-docker": lambda f, s: podman_archive(_image(f, s), f, NAME, "docker-archive"),
    "podman-oci": lambda f, s: podman_archive(_image(f, s), f, NAME, "oci-archive"),
    "skopeo-oci": lambda f, s: tar_folder(oci_folder(_image(f, s), f, NAME), f / "a.tar"),
    "skopeo-oci-zstd": lambda f, s: tar_folder(
        oci_folder(_image(f, s), f, NAME, "--dest-compress-format", "zstd", "--dest-compress"),
        f / "a.tar",
    ),
    "oci-index-first": lambda f, s: tar_folder(
        oci_folder(_image(f, s), f, NAME), f / "a.tar", first=("oci-layout", "index.json")
    ),
    "oci-plain-layers": lambda f, s: docker_save_new(
        [(_image(f, s), [NAME])], f / "a.tar", docker_names=False
    ),
    "umoci": lambda f, s: tar_folder(umoci_layout(f, s), f / "a.tar"),
    "oci-index": lambda f, s: tar_folder(index_layout(f, s), f / "a.tar"),
}

OUTER: dict[str, list[str]] = {
    "plain": [],
    "gzip": ["gzip", "-1", "-n", "-c"],
    "zstd": ["zstd", "-1", "-q", "-c"],
    "xz": ["xz", "-0", "-c"],
    "bzip2": ["bzip2", "-1", "-c"],
}


def wrap(archive: Path, outer: str) -> Path:
    """The archive in an outer compression, made once."""
    if not OUTER[outer]:
        return archive
    path = archive.with_name(f"{archive.name}.{outer}")
    if not path.exists():
        with path.open("wb") as out:
            subprocess.run([*OUTER[outer], str(archive)], stdout=out, check=True)
    return path


@dataclass(frozen=True)
class Expected:
    """What a registry must serve for an archive, read from the archive itself."""

    configs: tuple[str, ...]  # config digest per image manifest
    diff_ids: tuple[tuple[str, ...], ...]  # likewise
    kept_digest: str | None  # of the manifest or index, when it must arrive byte for byte
    layers_gzip: bool  # every layer must be gzip when it arrives


def expected(archive: Path) -> Expected:
    """Take an archive apart with Python's own tarfile."""
    with tarfile.open(archive) as tar:
        files = {name: name for name in tar.getnames()}

        def read(name: str) -> bytes:
            handle = tar.extractfile(files[name])
            assert handle is not None
            return handle.read()

        if "manifest.json" in files:
            configs = [read(entry["Config"]) for entry in json.loads(read("manifest.json"))]
            return _expect(configs, None, True)
        (top,) = json.loads(read("index.json"))["manifests"]
        document = json.loads(read(_blob_name(top["digest"])))
        manifests = [
            json.loads(read(_blob_name(child["digest"]))) for child in document["manifests"]
        ] if "manifests" in document else [document]
        configs = [read(_blob_name(one["config"]["digest"])) for one in manifests]
        types = [layer["mediaType"] for one in manifests for layer in one["layers"]]
        kept = not any(media_type.endswith(".tar") for media_type in types)
        gzipped = not any(media_type.endswith("zstd") for media_type in types)
        return _expect(configs, top["digest"] if kept else None, gzipped)


def _expect(configs: list[bytes], kept: str | None, gzipped: bool) -> Expected:
    return Expected(
        tuple(sha256(config) for config in configs),
        tuple(tuple(json.loads(config)["rootfs"]["diff_ids"]) for config in configs),
        kept,
        gzipped,
    )
