"""A registry goes away, in every way that registries do, while promises to push to it wait.

Nothing is lost, one push asks for all that wait, the youngest push of each tag is the one that gets
there, by one PUT of a manifest, and what has another login or another fate is not stopped. An hour
of a real outage is a few seconds here: `retry_wait` is RETRY_S instead of five seconds, and the
outage shorter by as much (SCALE). With SLIPWAY_LONG=1: 500 pushes of 50 tags, ten minutes scaled.
"""
from __future__ import annotations

import contextlib
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support.front import OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, to_json
from support.gateway import Gateway
from support.moody_registry import Mood, MoodyRegistry, Request
from support.pulled import sha256
from support.waiting import wait_until

LONG = bool(os.environ.get("SLIPWAY_LONG"))
RETRY_S = 0.1
SCALE = 5.0 / RETRY_S
PUSHES, TAGS, OUTAGE_S = (500, 50, 600 / SCALE) if LONG else (100, 10, 1.0)
FEWER = PUSHES if LONG else 3 * TAGS  # where it does not matter how many
REPOSITORIES = 5
AT_ONCE = 5  # limits.pushes_per_registry
WAIT_S = 120.0
LAYER = b"layer"


@dataclass
class Outage:
    """A gateway whose mirror is a moody registry, and what clients have put there."""

    gateway: Gateway
    registry: MoodyRegistry
    front: Front
    count: int = 0
    youngest: dict[tuple[str, str], str] = field(default_factory=dict)

    def push(self, group: str, number: int) -> None:
        """The manifest of push `number` of a group, whose tags are spread over repositories."""
        tag = number % TAGS
        repository = f"{group}/app{tag % REPOSITORIES}"
        parts = [descriptor(OCI_CONFIG, b"{}"), descriptor(OCI_LAYER, LAYER)]
        self.count += 1
        manifest = to_json(manifest_of(*parts, annotations={"number": str(self.count)}))
        self.front.must_put(repository, f"t{tag}", manifest)
        self.youngest[repository, f"t{tag}"] = sha256(manifest)

    def push_all(self, group: str = "team", count: int = PUSHES) -> None:
        for number in range(count):
            self.push(group, number)

    def blobs(self, *groups: str) -> None:
        for group in groups:
            for number in range(REPOSITORIES):
                self.front.push_blob(f"{group}/app{number}", b"{}")
                self.front.push_blob(f"{group}/app{number}", LAYER)

    def delivered(self, group: str = "") -> bool:
        with self.registry.lock:
            return all(
                self.registry.tags.get(tag) == digest
                for tag, digest in self.youngest.items()
                if tag[0].startswith(group)
            )

    def wait_delivered(self, group: str = "") -> float:
        wait_until(lambda: self.delivered(group), f"{group} is delivered", WAIT_S)
        return time.monotonic()

    def targets(self) -> list[dict[str, Any]]:
        pushes: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.gateway.request(f"/v1/pushes?limit=1000{after}").json()
            pushes += page["pushes"]
            if not page.get("next"):
                return [result for push in pushes for result in push["results"]]
            after = f"&after={page['next']}"

    def wait_over(self) -> list[dict[str, Any]]:
        """Every push has come to a good end, none is lost, and each tag has its youngest."""
        words = {"pushed", "superseded"}
        wait_until(lambda: {one["state"] for one in self.targets()} <= words, "the end", WAIT_S)
        targets = self.targets()
        assert len(targets) == self.count
        assert self.delivered()
        return targets

    def tag_puts_since(self, when: float) -> list[str]:
        with self.registry.lock:
            return [
                f"{repository}:{reference}"
                for repository, reference, at in self.registry.puts
                if at >= when and ":" not in reference
            ]


