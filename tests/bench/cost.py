"""What a program costs: seconds, memory and threads, as the kernel counts them, and calls.

CPU seconds are the kernel's exact ones (wait4, or the process's CPU clock while it runs), not the
ticks of /proc/PID/stat. The peak of memory is VmHWM: ru_maxrss would also count this interpreter,
of which the child was once a copy. Calls are counted by tests/preload/counts.c.
"""
from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

SAMPLE_SECONDS = 0.01
# CPUCLOCK_SCHED of the kernel's posix-timers.h: what all threads of a process ran, ended ones too.
CPU_CLOCK_OF_PROCESS = 2


@dataclass
class Cost:
    """Of one push, or of several after each other."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    threads: int = 0
    # Of the registries meanwhile; but for the first 0 where they do not count.
    registry_cpu_s: float = 0.0
    requests: int = 0
    bytes: int = 0
    mounts: int = 0
    manifests: int = 0
    # What the program called; 0 where it cannot be counted.
    fsyncs: int = 0
    commits: int = 0
    started: int = 0
    hashed: int = 0
    deflated: int = 0


MOST = {"peak_mib", "threads"}


def total(costs: Iterable[Cost]) -> Cost:
    result = Cost()
    for cost in costs:
        for name in (field.name for field in fields(Cost)):
            both = (getattr(result, name), getattr(cost, name))
            setattr(result, name, max(both) if name in MOST else sum(both))
    return result


class Calls:
    """What programs that run with `env` have called so far."""

    NAMES = ("fsyncs", "commits", "started", "hashed", "deflated")
    LAYOUT = struct.Struct(f"={len(NAMES)}Q")

    def __init__(self, library: Path | None, folder: Path) -> None:
        self._file = folder / "counts"
        folder.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(bytes(self.LAYOUT.size))
        self.env = {"LD_PRELOAD": str(library), "COUNTS": str(self._file)} if library else {}

    def counts(self) -> dict[str, int]:
        return dict(zip(self.NAMES, self.LAYOUT.unpack(self._file.read_bytes())))


def add_difference(
    cost: Cost, before: Mapping[str, float], after: Mapping[str, float]
) -> None:
    """What was counted in between, in the fields of the same names."""
    for name in {field.name for field in fields(Cost)} & set(after):
        setattr(cost, name, getattr(cost, name) + after[name] - before.get(name, 0))


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a running process so far."""
    return time.clock_gettime((~pid << 3) | CPU_CLOCK_OF_PROCESS)


class Watch(threading.Thread):
    """Looks at a process until end(): its peak of memory and its most threads."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.peak_kib = 0
        self.threads = 0
        self.start()

    def run(self) -> None:
        self._look()
        while not self._ended.wait(SAMPLE_SECONDS):
            self._look()
        self._look()

    def _look(self) -> None:
        # Without VmHWM it has ended and is not waited for yet.
        with contextlib.suppress(OSError, KeyError):
            lines = self._status.read_text(encoding="ascii", errors="replace").splitlines()
            fields = dict(line.split(":", 1) for line in lines)
            self.peak_kib = max(self.peak_kib, int(fields["VmHWM"].split()[0]))
            self.threads = max(self.threads, int(fields["Threads"]))

    def end(self) -> None:
        self._ended.set()
        self.join()


class ProgramFailed(Exception):
    """It did not end well; says what it wrote."""


def run_once(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
) -> Cost:
    """A program from its start to its end, with what it waited for."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        child = subprocess.Popen(command, stdin=stdin, stdout=output, stderr=output, env=env)
        watch = Watch(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        watch.end()
        if child.returncode != 0:
            output.seek(0)
            words = output.read().decode(errors="replace")
            raise ProgramFailed(f"{' '.join(map(str, command))}:\n{words}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(wall, cpu, watch.peak_kib / 1024, watch.threads)


def run_program(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    stdin: IO[bytes] | int = subprocess.DEVNULL,
) -> Cost:
    """As run_once(). It must end well."""
    try:
        return run_once(command, env, stdin)
    except ProgramFailed as failure:
        sys.exit(f"bench: {failure}")


@contextlib.contextmanager
def watched(pid: int) -> Iterator[Cost]:
    """What a running server costs until the end of the context; filled in there."""
    cost = Cost()
    # Its peak is from now on what it has now.
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    watch, before, start = Watch(pid), cpu_seconds(pid), time.monotonic()
    try:
        yield cost
    finally:
        cost.wall_s = time.monotonic() - start
        cost.cpu_s = cpu_seconds(pid) - before
        watch.end()
    cost.peak_mib, cost.threads = watch.peak_kib / 1024, watch.threads
