"""What is refused, with which code, and that a refusal leaves nothing behind.

One gateway takes everything in this file, so each refusal also shows that those before it did no
harm; the last test is a push that must go well.
"""
from __future__ import annotations

import gzip
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import docker_save_old, index_layout
from support.bad_archives import BAD
from support.curl import Reply
from support.gateway import Gateway, pushed
from support.images import make_small_image
from support.registry import Registry
from support.tars import tar_folder

CUTS = 40


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway whose limit is over the 100 MB manifest.json and below the bomb."""
    config = {"limits": {"archive": "256MiB"}}
    with Gateway(tmp_path_factory.mktemp("gateway"), config) as running:
        yield running


def assert_refused(reply: Reply, code: str, status: int, says: str = "") -> None:
    assert (reply.error["code"], reply.status) == (code, status), reply.body[:2000]
    assert says in reply.error["message"], reply.error
    assert reply.headers["content-type"].startswith("application/json")


@pytest.fixture(autouse=True)
def nothing_left(gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[None]:
    """Around every test but those that push: no new blob, nothing staged."""
    before = gateway.blobs()
    yield
    gateway.wait_nothing_staged()
    if not request.node.get_closest_marker("pushes"):
        assert gateway.blobs() == before


@pytest.mark.parametrize("sending", ("length", "chunked"))
@pytest.mark.parametrize("name", BAD)
def test_bad_archive(
    gateway: Gateway, registry: Registry, tmp_path: Path, name: str, sending: str
) -> None:
    bad = BAD[name]
    # A fixed seed: damage is at the same place on every run.
    archive = bad.make(tmp_path, name)
    target = f"{registry.host}/bad/{name}:1"
    reply = gateway.post(archive, target, chunked=sending == "chunked")
    assert_refused(reply, bad.code, bad.status, bad.says)
    assert registry.tags(f"bad/{name}") == []


def end_of_content(archive: Path) -> int:
    """The first offset at which every byte of every file has arrived."""
    with tarfile.open(archive) as tar:
        return max(member.offset_data + member.size for member in tar if member.isfile())


@pytest.mark.pushes
def test_truncated_tar(gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    enough = end_of_content(archive)
    # Even steps, and both sides of the bounds of headers, files and the archive itself.
    cuts = {len(data) * step // CUTS for step in range(1, CUTS)}
    cuts |= {1, 511, 512, 513, enough - 1, enough, len(data) - 512, len(data) - 1}
    for cut in sorted(cuts):
        path = tmp_path / "cut.tar"
        path.write_bytes(data[:cut])
        reply = gateway.post(path, f"{registry.host}/bad/cut:{cut}")
        if cut >= enough and reply.status == 200:
            pushed(reply)
            continue
        assert 400 <= reply.status < 500, (cut, reply.status, reply.body)
        allowed = {"ARCHIVE_TRUNCATED", "ARCHIVE_UNRECOGNISED", "NOT_AN_IMAGE", "LAYER_MISSING"}
        allowed |= {"CONFIG_MISSING"}
        assert reply.error["code"] in allowed, (cut, reply.error)
        assert registry.manifest("bad/cut", str(cut)).status == 404
        gateway.wait_nothing_staged()


def test_tar_cut_inside_a_file_is_truncated(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """Inside a file there is no doubt about it, and the message says where."""
    with tarfile.open(archive) as tar:
        members = [one for one in tar if one.isfile() and one.size > 1]
    for member in members:
        path = tmp_path / "cut.tar"
        path.write_bytes(archive.read_bytes()[: member.offset_data + member.size // 2])
        reply = gateway.post(path, f"{registry.host}/bad/inside:1")
        assert_refused(reply, "ARCHIVE_TRUNCATED", 400, member.name)


def test_truncated_gzip(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    data = gzip.compress(archive.read_bytes(), mtime=0)
    for step in range(1, CUTS):
        path = tmp_path / "cut.tar.gz"
        path.write_bytes(data[: len(data) * step // CUTS])
        reply = gateway.post(path, f"{registry.host}/bad/cutgz:{step}")
        assert 400 <= reply.status < 500, (step, reply.status, reply.body)
        assert reply.error["code"] in {"ARCHIVE_TRUNCATED", "ARCHIVE_UNRECOGNISED"}, step
    assert registry.tags("bad/cutgz") == []


HOST = "r.example.com"


@pytest.mark.parametrize(
    "target, code",
    (
        (f"{HOST}/team/app@sha256:{'0' * 64}", "DIGEST_REFERENCE"),
        (f"{HOST}/team/app:1@sha256:{'0' * 64}", "DIGEST_REFERENCE"),
        (f"{HOST}/Team/App:1", "REFERENCE_INVALID"),
        (f"{HOST}/team//app:1", "REFERENCE_INVALID"),
        (f"{HOST}/team/app:", "REFERENCE_INVALID"),
        (f"{HOST}/team/app:-tag", "REFERENCE_INVALID"),
        (f"{HOST}/team/app:{'t' * 129}", "REFERENCE_INVALID"),
        (f"{HOST}/{'n' * 256}:1", "REFERENCE_INVALID"),
        ("https://r.example.com/team/app:1", "REFERENCE_INVALID"),
        (f"{HOST}/team/app:1\n", "REFERENCE_INVALID"),
        ("", "BAD_REQUEST"),
    ),
)
def test_bad_target(gateway: Gateway, archive: Path, target: str, code: str) -> None:
    assert_refused(gateway.post(archive, target), code, 400)


def test_one_bad_target_of_two_pushes_to_none(
    gateway: Gateway, registry: Registry, archive: Path
) -> None:
    reply = gateway.post(archive, [f"{registry.host}/bad/two:1", f"{HOST}/team//app:1"])
    assert_refused(reply, "REFERENCE_INVALID", 400)
    assert registry.tags("bad/two") == []


def test_no_target(gateway: Gateway, archive: Path) -> None:
    assert_refused(gateway.post(archive), "NO_TARGET", 422)


@pytest.mark.parametrize(
    "parameters",
    (
        {"platform": "linux"},
        {"platform": "linux/amd64/v1/more"},
        {"platform": "/"},
        {"compression": "brotli"},
        {"format": "tar"},
    ),
)
def test_bad_parameter(gateway: Gateway, archive: Path, parameters: dict[str, str]) -> None:
    reply = gateway.post(archive, f"{HOST}/team/app:1", **parameters)
    assert_refused(reply, "BAD_REQUEST", 400, next(iter(parameters)))


def test_no_tag(gateway: Gateway, registry: Registry, tmp_path: Path, seed: str) -> None:
    image = make_small_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, [])], tmp_path / "untagged.tar")
    assert_refused(gateway.post(archive, f"{registry.host}/bad/untagged"), "NO_TAG", 422)


def two_images(tmp_path: Path, seed: str) -> Path:
    images = [make_small_image(tmp_path / name, f"{seed}{name}") for name in "ab"]
    names = (["m/one:1.0"], ["m/two:2.0"])
    return docker_save_old(list(zip(images, names)), tmp_path / "two.tar")


def test_ambiguous_image(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    reply = gateway.post(two_images(tmp_path, seed), f"{registry.host}/bad/ambiguous:1")
    assert_refused(reply, "AMBIGUOUS_IMAGE", 422, "m/one:1.0")
    assert "m/two:2.0" in reply.error["message"]


@pytest.mark.parametrize(
    "choice", ("m/three:1.0", "m/one:9.9", f"sha256:{'0' * 64}", "docker.io/other/one:1.0")
)
def test_image_unknown(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, choice: str
) -> None:
    archive = two_images(tmp_path, seed)
    reply = gateway.post(archive, f"{registry.host}/bad/unknown:1", image=choice)
    assert_refused(reply, "IMAGE_UNKNOWN", 422, "m/one:1.0")


def test_platform_unknown(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    archive = tar_folder(index_layout(tmp_path / "index", seed), tmp_path / "index.tar")
    target = f"{registry.host}/bad/platform:1"
    for platform in ("linux/s390x", "windows/amd64", "linux/arm64/v7"):
        reply = gateway.post(archive, target, platform=platform)
        assert_refused(reply, "PLATFORM_UNKNOWN", 422, "linux/arm64")


def test_limit_at_its_bounds(
    tmp_path: Path, registry: Registry, larger_archive: Path, gateway: Gateway
) -> None:
    """The limit counts unpacked bytes: as many as the archive has are taken, one less is not."""
    size = larger_archive.stat().st_size
    packed = tmp_path / "packed.tar.gz"
    packed.write_bytes(gzip.compress(larger_archive.read_bytes(), 1, mtime=0))
    for limit, taken in ((size, True), (size // 2, False)):
        config = {"limits": {"archive": limit}}
        with Gateway(tmp_path / f"gateway-{limit}", config) as limited:
            reply = limited.post(packed, f"{registry.host}/bad/limit:{limit}")
            if taken:
                pushed(reply)
            else:
                assert_refused(reply, "ARCHIVE_TOO_LARGE", 413)
                limited.wait_nothing_staged()
                assert limited.blobs() == []


def test_expansion(tmp_path: Path, registry: Registry, release: Path) -> None:
    """A few kilobytes do not become more than 1 GiB in the store, unless layers are not compressed:
    then limits.archive is the only limit."""
    info = tarfile.TarInfo("zeros")
    info.size = (1 << 30) + (256 << 20)
    packed = tmp_path / "zeros.tar.zst"
    with packed.open("wb") as out:
        zstd = subprocess.Popen(["zstd", "-1", "-c"], stdin=subprocess.PIPE, stdout=out)
        assert zstd.stdin
        zstd.stdin.write(info.tobuf())
        zstd.stdin.write(b"no tar")
        for _ in range(info.size >> 20):
            zstd.stdin.write(bytes(1 << 20))
        zstd.stdin.write(bytes(1024))
        zstd.stdin.close()
        assert zstd.wait() == 0
    assert packed.stat().st_size < 200_000
    with Gateway(tmp_path / "gateway", binary=release) as gateway:
        target = f"{registry.host}/bad/expansion:1"
        reply = gateway.post(packed, target)
        assert_refused(reply, "ARCHIVE_TOO_LARGE", 413, "1000 times what was received")
        gateway.wait_nothing_staged()
        reply = gateway.post(packed, target, compression="none")
        assert_refused(reply, "NOT_AN_IMAGE", 422)
        gateway.wait_nothing_staged()


@pytest.mark.pushes
def test_and_then_a_good_one(gateway: Gateway, registry: Registry, larger_archive: Path) -> None:
    (result,) = pushed(gateway.post(larger_archive, f"{registry.host}/good/app:1"))
    assert registry.tags("good/app") == ["1"]
    assert result["tag"] == "1"
