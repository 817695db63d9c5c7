"""Mirrors: where an image goes whose sender names no target, and what is promised about it."""
from __future__ import annotations

import http.client
import json
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old, expected
from support.curl import Reply
from support.front import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Front,
    descriptor,
    index_of,
    sha512,
    to_json,
)
from support.gateway import Gateway, failed, pushed
from support.images import make_small_image
from support.nginx import Nginx
from support.ports import refusing_port
from support.pulled import sha256
from support.registry import MANIFEST_TYPES, Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
REFUSAL = '{"errors":[{"code":"DENIED","message":"no pushes on Mondays"}]}'
WAIT = 60.0
INDEX_DEPTH_MAX = 8


def make_archive(folder: Path, seed: str, *names: str) -> Path:
    """A `docker save` of one image with these names; `folder` is made."""
    image = make_small_image(folder / "files", seed)
    return docker_save_old([(image, list(names) or ["team/app:1"])], folder / "image.tar")


def mirror(
    match: str, *to: str | Mapping[str, Any], acknowledge: str = "pushed"
) -> dict[str, Any]:
    return {"match": match, "to": list(to), "acknowledge": acknowledge}


def configuration(*mirrors: Mapping[str, Any], hosts: Sequence[str] = ()) -> dict[str, Any]:
    quick = {host: {"retry_wait": "50ms"} for host in hosts}
    return {"mirrors": list(mirrors), "registries": quick}


def digest_at(registry: Registry, repository: str, tag: str) -> str | None:
    answer = registry.manifest(repository, tag)
    return sha256(answer.body) if answer.status == 200 else None


def wait_for_digest(registry: Registry, repository: str, tag: str, digest: str) -> None:
    wait_until(
        lambda: digest_at(registry, repository, tag) == digest, f"{repository}:{tag} is there", WAIT
    )


def stored(reply: Reply, count: int = 1) -> str:
    """The manifest's digest of a push that was promised; checks the shape of the answer."""
    assert reply.status == 202, (reply.status, reply.body[:2000])
    value = reply.json()
    assert value["state"] == "stored" and value["id"], value
    assert len(value["results"]) == count, value
    for result in value["results"]:
        assert result["state"] == "queued", result
        assert set(result) <= {"target", "state", "optional"}, result
    return str(value["image"]["manifest"])


def kill(gateway: Gateway) -> None:
    gateway.process.signal(signal.SIGKILL)
    assert gateway.process.wait() == -signal.SIGKILL


def restart(gateway: Gateway) -> None:
    """In order, then again."""
    assert gateway.process.stop() == 0, gateway.log()
    gateway.process.assert_no_sanitizer_report()
    gateway.start()


def registry_at(folder: Path, port: int) -> Registry:
    """A registry on a port that was known before it started."""
    return Registry(
        folder, more={"http": {"addr": f"127.0.0.1:{port}", "secret": "only for tests"}}
    )


# ---- which targets ----


