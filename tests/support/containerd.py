"""A containerd of its own, as Kubernetes pulls with: no network, everything below one folder."""
from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from support.processes import Process, must_run, plain_environment, run

START_SECONDS = 60


class Containerd:
    """A running containerd and the ctr command that talks to it; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._log_folder = folder
        # A socket's path must be short, which a test's folder is not.
        self._root = Path(tempfile.mkdtemp(prefix="containerd-"))
        self._env = plain_environment(folder)
        self._ctr = ["ctr", "--address", f"{self._root}/s"]

    def _configure(self) -> Path:
        path = self._root / "config.toml"
        places = {"root": "root", "state": "state"}
        lines = [f"{name} = {json.dumps(str(self._root / place))}" for name, place in places.items()]
        lines += ["version = 2", 'disabled_plugins = ["io.containerd.grpc.v1.cri"]']
        lines += ["[grpc]", f'address = "{self._root}/s"']
        lines += ["[debug]", f'address = "{self._root}/d"']
        lines += ['[plugins."io.containerd.internal.v1.opt"]', f'path = "{self._root}/opt"']
        path.write_text("\n".join(lines) + "\n")
        return path

    def __enter__(self) -> Containerd:
        argv = ["containerd", "--config", self._configure()]
        self.process = Process(argv, self._log_folder, "containerd", env=self._env)
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
        return run([*self._ctr, "version"], env=self._env).returncode == 0

    def ctr(self, *words: str) -> str:
        return must_run([*self._ctr, *words], env=self._env)
