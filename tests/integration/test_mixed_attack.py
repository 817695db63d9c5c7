"""All that strangers can do to a gateway at once, beside one client that pushes images: each of its
pushes gets there, and neither memory nor threads nor descriptors grow with the attack.

Each kind of attack comes from an address of its own, with a bounded number of requests at a time.
Half a minute of it; SLIPWAY_ATTACK_SECONDS=300 is for longer. Times are told, not judged. Measured
on the build without sanitizers, which have threads and memory of their own.
"""
from __future__ import annotations

import collections
import contextlib
import gzip
import itertools
import json
import os
import re
import secrets
import socket
import statistics
import tarfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from support.archives import compact, docker_save_new, docker_save_old
from support.bad_archives import blob_name, oci_draft, sparse, sparse_map
from support.curl import Reply, images_path
from support.front import OCI_INDEX, Front
from support.gateway import Gateway, pushed
from support.images import Image, image_config, make_small_image, seal
from support.ports import refusing_port
from support.pulled import sha256
from support.registry import Registry
from support.tars import TarBuilder
from support.waiting import wait_until

SECONDS = float(os.environ.get("SLIPWAY_ATTACK_SECONDS", "30"))
LONG = SECONDS > 30
MIB = 1 << 20
IMAGE_BYTES = 50 * 10**6
EVERY_SECONDS = 5.0
PATIENCE_SECONDS = 60.0
BEFORE = 2

MOST_MEMORY = 192 * MIB
THREADS = 24
TRANSFERS = 128
MORE_DESCRIPTORS = 32
# What connections to registries may keep for a while (net/transport.h): 64, each with a pair here.
IDLE_DESCRIPTORS = 128
SOON_SECONDS = 20.0
QUIET_SECONDS = 60.0
SAMPLE_SECONDS = 0.1

HALF_REQUESTS = 100
SLOW_ARCHIVES = 8
SLOW_BLOBS = 24
SLOW_MANIFESTS = 16
SLOW_READERS = 24
READ_BYTES = 16 * MIB
TARGETS = 64
REFERRERS = 100
SESSIONS = 20
BIG_DOCUMENTS = 4
PAUSE_SECONDS = 0.25
ANSWER_SECONDS = 30.0
# Bodies that the attack has under way at most: the slow ones, and one of each loop; the client's.
BODIES = SLOW_ARCHIVES + SLOW_BLOBS + SLOW_MANIFESTS + BIG_DOCUMENTS + 4 + 1


class Attacker:
    """One stranger, who has an address of this machine's own."""

    def __init__(self, gateway: Gateway, address: str) -> None:
        self._port = gateway.port
        self._address = address

    def connect(self) -> socket.socket:
        return socket.create_connection(
            ("127.0.0.1", self._port), ANSWER_SECONDS, source_address=(self._address, 0)
        )

    def begin(self, method: str, path: str, *headers: str) -> socket.socket:
        """A connection with the head of a request."""
        connection = self.connect()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        return connection

    def ask(self, method: str, path: str, body: bytes = b"", *headers: str) -> tuple[int, bytes]:
        """Status and all bytes of the answer; 0 when there is none."""
        answer = b""
        length = f"Content-Length: {len(body)}"
        with self.begin(method, path, length, "Connection: close", *headers) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(body)
            with contextlib.suppress(OSError):
                while data := connection.recv(65536):
                    answer += data
        return (int(answer.split(b" ", 2)[1]) if answer else 0), answer


Turn = Callable[[], str]


def often(number: int, once: Turn) -> Turn:
    def turn() -> str:
        return [once() for _ in range(number)][-1]

    return turn


def slow(
    number: int,
    begin: Callable[[int], socket.socket],
    drip: Callable[[socket.socket], object],
    stack: contextlib.ExitStack,
) -> Turn:
    """A turn of so many requests that are kept going, a byte at a time; what ended begins again."""
    held: dict[int, socket.socket] = {}
    stack.callback(lambda: [connection.close() for connection in held.values()])

    def turn() -> str:
        for slot in range(number):
            try:
                if slot in held:
                    drip(held[slot])
                else:
                    held[slot] = begin(slot)
            except OSError:
                if slot in held:
                    held.pop(slot).close()
        return "held" if held else "none"

    return turn


def send_byte(connection: socket.socket) -> None:
    connection.sendall(b"x")


def read_some(connection: socket.socket) -> None:
    if not connection.recv(1024):
        raise ConnectionError("the end")


# ---- What the attackers have ----


def expanding(folder: Path) -> Path:
    """A layer of zeros, a thousandth of its size on the way."""
    info = tarfile.TarInfo("bomb/layer.tar")
    info.size = 64 * MIB
    path = folder / "bomb.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(info.size + 1024), 6))
    return path


