"""Real clients push into the gateway, unchanged, and every mirror has what they pushed.

Each client pushes one image twice. After the first push its digest is the same at the client, at the
gateway and at both registries, and what is pulled from each of them is the same byte for byte. The
second push moves no blob upstream.
"""
from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.archives import Podman, docker_save_old, oci_folder
from support.containerd import Containerd
from support.docker_engine import DockerEngine
from support.gateway import Gateway
from support.images import Image, make_image, make_small_image
from support.processes import must_run, plain_environment
from support.pulled import PulledImage, pull, sha256
from support.registry import MANIFEST_TYPES, Registry

DOCKER_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64}) size: \d+")
NAME = "m/client:1.0"


@dataclass(frozen=True)
class Stage:
    """A gateway in front of two registries."""

    gateway: Gateway
    registries: tuple[Registry, Registry]

    def reference(self, repository: str) -> str:
        return f"127.0.0.1:{self.gateway.port}/{repository}:1.0"

    def uploads(self) -> list[int]:
        """How many requests began, carried or ended an upload at each registry."""
        return [
            sum(
                len(registry.requests(method, "/blobs/uploads/"))
                for method in ("POST", "PATCH", "PUT")
            )
            for registry in self.registries
        ]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    first = Registry(tmp_path_factory.mktemp("first"))
    second = Registry(tmp_path_factory.mktemp("second"))
    with first, second:
        targets = [f"{first.host}/one/**", f"{second.host}/two/**"]
        config = {"mirrors": [{"match": "**", "to": targets}]}
        with Gateway(tmp_path_factory.mktemp("gateway"), config) as gateway:
            yield Stage(gateway, (first, second))


Push = Callable[[], str]
"""Push once more and return the digest that the client reports."""


def skopeo(image: Image, folder: Path, to: str, *options: str) -> Push:
    layout = oci_folder(image, folder, NAME)
    env = plain_environment(folder)

    def push() -> str:
        said = folder / "digest"
        argv = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile", said]
        must_run([*argv, *options, f"oci:{layout}:1.0", f"docker://{to}"], env=env)
        return said.read_text()

    return push


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    with DockerEngine(tmp_path_factory.mktemp("engine")) as running:
        yield running


def docker_push(docker: DockerEngine, image: Image, folder: Path, to: str) -> Push:
    archive = docker_save_old([(image, [NAME])], folder / "image.tar")
    docker.docker("load", "-q", "-i", archive)
    docker.docker("tag", NAME, to)

    def push() -> str:
        found = DOCKER_DIGEST.search(docker.docker("push", to))
        assert found, "docker says which digest it pushed"
        return found.group(1)

    return push


def containers_options(folder: Path, said: Path) -> list[str]:
    """Of podman and buildah, which insist on a file of logins once there is a place for one."""
    options = ["--quiet", "--tls-verify=false", "--authfile", str(no_logins(folder))]
    return [*options, "--digestfile", str(said)]


def no_logins(folder: Path) -> Path:
    path = folder / "auth.json"
    path.write_text("{}")
    return path


@pytest.fixture
def podman() -> Iterator[Podman]:
    with Podman() as running:
        yield running


def podman_push(podman: Podman, image: Image, folder: Path, to: str) -> Push:
    archive = docker_save_old([(image, [NAME])], folder / "image.tar")
    podman.run("load", "--quiet", "-i", archive)

    def push() -> str:
        said = folder / "digest"
        podman.run("push", *containers_options(folder, said), f"localhost/{NAME}", to)
        return said.read_text()

    return push


@pytest.fixture
def buildah_argv() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="buildah-") as folder:
        roots = ["--root", f"{folder}/root", "--runroot", f"{folder}/run"]
        yield ["buildah", "--storage-driver", "vfs", *roots]


def buildah_push(argv: list[str], image: Image, folder: Path, to: str) -> Push:
    archive = docker_save_old([(image, [NAME])], folder / "image.tar")
    env = plain_environment(folder)
    source = f"docker-archive:{archive}"
    must_run([*argv, "pull", "--quiet", "--authfile", no_logins(folder), source], env=env)

    def push() -> str:
        said = folder / "digest"
        options = containers_options(folder, said)
        must_run([*argv, "push", *options, f"localhost/{NAME}", f"docker://{to}"], env=env)
        return said.read_text()

    return push


CLIENTS = ("docker", "skopeo-docker", "skopeo-oci-gzip", "skopeo-oci-zstd", "podman", "buildah")
SKOPEO = {
    "skopeo-docker": ("--format", "v2s2"),
    "skopeo-oci-gzip": ("--format", "oci", "--dest-compress-format", "gzip"),
    "skopeo-oci-zstd": ("--format", "oci", "--dest-compress-format", "zstd"),
}


