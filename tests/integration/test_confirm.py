"""A front that tells the truth: what a HEAD of a tag says of targets that refused it, or lost it.

crane and regctl ask for the tag first and push nothing when it is there, so `HEAD` is all that such
a client does here. What a target was found to have is believed for `CONFIRM` seconds.
"""
from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.front import (
    EMPTY_JSON,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Front,
    descriptor,
    manifest_of,
    to_json,
)
from support.gateway import Gateway
from support.pulled import sha256
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

CONFIRM = 0.2
WAIT = 60.0
FAST = 10.0  # tenfold: what is not waited for takes milliseconds
BOTH = pytest.mark.parametrize("acknowledge", ("stored", "pushed"))


class Mirror:
    """A registry that can be taken away, wiped, and made read-only, at one port."""

    def __init__(self, folder: Path) -> None:
        self.registry = Registry(folder)
        self._config = folder / "registry.yml"
        self._runs = False
        self.start()

    def start(self, *, readonly: bool = False) -> None:
        config = yaml.safe_load(self._config.read_text())
        config["storage"]["maintenance"] = {"readonly": {"enabled": readonly}}
        if self.registry.port:
            config["http"]["addr"] = self.registry.host
        self._config.write_text(yaml.safe_dump(config))
        self.registry.__enter__()
        self._runs = True

    def stop(self) -> None:
        if self._runs:
            self.registry.__exit__()
        self._runs = False

    def lose(self, *, readonly: bool = False) -> None:
        """Everything that it has."""
        self.stop()
        shutil.rmtree(self.registry.storage)
        self.start(readonly=readonly)

    def has(self, repository: str, tag: str, digest: str) -> bool:
        answer = self.registry.manifest(repository, tag)
        return answer.status == 200 and sha256(answer.body) == digest

    def wait_for(self, repository: str, tag: str, digest: str) -> None:
        wait_until(lambda: self.has(repository, tag, digest), f"{repository}:{tag}", WAIT)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    made = Mirror(tmp_path / "mirror")
    try:
        yield made
    finally:
        made.stop()


def configuration(host: str, acknowledge: str, confirm: str = "200ms", **more: Any) -> dict[str, Any]:
    entry = {"match": "**", "to": [f"{host}/**"], "acknowledge": acknowledge, "confirm": confirm}
    return {"mirrors": [entry], "registries": {host: {"retry_wait": "50ms"}}, **more}


@contextmanager
def serving(
    folder: Path, config: Mapping[str, Any]
) -> Iterator[tuple[Gateway, Front]]:
    with Gateway(folder / "gateway", config) as gateway, Front(gateway.port) as front:
        yield gateway, front


def states(gateway: Gateway) -> list[str]:
    """Of all targets of all pushes, the youngest push first."""
    pushes = gateway.request("/v1/pushes").json()["pushes"]
    return [target["state"] for push in pushes for target in push["results"]]


def head(front: Front, repository: str = "team/app", tag: str = "1") -> int:
    return front.manifest(repository, tag, "HEAD").status


def outlive(confirmed: float) -> None:
    """What was confirmed at that time is not believed any more."""
    time.sleep(max(0.0, confirmed + CONFIRM + 0.1 - time.monotonic()))


def quickly(front: Front, method: str) -> None:
    begun = time.monotonic()
    reply = front.manifest("team/app", "1", method)
    assert reply.status == 200, reply
    assert time.monotonic() - begun < FAST, method


def test_a_refused_promise_is_made_good(tmp_path: Path, mirror: Mirror) -> None:
    mirror.stop()
    mirror.start(readonly=True)
    config = configuration(mirror.registry.host, "stored")
    with serving(tmp_path, config) as (gateway, front):
        digest = front.tagged("team/app", "1")
        wait_until(lambda: states(gateway) == ["refused"], "it is refused", WAIT)
        mirror.stop()
        mirror.start()
        begun = time.monotonic()
        while not mirror.has("team/app", "1", digest):
            assert head(front) == 200
            assert time.monotonic() - begun < WAIT
        # Not each HEAD has it pushed: only some that come later and later.
        assert 2 <= len(states(gateway)) <= 4, states(gateway)


@BOTH
def test_what_a_mirror_has_lost_comes_back(
    tmp_path: Path, mirror: Mirror, acknowledge: str
) -> None:
    """With what refers to it. With `pushed` nobody is told that it is there before it is."""
    config = configuration(mirror.registry.host, acknowledge)
    with serving(tmp_path, config) as (gateway, front):
        image = front.image("team/app")
        front.must_put("team/app", "1", image)
        signature = front.artifact("team/app", image)
        front.must_put("team/app", sha256(signature), signature)
        wait_until(lambda: set(states(gateway)) == {"pushed"}, "all is pushed", WAIT)
        confirmed = time.monotonic()
        mirror.lose()
        outlive(confirmed)
        assert head(front) == 200
        if acknowledge == "stored":
            mirror.wait_for("team/app", "1", sha256(image))
        assert mirror.has("team/app", "1", sha256(image))
        assert mirror.registry.manifest("team/app", sha256(signature)).status == 200
        # It is there, and asked for no more often than it has to be.
        before = len(states(gateway))
        assert head(front) == 200 and len(states(gateway)) == before


