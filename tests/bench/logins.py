#!/usr/bin/python3
"""What guessed passwords cost a gateway, and how much slower others are meanwhile.

    tests/bench/logins.py build/release/slipway [--guesses 10000] [--at-once 8] [--addresses 1]

Guesses come with Basic from so many addresses of 127.0.0.0/8 (1: all of them from one). Meanwhile
a client with a token asks HEAD of a manifest, and another logs in with a password that the gateway
does not know yet, each a few times a second; guesses come from processes of their own. The figures are medians, before and meanwhile.
"""
from __future__ import annotations

import argparse
import base64
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.cost import cpu_seconds  # noqa: E402
from support.front import Front  # noqa: E402
from support.gateway import Gateway  # noqa: E402
from support.processes import must_run  # noqa: E402

USERS = 200  # each logs in once, so that nobody's password is known
PAUSE_S = 0.1


def basic(login: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def ask(port: int, method: str, path: str, head: dict[str, str], source: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=120, source_address=(source, 0))
    connection.request(method, path, headers=head)
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply.status, body


def guess(one: tuple[int, str, int, int]) -> int:
    port, path, number, source = one
    address = f"127.2.{source // 250}.{source % 250 + 1}"
    return ask(port, "GET", path, basic(f"u1:guess{number}"), address)[0]


class Others(threading.Thread):
    """One of those who should not notice: `act` again and again, until end()."""

    def __init__(self, act: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._over = threading.Event()
        self.seconds: list[float] = []
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        while not self._over.wait(PAUSE_S):
            begun = time.monotonic()
            self.statuses[self._act()] += 1
            self.seconds.append(time.monotonic() - begun)

    def end(self) -> str:
        self._over.set()
        self.join()
        median = statistics.median(self.seconds) if self.seconds else 0
        return f"median {median * 1000:7.1f} ms  worst {max(self.seconds) * 1000:7.1f} ms  {dict(self.statuses)}"


def watch(port: int, token: str, logins: Iterator[str], during: Callable[[], None]) -> None:
    head = {"Authorization": f"Bearer {token}"}
    path = "/v2/team/app/manifests/1"
    reads = Others(lambda: ask(port, "HEAD", path, head, "127.1.0.1")[0])
    good = Others(lambda: ask(port, "GET", "/v2/", basic(next(logins)), "127.1.0.2")[0])
    for one in (reads, good):
        one.start()
    during()
    print(f"  HEAD with a token  {reads.end()}")
    print(f"  good login         {good.end()}", flush=True)


def users_file(folder: Path) -> Path:
    """One hash for all, which is what each costs: that of `htpasswd -B -C 10`."""
    path = folder / "users"
    must_run(["htpasswd", "-b", "-c", "-B", "-C", "10", path, "u", "pw"])
    line = path.read_text().strip().partition(":")[2]
    path.write_text("".join(f"u{number}:{line}\n" for number in range(USERS)))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("slipway", type=Path)
    parser.add_argument("--guesses", type=int, default=10000)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--addresses", type=int, default=1)
    parser.add_argument("--path", default="/v2/")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rule = {"who": ["authenticated"], "may": ["*"], "repositories": ["**"], "targets": ["**"]}
        config = {"clients": {"htpasswd": str(users_file(folder))}, "policy": [rule]}
        with Gateway(folder / "gateway", config, binary=wanted.slipway.resolve()) as gateway:
            measure(gateway, wanted)


def measure(gateway: Gateway, wanted: argparse.Namespace) -> None:
    port, pid = gateway.port, gateway.process.popen.pid
    with Front(port, login="u0:pw") as front:
        front.tagged("team/app", "1")
        token = front.ask("GET", "/token?scope=repository:team/app:pull").json()["token"]
    logins = iter([f"u{number}:pw" for number in range(1, USERS)])
    print("nobody guesses")
    watch(port, token, logins, lambda: time.sleep(5))
    statuses: Counter[int] = Counter()
    guesses = [(port, wanted.path, number, number % wanted.addresses) for number in range(wanted.guesses)]

    def guess_all() -> None:
        with ProcessPoolExecutor(wanted.at_once) as pool:
            statuses.update(pool.map(guess, guesses, chunksize=16))

    print(f"{wanted.guesses} guesses at {wanted.path}, {wanted.at_once} at once, from {wanted.addresses} addresses")
    begun, before = time.monotonic(), cpu_seconds(pid)
    watch(port, token, logins, guess_all)
    seconds = time.monotonic() - begun
    print(f"  {dict(statuses)} in {seconds:.1f} s, {cpu_seconds(pid) - before:.2f} CPU seconds of the gateway")


if __name__ == "__main__":
    main()
