"""What a push does not wait for when its registry is far away."""
from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from support.archives import docker_save_new, docker_save_old
from support.command import start_slipway
from support.images import Image, Layer, files_layer, image_config
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

REQUESTS = 16  # limits.requests_per_registry


def small_layer(folder: Path, number: int) -> Layer:
    (folder / f"{number}").write_bytes(os.urandom(300))
    return files_layer(folder / f"{number}.tar", f"{number}", [folder / f"{number}"])


@pytest.mark.parametrize("count", [3, 40])
@pytest.mark.parametrize("save", [docker_save_new, docker_save_old])
def test_connections_are_opened_while_the_registry_is_greeted(
    registry: Registry, tmp_path: Path, count: int, save: object
) -> None:
    """As many as the image has questions, and no more than may be asked at a time."""
    layers = tuple(small_layer(tmp_path, number) for number in range(count))
    image = Image(image_config(layers, "far"), layers)
    assert callable(save)
    archive = save([(image, ["far:1"])], tmp_path / "image.tar")
    wanted = min(count + 1, REQUESTS)
    with ThrottledProxy(registry.port) as line:
        line.hold()
        host = f"127.0.0.1:{line.port}"
        config = tmp_path / "slipway.json"
        reached = {"endpoints": [f"http://{host}"]}
        text = {"data": str(tmp_path / "data"), "registries": {host: reached}}
        config.write_text(json.dumps(text))
        target = f"{host}/far/{tmp_path.name}:1"
        with start_slipway(tmp_path, "push", "--config", config, archive, target) as push:
            wait_until(lambda: line.connections() == wanted, "connections ahead", seconds=30)
            time.sleep(0.2)
            assert (line.connections(), len(line.openings)) == (wanted, 1)
            line.release()
            assert push.wait(60) == 0, push.stderr()
        # All are used, and no more are needed.
        assert (line.connections(), len(line.openings)) == (wanted, wanted)
    assert registry.tags(f"far/{tmp_path.name}") == ["1"]
