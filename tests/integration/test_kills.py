"""The gateway is killed again and again under its clients: what it answered for is there.

Clients push small images in every way: archives, layers and configs, what is held, and as registry
clients into three repositories each, one that goes nowhere, one whose pushes are promised and one
whose pushes are waited for; they delete, and the gateway collects. In most rounds it gets a SIGKILL
at a random moment, in some a SIGTERM and another one. The next round has the same data folder.
After each, `slipway check` finds nothing but files that have no record yet. Whatever was answered
with success has to be there in the end, here and in the registry; a session that was not closed
goes on where it was; what is listed as pushed is in the registry.

In CI some rounds; 200 with SLIPWAY_LONG=1.
"""
from __future__ import annotations

import json
import os
import random
import secrets
import signal
import threading
import time
from pathlib import Path
from typing import Any

from support.command import slipway
from support.front import Front
from support.gateway import Gateway, files_below
from support.kill_clients import ArchiveClient, Client, Collector, FrontClient
from support.pulled import sha256
from support.registry import Registry
from support.waiting import wait_until

LONG = bool(os.environ.get("SLIPWAY_LONG"))
ROUNDS = 200 if LONG else int(os.environ.get("SLIPWAY_ROUNDS", 6))
MOST_ROUNDS = ROUNDS + 50
ORDERLY = 5  # every so many rounds the end is a SIGTERM
FRONT_CLIENTS, ARCHIVE_CLIENTS = 3, 2
LONGEST_SECONDS = 1.2
DELIVERY_SECONDS = 60.0


def configuration(registry: Registry, session: str) -> dict[str, Any]:
    return {
        "limits": {"upload_session": session},
        "keep": {"grace": "1s"},
        "registries": {registry.host: {"retry_wait": "50ms"}},
        "mirrors": [
            {
                "match": f"{acknowledge}/*",
                "to": [f"{registry.host}/{acknowledge}/*"],
                "acknowledge": acknowledge,
            }
            for acknowledge in ("stored", "pushed")
        ],
    }


def end(gateway: Gateway, orderly: bool, chance: random.Random) -> None:
    if orderly:
        gateway.process.signal(signal.SIGTERM)
        time.sleep(chance.uniform(0, 0.3))  # the moment is what is tested
        gateway.process.signal(signal.SIGTERM)
        assert gateway.process.wait() in (0, 1), gateway.log()
    else:
        gateway.process.signal(signal.SIGKILL)
        assert gateway.process.wait() == -signal.SIGKILL
    gateway.process.assert_no_sanitizer_report()


def one_round(
    gateway: Gateway,
    clients: list[Client],
    orderly: bool,
    chance: random.Random,
    longest_seconds: float,
) -> None:
    gateway.start()
    ending = threading.Event()
    threads = [threading.Thread(target=c.work, args=(gateway.port, ending)) for c in clients]
    for thread in threads:
        thread.start()
    time.sleep(chance.uniform(0, longest_seconds))  # the moment is what is tested
    ending.set()
    end(gateway, orderly, chance)
    for thread in threads:
        thread.join(70)
        assert not thread.is_alive()


def check_gateway(front: Front, client: Client) -> None:
    """Each tag that is held, and all that it needs."""
    for (repository, tag), digest in client.held.items():
        reply = front.manifest(repository, tag)
        assert (reply.status, sha256(reply.body)) == (200, digest), (repository, tag)
        for blob in (reply.json()["config"], *reply.json()["layers"]):
            part = front.blob(repository, blob["digest"])
            assert (part.status, sha256(part.body)) == (200, blob["digest"]), (repository, tag)
    if isinstance(client, FrontClient):
        for repository in client.kept:
            reply = front.manifest(repository, "latest")
            assert reply.status == 200 and sha256(reply.body) in client.latest(repository)


def check_registry(registry: Registry, client: Client) -> None:
    def digest_at(repository: str, tag: str) -> str:
        answer = registry.manifest(repository, tag)
        return sha256(answer.body) if answer.status == 200 else ""

    for (repository, tag), digest in client.tags.items():
        assert digest_at(repository, tag) == digest, (repository, tag)
    if isinstance(client, FrontClient):
        for repository in client.kept:
            if not repository.startswith("nowhere/"):
                assert digest_at(repository, "latest") in client.latest(repository), repository


