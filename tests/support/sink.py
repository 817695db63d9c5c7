"""A registry that only discards, and counts: tests/bench/sink.c."""
from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from pathlib import Path
from types import TracebackType

from support.processes import Process


class Sink:
    """A running tests/bench/sink.c; a context manager."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.port = 0

    def __enter__(self) -> Sink:
        self.process = Process([self._program, "0"], self._folder, "sink")
        found = self.process.wait_for(
            lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", self.process.stderr()), "its port"
        )
        self.port = int(found.group(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.stop()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def counts(self) -> Counter[str]:
        """What it has taken so far."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{self.host}/counts", timeout=20) as answer:
            return Counter(json.load(answer))
