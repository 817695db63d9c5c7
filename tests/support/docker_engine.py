"""A Docker engine of its own: no network, storage by copying, everything below one folder."""
from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from support.processes import Process, must_run, plain_environment, run

START_SECONDS = 60


class DockerEngine:
    """A running dockerd and the docker command that talks to it; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._log_folder = folder
        # A socket's path must be short, which a test's folder is not.
        self._root = Path(tempfile.mkdtemp(prefix="engine-"))
        self._env = plain_environment(folder)
        self._env["DOCKER_HOST"] = f"unix://{self._root}/s"

    def __enter__(self) -> DockerEngine:
        argv = ["dockerd", "--storage-driver=vfs", "--iptables=false", "--ip6tables=false"]
        argv += ["--bridge=none", "--ip-forward=false", "--ip-masq=false"]
        argv += ["-H", f"unix://{self._root}/s", "--data-root", f"{self._root}/data"]
        argv += ["--exec-root", f"{self._root}/exec", "--pidfile", f"{self._root}/pid"]
        self.process = Process(argv, self._log_folder, "dockerd", env=self._env)
        try:
            self.process.wait_for(self._answers, "it answers", START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _answers(self) -> bool:
        return run(["docker", "version"], env=self._env).returncode == 0

    def docker(self, *words: str | Path, **env: str) -> str:
        return must_run(["docker", *words], env=self._env | env).strip()

    def build(self, folder: Path, *names: str) -> None:
        """By the classic builder, which needs no BuildKit."""
        tags = [word for name in names for word in ("-t", name)]
        self.docker("build", "-q", *tags, folder, DOCKER_BUILDKIT="0")
