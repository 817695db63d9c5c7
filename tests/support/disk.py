"""A disk that fails on demand, for the programs that are given its environment."""
from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from support.gateway import slipway_binary

SYNCS = "fsync,fdatasync,msync"


def preloaded(name: str) -> dict[str, str]:
    """The environment of a program that runs with tests/preload/NAME.c."""
    library = slipway_binary().parent / f"tests/lib{name}.so"
    assert library.is_file(), f"no {library}: build it"
    # The sanitizers' own libraries do not mind another one before them.
    sanitizer = os.environ.get("ASAN_OPTIONS", "")
    options = ":".join(filter(None, (sanitizer, "verify_asan_link_order=0")))
    return {"LD_PRELOAD": str(library), "ASAN_OPTIONS": options}


class Disk:
    """What tests/preload/disk_fault.c does, for whoever runs with `env`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._control = folder / "disk_fault"
        self._fired = folder / "disk_fault.fired"
        self._plans = 0
        self.env = {**preloaded("disk_fault"), "DISK_FAULT": str(self._control)}

    def fail(self, calls: str, error: int, below: Path, skip: int = 0, times: int = 0) -> None:
        """From now on, after the first `skip`: these calls on files below this path, or which it
        matches; `times` of them, 0: all."""
        self._fired.unlink(missing_ok=True)
        draft = self._control.with_suffix(".new")
        self._plans += 1  # no two are the same, so that each is counted from its begin
        draft.write_text(f"{calls} {error} {skip} {times} {below} {self._plans}")
        draft.rename(self._control)

    def fired(self) -> bool:
        """Has a call failed since fail()?"""
        return self._fired.exists()

    def count(self, below: Path) -> None:
        """From now on no call fails; counted() are those on files below this path."""
        self.fail("any", 0, below)

    def counted(self) -> Counter[str]:
        return Counter(self._fired.read_text().split() if self.fired() else ())

    def mend(self) -> None:
        self._control.unlink(missing_ok=True)
