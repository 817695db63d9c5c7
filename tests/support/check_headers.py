#!/usr/bin/python3
"""Every header compiles alone, and twice, with the flags of its top folder's sources.

    check_headers.py SOURCE_FOLDER BUILD_FOLDER

The flags are those that CMake wrote into compile_commands.json, so they cannot drift from the
build's.
"""
from __future__ import annotations

import json
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDERS = ("base", "net", "config", "image", "store", "upstream", "gateway")


def compile_flags(root: Path, build: Path) -> dict[str, list[str]]:
    """The compiler and its flags for each folder, from any source in it."""
    found: dict[str, list[str]] = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = Path(entry["directory"], entry["file"])
        if not source.is_relative_to(root):
            continue
        folder = source.relative_to(root).parts[0]
        if folder not in FOLDERS or folder in found:
            continue
        words = shlex.split(entry["command"])
        found[folder] = [words[0], *_without_output(words[1:], entry["file"])]
    return found


def _without_output(words: list[str], source: str) -> list[str]:
    kept = []
    rest = iter(words)
    for word in rest:
        if word in ("-o", "-MF", "-MT", "-MQ"):
            next(rest)
        elif word not in ("-c", "-MD", "-MMD", source):
            kept.append(word)
    return kept


def check(name: str, flags: list[str]) -> str:
    """The compiler's complaint about one header, or nothing."""
    text = f'#include "{name}"\n#include "{name}"\n'
    done = subprocess.run(
        [*flags, "-fsyntax-only", "-x", "c", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    return f"{name} does not compile alone:\n{done.stderr}" if done.returncode else ""


def main(root: Path, build: Path) -> int:
    flags = compile_flags(root, build)
    headers = [
        (folder, str(path.relative_to(root)))
        for folder in FOLDERS
        for path in sorted((root / folder).rglob("*.h"))
    ]
    # A folder that has headers but no source yet is checked with another folder's flags.
    default = next(iter(flags.values()))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(check, name, flags.get(folder, default)) for folder, name in headers]
        found = [text for job in jobs if (text := job.result())]
    for text in found:
        print(text, file=sys.stderr)
    return 1 if found or not headers else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
