"""A wall clock that can be moved, for the programs that are given its environment."""
from __future__ import annotations

import struct
from pathlib import Path

from support.disk import preloaded


class WallClock:
    """What tests/preload/wall_clock.c does, for whoever runs with `env`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "wall_clock"
        self.ahead(0)
        self.env = {**preloaded("wall_clock"), "WALL_CLOCK": str(self._file)}

    def ahead(self, seconds: int) -> None:
        """So much more than it is, from now on."""
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))
