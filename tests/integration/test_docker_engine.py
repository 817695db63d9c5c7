"""What a real Docker engine builds and saves, pushed by slipway and run through skopeo again."""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import docker_save_new
from support.docker_engine import DockerEngine
from support.gateway import Gateway, pushed
from support.images import make_image
from support.pulled import pull
from support.registry import Registry

DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
COPY note /note
COPY other /note
COPY note /note
LABEL seed={seed}
CMD ["/bin/busybox", "sh"]
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerEngine]:
    with DockerEngine(tmp_path_factory.mktemp("engine")) as running:
        yield running


def build(engine: DockerEngine, folder: Path, seed: str, *names: str) -> None:
    """An image with a layer that occurs twice, as Dockerfiles make them."""
    folder.mkdir()
    shutil.copy("/usr/bin/busybox", folder / "busybox")
    (folder / "note").write_text(seed)
    (folder / "other").write_text("other")
    (folder / "Dockerfile").write_text(DOCKERFILE.format(seed=seed))
    engine.build(folder, *names)


def config_digest(engine: DockerEngine, name: str) -> str:
    return engine.docker("image", "inspect", "--format", "{{.Id}}", name)


def diff_ids(engine: DockerEngine, name: str) -> list[str]:
    form = "{{range .RootFS.Layers}}{{println .}}{{end}}"
    return engine.docker("image", "inspect", "--format", form, name).split()


@pytest.mark.parametrize("sending", ("length", "chunked"))
def test_built_and_saved(
    engine: DockerEngine,
    gateway: Gateway,
    registry: Registry,
    tmp_path: Path,
    seed: str,
    sending: str,
) -> None:
    name = f"m/built-{sending}"
    build(engine, tmp_path / "context", seed, f"{name}:1", f"{name}:2")
    archive = tmp_path / "saved.tar"
    engine.docker("save", "-o", archive, f"{name}:1", f"{name}:2")
    reply = gateway.post(archive, f"{registry.host}/e/{name}", chunked=sending == "chunked")
    results = pushed(reply, 2)
    assert registry.tags(f"e/{name}") == ["1", "2"]
    image = pull(f"{registry.host}/e/{name}:1", tmp_path / "pulled")
    assert image.digest == results[0]["digest"]
    assert image.config_digest == config_digest(engine, f"{name}:1")
    assert image.diff_ids == diff_ids(engine, f"{name}:1")


def test_loaded_and_saved(
    engine: DockerEngine, gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    """The new form of save goes into Docker, the old form comes out: one image all the way."""
    image = make_image(tmp_path / "files", seed)
    new = docker_save_new([(image, ["m/loaded:1"])], tmp_path / "new.tar")
    engine.docker("load", "-q", "-i", new)
    old = tmp_path / "old.tar"
    engine.docker("save", "-o", old, "m/loaded:1")
    digests = set()
    for number, archive in enumerate((new, old)):
        target = f"{registry.host}/e/loaded-{number}:1"
        digests.add(pushed(gateway.post(archive, target))[0]["digest"])
        assert pull(target, tmp_path / "pulled").config_digest == image.config_digest
    assert len(digests) == 1


def test_image_by_its_id(
    engine: DockerEngine, gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    """`docker save` of two images, one chosen by what `docker images --no-trunc` prints."""
    build(engine, tmp_path / "one", seed + "1", "m/one:1")
    build(engine, tmp_path / "two", seed + "2", "m/two:1")
    archive = tmp_path / "both.tar"
    engine.docker("save", "-o", archive, "m/one:1", "m/two:1")
    chosen = config_digest(engine, "m/two:1")
    target = f"{registry.host}/e/chosen:1"
    pushed(gateway.post(archive, target, image=chosen))
    assert pull(target, tmp_path / "pulled").config_digest == chosen
