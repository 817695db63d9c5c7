"""Targets against what they should have: reconcile, backfill, tags that others move, orphans."""
from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

from support.archives import docker_save_old
from support.command import slipway
from support.curl import Reply
from support.front import OCI_CONFIG, OCI_LAYER, Front, descriptor, manifest_of, to_json
from support.gateway import Gateway
from support.images import make_small_image
from support.ports import refusing_port
from support.registry import Registry
from support.waiting import wait_until

WAIT = 60
HELD = 1000 if os.environ.get("SLIPWAY_LONG") else 60


def ask(gateway: Gateway, what: str, body: dict[str, Any] | None = None, method: str = "POST") -> Reply:
    options: dict[str, Any] = {"method": method}
    if method == "POST":
        file = gateway.folder / f"{what.replace('/', '-')}.json"
        file.write_text(json.dumps(body or {}))
        options |= {"upload": file, "headers": ("Content-Type: application/json",)}
    return gateway.request(f"/v1/targets/{what}", **options)


def sweep(gateway: Gateway, what: str, **body: Any) -> dict[str, Any]:
    reply = ask(gateway, what, body)
    assert reply.status == 200, reply.body
    report: dict[str, Any] = reply.json()
    assert report["state"] == "done", report
    return report


def counts(report: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in report.items() if isinstance(value, int) and value and key != "dry_run"}


def mirror(*targets: dict[str, Any], match: str = "team/**") -> dict[str, Any]:
    return {"match": match, "acknowledge": "stored", "to": list(targets)}


def digest_at(registry: Registry, repository: str, tag: str) -> str | None:
    answer = registry.ask(f"/v2/{repository}/manifests/{tag}", method="HEAD")
    return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None