def test_what_cannot_be_given_back_is_not_there(tmp_path: Path, mirror: Mirror) -> None:
    """So that the client pushes, and is told why that fails; GET serves what is held."""
    config = configuration(mirror.registry.host, "pushed")
    with serving(tmp_path, config) as (gateway, front):
        image = front.image("team/app")
        digest = sha256(image)
        front.must_put("team/app", "1", image)
        confirmed = time.monotonic()
        mirror.lose(readonly=True)
        outlive(confirmed)
        assert head(front) == 404
        assert front.manifest("team/app", "1").status == 200
        refused = front.put("team/app", "1", image, OCI_MANIFEST)
        assert 400 <= refused.status < 500 and refused.error["code"] == "DENIED", refused
        mirror.stop()
        mirror.start()
        begun = time.monotonic()
        while head(front) != 200:
            assert time.monotonic() - begun < WAIT
        assert mirror.has("team/app", "1", digest)


def test_a_put_of_what_is_there_is_a_push(tmp_path: Path, mirror: Mirror) -> None:
    """However short ago the target confirmed it; and a client that goes away ends nothing."""
    config = configuration(mirror.registry.host, "pushed")
    with serving(tmp_path, config) as (gateway, front):
        image = front.image("team/app")
        front.must_put("team/app", "1", image)
        mirror.lose()
        front.must_put("team/app", "1", image)
        assert mirror.has("team/app", "1", sha256(image))
        confirmed = time.monotonic()
        mirror.lose()
        outlive(confirmed)
        with Front(gateway.port) as other:
            other.send_part("HEAD", "/v2/team/app/manifests/1", {}, b"")
        mirror.wait_for("team/app", "1", sha256(image))


@BOTH
def test_pulls_go_on_with_the_mirror_away(
    tmp_path: Path, mirror: Mirror, acknowledge: str
) -> None:
    config = configuration(mirror.registry.host, acknowledge)
    with serving(tmp_path, config) as (gateway, front):
        digest = front.tagged("team/app", "1")
        wait_until(lambda: set(states(gateway)) == {"pushed"}, "all is pushed", WAIT)
        confirmed = time.monotonic()
        mirror.stop()
        outlive(confirmed)
        for method in ("HEAD", "GET", "HEAD"):
            quickly(front, method)
        assert front.manifest("team/app", digest, "HEAD").status == 200
        # What waits for it is not waited for.
        if acknowledge == "stored":
            front.tagged("team/app", "1")
            wait_until(lambda: states(gateway)[0] == "waiting", "it waits", WAIT)
            quickly(front, "HEAD")


def test_many_who_ask_share_a_question(tmp_path: Path, mirror: Mirror) -> None:
    """And a push."""
    config = configuration(mirror.registry.host, "pushed", "1h")
    with serving(tmp_path, {}) as (gateway, front):
        digest = front.tagged("team/app", "1")

    def ask(gateway: Gateway) -> int:
        with Front(gateway.port) as one:
            return head(one)

    with Gateway(tmp_path / "gateway", config) as gateway:
        with ThreadPoolExecutor(64) as pool:
            assert set(pool.map(ask, [gateway] * 64)) == {200}
        assert states(gateway) == ["pushed"] and mirror.has("team/app", "1", digest)
        assert len(mirror.registry.requests("HEAD", "/manifests/1")) == 1
        assert ask(gateway) == 200
        assert len(mirror.registry.requests("HEAD", "/manifests/1")) == 1


def test_confirm_never(tmp_path: Path, mirror: Mirror) -> None:
    config = configuration(mirror.registry.host, "pushed", "never")
    with serving(tmp_path, config) as (gateway, front):
        digest = front.tagged("team/app", "1")
        confirmed = time.monotonic()
        mirror.lose()
        outlive(confirmed)
        assert head(front) == 200
        assert not mirror.registry.requests("HEAD", "/manifests/1")
        assert not mirror.has("team/app", "1", digest) and len(states(gateway)) == 1


@pytest.mark.skipif(os.environ.get("SLIPWAY_LONG") != "1", reason="takes half a minute")
def test_a_push_that_takes_long_is_not_waited_for(tmp_path: Path, mirror: Mirror) -> None:
    """The question passes, what is pushed does not."""
    with ThrottledProxy(mirror.registry.port, to_server=20000) as line:
        config = configuration(f"127.0.0.1:{line.port}", "pushed")
        with serving(tmp_path, config) as (gateway, front):
            layer = os.urandom(600000)
            front.push_blob("team/app", layer)
            front.push_blob("team/app", EMPTY_JSON)
            config_of = descriptor(OCI_CONFIG, EMPTY_JSON)
            image = to_json(manifest_of(config_of, descriptor(OCI_LAYER, layer)))
            front.must_put("team/app", "1", image)
            confirmed = time.monotonic()
            mirror.lose()
            outlive(confirmed)
            begun = time.monotonic()
            assert head(front) == 404
            assert 19 < time.monotonic() - begun < 40
            mirror.wait_for("team/app", "1", sha256(image))
