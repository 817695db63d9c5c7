"""The slipway command, run to its end or watched while it runs."""
from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.gateway import slipway_binary
from support.processes import SANITIZER_WORDS, Process, plain_environment, run

RESULT_LINE = re.compile(r"(?P<target>\S+)@(?P<digest>sha256:[0-9a-f]{64}) (?P<size>[1-9]\d*)")

# With one of these a command says itself where its data is, or needs none.
PLACES = {"--data", "--config", "--gateway", "--help"}


def words_of(folder: Path, words: Sequence[str | Path]) -> list[str | Path]:
    """The command line; a push keeps its data in the test's own folder and not in the machine's,
    where another build may have been before."""
    placed = any(str(word).split("=")[0] in PLACES for word in words)
    if words[:1] != ("push",) or placed:
        return [slipway_binary(), *words]
    return [slipway_binary(), "push", "--data", folder / "home/slipway", *words[1:]]


def slipway(
    folder: Path,
    *words: str | Path,
    data: bytes | None = None,
    stdin: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """`slipway WORDS` in an environment of its own; never with a sanitizer's complaint."""
    argv = words_of(folder, words)
    environment = plain_environment(folder, env)
    if stdin:
        with stdin.open("rb") as source:
            done = run(argv, env=environment, stdin=source, cwd=folder, seconds=seconds)
    else:
        done = run(argv, env=environment, data=data, cwd=folder, seconds=seconds)
    for word in SANITIZER_WORDS:
        assert word not in done.stderr, done.stderr[-8000:]
    return done


def start_slipway(
    folder: Path, *words: str | Path, stdin: int = subprocess.DEVNULL, name: str = "push"
) -> Process:
    """`slipway WORDS` in the background."""
    return Process(
        words_of(folder, words), folder, name, env=plain_environment(folder), stdin=stdin
    )


def result_lines(stdout: str) -> list[re.Match[str]]:
    """stdout carries results and nothing else: every line is one."""
    lines = stdout.splitlines()
    matches = [RESULT_LINE.fullmatch(line) for line in lines]
    assert lines and all(matches), stdout
    return [match for match in matches if match]
