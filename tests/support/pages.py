"""The fenced blocks of the project's documents, as a reader would copy them."""
from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.gateway import SOURCE_FOLDER

PAGES = (
    SOURCE_FOLDER / "README.md",
    SOURCE_FOLDER / "CONTRIBUTING.md",
    *sorted(SOURCE_FOLDER.glob("docs/*.md")),
)
FENCE = re.compile(r"^( *)```(\S+)(?: ([^\n]+))?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    mark: str  # what stands behind the language: "run" for what a test runs as it is
    text: str

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, language: str) -> Iterator[Block]:
    text = page.read_text()
    for match in FENCE.finditer(text):
        if match[2] == language:
            line = text.count("\n", 0, match.start()) + 1
            yield Block(page, line, language, match[3] or "", textwrap.dedent(match[4]))


def one_block(page: Path, language: str) -> Block:
    """The only block of that language on the page."""
    (block,) = blocks(page, language)
    return block
