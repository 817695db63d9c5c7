"""What the integration tests share."""
from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.archives import docker_save_old  # noqa: E402
from support.front import Front  # noqa: E402
from support.gateway import SOURCE_FOLDER, Gateway  # noqa: E402
from support.images import make_image, make_small_image  # noqa: E402
from support.registry import Registry  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "pushes: the test may leave blobs in the shared gateway")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An open registry, shared by a file's tests: they use repositories of their own."""
    with Registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with no configuration, shared by a file's tests."""
    with Gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that no other test has touched."""
    with Gateway(tmp_path / "gateway") as running:
        yield running


@pytest.fixture(scope="module")
def front_port(request: pytest.FixtureRequest) -> int:
    """A gateway's, or with FRONT_PORT that of any registry on this machine: whether a test is right
    shows best where somebody else wrote the answers."""
    if "FRONT_PORT" in os.environ:
        return int(os.environ["FRONT_PORT"])
    return int(request.getfixturevalue("gateway").port)


@pytest.fixture
def front(front_port: int) -> Iterator[Front]:
    """A client of the registry front, with a connection of its own."""
    with Front(front_port) as client:
        yield client


@pytest.fixture
def repository(seed: str) -> str:
    """A repository that nobody has used, and that leads to no registry."""
    return f"spec/{seed}"


@pytest.fixture
def seed() -> str:
    """Content that no registry or cache has seen."""
    return secrets.token_hex(8)


@pytest.fixture
def archive(tmp_path: Path, seed: str) -> Path:
    """A `docker save` of one small image named m/source:1.0."""
    image = make_small_image(tmp_path / "files", seed)
    return docker_save_old([(image, ["m/source:1.0"])], tmp_path / "image.tar")


@pytest.fixture
def larger_archive(tmp_path: Path, seed: str) -> Path:
    """The same with a few megabytes."""
    image = make_image(tmp_path / "larger", seed)
    return docker_save_old([(image, ["m/source:1.0"])], tmp_path / "larger.tar")


@pytest.fixture(scope="session")
def release() -> Path:
    """The release build, for what looks at memory or rates; made here when nobody has."""
    path = Path(os.environ.get("SLIPWAY_RELEASE", SOURCE_FOLDER / "build/release/slipway"))
    if not path.is_file() and "SLIPWAY_RELEASE" not in os.environ:
        for step in (["--preset", "release"], ["--build", "--preset", "release", "-j", "2"]):
            subprocess.run(["cmake", *step], cwd=SOURCE_FOLDER, check=True, capture_output=True)
    assert path.is_file(), f"no release build at {path}"
    return path