@contextlib.contextmanager
def outage(tmp_path: Path, *groups: str, logins: dict[str, str] | None = None) -> Iterator[Outage]:
    """`logins`: users by group, each with its name as the password."""
    with MoodyRegistry(users={user: user for user in (logins or {}).values()}) as registry:
        to = f"{registry.host}/**"
        config = {
            "mirrors": [{"match": "**", "to": [to], "acknowledge": "stored"}],
            "registries": {registry.host: {"retry_wait": f"{round(RETRY_S * 1000)}ms"}},
        }
        auths = {
            f"{registry.host}/{group}": {"username": user, "password": user}
            for group, user in (logins or {}).items()
        }
        docker = tmp_path / "docker"
        docker.mkdir()
        (docker / "config.json").write_text(json.dumps({"auths": auths}))
        env = {"DOCKER_CONFIG": str(docker)}
        with Gateway(tmp_path / "gateway", config, env=env) as gateway:
            with Front(gateway.port) as front:
                one = Outage(gateway, registry, front)
                one.blobs(*(groups or ("team",)))
                for group in groups or ("team",):
                    one.push_all(group, TAGS)
                one.wait_over()
                yield one


def last_for(seconds: float) -> None:
    """An outage is a time: nothing is waited for."""
    time.sleep(max(0.0, seconds))


def probes_at_most(seconds: float) -> int:
    """Delays in so long, at their shortest."""
    count, delay, at = 1, RETRY_S, 0.0
    while at < seconds:
        at += 0.8 * delay
        delay *= 2
        count += 1
    return count


def check_probes(requests: list[Request], seconds: float) -> None:
    """Those that began at once before the first failure was known, then one a delay."""
    pings = [one for one in requests if one.path == "/v2/"]
    others = [one for one in requests if one.path != "/v2/"]
    assert len(pings) <= probes_at_most(seconds) + AT_ONCE, (len(pings), pings[-3:])
    # Each of these was tried as often as a blob is, and twice where its connection was an old one.
    assert len(others) <= 10 * 2 * AT_ONCE, (len(others), others[-3:])


def check_ramp(requests: list[Request]) -> None:
    """Until the first manifest is there, nobody but the probe has come."""
    is_put = [one.method == "PUT" and "/manifests/" in one.path for one in requests]
    until = is_put.index(True)
    assert len({one.repository for one in requests[:until]} - {""}) <= 1


def report(what: str, **figures: object) -> None:
    print(f"{what}: {figures}")


def go_away(one: Outage, mood: Mood) -> None:
    """What comes in during an outage is delivered behind it."""
    one.registry.turn(mood)
    # the circuit opens by one that tries as often as it may
    one.push("team", 0)
    wait_until(lambda: one.targets()[0]["state"] == "waiting", "the circuit is open", WAIT_S)
    start = time.monotonic()
    one.push_all()
    last_for(OUTAGE_S - (time.monotonic() - start))
    requests = one.registry.since(start)
    length = time.monotonic() - start
    check_probes(requests, length)
    back = one.registry.turn(Mood.WELL)
    end = one.wait_delivered()
    targets = one.wait_over()
    after = one.registry.since(back)
    check_ramp(after)
    puts = one.tag_puts_since(back)
    assert sorted(puts) == sorted(set(puts)) and len(puts) == TAGS, puts
    assert sum(target["state"] == "superseded" for target in targets) == one.count - 2 * TAGS
    report(
        mood.name,
        pushes=PUSHES,
        tags=TAGS,
        outage_s=round(length, 2),
        scale=SCALE,
        requests_during=len(requests),
        probes_at_most=probes_at_most(length),
        delivered_s=round(end - back, 2),
        after_first_answer_s=round(end - after[0].at, 2),
        tag_puts=len(puts),
    )


def test_connections_are_dropped(tmp_path: Path) -> None:
    with outage(tmp_path) as one:
        go_away(one, Mood.AWAY)


