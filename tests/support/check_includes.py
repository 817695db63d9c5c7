#!/usr/bin/python3
"""Who includes whom: the order of the rooms, each library's one home, and circles.

    check_includes.py SOURCE_FOLDER [--table]

A room is a folder with sources. ROOMS, BELOW and LESS say what each may include; docs/architecture.md has
the same table for readers, and this test compares them. Linking cannot show any of it: a static
library links whatever it is given.

A module is a header and the source of the same name. Modules of different rooms never form a circle,
counting the #include lines of headers and sources; within a room a circle of at most CIRCLE_MAX modules
may stand, and there are at most CIRCLES_MAX of them. `--table` prints the rooms with their lines.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

# What the rooms of a folder may include: those of its own folder, and whole folders below it.
BELOW = {
    "base": set(),
    "net": {"base"},
    "image": {"base"},
    "config": {"base"},
    "store": {"image", "base"},
    "upstream": {"store", "net", "image", "base"},
    "gateway": {"upstream", "store", "net", "image", "config", "base"},
}
# Rooms that see less than their folder.
LESS = {
    "store/local/kv": {"base"},
    "upstream/push/schema1": {"image", "base"},
    "gateway/http": {"base"},
}
ROOMS = {
    "base": set(),
    "net": set(),
    "image": set(),
    "config": set(),
    "store": set(),
    "store/local": {"store", "store/local/kv"},
    "store/local/kv": set(),
    "upstream/push": {"upstream/push/schema1", "upstream/upload", "upstream/client", "upstream/auth"},
    "upstream/push/schema1": set(),
    "upstream/upload": {"upstream/client", "upstream/auth"},
    "upstream/client": {"upstream/auth"},
    "upstream/auth": set(),
    "gateway/cli": {"gateway/access", "gateway/server", "gateway/service", "gateway/queue", "gateway/push",
                    "gateway/ingest"},
    "gateway/server": {"gateway/access", "gateway/api", "gateway/registry", "gateway/service", "gateway/http",
                       "gateway/reconcile", "gateway/queue", "gateway/push", "gateway/ingest"},
    "gateway/api": {"gateway/access", "gateway/service", "gateway/http", "gateway/reconcile", "gateway/queue",
                    "gateway/push", "gateway/ingest"},
    "gateway/registry": {"gateway/access", "gateway/service", "gateway/http", "gateway/queue", "gateway/push",
                         "gateway/ingest"},
    "gateway/service": {"gateway/access", "gateway/http", "gateway/reconcile", "gateway/queue", "gateway/push",
                        "gateway/ingest"},
    "gateway/access": {"gateway/http"},
    "gateway/http": set(),
    "gateway/reconcile": {"gateway/access", "gateway/queue", "gateway/push"},
    "gateway/queue": {"gateway/access", "gateway/push", "gateway/ingest"},
    "gateway/push": {"gateway/ingest"},
    "gateway/ingest": set(),
}
# Of store/ others see the interface only.
HIDDEN = re.compile(r"store/local/")
HIDDEN_BUT_FOR = {"store/local", "store/local/kv"}

# Header pattern -> where it may be included: rooms, folders, or single files.
HOMES = (
    (r"microhttpd\.h", {"gateway/http"}),
    (r"curl/.*", {"net"}),
    (r"lmdb\.h", {"store/local/kv"}),
    (r"(archive|archive_entry|zstd|zlib)\.h|(isa-l/)?(igzip_lib|crc)\.h|isa-l\.h", {"image"}),
    (r"crypt\.h", {"gateway/access"}),
    (r"gnutls/.*", {"gateway/http"}),
    (r"openssl/.*", {"base/base64.c", "gateway/access", "config/settings_tls.c", "image/digest.c", "net",
                       "upstream/push/schema1"}),
)

CIRCLE_MAX = 3
CIRCLES_MAX = 6

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)


def room_of(name: str) -> str:
    return name.rsplit("/", 1)[0]


def below(room: str) -> set[str]:
    return LESS.get(room, BELOW[room.split("/")[0]])


def allowed(room: str, other: str) -> bool:
    """May a file of `room` include one of `other`?"""
    if other == room:
        return True
    if HIDDEN.match(other + "/") and room not in HIDDEN_BUT_FOR:
        return False
    return other in ROOMS[room] or other.split("/")[0] in below(room)


def complaints(file: Path, name: str) -> Iterator[str]:
    """What is wrong with the #include lines of one file."""
    room = room_of(name)
    for own, system in INCLUDE.findall(file.read_text()):
        if own:
            if "/" not in own:
                yield f'{name}: "{own}" is not given from the source folder'
            elif not allowed(room, room_of(own)):
                yield f'{name}: {room}/ may not include "{own}"'
            continue
        for pattern, homes in HOMES:
            if re.fullmatch(pattern, system) and not homes & {room, name}:
                yield f"{name}: <{system}> belongs to {', '.join(sorted(homes))}"


