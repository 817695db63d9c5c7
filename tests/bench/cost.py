"""What a program costs: seconds, memory and threads, as the kernel counts them.

CPU seconds are the kernel's exact ones (wait4, or the process's CPU clock while it runs), not the
ticks of /proc/PID/stat. The peak of memory is VmHWM: ru_maxrss would also count this interpreter,
of which the child was once a copy.
"""
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    # What the registry has counted meanwhile; 0 where it does not count.
    requests: int = 0
    bytes: int = 0
    mounts: int = 0
    manifests: int = 0


def total(costs: Iterable[Cost]) -> Cost:
    result = Cost()
    for cost in costs:
        result.wall_s += cost.wall_s
        result.cpu_s += cost.cpu_s
        result.peak_mib = max(result.peak_mib, cost.peak_mib)
        result.threads = max(result.threads, cost.threads)
    return result


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


def run_program(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Cost:
    """A program from its start to its end, with what it waited for. It must end well."""
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        child = subprocess.Popen(command, stdout=output, stderr=output, env=env)
        watch = Watch(child.pid)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        watch.end()
        if child.returncode != 0:
            output.seek(0)
            words = output.read().decode(errors="replace")
            sys.exit(f"bench: {' '.join(map(str, command))}:\n{words}")
    cpu = usage.ru_utime + usage.ru_stime
    return Cost(wall, cpu, watch.peak_kib / 1024, watch.threads)


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