def test_what_is_absent_and_what_is_other_is_pushed_again(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    kept, left = f"{seed}/kept", f"{seed}/left"
    config = {"mirrors": [mirror({"target": f"{registry.host}/{kept}/**", "name": "kept"},
                                 {"target": f"{registry.host}/{left}/**", "name": "left", "on_drift": "leave"})]}
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
        digests = [front.tagged("team/app", str(number)) for number in range(4)]
        image = make_small_image(tmp_path / "files", seed)
        gateway.post(docker_save_old([(image, ["team/other:9"])], tmp_path / "image.tar"))

        def are_there(base: str) -> bool:
            found = [digest_at(registry, f"{base}/app", str(number)) for number in range(4)]
            return found == digests and digest_at(registry, f"{base}/other", "9") is not None

        for base in (kept, left):
            wait_until(lambda base=base: are_there(base), f"all is at {base}", WAIT)
        other = digest_at(registry, f"{kept}/other", "9")
        for name in ("kept", "left"):
            wait_until(lambda name=name: counts(sweep(gateway, f"{name}/reconcile")) == {"tags": 5, "same": 5},
                       f"{name} is as it should be", WAIT)
        for base in (kept, left):
            deleted = registry.ask(f"/v2/{base}/app/manifests/{digests[1]}", method="DELETE")
            assert deleted.status == 202, deleted
            with Front(registry.port) as direct:
                moved = registry.manifest(f"{base}/app", "0").body
                direct.must_put(f"{base}/app", "2", moved)
        registry.ask(f"/v2/{kept}/other/manifests/{other}", method="DELETE")
        dry = sweep(gateway, "kept/reconcile", dry_run=True)
        assert counts(dry) == {"tags": 5, "same": 2, "absent": 2, "other": 1, "queued": 3}, dry
        assert digest_at(registry, f"{kept}/app", "1") is None
        report = sweep(gateway, "kept/reconcile")
        assert counts(report) == counts(dry)
        (found,) = [item for item in report["items"] if item["outcome"] == "other"]
        assert found == {"reference": f"{registry.host}/{kept}/app:2", "outcome": "other", "queued": True,
                         "expected": digests[2], "found": digests[0]}
        assert ask(gateway, "kept/reconcile", method="GET").json() == report
        shown = slipway(tmp_path, "reconcile", "left", "--dry-run", "--data", gateway.data)
        first, head, *rows = shown.stdout.splitlines()
        assert shown.returncode == 0, shown
        assert first == "left: done, 5 tags, 3 same, 1 absent, 1 drifted, 1 queued (dry run: nothing is pushed)"
        assert head.split()[:3] == ["REFERENCE", "OUTCOME", "QUEUED"]
        assert sorted(row.split()[:3] for row in rows) == [
            [f"{registry.host}/{left}/app:1", "absent", "yes"], [f"{registry.host}/{left}/app:2", "drifted", "no"]]
        wait_until(lambda: are_there(kept), "it is there again", WAIT)
        report = sweep(gateway, "left/reconcile")
        assert counts(report) == {"tags": 5, "same": 3, "absent": 1, "drifted": 1, "queued": 1}, report
        wait_until(lambda: digest_at(registry, f"{left}/app", "1") == digests[1], "it is there again", WAIT)
        assert digest_at(registry, f"{left}/app", "2") == digests[0]
        front.tagged("team/app", "2")
        drifted = wait_until(lambda: gateway.request("/v1/pushes?state=drifted").json()["pushes"], "it drifted", WAIT)
        states = {result["name"]: result for result in drifted[0]["results"]}
        assert states["left"]["found"] == digests[0] and states["left"]["error"]["code"] == "TAG_DRIFTED"
        image = make_small_image(tmp_path / "later", f"{seed} later")  # than what the front has
        later = gateway.post(docker_save_old([(image, ["team/app:3"])], tmp_path / "later.tar")).json()
        later = later["image"]["manifest"]
        wait_until(lambda: digest_at(registry, f"{kept}/app", "3") == later, "the later one is there", WAIT)
        wait_until(lambda: counts(sweep(gateway, "kept/reconcile")) == {"tags": 5, "same": 5},
                   "what was accepted last should be there", WAIT)
        assert digest_at(registry, f"{kept}/app", "3") == later


def test_what_no_push_moves_is_not_moved(registry: Registry, tmp_path: Path, seed: str) -> None:
    """Nor is it pushed in vain: it is told as drifted. What is absent, or not in the list, is pushed."""
    ways: dict[str, dict[str, Any]] = {
        "listed": {"immutable": ["1", "2"]}, "never": {"move": "never"}, "same": {"move": "same-digest"}}
    config = {"mirrors": [mirror(*({"target": f"{registry.host}/{seed}/{name}/**", "name": name, **way}
                                   for name, way in ways.items()))]}
    tags = ("1", "2", "3", "4")

    def at(name: str) -> list[str | None]:
        return [digest_at(registry, f"{seed}/{name}/app", tag) for tag in tags]

    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:

        def ends(digest: str) -> list[set[str]]:
            """How what a client pushed of this image ended."""
            pushes = gateway.request("/v1/pushes").json()["pushes"]
            results = [push["results"] for push in pushes if push["image"]["manifest"] == digest]
            return [{one["state"] for one in found} for found in results if len(found) == len(ways)]

        digests = [front.tagged("team/app", tag) for tag in tags]
        wait_until(lambda: [at(name) for name in ways] == [digests] * 3, "all is there", WAIT)
        for name in ways:
            repository = f"{seed}/{name}/app"
            with Front(registry.port) as direct:
                first = registry.manifest(repository, "1").body
                direct.must_put(repository, "2", first)
                direct.must_put(repository, "3", first)
            registry.ask(f"/v2/{repository}/manifests/{digests[3]}", method="DELETE")
        listed = wait_until(lambda: (found := sweep(gateway, "listed/reconcile"))["pending"] == 0 and found,
                            "all pushes have ended", WAIT)
        assert counts(listed) == {"tags": 4, "same": 1, "drifted": 1, "other": 1, "absent": 1, "queued": 2}
        assert counts(sweep(gateway, "same/reconcile")) == {
            "tags": 4, "same": 1, "drifted": 2, "absent": 1, "queued": 1}
        told = slipway(tmp_path, "reconcile", "never", "--data", gateway.data)
        assert told.returncode == 0 and told.stdout.splitlines()[0] == (
            "never: done, 4 tags, 1 same, 1 absent, 2 drifted, 1 queued"), told
        kept = [digests[0], digests[0], digests[0], digests[3]]
        wait_until(lambda: [at(name) for name in ways] == [[*kept[:2], digests[2], digests[3]], kept, kept],
                   "what may be pushed is there again", WAIT)
        # A push says the same: what is there already is pushed, another image is refused, and reconciling
        # does not try that again.
        front.must_put("team/app", "4", front.manifest("team/app", "4").body)
        wait_until(lambda: ends(digests[3]) == [{"pushed"}] * 2, "the same is pushed", WAIT)
        other = front.tagged("team/app", "1")
        wait_until(lambda: ends(other) == [{"refused"}], "another one is refused", WAIT)
        for name in ways:
            report = sweep(gateway, f"{name}/reconcile")
            assert report["queued"] == 0, report
            (found,) = [item for item in report["items"] if item["reference"].endswith("/app:1")]
            assert (found["outcome"], found["expected"], found["found"]) == ("drifted", other, digests[0])
            assert at(name)[0] == digests[0]


def test_no_answer_is_never_success(tmp_path: Path) -> None:
    with Registry(tmp_path / "registry") as registry:
        config = {"mirrors": [mirror({"target": f"{registry.host}/**", "name": "far"})]}
        with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
            front.tagged("team/app", *(str(number) for number in range(12)))
            wait_until(lambda: len(registry.tags("app")) == 12, "all are there", WAIT)
            wait_until(lambda: sweep(gateway, "far/reconcile")["same"] == 12, "as it should be", WAIT)
            registry.process.stop()
            report = sweep(gateway, "far/reconcile")
            assert counts(report) == {"tags": 12, "unknown": 12}, report
            assert report["error"]["code"] == "CONNECT_FAILED", report
            asked = [item for item in report["items"] if "error" in item]
            assert 5 <= len(asked) <= 8, report  # those under way when it was given up
            assert len(report["items"]) == 12
            assert gateway.request("/v1/pushes?state=queued").json()["pushes"] == []
            assert "target reconciled" in gateway.log()
            told = slipway(tmp_path, "reconcile", "far", "--json", "--data", gateway.data)
            assert told.returncode == 1 and "CONNECT_FAILED" in told.stdout and told.stderr, told
            assert counts(json.loads(told.stdout)) == counts(report), told
            assert ask(gateway, "near/reconcile").status == 404
            assert ask(gateway, "far/reconcile", {"match": "x"}).status == 400
            assert ask(gateway, "far/backfill", method="GET").status == 404


def test_one_at_a_time_and_an_end_when_somebody_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, refusing_port() as port:
        target = {"target": f"127.0.0.1:{silent.getsockname()[1]}/**", "name": "silent"}
        config = {"mirrors": [mirror({"target": f"127.0.0.1:{port}/**", "name": "away"}, match="held/**")]}
        with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
            front.tagged("team/app", *(str(number) for number in range(8)))
        config = {"mirrors": [mirror(target)]}
        with Gateway(tmp_path / "gateway", config) as gateway:
            replies: list[Reply] = []
            thread = threading.Thread(target=lambda: replies.append(ask(gateway, "silent/reconcile")))
            thread.start()
            try:
                wait_until(lambda: ask(gateway, "silent/reconcile", method="GET").status == 200, "it runs", WAIT)
                second = ask(gateway, "silent/reconcile", {"dry_run": True})
                assert (second.status, second.error["code"]) == (409, "ALREADY_RUNNING"), second.body
                assert ask(gateway, "silent/reconcile", method="DELETE").status == 200
            finally:
                thread.join(WAIT)
            assert replies[0].json()["state"] == "cancelled", replies[0].body


def put_many(front: Front, count: int) -> None:
    """Images of one config and layer, in four repositories."""
    config, layer = to_json({"architecture": "amd64", "os": "linux"}), b"layer"
    for part in range(4):
        repository = f"held/app-{part}"
        front.push_blob(repository, config)
        front.push_blob(repository, layer)
        for number in range(count // 4):
            manifest = manifest_of(descriptor(OCI_CONFIG, config), descriptor(OCI_LAYER, layer),
                                   annotations={"number": f"{part}-{number}"})
            front.must_put(repository, str(number), to_json(manifest))


def test_a_new_target_gets_what_is_held(registry: Registry, tmp_path: Path, seed: str) -> None:
    with Gateway(tmp_path / "gateway") as gateway, Front(gateway.port) as front:
        put_many(front, HELD)
        front.tagged("else/app", "1")
    config = {"mirrors": [mirror({"target": f"{registry.host}/{seed}/**", "name": "new"}, match="**")]}
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
        dry = sweep(gateway, "new/backfill", match="held/**", dry_run=True)
        assert counts(dry) == {"tags": HELD, "missing": HELD, "queued": HELD}, counts(dry)
        assert len(dry["items"]) == min(HELD, 1000)
        assert gateway.request("/v1/pushes").json()["pushes"] == []
        younger = front.tagged("held/app-0", "0")  # while nothing of it has been pushed
        told = slipway(tmp_path, "backfill", "new", "--match", "held/**", "--json", "--gateway", gateway.url)
        assert told.returncode == 0, told.stderr
        report = json.loads(told.stdout)
        assert report["queued"] + report["pending"] + report["pushed"] == HELD, counts(report)
        assert report["queued"] >= HELD - 1 and report["tags"] == HELD, counts(report)

        def all_there() -> bool:
            return all(len(registry.tags(f"{seed}/held/app-{part}")) == HELD // 4 for part in range(4))

        wait_until(all_there, "all are there", WAIT)
        wait_until(lambda: counts(sweep(gateway, "new/backfill", match="held/**"))
                   == {"tags": HELD, "pushed": HELD}, "nothing is left to do", WAIT)
        assert digest_at(registry, f"{seed}/held/app-0", "0") == younger
        assert registry.tags(f"{seed}/else/app") == []
        rest = counts(sweep(gateway, "new/backfill"))
        assert rest == {"tags": HELD + 1, "pushed": HELD, "missing": 1, "queued": 1}, rest
        wait_until(lambda: counts(sweep(gateway, "new/reconcile")) == {"tags": HELD + 1, "same": HELD + 1},
                   "and the rest", WAIT)
        assert len(registry.tags(f"{seed}/else/app")) == 1


def test_what_was_taken_out_is_listed_until_somebody_drops_it(tmp_path: Path) -> None:
    with refusing_port() as port:
        config: dict[str, Any] = {
            "registries": {f"127.0.0.1:{port}": {"retry_wait": "10m", "plain_http": True}},
            "mirrors": [mirror({"target": f"127.0.0.1:{port}/**", "name": "far"})],
        }
        with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
            front.tagged("team/app", "1")
        with Gateway(tmp_path / "gateway") as gateway:
            (push,) = gateway.request("/v1/pushes?state=orphaned").json()["pushes"]
            assert push["state"] == "waiting" and push["results"][0]["name"] == "far"
            assert '1 pending target is not in the configuration' in gateway.log()
            dropped = gateway.request(f"/v1/pushes/{push['id']}", method="DELETE").json()
            assert dropped["results"][0]["state"] == "cancelled", dropped
            assert gateway.request("/v1/pushes?state=orphaned").json()["pushes"] == []


def test_by_itself(registry: Registry, tmp_path: Path, seed: str) -> None:
    """queue.reconcile has a minute at least: it is not waited for, but neither is the end."""
    config = {"queue": {"reconcile": "1m"},
              "mirrors": [mirror({"target": f"{registry.host}/{seed}/**", "name": "far"})]}
    with Gateway(tmp_path / "gateway", config) as gateway, Front(gateway.port) as front:
        digest = front.tagged("team/app", "1")
        wait_until(lambda: digest_at(registry, f"{seed}/app", "1") == digest, "it is there", WAIT)
        if os.environ.get("SLIPWAY_LONG"):
            registry.ask(f"/v2/{seed}/app/manifests/{digest}", method="DELETE")
            wait_until(lambda: digest_at(registry, f"{seed}/app", "1") == digest, "it is there again", 120)




def test_what_was_accepted_last_counts_within_a_second(
    registry: Registry, tmp_path: Path, seed: str
) -> None:
    """What the front has is a moment older than what an archive brought; also where nobody but the
    client that waits knows of that yet, because the history gets it later."""
    archives = []
    for turn in range(4):
        image = make_small_image(tmp_path / f"{turn}", f"{seed} {turn}")
        archives.append(docker_save_old([(image, ["team/app:1"])], tmp_path / f"{turn}.tar"))
    for stored in ("stored", "pushed"):
        base = f"{seed}/{stored}"
        target = mirror({"target": f"{registry.host}/{base}/**", "name": "kept"})
        config = {"mirrors": [target | {"acknowledge": stored}]}
        with Gateway(tmp_path / stored, config) as gateway, Front(gateway.port) as front:
            for archive in archives:
                front.tagged("team/app", "1")
                later = gateway.post(archive).json()["image"]["manifest"]
                wait_until(lambda: digest_at(registry, f"{base}/app", "1") == later, "it is there")
                wait_until(
                    lambda: counts(sweep(gateway, "kept/reconcile")) == {"tags": 1, "same": 1},
                    "it is as it should be",
                )
                assert digest_at(registry, f"{base}/app", "1") == later