@pytest.mark.parametrize(
    ("match", "target", "repository"),
    [
        ("team/app", "exact/app", "exact/app"),
        ("team/*", "one/*", "one/app"),
        ("**", "all/**", "all/team/app"),
        ("*/*", "turned/*/*", "turned/team/app"),
        ("t*m/**", "part/x*-**", "part/xea-app"),
    ],
)
def test_patterns(
    registry: Registry, tmp_path: Path, seed: str, match: str, target: str, repository: str
) -> None:
    archive = make_archive(tmp_path / "image", seed)
    config = configuration(mirror(match, f"{registry.host}/{target}"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        (result,) = pushed(gateway.post(archive))
    assert result["target"] == f"{registry.host}/{repository}:1"
    assert digest_at(registry, repository, "1") == result["digest"]


def test_every_name_goes_to_every_target_of_its_first_match(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    host = registry.host
    archive = make_archive(
        tmp_path / "image", seed, "first/app:1", "first/app:2", "second/app:1", "nowhere/app:1"
    )
    config = configuration(
        mirror("first/*", f"{host}/names/a-*", f"{host}/names/b-*"),
        mirror("second/*", f"{host}/names/b-*"),
        mirror("first/app", f"{host}/names/never"),
    )
    with Gateway(tmp_path / "gateway", config) as gateway:
        results = pushed(gateway.post(archive), 4)
    assert sorted(result["target"] for result in results) == [
        f"{host}/names/{name}" for name in ("a-app:1", "a-app:2", "b-app:1", "b-app:2")
    ]
    assert registry.tags("names/a-app") == registry.tags("names/b-app") == ["1", "2"]
    assert registry.tags("names/never") == []


def test_names_of_docker_hub_are_short(registry: Registry, tmp_path: Path, seed: str) -> None:
    archive = make_archive(tmp_path / "image", seed, "docker.io/library/hub:1")
    config = configuration(mirror("*", f"{registry.host}/hub/*"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        pushed(gateway.post(archive))
    assert registry.tags("hub/hub") == ["1"]


def test_no_name_matches(registry: Registry, tmp_path: Path, seed: str) -> None:
    archive = make_archive(tmp_path / "image", seed, "team/app:1", "r.example.com/x:2")
    config = configuration(mirror("other/**", f"{registry.host}/**"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        reply = gateway.post(archive)
        assert reply.status == 422 and reply.error["code"] == "NO_TARGET", reply.body
        assert "calls the image: team/app:1, r.example.com/x:2" in reply.error["message"]
        gateway.wait_nothing_staged()
        assert gateway.blobs() == []


def test_a_target_that_is_named_counts_alone(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    archive = make_archive(tmp_path / "image", seed)
    config = configuration(mirror("**", f"{registry.host}/alone/mirror"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        pushed(gateway.post(archive, f"{registry.host}/alone/named:1"))
    assert registry.tags("alone/named") == ["1"] and registry.tags("alone/mirror") == []


def test_without_mirrors_a_host_in_the_name_is_the_target(
    registry: Registry, gateway: Gateway, tmp_path: Path, seed: str
) -> None:
    name = f"{registry.host}/in/name:1"
    (result,) = pushed(gateway.post(make_archive(tmp_path / "image", seed, "short/app:1", name)))
    assert result["target"] == name
    assert digest_at(registry, "in/name", "1") == result["digest"]


def test_a_name_that_leads_to_no_repository(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    archive = make_archive(tmp_path / "image", seed, "localhost:5000/app:1")
    config = configuration(mirror("**/app", f"{registry.host}/**"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        reply = gateway.post(archive)
    assert reply.status == 400 and reply.error["code"] == "REFERENCE_INVALID", reply.body


# ---- one target down, one that refuses, one that is fine ----


@dataclass(frozen=True)
class Three:
    down: str
    refusing: str
    fine: str
    registry: Registry

    def mirror(self, acknowledge: str, optional: Sequence[str] = ()) -> dict[str, Any]:
        hosts = {"down": self.down, "refusing": self.refusing, "fine": self.fine}
        to = [
            {"target": f"{host}/three/*", "required": name not in optional}
            for name, host in hosts.items()
        ]
        return mirror("team/*", *to, acknowledge=acknowledge)

    def config(self, acknowledge: str, optional: Sequence[str] = ()) -> dict[str, Any]:
        hosts = (self.down, self.refusing, self.fine)
        return configuration(self.mirror(acknowledge, optional), hosts=hosts)


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    with ExitStack() as stack:
        registry = stack.enter_context(Registry(tmp_path / "fine"))
        other = stack.enter_context(Registry(tmp_path / "other"))
        oci = "application/vnd.oci.image.manifest.v1+json"
        nginx = stack.enter_context(
            Nginx(tmp_path / "nginx", other.host, refused=(SCHEMA2, oci), refusal=(403, REFUSAL))
        )
        down = stack.enter_context(refusing_port())
        yield Three(f"127.0.0.1:{down}", nginx.host, registry.host, registry)


def by_host(value: Mapping[str, Any], three: Three) -> dict[str, Any]:
    names = {three.down: "down", three.refusing: "refusing", three.fine: "fine"}
    return {names[result["target"].split("/")[0]]: result for result in value["results"]}


def test_pushed_needs_every_target(three: Three, tmp_path: Path, seed: str) -> None:
    archive = make_archive(tmp_path / "image", seed)
    with Gateway(tmp_path / "gateway", three.config("pushed")) as gateway:
        reply = gateway.post(archive)
    value = reply.json()
    assert reply.status == 502 and value["state"] == "failed", value
    results = by_host(value, three)
    assert results["down"]["error"]["code"] == "CONNECT_FAILED", results
    assert results["refusing"]["error"]["code"] == "DENIED", results
    assert results["refusing"]["error"]["status"] == 403, results
    assert results["fine"]["state"] == "pushed", results
    assert not any("optional" in result for result in results.values())
    assert digest_at(three.registry, "three/app", "1") == results["fine"]["digest"]


def test_optional_targets_may_fail(three: Three, tmp_path: Path, seed: str) -> None:
    archive = make_archive(tmp_path / "image", seed)
    config = three.config("pushed", ["down", "refusing"])
    with Gateway(tmp_path / "gateway", config) as gateway:
        reply = gateway.post(archive)
    value = reply.json()
    assert reply.status == 200 and value["state"] == "pushed", value
    results = by_host(value, three)
    assert [results[name]["state"] for name in ("down", "refusing", "fine")] == [
        "failed", "failed", "pushed"
    ]
    assert results["down"]["optional"] is results["refusing"]["optional"] is True
    assert "optional" not in results["fine"]


def test_one_required_target_that_fails_is_enough(
    three: Three, tmp_path: Path, seed: str
) -> None:
    archive = make_archive(tmp_path / "image", seed)
    with Gateway(tmp_path / "gateway", three.config("pushed", ["down", "fine"])) as gateway:
        reply = gateway.post(archive)
    assert reply.status == 502 and reply.json()["state"] == "failed", reply.body
    assert by_host(reply.json(), three)["refusing"]["error"]["code"] == "DENIED"


def test_stored_is_kept_for_what_is_away_only(three: Three, tmp_path: Path, seed: str) -> None:
    """The answer comes before any registry; the one that refuses has ended, the one that is down
    is tried again, also by the next start."""
    archive = make_archive(tmp_path / "image", seed)
    config = three.config("stored", ["refusing"])
    with Gateway(tmp_path / "gateway", config) as gateway:
        reply = gateway.post(archive)
        digest = stored(reply, 3)
        assert by_host(reply.json(), three)["refusing"]["optional"] is True
        wait_for_digest(three.registry, "three/app", "1", digest)
        wait_until(lambda: "no pushes on Mondays" in gateway.log(), "the refusal", WAIT)
        wait_until(lambda: "target is tried again" in gateway.log(), "the one down", WAIT)
        restart(gateway)
        wait_until(lambda: "target is tried again" in gateway.log(), "another attempt", WAIT)
        assert "no pushes on Mondays" not in gateway.log()
        assert not re.search(r"target pushed target=\S+three/app:1 ", gateway.log()), "what was pushed is pushed once"


# ---- what was promised ----


def promise_config(host: str, repository: str) -> dict[str, Any]:
    stored_mirror = mirror("team/*", f"{host}/{repository}", acknowledge="stored")
    return configuration(stored_mirror, hosts=[host])


def test_a_promise_outlives_a_kill(tmp_path: Path, seed: str, registry: Registry) -> None:
    archive = make_archive(tmp_path / "image", seed)
    wanted = expected(archive)
    with ThrottledProxy(registry.port) as proxy:
        proxy.hold()
        config = promise_config(f"127.0.0.1:{proxy.port}", "kill/*")
        with Gateway(tmp_path / "gateway", config) as gateway:
            digest = stored(gateway.post(archive))
            kill(gateway)
            assert digest_at(registry, "kill/app", "1") is None
            proxy.release()
            gateway.start()
            assert "1 pending target goes on" in gateway.log()
            wait_for_digest(registry, "kill/app", "1", digest)
            restart(gateway)
            assert "go on" not in gateway.log(), "a promise is kept once"
    config_digest = json.loads(registry.manifest("kill/app", "1").body)["config"]["digest"]
    assert config_digest in wanted.configs


def test_a_registry_that_is_away_gets_it_at_a_later_start(tmp_path: Path, seed: str) -> None:
    archive = make_archive(tmp_path / "image", seed)
    with refusing_port() as port:
        config = promise_config(f"127.0.0.1:{port}", "later/*")
        gateway = Gateway(tmp_path / "gateway", config)
        gateway.start()
        digest = stored(gateway.post(archive))
        wait_until(lambda: "target is tried again" in gateway.log(), "the failure", WAIT)
        assert gateway.process.stop() == 0
    with registry_at(tmp_path / "registry", port) as registry, gateway:
        wait_for_digest(registry, "later/app", "1", digest)


def test_a_registry_that_is_back_gets_it(tmp_path: Path, seed: str) -> None:
    """Nobody does anything: one push tries for all that wait, the others follow."""
    archives = [make_archive(tmp_path / f"image{number}", f"{seed}-{number}") for number in range(3)]
    with refusing_port() as port:
        host = f"127.0.0.1:{port}"
        config = promise_config(host, "back/*")
        config["registries"][host]["retry_wait"] = "200ms"
        gateway = Gateway(tmp_path / "gateway", config)
        gateway.start()
        digests = [stored(gateway.post(archive)) for archive in archives]
        wait_until(lambda: "target is tried again" in gateway.log(), "the failure", WAIT)
        waiting = wait_until(
            lambda: gateway.request("/v1/pushes?state=waiting").json()["pushes"], "one waits", WAIT
        )
        assert [push["image"]["manifest"] for push in waiting] == [digests[2]]
        (result,) = waiting[0]["results"]
        assert result["error"]["code"] == "CONNECT_FAILED" and result["name"] == host
        gone = gateway.request("/v1/pushes?state=superseded").json()["pushes"]
        assert {push["image"]["manifest"] for push in gone} <= set(digests[:2])
    with registry_at(tmp_path / "registry", port) as registry:
        wait_for_digest(registry, "back/app", "1", digests[2])
        ended = gateway.request("/v1/pushes?state=pushed").json()["pushes"]
        assert digests[2] in {push["image"]["manifest"] for push in ended}
        assert gateway.process.stop() == 0


def test_the_image_is_whole_when_its_layers_were_held_already(
    tmp_path: Path, seed: str, registry: Registry
) -> None:
    """A push that promised nothing brought the layers; the promise makes them durable."""
    archive = make_archive(tmp_path / "image", seed)
    with ThrottledProxy(registry.port) as proxy:
        config = promise_config(f"127.0.0.1:{proxy.port}", "held/*")
        with Gateway(tmp_path / "gateway", config) as gateway:
            (first,) = pushed(gateway.post(archive, f"{registry.host}/held/before:1"))
            proxy.hold()
            assert stored(gateway.post(archive)) == first["digest"]
            kill(gateway)
            proxy.release()
            gateway.start()
            wait_for_digest(registry, "held/app", "1", first["digest"])


@pytest.mark.parametrize("killed", [False, True], ids=["running", "killed"])
def test_the_younger_image_of_one_tag_stays(
    tmp_path: Path, seed: str, registry: Registry, killed: bool
) -> None:
    repository = f"order/{'killed' if killed else 'running'}"
    archives = [make_archive(tmp_path / f"image-{i}", f"{seed}-{i}") for i in range(3)]
    with ThrottledProxy(registry.port) as proxy:
        proxy.hold()
        config = promise_config(f"127.0.0.1:{proxy.port}", repository)
        with Gateway(tmp_path / "gateway", config) as gateway:
            digests = [stored(gateway.post(archive)) for archive in archives]
            wait_until(lambda: "is superseded" in gateway.log(), "the second", WAIT)
            if killed:
                kill(gateway)
            proxy.release()
            if killed:
                gateway.start()
            wait_for_digest(registry, repository, "1", digests[2])
            wait_until(lambda: f"digest={digests[2]} bytes=" in gateway.log(), "the last is told", WAIT)
            assert digest_at(registry, repository, "1") == digests[2]
            assert digest_at(registry, repository, digests[1]) is None, "left out"


def test_an_image_that_waits_does_not_overwrite_a_younger_one(
    tmp_path: Path, seed: str
) -> None:
    """It waits for its registry; meanwhile another image is pushed under its tag and waits for
    nobody."""
    old = make_archive(tmp_path / "old", f"{seed}-old")
    young = make_archive(tmp_path / "young", f"{seed}-young")
    with refusing_port() as port:
        target = f"127.0.0.1:{port}/overtaken/app"
        config = promise_config(f"127.0.0.1:{port}", "overtaken/*")
        config["registries"][f"127.0.0.1:{port}"]["retry_wait"] = "10m"
        gateway = Gateway(tmp_path / "gateway", config)
        gateway.start()
        stored(gateway.post(old))
        wait_until(lambda: "target is tried again" in gateway.log(), "the failure", WAIT)
    with registry_at(tmp_path / "registry", port) as registry:
        (result,) = pushed(gateway.post(young, f"{target}:1"))
        wait_until(lambda: "is superseded" in gateway.log(), "the older one", WAIT)
        restart(gateway)
        assert "go on" not in gateway.log()
        assert digest_at(registry, "overtaken/app", "1") == result["digest"]
        assert gateway.process.stop() == 0


def test_pushed_and_stored_in_one_archive(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    host = registry.host
    archive = make_archive(tmp_path / "image", seed, "now/app:1", "later/app:1")
    config = configuration(
        mirror("later/*", f"{host}/mixed/later", acknowledge="stored"),
        mirror("now/*", f"{host}/mixed/now"),
    )
    with Gateway(tmp_path / "gateway", config) as gateway:
        reply = gateway.post(archive)
        value = reply.json()
        assert reply.status == 200 and value["state"] == "pushed", value
        assert [(r["target"], r["state"]) for r in value["results"]] == [
            (f"{host}/mixed/now:1", "pushed"),
            (f"{host}/mixed/later:1", "queued"),
        ]
        wait_for_digest(registry, "mixed/later", "1", value["image"]["manifest"])


@pytest.mark.parametrize("names", [64, 65])
def test_targets_are_limited(
    registry: Registry, tmp_path: Path, seed: str, names: int
) -> None:
    tags = [f"team/app:{number}" for number in range(names)]
    archive = make_archive(tmp_path / "image", seed, *tags)
    with Gateway(tmp_path / "gateway", promise_config(registry.host, "many/*")) as gateway:
        reply = gateway.post(archive)
        if names > 64:
            assert reply.status == 400 and reply.error["code"] == "BAD_REQUEST", reply.body
            assert gateway.blobs() == []
        else:
            digest = stored(reply, 64)
            for number in (0, 63):
                wait_for_digest(registry, "many/app", str(number), digest)


def test_stored_as_a_stream_of_events(registry: Registry, tmp_path: Path, seed: str) -> None:
    archive = make_archive(tmp_path / "image", seed)
    with Gateway(tmp_path / "gateway", promise_config(registry.host, "events/*")) as gateway:
        reply = gateway.post(archive, headers=["Accept: application/x-ndjson"])
        assert reply.status == 202, reply.body
        first, last = [json.loads(line) for line in reply.body.splitlines()]
        digest = first["push"]["image"]["manifest"]
        target = f"{registry.host}/events/app:1"
        assert last["target"] == target and "error" not in last and "aux" not in last, last
        assert last["result"] == {"target": target, "state": "queued"}
        wait_for_digest(registry, "events/app", "1", digest)


def test_a_slow_registry_delays_no_other(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    """More repositories wait for the one that is held than it has threads."""
    with ThrottledProxy(registry.port) as proxy:
        proxy.hold()
        config = configuration(
            mirror("held/*", f"127.0.0.1:{proxy.port}/slow/*", acknowledge="stored"),
            mirror("fast/*", f"{registry.host}/fast/*", acknowledge="stored"),
        )
        with Gateway(tmp_path / "gateway", config) as gateway:
            names = [f"held/app-{i}:1" for i in range(8)]
            held = make_archive(tmp_path / "held", f"{seed}-held", *names)
            fast = make_archive(tmp_path / "fast", f"{seed}-fast", "fast/app:1")
            held_digest = stored(gateway.post(held), 8)
            digest = stored(gateway.post(fast))
            wait_for_digest(registry, "fast/app", "1", digest)
            assert digest_at(registry, "slow/app-0", "1") is None
            proxy.release()
            for i in range(8):
                wait_for_digest(registry, f"slow/app-{i}", "1", held_digest)


# ---- the same through the registry front ----


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        first: dict[str, Any] = json.loads(self.body)["errors"][0]
        return first


class FrontClient:
    """A registry client of a few lines: a name with a port in it is nothing that others send."""

    def __init__(self, gateway: Gateway, repository: str) -> None:
        self._gateway = gateway
        self._base = f"/v2/{repository}"

    def ask(self, method: str, path: str, body: bytes = b"", media_type: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._gateway.port, timeout=120)
        headers = {"Accept": MANIFEST_TYPES}
        if media_type:
            headers["Content-Type"] = media_type
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def put_blob(self, data: bytes) -> dict[str, Any]:
        begun = self.ask("POST", f"{self._base}/blobs/uploads/")
        assert begun.status == 202, begun
        location = begun.headers["Location"]
        location += ("&" if "?" in location else "?") + f"digest={sha256(data)}"
        done = self.ask("PUT", location, data, "application/octet-stream")
        assert done.status == 201, done
        return {"digest": sha256(data), "size": len(data)}

    def manifest(self, seed: str) -> bytes:
        """The manifest of a small image whose blobs are there now."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "seed": seed}).encode()
        layer = seed.encode() * 1000
        return json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": SCHEMA2,
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    **self.put_blob(config),
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        **self.put_blob(layer),
                    }
                ],
            }
        ).encode()

    def put_manifest(self, manifest: bytes, reference: str) -> Answer:
        return self.ask("PUT", f"{self._base}/manifests/{reference}", manifest, SCHEMA2)

    def push(self, seed: str, tag: str = "1") -> tuple[str, Answer]:
        manifest = self.manifest(seed)
        return sha256(manifest), self.put_manifest(manifest, tag)

    def tags(self) -> list[str]:
        answer = self.ask("GET", f"{self._base}/tags/list")
        return list(json.loads(answer.body)["tags"] or []) if answer.status == 200 else []


def test_front_host_in_path(registry: Registry, gateway: Gateway, seed: str) -> None:
    client = FrontClient(gateway, f"{registry.host}/front/host")
    digest, answer = client.push(seed)
    assert answer.status == 201, answer
    assert digest_at(registry, "front/host", "1") == digest
    manifest = client.manifest(f"{seed}-by-digest")
    assert client.put_manifest(manifest, sha256(manifest)).status == 201
    assert digest_at(registry, "front/host", sha256(manifest)) == sha256(manifest)


def test_front_that_is_its_own_target(gateway: Gateway, seed: str) -> None:
    """Refused at once: else each push would wait for another one of itself."""
    client = FrontClient(gateway, f"127.0.0.1:{gateway.port}/front/loop")
    start = time.monotonic()
    _, answer = client.push(seed)
    assert answer.status == 508 and answer.error["code"] == "LOOP_DETECTED", answer
    assert "mirrors lead in a ring" in answer.error["message"], answer
    assert time.monotonic() - start < 5
    assert client.tags() == []


@pytest.mark.parametrize(("count", "acknowledge"), [(2, "pushed"), (3, "stored")])
def test_gateways_in_a_ring(tmp_path: Path, seed: str, count: int, acknowledge: str) -> None:
    """Each gives names to the next one that are longer: nothing but the ring's end ends it."""
    with ExitStack() as stack:
        lines = [stack.enter_context(ThrottledProxy(0)) for _ in range(count)]
        gateways = []
        for number, line in enumerate(lines):
            after = f"127.0.0.1:{lines[(number + 1) % count].port}"
            config = configuration(
                mirror("**", f"{after}/x/**", acknowledge=acknowledge), hosts=[after]
            )
            gateways.append(stack.enter_context(Gateway(tmp_path / str(number), config)))
            line.lead_to(gateways[-1].port)
        reply = gateways[0].post(make_archive(tmp_path / "image", seed))
        last = gateways[-1]
        if acknowledge == "pushed":
            error = failed(reply, "LOOP_DETECTED", "gateway", 508)
        else:
            stored(reply)
            error = wait_until(lambda: refusal_of(last), "the last one is refused", WAIT)
            assert error["code"] == "LOOP_DETECTED" and error["status"] == 508, error
        assert "mirrors lead in a ring" in error["message"], error
        assert [len(pushes_of(gateway)) for gateway in gateways] == [1] * count
        for number, gateway in enumerate(gateways):
            listed = gateway.request("/v2/_catalog").json()["repositories"]
            name = "x/" * number + "team/app"
            assert set(listed) <= {name}, f"{listed} in {number}"


def pushes_of(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.request("/v1/pushes").json()["pushes"]
    return found


def refusal_of(gateway: Gateway) -> dict[str, Any] | None:
    for push in pushes_of(gateway):
        for result in push["results"]:
            if result["state"] == "refused":
                return dict(result["error"])
    return None


def test_front_that_has_no_list_of_gateways(gateway: Gateway) -> None:
    ids = [f"{number:016x}" for number in range(8)]
    for via, status in (
        ("", 200),
        (", ".join(ids[:7]), 200),
        (",".join(ids), 508),
        (ids[0] + " " + ids[1].upper()[:15] + "A", 400),
        ("x" * 4000, 400),
        (",".join(ids * 20), 400),
        (ids[0][:15], 400),
    ):
        reply = gateway.request("/v2/", headers=(f"Slipway-Via: {via}",))
        assert reply.status == status, (via, reply.body)
    assert "8 gateways" in gateway.request(
        "/v2/", headers=(f"Slipway-Via: {','.join(ids)}",)
    ).error["message"]


def test_front_without_a_target_keeps_it(registry: Registry, gateway: Gateway, seed: str) -> None:
    client = FrontClient(gateway, "front/kept")
    digest, answer = client.push(seed)
    assert answer.status == 201, answer
    assert client.tags() == ["1"] and registry.tags("front/kept") == []
    assert sha256(client.ask("GET", "/v2/front/kept/manifests/1").body) == digest


def test_front_name_that_no_mirror_matches(registry: Registry, tmp_path: Path, seed: str) -> None:
    """A typing error would otherwise look like a push."""
    config = configuration(mirror("team/*", f"{registry.host}/typed/{seed}/*"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        _, answer = FrontClient(gateway, "taem/app").push(seed)
        assert answer.status == 201, answer
        assert re.fullmatch(r'299 - "no mirror matches taem/app: .*"', answer.headers["Warning"])
        wait_until(lambda: "no mirror matches the repository" in gateway.log(), "it", WAIT)
        # podman's own name for team/app
        digest, answer = FrontClient(gateway, "localhost/team/app").push(seed)
        assert answer.status == 201 and "Warning" not in answer.headers, answer
        assert digest_at(registry, f"typed/{seed}/app", "1") == digest


def test_front_patterns(registry: Registry, tmp_path: Path, seed: str) -> None:
    config = configuration(mirror("a/**", f"{registry.host}/front/one/**", f"{registry.host}/two"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        digest, answer = FrontClient(gateway, "a/b/c").push(seed)
        assert answer.status == 201, answer
    assert digest_at(registry, "front/one/b/c", "1") == digest
    assert digest_at(registry, "two", "1") == digest


@pytest.mark.parametrize("acknowledge", ("pushed", "stored"))
def test_front_tags_of_a_digest(
    registry: Registry, tmp_path: Path, seed: str, acknowledge: str
) -> None:
    """All tags at each target; at a second gateway a sha512 digest, too, which docker-registry does
    not know: it says so once."""
    with Gateway(tmp_path / "second") as second:
        to = (f"{registry.host}/tags/{seed}", f"127.0.0.1:{second.port}/tags")
        config = configuration(
            mirror("both/*", *to, acknowledge=acknowledge),
            mirror("second/*", to[1], acknowledge=acknowledge),
            mirror("first/*", to[0]),
        )
        with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front, Front(
            second.port
        ) as there:
            image = front.image("both/app")
            front.must_put("both/app", f"{sha256(image)}?tag=a&tag=b", image)
            for tag in ("a", "b"):
                wait_for_digest(registry, f"tags/{seed}", tag, sha256(image))
                wait_until(lambda t=tag: there.manifest("tags", t).body == image, tag, WAIT)
            image = front.image("second/app")
            front.must_put("second/app", f"{sha512(image)}?tag=c&tag=d", image)
            for tag in ("c", "d"):
                wait_until(lambda t=tag: there.manifest("tags", t).status == 200, tag, WAIT)
                named = there.manifest("tags", tag)
                assert named.headers["docker-content-digest"] == sha512(image)
            image = front.image("first/app")
            reply = front.put("first/app", f"{sha512(image)}?tag=e", image)
            assert (reply.status, reply.error["code"]) == (403, "DENIED"), reply
            assert "sha512" in reply.error["message"], reply.error
            assert "attempts" not in reply.error["message"], reply.error
            assert front.manifest("first/app", "e").status == 404


def test_front_layers_that_are_not_distributed(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    """docker-registry wants their URLs to be allowed: no further attempt helps."""
    config = configuration(mirror("**", f"{registry.host}/kept-back/{seed}"))
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
        value = json.loads(front.image("team/app"))
        kept_back = OCI_LAYER.replace("layer", "layer.nondistributable")
        urls = ["https://example.com/layer"]
        value["layers"].append(descriptor(kept_back, seed.encode(), urls=urls))
        reply = front.put("team/app", "1", to_json(value))
        assert (reply.status, reply.error["code"]) == (424, "DENIED"), reply
        assert "is not to be distributed" in reply.error["message"], reply.error
        assert "attempts" not in reply.error["message"], reply.error
    assert len(registry.requests("PUT", f"/kept-back/{seed}/manifests/")) == 1


def test_front_name_that_leads_to_no_repository(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    config = configuration(mirror("**/app", f"{registry.host}/**"))
    with Gateway(tmp_path / "gateway", config) as gateway:
        client = FrontClient(gateway, "localhost:5000/app")
        _, answer = client.push(seed)
        assert answer.status == 400 and client.tags() == [], answer
        assert "leads to no repository" in answer.error["message"]


def test_front_pushed_needs_every_target(three: Three, tmp_path: Path, seed: str) -> None:
    with Gateway(tmp_path / "gateway", three.config("pushed")) as gateway:
        client = FrontClient(gateway, "team/app")
        digest, answer = client.push(seed)
        assert answer.status >= 400, answer
        message = answer.error["message"]
        assert f"{three.down}/three/app:1: " in message and "1 more target failed" in message
        assert client.tags() == [], "a manifest that was not pushed is not listed"
        assert digest_at(three.registry, "three/app", "1") == digest
        # What failed can be done again.
        assert client.push(seed)[1].status >= 400


def test_front_names_status_and_reason(three: Three, tmp_path: Path, seed: str) -> None:
    with Gateway(tmp_path / "gateway", three.config("pushed", ["down"])) as gateway:
        _, answer = FrontClient(gateway, "team/app").push(seed)
        assert answer.status >= 400, answer
        message = answer.error["message"]
        assert f"{three.refusing}/three/app:1: status 403: " in message, message
        assert "no pushes on Mondays" in message and "1 more target failed" in message, message


def test_front_optional_targets_may_fail(three: Three, tmp_path: Path, seed: str) -> None:
    config = three.config("pushed", ["down", "refusing"])
    with Gateway(tmp_path / "gateway", config) as gateway:
        client = FrontClient(gateway, "team/app")
        digest, answer = client.push(seed)
        assert answer.status == 201 and client.tags() == ["1"], answer
    assert digest_at(three.registry, "three/app", "1") == digest


def test_front_stored(three: Three, tmp_path: Path, seed: str) -> None:
    with Gateway(tmp_path / "gateway", three.config("stored")) as gateway:
        client = FrontClient(gateway, "team/app")
        digest, answer = client.push(seed)
        assert answer.status == 201 and client.tags() == ["1"], answer
        wait_for_digest(three.registry, "three/app", "1", digest)
        wait_until(lambda: "no pushes on Mondays" in gateway.log(), "the refusal", WAIT)
        wait_until(lambda: "target is tried again" in gateway.log(), "the one down", WAIT)


def test_front_promise_outlives_a_kill(tmp_path: Path, seed: str, registry: Registry) -> None:
    with ThrottledProxy(registry.port) as proxy:
        proxy.hold()
        config = promise_config(f"127.0.0.1:{proxy.port}", "front/kill")
        with Gateway(tmp_path / "gateway", config) as gateway:
            client = FrontClient(gateway, "team/app")
            older, answer = client.push(f"{seed}-older")
            assert answer.status == 201, answer
            digest, answer = client.push(seed)
            assert answer.status == 201, answer
            kill(gateway)
            proxy.release()
            gateway.start()
            wait_for_digest(registry, "front/kill", "1", digest)
            assert client.tags() == ["1"]
            wait_until(lambda: f"digest={digest} bytes=" in gateway.log(), "the last is told", WAIT)
            assert digest_at(registry, "front/kill", "1") == digest != older


@pytest.mark.parametrize("acknowledge", ["stored", "pushed"])
def test_front_what_cannot_be_pushed_is_refused(
    registry: Registry, tmp_path: Path, acknowledge: str
) -> None:
    """What is kept here only may nest deeper; blobs as members go along."""
    repository = f"front/nested-{acknowledge}"
    config = configuration(
        mirror("team/*", f"{registry.host}/{repository}", acknowledge=acknowledge)
    )
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
        for name in ("team/app", "kept/app"):
            image = front.image(name)
            front.must_put(name, sha256(image), image)
            blob = b"a layer of a cache"
            front.push_blob(name, blob)
            index = to_json(index_of(descriptor(OCI_LAYER, blob)))
            cache = front.put(name, "cache", index, OCI_INDEX)
            inner, kind = image, OCI_MANIFEST
            deep = []
            for depth in range(1, INDEX_DEPTH_MAX + 2):
                inner, kind = to_json(index_of(descriptor(kind, inner))), OCI_INDEX
                deep.append(front.put(name, f"d{depth}", inner, OCI_INDEX))
                if depth == INDEX_DEPTH_MAX:
                    deepest = sha256(inner)
            assert [reply.status for reply in deep[:-1]] == [201] * INDEX_DEPTH_MAX
            assert cache.status == 201
            if name == "kept/app":
                assert deep[-1].status == 201
                continue
            assert (deep[-1].status, deep[-1].error["code"]) == (400, "MANIFEST_INVALID")
            assert "nested more than 8 deep" in deep[-1].error["message"], deep[-1].error
            wait_for_digest(registry, repository, f"d{INDEX_DEPTH_MAX}", deepest)
    deep_tags = [f"d{n}" for n in range(1, INDEX_DEPTH_MAX + 1)]
    assert registry.tags(repository) == ["cache", *deep_tags]


def test_front_and_archive_at_once(registry: Registry, tmp_path: Path, seed: str) -> None:
    """Different tags of one repository, from both sides."""
    archive = make_archive(tmp_path / "image", seed, "team/app:archive")
    config = configuration(mirror("**", f"{registry.host}/front/both"))
    with Gateway(tmp_path / "gateway", config) as gateway, ThreadPoolExecutor(2) as pool:
        client = FrontClient(gateway, "team/app")
        reply = pool.submit(gateway.post, archive)
        _, answer = client.push(f"{seed}-front", "front")
        assert answer.status == 201, answer
        pushed(reply.result())
    assert registry.tags("front/both") == ["archive", "front"]
