"""Uploads the way CI makes them: with curl."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from support.processes import run

SECONDS = 120


@dataclass(frozen=True)
class Reply:
    """The last answer of a request; `interim` holds the 1xx statuses before it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    interim: tuple[int, ...] = ()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The first error of the OCI form; checks the form."""
        value = self.json()
        assert isinstance(value.get("errors"), list) and value["errors"], value
        for error in value["errors"]:
            assert set(error) <= {"code", "message", "detail"}, error
            assert error["code"] and error["message"], error
        first: dict[str, Any] = value["errors"][0]
        return first


def images_path(to: Sequence[str], **parameters: str) -> str:
    """/v1/images with its query."""
    pairs = [("to", target) for target in to] + list(parameters.items())
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    return "/v1/images" + (f"?{query}" if query else "")


def _parse_head(text: str) -> tuple[int, dict[str, str]]:
    status_line, *lines = text.split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(status_line.split()[1]), headers


def curl(
    url: str,
    folder: Path,
    *,
    method: str = "GET",
    upload: Path | None = None,
    data: bytes | None = None,
    chunked: bool = False,
    headers: Sequence[str] = (),
    seconds: float = SECONDS,
) -> Reply:
    """One request. `upload` goes as `curl -T FILE`, or `-T -` from standard input when chunked."""
    folder.mkdir(parents=True, exist_ok=True)
    head, body = folder / "curl.head", folder / "curl.body"
    for path in (head, body):
        path.unlink(missing_ok=True)
    argv: list[str | Path] = ["curl", "-q", "-sS", "--noproxy", "*", "--max-time", f"{seconds:g}"]
    argv += ["-D", head, "-o", body, "-X", method]
    for header in headers:
        argv += ["-H", header]
    if data is not None:
        argv += ["--data-binary", "@-"]
        done = run([*argv, url], data=data, seconds=seconds + 10)
    elif upload is not None and chunked:
        with upload.open("rb") as source:
            done = run([*argv, "-T", "-", url], stdin=source, seconds=seconds + 10)
    elif upload is not None:
        done = run([*argv, "-T", upload, url], seconds=seconds + 10)
    else:
        done = run([*argv, *(["-I"] if method == "HEAD" else []), url], seconds=seconds + 10)
    # A refusal may come while the body is still being sent: an answer that was read counts, even
    # if curl then complains that it could not send the rest.
    heads = [part for part in _text(head).split("\r\n\r\n") if part.strip()]
    assert heads, f"no answer from {url}: curl {done.returncode} {done.stderr}"
    parsed = [_parse_head(part) for part in heads]
    *before, (status, found) = parsed
    content = body.read_bytes() if body.exists() else b""
    assert done.returncode in (0, 55, 56), f"curl {done.returncode}: {done.stderr}"
    return Reply(status, found, content, tuple(code for code, _ in before))


def _text(path: Path) -> str:
    return path.read_bytes().decode("latin-1") if path.exists() else ""
