"""Child processes that are always ended, by their own pid, whatever the test does.

Output goes to files rather than pipes: nobody has to drain them while the test looks elsewhere,
and a log can be read while the process runs and after it died.

A child dies with the thread that started it, so nothing is left of a test run that was killed.
Start what shall live on from the main thread.
"""
from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from support.waiting import wait_until

STOP_SECONDS = 20.0
SANITIZER_WORDS = (
    "ERROR: AddressSanitizer",
    "ERROR: LeakSanitizer",
    "WARNING: ThreadSanitizer",
    "runtime error:",
)
# PR_SET_PDEATHSIG without running Python between fork and exec.
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


def plain_environment(folder: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment without what would leak the developer's logins or proxies in."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("SLIPWAY_", "DOCKER_"))
    }
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    environment["HOME"] = str(home)
    environment["DOCKER_CONFIG"] = str(home / ".docker")
    environment["XDG_RUNTIME_DIR"] = str(home)
    environment["XDG_DATA_HOME"] = str(home / "share")
    environment.update(extra or {})
    return environment


class Process:
    """One running program; a context manager that ends it."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        folder: Path,
        name: str,
        *,
        env: Mapping[str, str] | None = None,
        stdin: IO[Any] | int = subprocess.DEVNULL,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.stdout_path = folder / f"{name}.stdout"
        self.stderr_path = folder / f"{name}.stderr"
        with self.stdout_path.open("wb") as out, self.stderr_path.open("wb") as err:
            self.popen = subprocess.Popen(
                [*DIES_WITH_US, *(str(word) for word in argv)],
                stdin=stdin,
                stdout=out,
                stderr=err,
                env=env,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def stdout(self) -> str:
        return self.stdout_path.read_text(errors="replace")

    def stderr(self) -> str:
        return self.stderr_path.read_text(errors="replace")

    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """The exit status; negative for a signal. Fails when the process does not end in time."""
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {seconds:g} s\n{self.stderr()}"
            ) from None

    def wait_for(self, condition: Any, what: str, seconds: float = 20.0) -> Any:
        """wait_until, but a process that died ends the waiting with its last words."""

        def check() -> Any:
            result = condition()
            if not result and not self.running():
                raise AssertionError(
                    f"{self.name} ended with {self.popen.returncode} before {what}\n{self.stderr()}"
                )
            return result

        return wait_until(check, f"{self.name}: {what}", seconds)

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """SIGTERM, then SIGKILL for what does not listen; the exit status."""
        if self.running():
            self.popen.terminate()
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        return self.popen.wait()

    def assert_no_sanitizer_report(self) -> None:
        text = self.stderr()
        for word in SANITIZER_WORDS:
            assert word not in text, f"{self.name}:\n{text[text.index(word) - 200 :][:8000]}"

    def peak_memory_bytes(self) -> int:
        """VmHWM: the most memory that was ever resident. Only while the process runs."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no VmHWM for {self.name}")

    def descriptors(self) -> list[str]:
        """What each of them leads to. Only while the process runs."""
        found = []
        for entry in Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(entry))
        return found

    def cpu_seconds(self) -> float:
        """User and system time so far. Only while the process runs."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: IO[Any] | int | None = None,
    data: bytes | None = None,
    cwd: Path | None = None,
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """A program that ends by itself; its output is captured and its failure is the caller's."""
    options: dict[str, Any] = {"stdin": stdin if stdin is not None else subprocess.DEVNULL}
    if data is not None:
        options = {"input": data}
    done = subprocess.run(
        [*DIES_WITH_US, *(str(word) for word in argv)],
        capture_output=True,
        env=env,
        cwd=cwd,
        timeout=seconds,
        check=False,
        **options,
    )
    # Text where the output is text; what goes in goes in as it is.
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return subprocess.CompletedProcess(done.args, done.returncode, out, err)


def must_run(argv: Sequence[str | Path], **options: Any) -> str:
    """run() for tools of the test itself: any failure is an error with the tool's words."""
    done = run(argv, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stderr or done.stdout}")
    return done.stdout