def million_members(folder: Path) -> Path:
    """A layout whose indexes name one manifest a million times."""
    draft = oci_draft(folder, "million")
    index = draft.entries["index.json"]
    assert isinstance(index, bytes)
    (member,) = json.loads(index)["manifests"]
    for _ in range(3):
        made = compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [member] * 100})
        draft.entries[blob_name(sha256(made))] = made
        member = {"mediaType": OCI_INDEX, "digest": sha256(made), "size": len(made)}
    draft.entries["index.json"] = compact({"schemaVersion": 2, "manifests": [member]})
    return draft.write()


def bad_archives(folder: Path) -> list[bytes]:
    makers: tuple[Callable[[Path], Path], ...] = (
        expanding,
        million_members,
        lambda inner: sparse(inner, "attack", "gnu"),
        lambda inner: sparse(inner, "attack", "posix"),
        lambda inner: sparse_map(inner, "attack"),
    )
    made = []
    for number, make in enumerate(makers):
        inner = folder / str(number)
        inner.mkdir(parents=True)
        made.append(make(inner).read_bytes())
    return made


def small_archive(folder: Path) -> bytes:
    image = make_small_image(folder / "files", "attack")
    return docker_save_old([(image, ["m/attack:1"])], folder / "small.tar").read_bytes()


def with_referrers(front: Front, repository: str) -> str:
    """An image with many referrers; its digest."""
    data = front.image(repository)
    front.must_put(repository, "1", data)
    for number in range(REFERRERS):
        artifact = front.artifact(repository, data, annotations={"n": f"{number}" * 100})
        front.must_put(repository, sha256(artifact), artifact)
    return sha256(data)


# ---- The attack ----


class Attack:
    """A thread for each kind, until it is stopped; counts what came of the turns."""

    def __init__(self, turns: dict[str, Turn]) -> None:
        self.outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, turn)) for name, turn in turns.items()
        ]

    def _run(self, name: str, turn: Turn) -> None:
        while not self._stop.wait(PAUSE_SECONDS):
            try:
                outcome = turn()
            except OSError as error:
                outcome = type(error).__name__
            self.outcomes[name, outcome] += 1

    def __enter__(self) -> Attack:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def turns_of(
    gateway: Gateway, folder: Path, refusing: int, connections: contextlib.ExitStack
) -> dict[str, Turn]:
    addresses = (f"127.0.0.{number}" for number in itertools.count(2))
    numbers = itertools.count()
    bad, small = bad_archives(folder / "bad"), small_archive(folder / "small")
    with Front(gateway.port) as front:
        subject = with_referrers(front, "attack/referred")
        large = front.push_blob("attack/read", secrets.token_bytes(READ_BYTES))

    def stranger() -> Attacker:
        return Attacker(gateway, next(addresses))

    def hold(
        number: int,
        begin: Callable[[Attacker, int], socket.socket],
        drip: Callable[[socket.socket], object] = send_byte,
    ) -> Turn:
        who = stranger()
        return slow(number, lambda slot: begin(who, slot), drip, connections)

    def ask(
        method: str,
        path: Callable[[int], str],
        body: Callable[[int], bytes] = lambda _: b"",
        *headers: str,
    ) -> Turn:
        who = stranger()

        def turn() -> str:
            number = next(numbers)
            return str(who.ask(method, path(number), body(number), *headers)[0])

        return turn

    def half(who: Attacker, slot: int) -> socket.socket:
        connection = who.connect()
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        return connection

    def slow_blob(who: Attacker, slot: int) -> socket.socket:
        status, answer = who.ask("POST", "/v2/attack/slow/blobs/uploads/")
        if status != 202:
            raise ConnectionError(status)
        location = re.search(rb"(?im)^location: (\S+)", answer)
        assert location, answer
        return who.begin("PATCH", location.group(1).decode(), "Content-Length: 100000000")

    away = images_path([f"h{number}.localhost:{refusing}/a/b:1" for number in range(TARGETS)])
    values = b'{"a":[' + b"{}," * 49_000 + b"{}]}"
    many = range(BIG_DOCUMENTS)
    return {
        "bad archives": ask("POST", lambda _: away, lambda number: bad[number % len(bad)]),
        "targets": ask("POST", lambda _: away, lambda _: small),
        "sessions": often(
            SESSIONS, ask("POST", lambda number: f"/v2/attack/s{number}/blobs/uploads/")
        ),
        "referrers": ask("GET", lambda _: f"/v2/attack/referred/referrers/{subject}"),
        **{
            f"big JSON {which}": ask(
                "PUT", lambda number: f"/v2/attack/json/manifests/{number}", lambda _: values,
                "Content-Type: application/x+json",
            )
            for which in many
        },
        "half requests": hold(HALF_REQUESTS, half),
        "slow archives": hold(
            SLOW_ARCHIVES,
            lambda who, slot: who.begin("POST", away, "Content-Length: 100000000"),
        ),
        "slow blobs": hold(SLOW_BLOBS, slow_blob),
        "slow manifests": hold(
            SLOW_MANIFESTS,
            lambda who, slot: who.begin(
                "PUT", f"/v2/attack/slow/manifests/{slot}", "Content-Length: 100000",
                "Content-Type: application/x+json",
            ),
        ),
        "slow readers": hold(
            SLOW_READERS, lambda who, slot: who.begin("GET", f"/v2/attack/read/blobs/{large}"),
            read_some,
        ),
    }


