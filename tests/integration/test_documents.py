"""The command lines of the documents. Blocks marked ```` ```sh run ```` run as they are printed, page
by page, against a gateway and two registries: only addresses are replaced, `docker` is a double that
hands over app.tar, and `cosign` one that notes what it is given. Of all others, which need root, an
engine or the internet, programs and options are what is there."""
from __future__ import annotations

import dataclasses
import gzip
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from support.archives import docker_save_old
from support.gateway import SOURCE_FOLDER, Gateway, slipway_binary
from support.images import make_small_image
from support.pages import PAGES, Block, blocks
from support.ports import refusing_port
from support.processes import must_run, plain_environment, run
from support.pulled import sha256
from support.registry import Registry

ALL = [block for page in PAGES for block in blocks(page, "sh")]
RUN = [block for block in ALL if block.mark == "run"]
DOCKER = """#!/bin/sh
case "$1" in
save) exec cat app.tar ;;
push) exec skopeo copy --quiet --dest-tls-verify=false docker-archive:app.tar "docker://$2" ;;
esac
"""
# The registries of the pages speak TLS, those of the test do not.
INSECURE = '[[registry]]\nlocation = "{host}"\ninsecure = true\n'
COSIGN = '#!/bin/sh\necho "$@" >>cosign.log\n'


@dataclasses.dataclass(frozen=True)
class Desk:
    """Where a reader stands: a folder with app.tar in it, a gateway, and two registries."""

    folder: Path
    gateway: Gateway
    registries: tuple[Registry, Registry]
    environment: dict[str, str]

    def here(self, text: str, second: str | None = None) -> str:
        addresses = {
            "dr.example.com": second or self.registries[1].host,
            "https://r.example.com": f"http://{self.registries[0].host}",
            "r.example.com": self.registries[0].host,
            "127.0.0.1:5000": f"127.0.0.1:{self.gateway.port}",
        }
        return re.sub("|".join(map(re.escape, addresses)), lambda at: addresses[at[0]], text)

    def bash(self, text: str, *options: str) -> subprocess.CompletedProcess[str]:
        return run(["bash", *options, "-c", text], env=self.environment, cwd=self.folder)

    def signed(self) -> list[str]:
        path = self.folder / "cosign.log"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def write_files(folder: Path) -> None:
    """What the lines take: app.tar, and a layer of half a megabyte and more with its config."""
    image = make_small_image(folder / "image", secrets.token_hex(8))
    docker_save_old([(image, ["app:1.0"])], folder / "app.tar")
    (folder / "random").write_bytes(os.urandom(800_000))
    must_run(["tar", "-cf", folder / "layer.tar", "-C", folder, "random"])
    layer = (folder / "layer.tar").read_bytes()
    (folder / "layer.tar.gz").write_bytes(gzip.compress(layer))
    rootfs = {"type": "layers", "diff_ids": [sha256(layer)]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "slipway").symlink_to(slipway_binary())
    write_program(programs / "docker", DOCKER)
    write_program(programs / "cosign", COSIGN)
    write_files(folder)
    environment = plain_environment(folder, {"PATH": f"{programs}:{os.environ['PATH']}"})
    plain = folder / "home/.config/containers/registries.conf"
    plain.parent.mkdir(parents=True)
    with Registry(folder / "r") as first, Registry(folder / "dr") as second:
        hosts = (first.host, second.host)
        plain.write_text("".join(INSECURE.format(host=host) for host in hosts))
        with Gateway(folder / "gateway") as gateway:
            yield Desk(folder, gateway, (first, second), environment)


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_runs_as_printed(desk: Desk, block: Block) -> None:
    done = desk.bash(desk.here(block.text), "-eo", "pipefail")
    assert done.returncode == 0, done.stderr + done.stdout
    assert '"state":"failed"' not in done.stdout and '"error' not in done.stdout, done.stdout


def test_some_are_run() -> None:
    assert {block.page.name for block in RUN} >= {"README.md", "api.md", "operations.md"}
    assert len(RUN) >= 10


def test_the_ci_job_signs_what_every_registry_has(desk: Desk) -> None:
    (job,) = [block for block in RUN if "cosign" in block.text]
    desk.signed()
    done = desk.bash(desk.here(job.text))
    assert done.returncode == 0, done.stderr
    digest = sha256(desk.registries[0].manifest("team/app", "1.0").body)
    assert desk.signed() == [f"sign {desk.registries[0].host}/team/app@{digest}"]
    with refusing_port() as port:
        done = desk.bash(desk.here(job.text, f"127.0.0.1:{port}"))
    assert done.returncode == 1, done.stderr
    assert desk.signed() == []