def sources(root: Path) -> dict[str, Path]:
    found = {}
    for room in ROOMS:
        for path in sorted((root / room).glob("*.[ch]")):
            found[f"{room}/{path.name}"] = path
    return found


def modules(files: dict[str, Path]) -> dict[str, set[str]]:
    """Module -> the modules that its header and source include."""
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        module = name.rsplit(".", 1)[0]
        edges = graph.setdefault(module, set())
        for own, _ in INCLUDE.findall(path.read_text()):
            if own and own.rsplit(".", 1)[0] != module:
                edges.add(own.rsplit(".", 1)[0])
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        left = [start]
        while left:
            for other in graph.get(left.pop(), ()):
                if other in graph and other not in seen:
                    seen.add(other)
                    left.append(other)
        reach[start] = seen
    done: set[str] = set()
    found = []
    for start in sorted(graph):
        if start in done or start not in reach[start]:
            continue
        circle = sorted(other for other in reach[start] if start in reach[other])
        done.update(circle)
        found.append(circle)
    return found


def circle_complaints(graph: dict[str, set[str]]) -> Iterator[str]:
    found = circles(graph)
    for circle in found:
        rooms = {room_of(module) for module in circle}
        if len(rooms) > 1:
            yield f"a circle over rooms: {' '.join(circle)}"
        elif len(circle) > CIRCLE_MAX:
            yield f"a circle of more than {CIRCLE_MAX} modules: {' '.join(circle)}"
    if len(found) > CIRCLES_MAX:
        yield f"{len(found)} circles, at most {CIRCLES_MAX}: {found}"
    if len(found) < CIRCLES_MAX:
        yield f"{len(found)} circles are left: lower CIRCLES_MAX to that"


def may_include(room: str) -> str:
    return ", ".join([*sorted(ROOMS[room]), *sorted(below(room))]) or "nothing"


def rows(files: dict[str, Path]) -> Iterator[str]:
    """The table of docs/architecture.md, without what a room is."""
    for room in ROOMS:
        lines = sum(len(p.read_text().splitlines()) for n, p in files.items() if room_of(n) == room)
        yield f"| `{room}/` | {lines} | {may_include(room)} |"


def table_complaints(root: Path) -> Iterator[str]:
    """The table says what is held here; its lines are those of the day on which it was printed."""
    page = (root / "docs/architecture.md").read_text()
    told = dict(re.findall(r"^\| \[`([a-z0-9/]+)/`\]\(.*?\) \|.*?\| \d+ \| (.*) \|$", page, re.M))
    for room in ROOMS:
        if told.get(room) != may_include(room):
            yield f"docs/architecture.md: {room}/ may include: {may_include(room)}"


def readme_complaints(root: Path, files: dict[str, Path]) -> Iterator[str]:
    """Each room has a README that names each of its modules."""
    for room in sorted({room_of(name) for name in files}):
        page = root / room / "README.md"
        text = page.read_text() if page.exists() else ""
        if not text:
            yield f"{room}/ has no README.md"
            continue
        named = set(re.findall(r"`(\w+)(?:\.[ch])?`", text))
        for module in sorted({n.rsplit("/", 1)[1].rsplit(".", 1)[0] for n in files if room_of(n) == room}):
            if module not in named:
                yield f"{room}/README.md does not name `{module}`"


def main(root: Path, table: bool) -> int:
    files = sources(root)
    if table:
        print("\n".join(rows(files)))
        return 0
    found = [text for name, path in files.items() for text in complaints(path, name)]
    found += circle_complaints(modules(files))
    found += readme_complaints(root, files)
    found += table_complaints(root)
    for folder in BELOW:
        for path in (root / folder).rglob("*.[ch]"):
            if str(path.relative_to(root)) not in files:
                found.append(f"{path.relative_to(root)} is in no room")
    for text in found:
        print(text, file=sys.stderr)
    if not files:
        print(f"no sources below {root}", file=sys.stderr)
    return 1 if found or not files else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "--table" in sys.argv[2:]))
