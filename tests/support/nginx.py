"""nginx in front of a registry, as the field has it: with a limit on the body of a request, or
refusing kinds of manifests; or with whatever `server` a test gives it.

It cannot choose a port itself: it is given one that was free a moment before, and another one when
somebody was faster.
"""
from __future__ import annotations

import functools
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.processes import Process, plain_environment
from support.waiting import wait_until

ATTEMPTS = 5

CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 256; }}
http {{
  log_format lines '$status $request_length $request';
  access_log {folder}/access.log lines;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{site}
}}
"""

LIMITED = """
  client_max_body_size {body_limit};
  map_hash_bucket_size 256;
  map "$request_method $http_content_type" $refused {{
    default 0;
{refused}
  }}
  server {{
    listen 127.0.0.1:{port};
    error_page 418 = @refuse;
    location @refuse {{
      default_type application/json;
      return {refusal_status} '{refusal_body}';
    }}
    location / {{
      if ($refused) {{ return 418; }}
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
    }}
  }}
"""


@dataclass(frozen=True)
class Passed:
    """One line of the access log."""

    status: int
    size: int  # of the request, with its head
    method: str
    path: str


def _limited_site(
    upstream: str, body_limit: str, refused: Sequence[str], refusal: tuple[int, str], port: int
) -> str:
    return LIMITED.format(
        port=port,
        upstream=upstream,
        body_limit=body_limit,
        refused="\n".join(f'    "PUT {one}" 1;' for one in refused),
        refusal_status=refusal[0],
        refusal_body=refusal[1],
    )


class Nginx:
    """A running nginx; a context manager.

    A PUT of one of the media types `refused` is answered with `refusal`, a status and a body. `site`
    makes another `server`, which listens on the port that it is given.
    """

    def __init__(
        self,
        folder: Path,
        upstream: str,
        body_limit: str = "0",
        *,
        refused: Sequence[str] = (),
        refusal: tuple[int, str] = (415, ""),
        site: Callable[[int], str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._site = site or functools.partial(
            _limited_site, upstream, body_limit, refused, refusal
        )
        self.port = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _start(self) -> bool:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = self._folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=self._folder, site=self._site(self.port)))
        argv = ["nginx", "-p", self._folder, "-c", config, "-e", "stderr"]
        self._process = Process(argv, self._folder, "nginx", env=plain_environment(self._folder))

        def settled() -> bool:
            return not self._process.running() or "getrlimit(" in self._process.stderr()

        wait_until(settled, "nginx started or gave up")
        return self._process.running()

    def __enter__(self) -> Nginx:
        if not any(self._start() for _ in range(ATTEMPTS)):
            raise AssertionError(self._process.stderr())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()

    def requests(self) -> list[Passed]:
        """What was asked so far; a line is written when its answer is."""
        found = []
        for line in (self._folder / "access.log").read_text().splitlines():
            if r"\x16\x03" in line:
                continue  # TLS is tried first, on a port that does not speak it
            match = re.fullmatch(r"(\d+) (\d+) (\S+) (\S+) HTTP/1\.1", line)
            assert match, line
            found.append(Passed(int(match[1]), int(match[2]), match[3], match[4]))
        return found
