"""One image to several registries at once: each at its own pace.

Times are those of a build without sanitizers, as in test_memory: what they cost for each target of
its own would be most of the difference.
"""
from __future__ import annotations

import collections
import contextlib
import re
import secrets
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support.archives import docker_save_new
from support.curl import Reply
from support.gateway import Gateway, pushed
from support.images import Image, image_config, seal
from support.registry import Registry
from support.tars import TarBuilder
from support.throttle import ThrottledProxy
from support.waiting import wait_until

LAYERS = 8
LAYER_BYTES = 9 * 10**6
SLOW = 10**6
RUNS = 3
RUNS_MAX = 8
RATIO = 1.2


def make_archive(folder: Path) -> Path:
    """Content that nobody has seen and no compressor makes smaller."""
    folder.mkdir()
    layers = []
    for number in range(LAYERS):
        path = folder / f"{number}.tar"
        with TarBuilder(path) as tar:
            tar.file("data", secrets.token_bytes(LAYER_BYTES))
        layers.append(seal(path))
    image = Image(image_config(layers, folder.name), tuple(layers))
    return docker_save_new([(image, ["m/fan:1"])], folder / "image.tar")


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Its port: connections are accepted, and nothing is ever answered."""
    accepted: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.append(listener.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        assert accepted, "nobody came"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for sock in accepted:
        sock.close()


def seconds_until_served(
    gateway: Gateway, registry: Registry, archive: Path, repository: str, beside: list[str]
) -> float:
    """From the archive's first byte until `registry` serves the image, whatever the others do."""
    targets = [f"{host}/{repository}:1" for host in beside]
    targets.append(f"{registry.host}/{repository}:1")
    gateway.start()
    with gateway.process, ThreadPoolExecutor(1) as pool:
        start = time.monotonic()
        reply = pool.submit(gateway.post, archive, targets)
        wait_until(lambda: registry.tags(repository) == ["1"], "the image is there", 60)
        seconds = time.monotonic() - start
        # The others need not end: a second signal cancels what runs.
        if beside:
            assert not reply.done(), "the others are to be slower than that"
            for _ in range(2):
                gateway.process.signal(signal.SIGTERM)
                wait_until(lambda: "stopping" in gateway.log(), "the signal is seen")
        check_results(reply.result(), beside)
        if beside:
            gateway.process.wait(10)
            gateway.process.assert_no_sanitizer_report()
    return seconds


def check_results(reply: Reply, beside: list[str]) -> None:
    *others, own = reply.json()["results"]
    assert own["state"] == "pushed", own
    assert len(others) == len(beside)
    assert all(other["state"] == "failed" for other in others), others


def compare(
    tmp_path: Path, release: Path, registry: Registry, beside: list[str], name: str
) -> None:
    """The medians of some runs in turn; one lucky run, or unlucky one, is no measure."""
    seconds: dict[str, list[float]] = {"alone": [], "beside": []}
    for number in range(RUNS_MAX):
        for which, found in seconds.items():
            archive = make_archive(tmp_path / f"{number}-{which}")
            gateway = Gateway(tmp_path / f"gateway-{number}-{which}", binary=release)
            others = beside if which == "beside" else []
            repository = f"{name}/{which}-{number}"
            found.append(seconds_until_served(gateway, registry, archive, repository, others))
        alone, together = (statistics.median(seconds[which]) for which in ("alone", "beside"))
        if number + 1 >= RUNS and together / alone <= RATIO:
            break
    print(f"{name}: alone {alone:.2f} s, beside it {together:.2f} s, {together / alone:.2f}")
    assert together / alone <= RATIO, seconds


def test_beside_a_slow_registry(release: Path, registry: Registry, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        far = stack.enter_context(Registry(tmp_path / "far"))
        line = stack.enter_context(ThrottledProxy(far.port, to_server=SLOW, shared=True))
        compare(tmp_path, release, registry, [f"127.0.0.1:{line.port}"], "slow")
        assert line.sent_up > RUNS * SLOW / 4, "it was to be fed, too"


def test_beside_a_registry_that_never_answers(
    release: Path, registry: Registry, tmp_path: Path
) -> None:
    with silent_server() as port:
        compare(tmp_path, release, registry, [f"127.0.0.1:{port}"], "silent")


def sent_blobs(registry: Registry, repository: str) -> collections.Counter[str]:
    """How often each digest was committed, by the access log."""
    lines = registry.requests("PUT", f"/v2/{repository}/blobs/uploads/")
    found = [re.search(r"digest=sha256(?:%3A|:)([0-9a-f]{64})", line) for line in lines]
    return collections.Counter(match.group(1) for match in found if match)


def test_many_registries_and_tags(registry: Registry, tmp_path: Path) -> None:
    """Tags of one repository share its layers; each registry gets each blob once."""
    archive = make_archive(tmp_path / "files")
    with contextlib.ExitStack() as stack:
        registries = [registry]
        registries += [stack.enter_context(Registry(tmp_path / f"r{n}")) for n in range(2)]
        gateway = stack.enter_context(Gateway(tmp_path / "gateway"))
        targets = [
            f"{one.host}/many/app:{tag}" for tag in ("a", "b", "c") for one in registries
        ]
        results = pushed(gateway.post(archive, targets), len(targets))
        for one in registries:
            sent = sent_blobs(one, "many/app")
            assert len(sent) == LAYERS + 1 and set(sent.values()) == {1}, sent
            assert one.tags("many/app") == ["a", "b", "c"]
            digests = {
                one.manifest("many/app", tag).headers["Docker-Content-Digest"]
                for tag in ("a", "b", "c")
            }
            assert digests == {results[0]["digest"]}
            mine = [result for result in results if result["target"].startswith(one.host)]
            assert sum(result["layers"]["uploaded"] for result in mine) == LAYERS
            assert sum(result["layers"]["existed"] for result in mine) == 2 * LAYERS