def test_503_with_retry_after(tmp_path: Path) -> None:
    """Asked again when it wants to be, not sooner."""
    with outage(tmp_path) as one:
        one.registry.retry_after_s = max(1, round(OUTAGE_S / 4))
        start = one.registry.turn(Mood.BUSY)
        one.push_all("team", FEWER)
        last_for(OUTAGE_S - (time.monotonic() - start))
        during = one.registry.since(start)
        back = one.registry.turn(Mood.WELL)
        end = one.wait_delivered()
        one.wait_over()
        times = [request.at for request in during]
        bursts = 1 + sum(later - earlier > 0.5 for earlier, later in zip(times, times[1:]))
        assert bursts <= 2 + (times[-1] - times[0]) / one.registry.retry_after_s, times
        assert len(during) <= bursts * 4 * AT_ONCE, times
        assert len(one.tag_puts_since(back)) == TAGS
        report(
            "BUSY",
            retry_after_s=one.registry.retry_after_s,
            requests_during=len(during),
            delivered_s=round(end - back, 2),
        )


def test_accepts_and_never_answers(tmp_path: Path) -> None:
    with outage(tmp_path) as one:
        start = one.registry.turn(Mood.DEAF)
        one.push_all("team", FEWER)
        last_for(OUTAGE_S - (time.monotonic() - start))
        during = one.registry.since(start)
        assert 0 < len({request.repository for request in during}) <= AT_ONCE + 1
        back = one.registry.turn(Mood.WELL)
        end = one.wait_delivered()
        one.wait_over()
        report("DEAF", requests_during=len(during), delivered_s=round(end - back, 2))


def test_one_of_two_logins_expires(tmp_path: Path) -> None:
    with outage(tmp_path, "good", "bad", logins={"good": "anna", "bad": "bert"}) as one:
        with one.registry.lock:
            del one.registry.users["bert"]
        start = time.monotonic()
        one.push_all("bad", FEWER)
        one.push_all("good", FEWER)
        one.wait_delivered("good")
        last_for(OUTAGE_S - (time.monotonic() - start))
        length = time.monotonic() - start
        refused = one.registry.since(start, "bert")
        # each in a run of its own, whose connection may ask twice
        assert len(refused) <= 2 * (probes_at_most(length) + AT_ONCE), len(refused)
        states = [
            target["state"] for target in one.targets() if "/bad/" in target["target"]
        ]
        assert states.count("pushed") == TAGS and "refused" not in states
        with one.registry.lock:
            one.registry.users["bert"] = "bert"
        back = time.monotonic()
        end = one.wait_delivered("bad")
        one.wait_over()
        assert len(one.tag_puts_since(back)) == TAGS
        report(
            "LOGIN",
            outage_s=round(length, 2),
            refused=len(refused),
            probes_at_most=probes_at_most(length),
            delivered_s=round(end - back, 2),
        )


def test_storage_is_wiped(tmp_path: Path) -> None:
    """What the queue believes of it is dropped, and the bytes are sent once, in the same push."""
    with outage(tmp_path) as one:
        one.registry.wipe()
        start = time.monotonic()
        for number in range(TAGS):
            one.push("team", number)
        one.wait_over()
        sent = [
            request.repository
            for request in one.registry.since(start)
            if request.method == "PUT" and "/blobs/" in request.path
        ]
        assert sorted(sent) == sorted(f"team/app{n}" for n in range(REPOSITORIES) for _ in range(2))
        assert not [target for target in one.targets() if target.get("tries")]


def test_it_comes_and_goes(tmp_path: Path, seed: str) -> None:
    """What is accepted meanwhile gets there, the youngest of each tag last."""
    chance = random.Random(seed)
    with outage(tmp_path) as one:
        until = time.monotonic() + OUTAGE_S
        number = 0
        while time.monotonic() < until or number < FEWER:
            one.registry.turn(chance.choice((Mood.AWAY, Mood.WELL)))
            for _ in range(chance.randrange(1, 10)):
                one.push("team", number)
                number += 1
            last_for(chance.uniform(0, OUTAGE_S / 20))
        back = one.registry.turn(Mood.WELL)
        end = one.wait_delivered()
        one.wait_over()
        assert len(one.tag_puts_since(back)) <= TAGS + AT_ONCE
        report("COMES_AND_GOES", pushes=number, delivered_s=round(end - back, 2))
