"""A running `slipway serve`, and what can be seen of it from outside."""
from __future__ import annotations

import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.curl import Reply, curl, images_path
from support.processes import Process, plain_environment
from support.waiting import wait_until

SOURCE_FOLDER = Path(__file__).resolve().parents[2]


def slipway_binary() -> Path:
    """The program under test: $SLIPWAY, else the sanitizer build in its usual place."""
    path = Path(os.environ.get("SLIPWAY", SOURCE_FOLDER / "build/asan/slipway"))
    assert path.is_file(), f"no slipway at {path}: build it or set SLIPWAY"
    return path


def _walk(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Each path below and whether it is a folder; os.walk does not mind what vanishes meanwhile."""
    for root, folders, files in os.walk(folder):
        yield from ((Path(root, name), True) for name in folders)
        yield from ((Path(root, name), False) for name in files)


def files_below(folder: Path) -> list[str]:
    """Everything but folders, by relative name."""
    return sorted(str(path.relative_to(folder)) for path, inner in _walk(folder) if not inner)


def staged_below(data: Path) -> list[str]:
    """What is being written in a data folder, or was left over."""
    return sorted(str(path) for path, _ in _walk(data / "staging"))


class Gateway:
    """`slipway serve` on a free port with its own data folder; a context manager."""

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        binary: Path | None = None,
        before: Sequence[str | Path] = (),
    ) -> None:
        """`before` is a command that starts the command behind it, as prlimit does."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._before = tuple(before)
        self.data = folder / "data"
        self._binary = binary or slipway_binary()
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(dict(config or {})))
        self._env = plain_environment(folder, env)
        self.port = 0

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        status = self.process.stop()
        if kind is None:
            self.process.assert_no_sanitizer_report()
            assert status == 0, f"slipway ended with {status}\n{self.log()[-8000:]}"

    def start(self) -> None:
        argv = [*self._before, self._binary, "serve", "--config", self._config]
        argv += ["--listen", "127.0.0.1:0", "--data", self.data]
        self.process = Process(argv, self.folder, "slipway", env=self._env)
        try:
            found = self.process.wait_for(
                lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", self.process.stderr()),
                "its port",
            )
        except BaseException:
            self.process.stop()
            raise
        self.port = int(found.group(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return self.process.stderr()

    def request(self, path: str, **options: Any) -> Reply:
        """One curl request; each has a folder of its own, so that requests may run at once."""
        folder = Path(tempfile.mkdtemp(prefix="curl-", dir=self.folder))
        return curl(self.url + path, folder, **options)

    def post(
        self,
        archive: Path,
        to: Sequence[str] | str = (),
        *,
        method: str = "POST",
        chunked: bool = False,
        seconds: float = 120,
        headers: Sequence[str] = (),
        **parameters: str,
    ) -> Reply:
        """Hand in an archive."""
        targets = [to] if isinstance(to, str) else to
        return self.request(
            images_path(targets, **parameters),
            method=method,
            upload=archive,
            chunked=chunked,
            seconds=seconds,
            headers=headers,
        )

    def connect(self, seconds: float = 20) -> socket.socket:
        """A raw connection, for what no client would do."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=seconds)

    def staged(self) -> list[str]:
        """What is being written, or was left over."""
        return staged_below(self.data)

    def blobs(self) -> list[str]:
        return files_below(self.data / "blobs")

    def wait_nothing_staged(self, seconds: float = 10) -> None:
        """The answer may be on the wire a moment before the last file is removed."""
        wait_until(lambda: not self.staged(), f"{self.data}/staging is empty", seconds)


def pushed(reply: Reply, count: int = 1) -> list[dict[str, Any]]:
    """The results of a push that went well everywhere; checks the shape of the answer."""
    assert reply.status == 200, (reply.status, reply.body[:2000])
    value = reply.json()
    assert reply.headers["content-type"].startswith("application/json")
    assert value["state"] == "pushed" and value["id"], value
    assert value["image"]["manifest"].startswith("sha256:"), value
    assert value["image"]["media_type"], value
    results: list[dict[str, Any]] = value["results"]
    assert len(results) == count, results
    for result in results:
        _check_pushed(result, value["image"])
    return results


def _check_pushed(result: dict[str, Any], image: dict[str, Any]) -> None:
    assert result["state"] == "pushed", result
    assert result["target"].endswith(":" + result["tag"]), result
    assert result["digest"] == image["manifest"], result
    assert result["media_type"] == image["media_type"], result
    assert result["size"] > 0 and result["bytes_uploaded"] >= 0, result
    assert result["attempts"] >= 1, result
    assert set(result["layers"]) == {"existed", "mounted", "uploaded", "skipped"}, result


def failed(reply: Reply, code: str, party: str, status: int = 502) -> dict[str, Any]:
    """The error of the only result of a push that failed; checks the shape of the answer."""
    assert reply.status == status, (reply.status, reply.body[:2000])
    value = reply.json()
    assert value["state"] == "failed", value
    (result,) = value["results"]
    assert result["state"] == "failed", result
    assert "digest" not in result, "a digest is reported only when the registry confirmed it"
    error: dict[str, Any] = result["error"]
    assert (error["code"], error["party"]) == (code, party), error
    assert error["message"], error
    return error
