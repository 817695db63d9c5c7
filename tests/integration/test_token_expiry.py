"""Tokens that expire by the clock while a push is under way."""
from __future__ import annotations

import collections
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import docker_save_old
from support.gateway import Gateway, pushed
from support.images import Image, image_config, seal
from support.registry import Registry
from support.tars import TarBuilder
from support.throttle import ThrottledProxy
from support.token_server import TokenServer, token_server

USER, PASSWORD = "ci-user", "p4ssw0rd"
LIFETIME_SECONDS = 3
LAYERS, LAYER_BYTES = 4, 1_500_000
# Each layer takes about a token's life, all of them several.
BYTES_PER_SECOND = 500_000


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path / "tokens", {USER: PASSWORD}) as running:
        running.lifetime_seconds = LIFETIME_SECONDS
        running.leeway_seconds = 60
        yield running


@pytest.fixture
def token_registry(tmp_path: Path, tokens: TokenServer) -> Iterator[Registry]:
    with Registry(tmp_path / "registry", auth=tokens.registry_auth()) as running:
        yield running


def random_archive(folder: Path) -> Path:
    layers = []
    for number in range(LAYERS):
        with TarBuilder(folder / f"{number}.tar") as tar:
            tar.file(f"data/{number}", os.urandom(LAYER_BYTES))
        layers.append(seal(folder / f"{number}.tar"))
    image = Image(image_config(layers, "expiry"), tuple(layers))
    return docker_save_old([(image, ["m/source:1.0"])], folder / "image.tar")


def tag_of(registry: Registry) -> str:
    """The digest under expiry/app:1, from the registry's files: it wants a token for anything else,
    and checks the blobs against their digests when they are committed."""
    tag = registry.storage / "docker/registry/v2/repositories/expiry/app/_manifests/tags/1"
    return (tag / "current/link").read_text()


def refused(registry: Registry) -> list[str]:
    """Requests with a body, answered 401."""
    return [
        line
        for method in ("PATCH", "PUT")
        for line in registry.requests(method, "/v2/")
        if '" 401 ' in line
    ]


@pytest.mark.parametrize("way", ["put", "chunked"])
def test_tokens_that_expire_by_the_clock(
    token_registry: Registry, tokens: TokenServer, tmp_path: Path, way: str
) -> None:
    archive = random_archive(tmp_path)
    with ThrottledProxy(token_registry.port, to_server=BYTES_PER_SECOND) as proxy:
        host = f"127.0.0.1:{proxy.port}"
        entry = {"username": USER, "password": PASSWORD, "upload": way, "chunk": "256KiB",
                 "endpoints": [f"http://{host}"]}
        config = {"registries": {host: entry}, "limits": {"pushes_per_registry": 1}}
        with Gateway(tmp_path / "gateway", config) as gateway:
            start = time.monotonic()
            (result,) = pushed(gateway.post(archive, f"{host}/expiry/app:1", seconds=100))
            seconds = time.monotonic() - start
    granted = len(tokens.requests)
    print(f"{way}: {seconds:.1f} s, {granted} tokens of {LIFETIME_SECONDS} s, "
          f"{proxy.sent_up / (LAYERS * LAYER_BYTES):.3f} times the layers sent")
    assert seconds > 3 * LIFETIME_SECONDS
    assert granted > 3 and all(request.granted for request in tokens.requests)
    assert result["attempts"] == 1 and result["layers"]["uploaded"] == LAYERS
    # No body found its token expired, and none was sent twice.
    assert refused(token_registry) == []
    lines = token_registry.requests("PUT", "/v2/expiry/app/blobs/uploads/")
    found = [re.search(r"digest=sha256(?:%3A|:)([0-9a-f]{64})", line) for line in lines]
    sent = collections.Counter(match.group(1) for match in found if match)
    assert len(sent) == LAYERS + 1 and set(sent.values()) == {1}
    assert proxy.sent_up < 1.05 * LAYERS * LAYER_BYTES
    assert tag_of(token_registry) == result["digest"]
    assert not token_registry.open_uploads()
