"""What waits costs no thread and wakes nobody, however many pushes a gateway has.

Threads of a gateway in any load: at most 24, one for each body that is received, one for each
transfer that runs. Measured on the build without sanitizers, which have threads and memory of their
own.
"""
from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from support.archives import docker_save_new
from support.curl import Reply
from support.delay import DelayProxy
from support.front import Front
from support.gateway import Gateway, pushed
from support.images import Image, files_layer, image_config
from support.ports import refusing_port
from support.processes import Process, run
from support.registry import Registry
from support.sink import Sink
from support.throttle import ThrottledProxy
from support.waiting import wait_until

LONG = os.environ.get("SLIPWAY_LONG") == "1"
MIB = 1 << 20
TARGETS = 64
LAYERS = 4
WATCH_SECONDS = 0.02
SECONDS = 200.0

# One push to all targets of a registry that does not answer.
MOST_OF_ONE = 40
MOST_SWITCHES = 50
MEASURED_SECONDS = 3
# Workers that have nothing to do have ended by then.
IDLE_SECONDS = 3.0
# A user's tasks, whose processes are the gateway alone.
USER = "64321"
MOST_TASKS = 128
# A queue whose registry is away.
QUEUED = 200
MORE_THAN_IDLE = 4
FRONTS = 8
END_SECONDS = 1.0
# Many pushes of many layers.
PUSHES = 10
MANY_LAYERS = 300 if LONG else 100
AT_MOST = 24
TRANSFERS = 128
TRANSFERS_OF_A_REGISTRY = 5
PEAK = (192 if LONG else 96) * MIB


def make_archive(folder: Path, seed: str, layer_count: int) -> Path:
    """A docker save of so many tiny layers."""
    folder.mkdir()
    layers = tuple(
        files_layer(folder / f"{number}.tar", f"{seed} {number}", ())
        for number in range(layer_count)
    )
    image = Image(image_config(layers, seed), layers)
    return docker_save_new([(image, ["m/threads:1"])], folder / "image.tar")


def targets_at(host: str, tag: str = "1") -> list[str]:
    return [f"{host}/r{number}/app:{tag}" for number in range(TARGETS)]


# ---- What can be seen of the threads of a process ----


def threads_of(process: Process) -> int:
    return len(os.listdir(f"/proc/{process.pid}/task"))


def switches_of(process: Process) -> dict[str, int]:
    """Voluntary context switches of each of its threads."""
    switches = {}
    for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
        # It may end at any time.
        with contextlib.suppress(OSError):
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            switches[status.parent.name] = int(fields["voluntary_ctxt_switches"])
    return switches


