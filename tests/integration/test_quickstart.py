"""scripts/quickstart as a newcomer meets it: the lines that it prints are for the clients that are
there, they work as printed, and Ctrl-C leaves nothing behind. It runs in a copy of the folder, where
building is a double that finds the program built."""
from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from support.gateway import SOURCE_FOLDER, slipway_binary
from support.processes import Process, must_run, plain_environment

CLIENTS = {"skopeo", "podman", "buildah", "docker"}


def copy_of_the_project(folder: Path) -> Path:
    (folder / "scripts").mkdir(parents=True)
    for name in ("quickstart", "bootstrap", "make-image"):
        (folder / "scripts" / name).symlink_to(SOURCE_FOLDER / "scripts" / name)
    (folder / "build/release").mkdir(parents=True)
    (folder / "build/release/slipway").symlink_to(slipway_binary())
    return folder


def programs_without(folder: Path, missing: set[str]) -> Path:
    """A PATH with all programs of this machine but some, and a cmake that has nothing to do."""
    folder.mkdir()
    for place in os.environ["PATH"].split(":"):
        for name in os.listdir(place) if os.path.isdir(place) else ():
            if name not in missing and not (folder / name).is_symlink():
                (folder / name).symlink_to(Path(place, name))
    (folder / "cmake").unlink(missing_ok=True)
    (folder / "cmake").symlink_to("/bin/true")
    return folder


@pytest.mark.parametrize("there", ({"skopeo", "docker"}, set()), ids=("some", "none"))
def test_quickstart(tmp_path: Path, there: set[str]) -> None:
    root = copy_of_the_project(tmp_path / "project")
    path = programs_without(tmp_path / "bin", CLIENTS - there)
    env = plain_environment(tmp_path, {"PATH": str(path), "TMPDIR": str(tmp_path)})
    with Process([root / "scripts/quickstart"], tmp_path, "quickstart", env=env) as process:
        process.wait_for(lambda: "Ctrl-C" in process.stderr(), "it is ready", 60)
        text = process.stderr()
        lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        assert {line.split()[0] for line in lines} & CLIENTS == there
        assert ("none is installed" in text) == (not there)
        work = Path(re.search(r"removes (\S+):", text)[1])  # type: ignore[index]
        assert work.is_dir()
        ours = [line for line in lines if re.match(r"curl|skopeo|/", line)]
        assert len(ours) >= 4
        said = [must_run(["bash", "-c", line], env=env, cwd=tmp_path) for line in ours]
        assert "demo/quickstart" in "".join(said) and '"state":"pushed"' in "".join(said)
        process.signal(signal.SIGINT)
        assert process.wait() == 130
    assert not work.exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(work) not in left.stdout
