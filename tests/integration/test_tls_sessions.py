"""Further connections to a registry resume the TLS session of the first one."""
from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.archives import docker_save_old
from support.certificates import Authority
from support.command import slipway
from support.images import Image, Layer, files_layer, image_config
from support.nginx import Nginx
from support.registry import Registry

LAYERS = 24  # more than are sent at a time

SITE = """
  log_format tls '$connection $ssl_session_reused';
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols {protocol};
    ssl_session_cache shared:tls:1m;
    access_log {log} tls;
    client_max_body_size 0;
    location / {{ proxy_pass http://{upstream}; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto https; }}
  }}
"""


def small_layer(folder: Path, number: int) -> Layer:
    (folder / f"{number}").write_bytes(os.urandom(300))
    return files_layer(folder / f"{number}.tar", f"tls-{number}", [folder / f"{number}"])


@pytest.mark.parametrize("protocol", ["TLSv1.2", "TLSv1.3"])
def test_sessions_are_resumed(registry: Registry, tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path / "ca")
    server = authority.server()
    log = tmp_path / "tls.log"
    layers = tuple(small_layer(tmp_path, number) for number in range(LAYERS))
    image = Image(image_config(layers, "tls"), layers)
    archive = docker_save_old([(image, ["tls:1"])], tmp_path / "image.tar")
    with Nginx(
        tmp_path / "nginx",
        registry.host,
        site=lambda port: SITE.format(
            port=port,
            certificate=server.certificate,
            key=server.key,
            protocol=protocol,
            log=log,
            upstream=registry.host,
        ),
    ) as nginx:
        host = f"localhost:{nginx.port}"
        config = tmp_path / "slipway.json"
        config.write_text(json.dumps({"registries": {host: {"ca": str(authority.path)}}}))
        name = protocol.lower().replace(".", "-")
        done = slipway(tmp_path, "push", "--config", config, archive, f"{host}/{name}/app:1")
        assert done.returncode == 0, done.stderr
    how = dict(line.split() for line in log.read_text().splitlines())  # of each connection
    resumed = list(how.values()).count("r")
    assert len(how) > 8 and resumed > 2, how
