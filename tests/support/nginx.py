"""nginx in front of a registry, as many registries have it: to refuse what a test wants refused.

nginx cannot choose its own port, so one that was free a moment ago is tried, and another one when
somebody was faster.
"""
from __future__ import annotations

import socket
from pathlib import Path

from support.processes import Process
from support.waiting import wait_until

CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map_hash_bucket_size 256;
    map "$request_method $http_content_type" $refused {{
        default 0;
{rows}
    }}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        location / {{
            if ($refused) {{ return 418; }}
            proxy_pass http://{upstream};
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
            proxy_http_version 1.1;
        }}
        error_page 418 = @refuse;
        location @refuse {{
            default_type application/json;
            return {status} '{body}';
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class RefusingProxy:
    """A context manager: PUTs of these media types get `status` and `body`, all else passes."""

    def __init__(
        self, folder: Path, upstream: str, media_types: list[str], status: int, body: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._rows = "\n".join(f'        "PUT {one}" 1;' for one in media_types)
        self._values = {"upstream": upstream, "status": status, "body": body}

    def _start(self) -> bool:
        self.port = free_port()
        config = self._folder / "nginx.conf"
        config.write_text(
            CONFIG.format(folder=self._folder, port=self.port, rows=self._rows, **self._values)
        )
        argv = ["nginx", "-c", config, "-p", self._folder, "-e", "stderr"]
        self.process = Process(argv, self._folder, "nginx")
        wait_until(lambda: listens(self.port) or not self.process.running(), "nginx")
        return self.process.running()

    def __enter__(self) -> RefusingProxy:
        for _ in range(5):
            if self._start():
                return self
            self.process.stop()
        raise AssertionError(f"nginx does not start\n{self.process.stderr()}")

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def requests(self, method: str, part: str) -> list[str]:
        lines = (self._folder / "access.log").read_text().splitlines()
        return [line for line in lines if f'"{method} ' in line and part in line]