def check_listed(registry: Registry, gateway: Gateway) -> int:
    """Nothing is open, and what is said to be pushed is there. How many are listed."""
    count, after = 0, ""
    while True:
        page = gateway.request(f"/v1/pushes?limit=1000{after}").json()
        for push in page["pushes"]:
            for result in push["results"]:
                count += 1
                assert result["state"] in ("pushed", "superseded", "failed"), result
                if result["state"] == "pushed":
                    name, _, _ = result["target"].rpartition(":")
                    repository = name.split("/", 1)[1]
                    assert registry.manifest(repository, result["digest"]).status == 200, result
        if "next" not in page:
            return count
        after = f"&after={page['next']}"


def have_ended(gateway: Gateway) -> bool:
    """The registry has an image a moment before its push has ended."""
    open_states = ("queued", "running", "waiting")
    return not any(
        gateway.request(f"/v1/pushes?limit=1&state={state}").json()["pushes"]
        for state in open_states
    )


def is_served(registry: Registry, clients: list[Client]) -> bool:
    """Whether the registry has each acknowledged tag; the digests are looked at afterwards."""
    wanted: dict[str, set[str]] = {}
    for client in clients:
        for repository, tag in client.tags:
            wanted.setdefault(repository, set()).add(tag)
    return all(tags <= set(registry.tags(repository)) for repository, tags in wanted.items())


def may_push(client: Client) -> bool:
    return not isinstance(client, Collector)


def check_folder(gateway: Gateway) -> None:
    """What the end has left is whole, but for files whose records were not written yet."""
    done = slipway(gateway.folder, "check", "--json", "--data", gateway.data)
    assert done.returncode in (0, 1), done
    assert {problem["kind"] for problem in json.loads(done.stdout)["problems"]} <= {"stray"}, done
    if done.returncode == 1:
        repaired = slipway(gateway.folder, "check", "--repair", "--data", gateway.data)
        assert repaired.returncode == 0, repaired


def kill_again_and_again(gateway: Gateway, clients: list[Client], chance: random.Random) -> None:
    try:
        for number in range(MOST_ROUNDS):
            if number >= ROUNDS and all(c.tags for c in clients if may_push(c)):
                break
            # On a busy machine no image is pushed in so short a life.
            longest = LONGEST_SECONDS * (1 + number // ROUNDS)
            one_round(gateway, clients, number % ORDERLY == ORDERLY - 1, chance, longest)
            assert [c.complaints for c in clients if c.complaints] == []
            check_folder(gateway)
    finally:
        gateway.process.stop()
    assert all(client.tags for client in clients if may_push(client)), "images were pushed"


def test_gateway_is_killed_again_and_again(registry: Registry, tmp_path: Path) -> None:
    seed = secrets.token_hex(4)
    print(f"seed {seed}")
    clients: list[Client] = []
    clients += [FrontClient(number, seed, registry.host) for number in range(FRONT_CLIENTS)]
    clients += [ArchiveClient(number, seed, registry.host) for number in range(ARCHIVE_CLIENTS)]
    clients.append(Collector(0, seed, registry.host))
    gateway = Gateway(tmp_path / "gateway", configuration(registry, "1h"))
    kill_again_and_again(gateway, clients, random.Random(seed))
    with Gateway(tmp_path / "gateway", configuration(registry, "1s")) as last:
        wait_until(lambda: is_served(registry, clients), "all promises", DELIVERY_SECONDS)
        wait_until(lambda: have_ended(last), "the ends of all pushes", DELIVERY_SECONDS)
        with Front(last.port) as front:
            for client in clients:
                check_gateway(front, client)
                check_registry(registry, client)
        last.wait_nothing_staged()
        wait_until(lambda: not files_below(last.data / "uploads"), "no session is left")
        listed = check_listed(registry, last)
    acknowledged = sum(len({**client.tags, **client.held}) for client in clients)
    pauses = sum(client.pauses for client in clients)
    print(f"{acknowledged} tags acknowledged, {listed} targets listed, {pauses} pauses too long")
    with Gateway(tmp_path / "gateway", configuration(registry, "1h")) as once_more:
        assert "pending pushes go on" not in once_more.log()