# ---- Who is beside it ----


class Client:
    """Pushes an image that nobody has seen, and comes again where it is told to."""

    def __init__(self, gateway: Gateway, registry: Registry, folder: Path) -> None:
        self._gateway, self._registry, self._folder = gateway, registry, folder
        self._bytes = secrets.token_bytes(IMAGE_BYTES)
        self._number = itertools.count()
        self.pushed: dict[str, str] = {}
        self.put_off = 0

    def push(self) -> float:
        """Seconds that it took."""
        number = next(self._number)
        archive = self._archive(str(number))
        start = time.monotonic()
        reply = self._post(archive, f"{self._registry.host}/client/app:{number}", start)
        seconds = time.monotonic() - start
        (result,) = pushed(reply)
        self.pushed[str(number)] = result["digest"]
        archive.unlink()
        return seconds

    def _post(self, archive: Path, target: str, start: float) -> Reply:
        while True:
            reply = self._gateway.post(archive, target)
            if reply.status != 503 or time.monotonic() - start > PATIENCE_SECONDS:
                return reply
            self.put_off += 1
            time.sleep(float(reply.headers.get("retry-after", "1")))

    def _archive(self, name: str) -> Path:
        path = self._folder / f"{name}-layer.tar"
        with TarBuilder(path) as tar:
            tar.file("data", secrets.token_bytes(32) + self._bytes)
        layer = seal(path)
        image = Image(image_config([layer], name), (layer,))
        archive = docker_save_new([(image, ["m/client:1"])], self._folder / f"{name}.tar")
        path.unlink()
        return archive


class Watch:
    """The most memory and threads of a gateway, and how long it took to say that it is alive."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.threads = self.descriptors = 0
        self.alive_seconds: list[float] = []

    def _run(self) -> None:
        with Front(self._gateway.port) as front:
            while not self._stop.wait(SAMPLE_SECONDS):
                self.threads = max(self.threads, held(self._gateway, "task"))
                self.descriptors = max(self.descriptors, held(self._gateway, "fd"))
                start = time.monotonic()
                assert front.ask("GET", "/healthz").status == 200
                self.alive_seconds.append(time.monotonic() - start)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def held(gateway: Gateway, what: str) -> int:
    return len(os.listdir(f"/proc/{gateway.process.pid}/{what}"))


def pushes_of(client: Client) -> list[float]:
    """Seconds of each push, of which one begins every EVERY_SECONDS, or when the last has ended."""
    found: list[float] = []
    start = time.monotonic()
    while time.monotonic() - start < SECONDS:
        time.sleep(max(0.0, start + len(found) * EVERY_SECONDS - time.monotonic()))
        found.append(client.push())
    return found


def test_everything_at_once(release: Path, registry: Registry, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        refusing = stack.enter_context(refusing_port())
        gateway = stack.enter_context(Gateway(tmp_path / "gateway", binary=release))
        client = Client(gateway, registry, tmp_path)
        with Watch(gateway) as calm:
            alone = [client.push() for _ in range(BEFORE)]
        before = held(gateway, "fd")
        connections = stack.enter_context(contextlib.ExitStack())
        turns = turns_of(gateway, tmp_path / "attack", refusing, connections)
        with Watch(gateway) as watch, Attack(turns) as attack:
            beside = pushes_of(client)
        connections.close()
        peak = gateway.process.peak_memory_bytes()
        print(
            f"{watch.threads} threads, {watch.descriptors} descriptors, peak {peak / MIB:.0f} MiB; "
            f"pushes {ratio(alone, beside)}, put off {client.put_off} times, "
            f"/healthz {ratio(calm.alive_seconds, watch.alive_seconds)}"
        )
        for (name, outcome), count in sorted(attack.outcomes.items()):
            print(f"{name}: {outcome} {count} times")
        for tag, digest in client.pushed.items():
            assert sha256(registry.manifest("client/app", tag).body) == digest
        assert len(client.pushed) == BEFORE + len(beside)
        assert {name for name, _ in attack.outcomes} == set(turns)
        assert peak <= MOST_MEMORY, f"{peak / MIB:.0f} MiB"
        assert watch.threads <= THREADS + BODIES + TRANSFERS
        wait_descriptors(gateway, before + MORE_DESCRIPTORS + IDLE_DESCRIPTORS, SOON_SECONDS)
        if LONG:
            wait_descriptors(gateway, before + MORE_DESCRIPTORS, QUIET_SECONDS)


def wait_descriptors(gateway: Gateway, most: int, seconds: float) -> None:
    wait_until(lambda: held(gateway, "fd") <= most, f"at most {most} descriptors", seconds)


def ratio(alone: list[float], beside: list[float]) -> str:
    """Medians and worst ones."""
    usual = statistics.median(alone)
    return (
        f"{statistics.median(beside) / usual:.1f} times as long (worst {max(beside) / usual:.1f}, "
        f"{max(beside):.2f} s)"
    )
