"""Writing tars entry by entry: the same bytes on every run, and wrong ones where asked for."""
from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType


COPY_BYTES = 1 << 20


class TarBuilder:
    """A tar being written; a context manager. Owner, times and modes are fixed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tar = tarfile.open(
            path, "w", format=tarfile.GNU_FORMAT, copybufsize=COPY_BYTES
        )

    def _info(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = mode
        info.mtime = 0
        return info

    def file(self, name: str, content: bytes | Path, mode: int = 0o644) -> TarBuilder:
        info = self._info(name, tarfile.REGTYPE, mode)
        if isinstance(content, bytes):
            info.size = len(content)
            self._tar.addfile(info, io.BytesIO(content))
        else:
            info.size = content.stat().st_size
            with content.open("rb") as source:
                self._tar.addfile(info, source)
        return self

    def folder(self, name: str) -> TarBuilder:
        self._tar.addfile(self._info(name, tarfile.DIRTYPE, 0o755))
        return self

    def symlink(self, name: str, target: str) -> TarBuilder:
        return self.link(name, target, tarfile.SYMTYPE)

    def hardlink(self, name: str, target: str) -> TarBuilder:
        return self.link(name, target, tarfile.LNKTYPE)

    def link(self, name: str, target: str, kind: bytes) -> TarBuilder:
        info = self._info(name, kind, 0o777)
        info.linkname = target
        self._tar.addfile(info)
        return self

    def special(self, name: str, kind: bytes) -> TarBuilder:
        """A device or fifo."""
        info = self._info(name, kind, 0o644)
        info.devmajor, info.devminor = 1, 3
        self._tar.addfile(info)
        return self

    def close(self) -> None:
        self._tar.close()

    def __enter__(self) -> TarBuilder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def tar_folder(folder: Path, path: Path, first: Iterable[str] = ()) -> Path:
    """All of a folder as a tar, sorted by name except for what has to come `first`."""
    names = sorted(str(found.relative_to(folder)) for found in folder.rglob("*"))
    ahead = list(first)
    with TarBuilder(path) as tar:
        for name in [*ahead, *(other for other in names if other not in ahead)]:
            source = folder / name
            if source.is_dir():
                tar.folder(name)
            else:
                tar.file(name, source)
    return path