def test_configurations_are_taken(tmp_path: Path) -> None:
    """Those of the pages that have no test of their own, and the policy beside that of the unit."""
    password = tmp_path / "password"
    password.write_text("ann:$2y$05$" + "." * 53 + "\n")
    path = tmp_path / "slipway.json"
    pages = (SOURCE_FOLDER / "README.md", SOURCE_FOLDER / "docs/operations.md")
    found = [one for page in pages for one in blocks(page, "json")]
    found = [one for one in found if '"mirrors"' in one.text or '"policy"' in one.text]
    assert len(found) == 3
    both = {}
    for one in found:
        text = re.sub(r'("(?:password_file|htpasswd)": ")[^"]+', rf"\g<1>{password}", one.text)
        path.write_text(text)
        must_run([slipway_binary(), "config", "--config", path])
        both |= json.loads(text)
    path.write_text(json.dumps(both))
    (line,) = re.findall(r"^sudo (slipway policy test .+)", found[2].page.read_text(), re.M)
    words = line.replace("/etc/slipway/slipway.json", str(path)).split()
    must_run([slipway_binary(), *words[1:]])


# The others.

PREFIXES = {"sudo", "env", "exec", "(", "{"}
# What a reader of the pages is taken to know, and what only some machines have.
WELL_KNOWN = {
    "apt-get", "cat", "cd", "cp", "cut", "git", "go", "grep", "groupadd", "gunzip", "htpasswd",
    "install", "journalctl", "ls", "mkdir", "mv", "nginx", "openssl", "rm", "sed", "set",
    "sha256sum", "systemctl", "systemd-analyze", "systemd-ask-password", "tail", "tar", "tr",
    "update-ca-certificates", "userdel",
    "cmake", "cosign", "ctest",
}
WITH_SUBCOMMANDS = {"docker", "podman", "skopeo", "buildah", "slipway"}


def commands(text: str) -> Iterator[list[str]]:
    """The words of each simple command."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set(";|&()<>"):
                if words:
                    yield words
                words = []
            elif words or not (word in PREFIXES or re.match(r"\w+=", word)):
                words.append(word)


@lru_cache(maxsize=None)
def help_of(program: str, subcommand: str) -> str:
    if program == "curl":
        return must_run(["curl", "--help", "all"])
    if program == "slipway":
        return must_run([slipway_binary(), "help", subcommand])
    path = SOURCE_FOLDER / program
    if "/" in program:
        return "".join(one.read_text() for one in (path, *path.parent.glob("*.py")))
    if shutil.which(program) is None:
        return ""
    done = run([program, *([subcommand] if subcommand else []), "--help"])
    return done.stdout + done.stderr


def wrong(words: list[str]) -> str | None:
    """What of a command is not there."""
    program, *rest = words
    if program.startswith(("build/", "./")) or program in WELL_KNOWN:
        return None
    if "/" in program and not os.access(SOURCE_FOLDER / program, os.X_OK):
        return f"no program {program}"
    subcommand = rest[0] if program in WITH_SUBCOMMANDS and rest else ""
    known = help_of(program, subcommand)
    if not known:
        return None if program in WITH_SUBCOMMANDS else f"no program {program}"
    for option in (word.partition("=")[0] for word in rest if word.startswith("--")):
        if not re.search(rf"{option}(?![\w-])", known):
            return f"{program} {subcommand} has no option {option}"
    return None


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.name)
def test_programs_and_options_are_there(block: Block) -> None:
    for words in commands(block.text):
        assert wrong(words) is None, (words, wrong(words))
    presets = json.loads((SOURCE_FOLDER / "CMakePresets.json").read_text())
    for preset in re.findall(r"--preset (\w+)", block.text):
        assert preset in {one["name"] for one in presets["configurePresets"]}


def test_lines_in_tables_and_prose_too() -> None:
    """Between backquotes, what begins with slipway or a script of ours."""
    for page in PAGES:
        for line in re.findall(r"`((?:slipway|scripts/\w+) [^`\n…]+)`", page.read_text()):
            line = re.sub(r"[\[\]|]|ARCHIVE|TARGET", " ", line).strip()
            if re.fullmatch(r"slipway (gc|check)", line):
                continue
            for words in commands(line):
                assert wrong(words) is None, (page.name, line, wrong(words))


def test_a_wrong_option_is_found() -> None:
    for line, part in (
        ("slipway push a b --no-such x", "--no-such"),
        ("X=1 sudo skopeo copy --dest-tls=false a b", "--dest-tls"),
        ("true | scripts/bootstrap --nothing", "--nothing"),
        ("docker/nothing", "docker/nothing"),
        ("frobnicate --x", "frobnicate"),
    ):
        found = [wrong(words) for words in commands(line) if words != ["true"]]
        assert any(one and part in one for one in found), (line, found)