class ThreadWatch:
    """The most threads that a process was seen to have; a context manager."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.most = 0

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.wait(WATCH_SECONDS):
                self.most = max(self.most, threads_of(self._process))

    def __enter__(self) -> ThreadWatch:
        self.most = threads_of(self._process)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def wait_settled(watch: ThreadWatch) -> None:
    """Until a second has brought no more threads than there were."""

    def settled() -> bool:
        before = watch.most
        time.sleep(1)
        return watch.most == before

    wait_until(settled, "no more threads come")


# ---- One push to many repositories ----


@pytest.mark.parametrize("held_after", [0, 20_000], ids=["at-once", "among-the-layers"])
def test_a_registry_that_does_not_answer(
    release: Path, registry: Registry, tmp_path: Path, seed: str, held_after: int
) -> None:
    archive = make_archive(tmp_path / "image", seed, LAYERS)
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(ThrottledProxy(registry.port, hold_after=held_after))
        gateway = stack.enter_context(Gateway(tmp_path / "gateway", binary=release))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        stack.callback(line.release)
        with ThreadWatch(gateway.process) as watch:
            targets = targets_at(f"127.0.0.1:{line.port}/{seed}")
            reply = pool.submit(gateway.post, archive, targets, seconds=SECONDS)
            wait_until(line.held, "the registry no longer answers")
            wait_settled(watch)
            time.sleep(IDLE_SECONDS)  # a thread that ends takes its count along
            before = switches_of(gateway.process)
            time.sleep(MEASURED_SECONDS)
            after = switches_of(gateway.process)
            switches = sum(after.values()) - sum(before.get(thread, 0) for thread in after)
            switches /= MEASURED_SECONDS
            waiting = not reply.done()
            line.release()
            results = pushed(reply.result(), TARGETS)
    print(f"{watch.most} threads, {switches:.0f} voluntary context switches a second")
    assert waiting and len(results) == TARGETS
    assert watch.most <= MOST_OF_ONE
    assert switches <= MOST_SWITCHES


@pytest.fixture
def user_folder() -> Iterator[Path]:
    """A folder of the user's own, which pytest's are not: others must not even look into them."""
    folder = Path(tempfile.mkdtemp(prefix="threads-"))
    (folder / "gateway/home").mkdir(parents=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, int(USER), int(USER))
    yield folder / "gateway"
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be another user")
def test_a_limit_on_tasks(
    release: Path, registry: Registry, tmp_path: Path, user_folder: Path, seed: str
) -> None:
    before = ["prlimit", f"--nproc={MOST_TASKS}:{MOST_TASKS}", "--"]
    before += ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups"]
    before += ["--pdeathsig", "KILL", "--"]
    if run([*before, release, "--version"]).returncode != 0:
        pytest.skip(f"another user may not run {release}")
    archive = make_archive(tmp_path / "image", seed, LAYERS)
    with DelayProxy(registry.port, 0.02) as far:
        with Gateway(user_folder, binary=release, before=before) as gateway:
            with ThreadWatch(gateway.process) as watch:
                targets = targets_at(f"{far.host}/{seed}")
                pushed(gateway.post(archive, targets, seconds=SECONDS), TARGETS)
    print(f"{watch.most} threads of {MOST_TASKS}")
    assert watch.most <= MOST_OF_ONE


# ---- Pushes in the queue ----


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port whose connections are accepted, by the kernel, and never answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener.getsockname()[1]


def queue_pushes(gateway: Gateway, seed: str) -> None:
    """Each of another repository, put by FRONTS clients."""

    def put(client_number: int) -> None:
        with Front(gateway.port) as client:
            for number in range(client_number, QUEUED, FRONTS):
                client.tagged(f"soon/{seed}-{number}", "1")

    with ThreadPoolExecutor(FRONTS) as pool:
        list(pool.map(put, range(FRONTS)))


def idle_threads(gateway: Gateway, seed: str) -> int:
    """Threads of a gateway that has done all kinds of work once, and has none."""
    with Front(gateway.port) as client:
        client.tagged(f"kept/{seed}", "1")
    with ThreadWatch(gateway.process) as watch:
        wait_settled(watch)
    return threads_of(gateway.process)


@pytest.mark.parametrize("away", [refusing_port, silent_port], ids=["refused", "silent"])
def test_a_queue_whose_registry_is_away(
    release: Path,
    tmp_path: Path,
    seed: str,
    away: Callable[[], contextlib.AbstractContextManager[int]],
) -> None:
    with away() as port:
        mirror = {"match": "soon/*", "to": [f"127.0.0.1:{port}/away/*"], "acknowledge": "stored"}
        gateway = Gateway(tmp_path / "gateway", {"mirrors": [mirror]}, binary=release)
        with gateway:
            idle = idle_threads(gateway, seed)
            queue_pushes(gateway, seed)
            time.sleep(IDLE_SECONDS)  # until what answered the clients has ended
            with ThreadWatch(gateway.process) as watch:
                time.sleep(MEASURED_SECONDS)
            start = time.monotonic()
            gateway.process.signal(signal.SIGTERM)
            gateway.process.wait()
            seconds = time.monotonic() - start
        print(f"{idle} threads idle, {watch.most} with a queue, ends within {seconds:.2f} s")
        running = TRANSFERS_OF_A_REGISTRY if away is silent_port else 0
        assert watch.most <= idle + MORE_THAN_IDLE + running
        assert seconds <= END_SECONDS


# ---- Many pushes of many layers ----


def test_many_pushes_of_many_layers(release: Path, tmp_path: Path, seed: str) -> None:
    """All at once, by a registry that takes what comes: 6,400 blobs, or three times as many with
    SLIPWAY_LONG=1, each shared by ten pushes."""
    archive = make_archive(tmp_path / "image", seed, MANY_LAYERS)
    program = release.parent / "tests/bench_sink"
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(Sink(program, tmp_path / "sink"))
        gateway = stack.enter_context(Gateway(tmp_path / "gateway", binary=release))
        watch = stack.enter_context(ThreadWatch(gateway.process))
        pool = stack.enter_context(ThreadPoolExecutor(PUSHES))

        def push(number: int) -> Reply:
            return gateway.post(archive, targets_at(sink.host, f"v{number}"), seconds=SECONDS)

        replies: list[Future[Reply]] = [pool.submit(push, number) for number in range(PUSHES)]
        futures.wait(replies)
        counts = sink.counts()
        peak = gateway.process.peak_memory_bytes()
    print(f"{watch.most} threads, peak {peak / MIB:.1f} MiB, {dict(counts)}")
    for reply in replies:
        pushed(reply.result(), TARGETS)
    assert counts["manifests"] >= TARGETS * PUSHES
    assert counts["blobs"] + counts["mounts"] >= TARGETS * MANY_LAYERS
    assert watch.most <= AT_MOST + PUSHES + TRANSFERS
    assert peak <= PEAK, f"{peak / MIB:.1f} MiB"