@pytest.fixture
def push(
    request: pytest.FixtureRequest, stage: Stage, tmp_path: Path, seed: str, client: str
) -> Push:
    image = make_image(tmp_path / "files", seed)
    to = stage.reference(f"team/{client}")
    if client in SKOPEO:
        return skopeo(image, tmp_path, to, *SKOPEO[client])
    if client == "docker":
        return docker_push(request.getfixturevalue("docker"), image, tmp_path, to)
    if client == "podman":
        return podman_push(request.getfixturevalue("podman"), image, tmp_path, to)
    return buildah_push(request.getfixturevalue("buildah_argv"), image, tmp_path, to)


def gateway_digest(stage: Stage, repository: str) -> str:
    reply = stage.gateway.request(
        f"/v2/{repository}/manifests/1.0", headers=[f"Accept: {MANIFEST_TYPES}"]
    )
    assert reply.status == 200, reply.body[:500]
    assert reply.headers["docker-content-digest"] == sha256(reply.body)
    return sha256(reply.body)


def pulled_everywhere(stage: Stage, repository: str, folder: Path) -> list[PulledImage]:
    first, second = stage.registries
    references = (
        stage.reference(repository),
        f"{first.host}/one/{repository}:1.0",
        f"{second.host}/two/{repository}:1.0",
    )
    return [pull(where, folder / f"pulled-{n}") for n, where in enumerate(references)]


@pytest.mark.parametrize("client", CLIENTS)
def test_pushed_everywhere(stage: Stage, push: Push, client: str, tmp_path: Path) -> None:
    repository = f"team/{client}"
    digest = push()
    assert gateway_digest(stage, repository) == digest
    images = pulled_everywhere(stage, repository, tmp_path)
    assert {image.digest for image in images} == {digest}
    assert images[0] == images[1] == images[2], "config and layers, byte for byte"
    assert len(images[0].layers) == 4

    before = stage.uploads()
    assert min(before) > 0
    assert push() == digest
    assert stage.uploads() == before, "the second push moves no blob upstream"


def test_zstd_layers_stay_zstd(stage: Stage, tmp_path: Path, seed: str) -> None:
    to = stage.reference("team/zstd")
    image = make_image(tmp_path / "files", seed)
    skopeo(image, tmp_path, to, *SKOPEO["skopeo-oci-zstd"])()
    for image_there in pulled_everywhere(stage, "team/zstd", tmp_path):
        assert set(image_there.layer_types) == {"application/vnd.oci.image.layer.v1.tar+zstd"}


def test_docker_pulls_what_docker_pushed(
    stage: Stage, docker: DockerEngine, tmp_path: Path, seed: str
) -> None:
    to = stage.reference("team/docker-again")
    image = make_image(tmp_path / "files", seed)
    digest = docker_push(docker, image, tmp_path, to)()
    docker.docker("rmi", to, NAME)
    assert digest in docker.docker("pull", to)
    assert docker.docker("image", "inspect", "--format", "{{.Id}}", to) == image.config_digest


def test_another_repository_moves_nothing(
    stage: Stage, docker: DockerEngine, tmp_path: Path, seed: str
) -> None:
    """The same image in another repository: mounted upstream, its config like any other blob."""
    image = make_image(tmp_path / "files", seed)
    push = docker_push(docker, image, tmp_path, stage.reference("team/mount-from"))
    digest = push()
    puts = [len(registry.requests("PUT", "/blobs/uploads/")) for registry in stage.registries]
    other = stage.reference("team/mount-to")
    docker.docker("tag", NAME, other)
    assert digest in docker.docker("push", other)
    again = [len(registry.requests("PUT", "/blobs/uploads/")) for registry in stage.registries]
    assert again == puts


def test_pulls_go_on_with_the_mirror_away(
    docker: DockerEngine, podman: Podman, tmp_path: Path, seed: str
) -> None:
    """Each resolves the tag when nobody can say any more whether the mirror has it."""
    image = make_small_image(tmp_path / "files", seed)
    with Registry(tmp_path / "mirror") as mirror:
        entry = {"match": "**", "to": [f"{mirror.host}/**"], "confirm": "1s"}
        with Gateway(tmp_path / "gateway", {"mirrors": [entry]}) as gateway:
            to = f"127.0.0.1:{gateway.port}/team/app:1.0"
            digest = skopeo(image, tmp_path, to, *SKOPEO["skopeo-docker"])()
            mirror.process.stop()
            time.sleep(1.1)  # what it confirmed is not believed any more
            assert digest in docker.docker("pull", to)
            logins = no_logins(tmp_path)
            podman.run("pull", "--quiet", "--tls-verify=false", "--authfile", str(logins), to)
            with Containerd(tmp_path) as containerd:
                containerd.ctr("images", "pull", "--plain-http", "--snapshotter", "native", to)
                assert digest in containerd.ctr("images", "list", f"name=={to}")
            assert pull(to, tmp_path / "pulled").digest == digest
