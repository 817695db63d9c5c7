#!/usr/bin/python3
"""Who includes whom: the folders' order and each library's one home, as the architecture says.

    check_includes.py SOURCE_FOLDER

Linking cannot show this: a static library links whatever it is given.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOWED = {
    "base": {"base"},
    "config": {"config", "base"},
    "image": {"image", "base"},
    "store": {"store", "image", "base"},
    "upstream": {"upstream", "store", "image", "base"},
    "gateway": {"gateway", "upstream", "store", "image", "config", "base"},
}

# Header pattern -> where it may be included: folders, or single files.
HOMES = (
    (r"microhttpd\.h", {"gateway"}),
    (r"curl/.*", {"upstream"}),
    (r"lmdb\.h", {"store"}),
    (r"(archive|archive_entry|zstd|zlib)\.h|(isa-l/)?(igzip_lib|crc)\.h|isa-l\.h", {"image"}),
    (r"openssl/.*", {"image/digest.c", "upstream"}),
)

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def complaints(file: Path, name: str) -> Iterator[str]:
    """What is wrong with the #include lines of one file."""
    folder = name.split("/")[0]
    for match in INCLUDE.finditer(file.read_text()):
        own, system = match.groups()
        if own is not None:
            parts = own.split("/")
            if len(parts) < 2:
                yield f'{name}: "{own}" is not given from the source folder'
            elif parts[0] not in ALLOWED[folder]:
                yield f'{name}: {folder}/ may not include "{own}"'
            continue
        for pattern, homes in HOMES:
            if re.fullmatch(pattern, system) and not homes & {folder, name}:
                yield f"{name}: <{system}> belongs to {', '.join(sorted(homes))}"


def main(root: Path) -> int:
    files = [
        (path, f"{folder}/{path.name}")
        for folder in ALLOWED
        for path in sorted((root / folder).glob("*.[ch]"))
    ]
    found = [text for path, name in files for text in complaints(path, name)]
    for text in found:
        print(text, file=sys.stderr)
    if not files:
        print(f"no sources below {root}", file=sys.stderr)
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
