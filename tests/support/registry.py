"""The registry of the distribution project (docker-registry), as real as it gets.

It chooses its own port (`addr: 127.0.0.1:0`) and says which in its log, so two tests can never
race for one. The access log is its standard output.
"""
from __future__ import annotations

import base64
import json
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.certificates import ServerCertificate
from support.processes import Process, must_run

MANIFEST_TYPES = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def htpasswd_file(folder: Path, users: Mapping[str, str]) -> Path:
    """A bcrypt password file, which is the only kind the registry takes."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "htpasswd"
    path.touch(mode=0o600)
    for user, password in users.items():
        # -i: the password comes on standard input, not in a process list.
        must_run(["htpasswd", "-i", "-B", "-C", "4", path, user], data=password.encode())
    return path


class Registry:
    """A running registry; a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        auth: Mapping[str, Any] | None = None,
        tls: ServerCertificate | None = None,
        ca: Path | None = None,
        clients: Path | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.storage = folder / "storage"
        self._more = dict(more or {})
        self._users = dict(users or {})
        self._ca = ca
        self._clients = clients  # the authority of those that are let in
        self._scheme = "https" if tls else "http"
        if users:
            path = htpasswd_file(folder, users)
            auth = {"htpasswd": {"realm": "slipway test", "path": str(path)}}
        self._config = self._write_config(folder, auth, tls)
        self._folder = folder
        self.port = 0

    def _write_config(
        self, folder: Path, auth: Mapping[str, Any] | None, tls: ServerCertificate | None
    ) -> Path:
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": False}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": True},
            },
            "http": {"addr": "127.0.0.1:0", "secret": "only for tests"},
        }
        if auth:
            config["auth"] = dict(auth)
        config.update(self._more)
        if tls:
            config["http"]["tls"] = {"certificate": str(tls.certificate), "key": str(tls.key)}
        if self._clients:
            config["http"]["tls"]["clientcas"] = [str(self._clients)]
        path = folder / "registry.yml"
        path.write_text(yaml.safe_dump(config))
        return path

    def __enter__(self) -> Registry:
        # OTEL_ variables and the like of the caller do not concern it; REGISTRY_ ones would.
        self.process = Process(
            ["docker-registry", "serve", self._config], self._folder, "registry"
        )
        try:
            found = self.process.wait_for(
                lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", self.process.stderr()),
                "its port",
            )
        except BaseException:
            self.process.stop()
            raise
        self.port = int(found.group(1))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def access_log(self) -> list[str]:
        return self.process.stdout().splitlines()

    def requests(self, method: str, part: str = "") -> list[str]:
        """Access-log lines of requests with this method whose path contains `part`."""
        return [
            line for line in self.access_log() if f'"{method} ' in line and part in line
        ]

    def ask(self, path: str, *, method: str = "GET", accept: str = MANIFEST_TYPES) -> Answer:
        """One request to the registry's API, as its first user when it has users."""
        request = urllib.request.Request(
            f"{self._scheme}://{self.host}{path}", method=method, headers={"Accept": accept}
        )
        for user, password in self._users.items():
            basic = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {basic}")
            break
        context = ssl.create_default_context(cafile=str(self._ca)) if self._ca else None
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if context:
            handlers.append(urllib.request.HTTPSHandler(context=context))
        opener = urllib.request.build_opener(*handlers)
        try:
            with opener.open(request, timeout=20) as response:
                return Answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def repositories(self) -> list[str]:
        return list(self.ask("/v2/_catalog?n=10000").json()["repositories"])

    def tags(self, repository: str) -> list[str]:
        answer = self.ask(f"/v2/{repository}/tags/list")
        return sorted(answer.json().get("tags") or []) if answer.status == 200 else []

    def manifest(self, repository: str, reference: str) -> Answer:
        return self.ask(f"/v2/{repository}/manifests/{reference}")

    def blob(self, repository: str, digest: str) -> Answer:
        return self.ask(f"/v2/{repository}/blobs/{digest}")

    def open_uploads(self, repository: str = "**") -> list[Path]:
        """Upload sessions that were neither committed nor cancelled."""
        pattern = f"docker/registry/v2/repositories/{repository}/_uploads/*"
        return sorted(self.storage.glob(pattern))
