"""Pushing what is held: by digest, by an archive's name, by a name of the registry front."""
from __future__ import annotations

import json
import signal
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old
from support.curl import Reply
from support.gateway import Gateway, failed, pushed
from support.images import Image, make_small_image
from support.ports import refusing_port
from support.processes import must_run
from support.pulled import pull, sha256
from support.registry import Registry
from support.waiting import wait_until


OCI = "application/vnd.oci.image.manifest.v1+json"
# With a mirror, though for another name, what clients push goes nowhere by itself.
ELSEWHERE = {"match": "nothing/matches", "to": ["127.0.0.1:1/nothing"]}


def send(
    gateway: Gateway, body: Any, *, accept: str = "application/json", more: Sequence[str] = ()
) -> Reply:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = ("Content-Type: application/json", f"Accept: {accept}", *more)
    return gateway.request("/v1/pushes", method="POST", data=data, headers=headers)


def push(gateway: Gateway, image: str, *to: str, **options: Any) -> Reply:
    return send(gateway, {"image": image, "to": list(to)}, **options)


def refused(reply: Reply, status: int, code: str) -> str:
    assert (reply.status, reply.error["code"]) == (status, code), reply.body
    assert reply.error["detail"]["party"] == "client", reply.body
    return str(reply.error["message"])


@pytest.fixture
def image(tmp_path: Path, seed: str) -> Image:
    return make_small_image(tmp_path / "files", seed)


@pytest.fixture
def digest(gateway: Gateway, registry: Registry, image: Image, seed: str, tmp_path: Path) -> str:
    """An archive's image is held, as h/SEED:1.0 and h/SEED:2.0."""
    names = [f"h/{seed}:1.0", f"h/{seed}:2.0"]
    archive = docker_save_old([(image, names)], tmp_path / "image.tar")
    (result,) = pushed(gateway.post(archive, f"{registry.host}/held/first:1"))
    return str(result["digest"])


def test_by_digest(
    gateway: Gateway, registry: Registry, image: Image, digest: str, tmp_path: Path
) -> None:
    targets = [f"{registry.host}/held/by-digest:{tag}" for tag in ("a", "b")]
    reply = push(gateway, digest, *targets)
    assert [result["digest"] for result in pushed(reply, 2)] == [digest, digest]
    assert reply.json()["image"]["config"] == image.config_digest
    found = pull(targets[1], tmp_path / "pulled")
    assert found.digest == digest and found.diff_ids == image.diff_ids


@pytest.mark.parametrize("form", ("h/{}:1.0", "docker.io/h/{}:2.0"))
def test_by_an_archives_name(
    gateway: Gateway, registry: Registry, digest: str, seed: str, form: str
) -> None:
    name = form.format(seed)
    tag = name.rsplit(":", 1)[1]
    repository = f"held/by-name-{tag}"
    (result,) = pushed(push(gateway, name, f"{registry.host}/{repository}:x"))
    assert (result["digest"], result["tag"]) == (digest, "x")
    # Without a tag of its own, a target gets that of the image; and no target comes twice.
    bare = f"{registry.host}/{repository}"
    (result,) = pushed(push(gateway, name, bare, f"{bare}:{tag}"))
    assert (result["digest"], result["tag"]) == (digest, tag)
    assert registry.tags(repository) == sorted([tag, "x"])


def test_progress(gateway: Gateway, registry: Registry, digest: str) -> None:
    target = f"{registry.host}/held/progress:1"
    reply = push(gateway, digest, target, accept="application/x-ndjson")
    assert reply.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in reply.body.splitlines()]
    assert lines[0]["push"]["image"]["manifest"] == digest
    assert lines[-1]["aux"]["Digest"] == digest and lines[-1]["target"] == target


@pytest.mark.parametrize(
    "preference", ("respond-async", "wait=10, Respond-Async", "handling=lenient,respond-async;a=b")
)
def test_who_does_not_wait(
    gateway: Gateway, registry: Registry, digest: str, preference: str
) -> None:
    target = f"{registry.host}/held/async:{sha256(preference.encode())[-8:]}"
    reply = push(gateway, digest, target, more=[f"Prefer: {preference}"])
    assert (reply.status, reply.json()["state"]) == (202, "stored")
    assert reply.headers["preference-applied"] == "respond-async"
    there = reply.headers["location"]
    assert there == f"/v1/pushes/{reply.json()['id']}"
    wait_until(lambda: gateway.request(there).json()["state"] == "pushed", "it is pushed")
    tag = target.rpartition(":")[2]
    assert sha256(registry.manifest("held/async", tag).body) == digest


def test_an_archive_does_not_wait(
    gateway: Gateway, registry: Registry, image: Image, seed: str, tmp_path: Path
) -> None:
    """Nobody is there to push to; what is asked for is on the disk."""
    archive = docker_save_old([(image, [f"h/{seed}:1.0"])], tmp_path / "image.tar")
    with refusing_port() as port:
        target = f"127.0.0.1:{port}/held/away:1"
        reply = gateway.post(archive, target, headers=["Prefer: respond-async"])
        assert reply.status == 202, reply.body
        there = reply.headers["location"]
        wait_until(lambda: gateway.request(there).json()["state"] == "waiting", "it waits")
        assert gateway.request(there, method="DELETE").status < 300
        wait_until(lambda: gateway.request(there).json()["state"] == "cancelled", "it has ended")


def test_a_request_is_sent_again(
    gateway: Gateway, registry: Registry, image: Image, digest: str, seed: str, tmp_path: Path
) -> None:
    """What was answered is answered again; an archive is not even read."""
    target = f"{registry.host}/held/again:{seed}"
    key = [f'Idempotency-Key: "{seed}"']
    first = push(gateway, digest, target, more=key)
    pushed(first)
    for _ in range(2):
        assert push(gateway, digest, target, more=key).json() == first.json()
    events = push(gateway, digest, target, more=key, accept="application/x-ndjson").body
    assert json.loads(events.splitlines()[-1])["result"] == first.json()["results"][0]
    message = refused(push(gateway, digest, f"{target}-2", more=key), 422, "IDEMPOTENCY_KEY_REUSED")
    assert "Idempotency-Key" in message
    archive = docker_save_old([(image, [f"h/{seed}:1.0"])], tmp_path / "again.tar")
    refused(gateway.post(archive, target, headers=key), 422, "IDEMPOTENCY_KEY_REUSED")
    key = [f"Idempotency-Key: {seed} archive"]
    broken = tmp_path / "broken.tar"
    broken.write_bytes(archive.read_bytes()[:1000])
    assert gateway.post(broken, target, headers=key).status == 400
    first = gateway.post(archive, target, headers=key)
    pushed(first)
    assert gateway.post(broken, target, headers=key).json() == first.json()
    with refusing_port() as port:
        target = f"127.0.0.1:{port}/held/away:1"
        key = [f"Idempotency-Key: {seed} away"]
        first = push(gateway, digest, target, more=key)
        again = push(gateway, digest, target, more=key)
    assert first.status == 502 and (again.status, again.json()) == (502, first.json())


@pytest.mark.parametrize("key", (256 * "k", "\u00e4", "", "a\tb"))
def test_what_is_no_key(gateway: Gateway, key: str) -> None:
    header = f"Idempotency-Key: {key}" if key else "Idempotency-Key;"
    message = refused(push(gateway, "x:1", "127.0.0.1:1/x:1", more=[header]), 400, "BAD_REQUEST")
    assert "Idempotency-Key" in message


def test_a_request_with_two_keys(gateway: Gateway) -> None:
    two = ["Idempotency-Key: a", "Idempotency-Key: b"]
    assert "twice" in refused(push(gateway, "x:1", "127.0.0.1:1/x:1", more=two), 400, "BAD_REQUEST")


def test_a_request_is_sent_again_after_a_kill(tmp_path: Path, image: Image, seed: str) -> None:
    """What was promised is not promised twice; while a client waits, another is told where to look."""
    archive = docker_save_old([(image, [f"h/{seed}:1.0"])], tmp_path / "image.tar")
    with socket.create_server(("127.0.0.1", 0)) as silent, Gateway(tmp_path / "gateway") as gateway:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        promised = ["Prefer: respond-async", "Idempotency-Key: promised"]
        first = gateway.post(archive, f"{host}/held/promised:1", headers=promised)
        assert first.status == 202, first.body
        order = (gateway, f"h/{seed}:1.0", f"{host}/held/waited:1")
        waited = ["Idempotency-Key: waited"]

        def both() -> bool:
            return len(gateway.request("/v1/pushes").json()["pushes"]) == 2

        with ThreadPoolExecutor(1) as pool:
            waits = pool.submit(push, *order, more=waited)
            wait_until(both, "the push that is waited for")
            second = push(*order, more=waited)
            refused(second, 409, "IDEMPOTENCY_KEY_IN_USE")
            there = gateway.request(second.headers["location"]).json()
            assert there["results"][0]["target"] == order[2], there
            again = gateway.post(archive, f"{host}/held/promised:1", headers=promised)
            assert (again.status, again.json()) == (202, first.json())
            gateway.process.signal(signal.SIGKILL)
            gateway.process.wait()
            waits.exception()
        gateway.start()
        again = gateway.post(archive, f"{host}/held/promised:1", headers=promised)
        assert (again.status, again.json()) == (202, first.json())
        assert again.headers["location"] == first.headers["location"]
        (left,) = gateway.request("/v1/pushes").json()["pushes"]
        assert left["id"] == first.json()["id"]
        assert gateway.request(first.headers["location"], method="DELETE").status < 300


@pytest.mark.parametrize("preference", ("wait=10", "respond-asynchronously", "a=respond-async"))
def test_other_preferences_do_not_matter(
    gateway: Gateway, registry: Registry, digest: str, preference: str
) -> None:
    reply = push(gateway, digest, f"{registry.host}/held/sync:1", more=[f"Prefer: {preference}"])
    pushed(reply)
    assert "preference-applied" not in reply.headers


def test_a_failure_is_the_status(gateway: Gateway, registry: Registry, digest: str) -> None:
    with refusing_port() as port:
        away = f"127.0.0.1:{port}/held/away:1"
        failed(push(gateway, digest, away), "CONNECT_FAILED", "network")
        reply = push(gateway, digest, f"{registry.host}/held/here:1", away)
    assert reply.status == 502
    assert [result["state"] for result in reply.json()["results"]] == ["pushed", "failed"]


# ---- of the registry front ----


def copy_in(gateway: Gateway, archive: Path, name: str, *options: str) -> None:
    """As a registry client pushes it."""
    argv: list[str | Path] = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", *options]
    must_run([*argv, f"docker-archive:{archive}", f"docker://127.0.0.1:{gateway.port}/{name}"])


def front(gateway: Gateway, path: str, **options: Any) -> Reply:
    return gateway.request(f"/v2/{path}", **options)


def put_manifest(gateway: Gateway, repository: str, reference: str, value: Any) -> str:
    data = json.dumps(value).encode()
    kind = value["mediaType"]
    reply = front(
        gateway,
        f"{repository}/manifests/{reference or sha256(data)}",
        method="PUT",
        data=data,
        headers=(f"Content-Type: {kind}",),
    )
    assert reply.status == 201, reply.body
    return sha256(data)


def signature(subject: str, size: int, name: str) -> dict[str, Any]:
    """An artifact without a blob of its own."""
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2}
    return {
        "schemaVersion": 2,
        "mediaType": OCI,
        "artifactType": "application/vnd.example.signature",
        "config": empty,
        "layers": [empty],
        "subject": {"mediaType": OCI, "digest": subject, "size": size},
        "annotations": {"name": name},
    }


@pytest.mark.parametrize("name", ("team/{}", "r.example.com/team/{}", "{}"))
def test_by_a_name_of_the_front(
    registry: Registry, image: Image, seed: str, tmp_path: Path, name: str
) -> None:
    held = name.format(seed)
    archive = docker_save_old([(image, [f"{seed}:old"])], tmp_path / "image.tar")
    with Gateway(tmp_path / "holding", {"mirrors": [ELSEWHERE]}) as gateway:
        copy_in(gateway, archive, f"{held}:1.0", "--format", "oci")
        digest = front(gateway, f"{held}/manifests/1.0").headers["docker-content-digest"]
        target = f"{registry.host}/front/{seed}"
        (result,) = pushed(push(gateway, f"{held}:1.0", target))
        assert (result["digest"], result["tag"]) == (digest, "1.0")
        found = pull(f"{target}:1.0", tmp_path / "pulled")
        assert found.digest == digest and found.diff_ids == image.diff_ids
        (result,) = pushed(push(gateway, f"{held}@{digest}", f"{target}:2.0"))
        assert result["digest"] == digest
        refused(push(gateway, f"{held}:2.0", target), 422, "IMAGE_UNKNOWN")
        assert front(gateway, f"{held}/manifests/1.0", method="DELETE").status == 202
        refused(push(gateway, f"{held}:1.0", target), 422, "IMAGE_UNKNOWN")


def test_signatures_go_along(
    registry: Registry, image: Image, seed: str, tmp_path: Path
) -> None:
    archive = docker_save_old([(image, [f"{seed}:old"])], tmp_path / "image.tar")
    with Gateway(tmp_path / "holding", {"mirrors": [ELSEWHERE]}) as gateway:
        copy_in(gateway, archive, "team/signed:1.0", "--format", "oci")
        reply = front(gateway, "team/signed/manifests/1.0")
        digest, size = reply.headers["docker-content-digest"], len(reply.body)
        uploads = f"team/signed/blobs/uploads/?digest={sha256(b'{}')}"
        assert front(gateway, uploads, method="POST", data=b"{}").status == 201
        signed = put_manifest(gateway, "team/signed", "", signature(digest, size, "one"))
        again = put_manifest(gateway, "team/signed", "", signature(signed, 700, "two"))
        cosign = f"sha256-{digest.split(':')[1]}.sig"
        value = signature(digest, size, "three")
        del value["subject"]
        tagged = put_manifest(gateway, "team/signed", cosign, value)
        target = f"{registry.host}/front/signed"
        (result,) = pushed(push(gateway, "team/signed:1.0", f"{target}:1.0"))
        assert result["digest"] == digest
    for referrer in (signed, again):
        assert registry.manifest("front/signed", referrer).status == 200
    assert sha256(registry.manifest("front/signed", cosign).body) == tagged


# ---- what is refused ----


@pytest.mark.parametrize(
    "name",
    (
        "sha256:" + "0" * 64,
        "sha512:" + "0" * 128,
        "no/such:1",
        "r.example.com/no/such:1",
        "no/such@sha256:" + "0" * 64,
        "127.0.0.1:5000/no/such:1",
    ),
)
def test_unknown_images(gateway: Gateway, name: str) -> None:
    assert name in refused(push(gateway, name, "127.0.0.1:1/a/b:1"), 422, "IMAGE_UNKNOWN")


def test_a_blob_that_is_no_manifest(
    gateway: Gateway, image: Image, digest: str
) -> None:
    assert digest
    refused(push(gateway, image.config_digest, "127.0.0.1:1/a/b:1"), 422, "IMAGE_UNKNOWN")


def test_a_digest_names_no_tag(gateway: Gateway, digest: str) -> None:
    refused(push(gateway, digest, "127.0.0.1:1/a/b"), 422, "NO_TAG")


@pytest.mark.parametrize(
    "body, status, code",
    (
        (b"", 422, "JSON_INVALID"),
        (b"image=a", 422, "JSON_INVALID"),
        (b'{"image":"a:1","to":["r.io/a:1"]} x', 422, "JSON_INVALID"),
        (b'{"image":"a:1","image":"b:1","to":["r.io/a:1"]}', 422, "JSON_INVALID"),
        (b'{"image":"a:1","to":["r.io/a:1"],"to":[]}', 422, "JSON_INVALID"),
        (["a:1"], 400, "BAD_REQUEST"),
        ({"to": ["r.io/a:1"]}, 400, "BAD_REQUEST"),
        ({"image": "", "to": ["r.io/a:1"]}, 400, "BAD_REQUEST"),
        ({"image": 1, "to": ["r.io/a:1"]}, 400, "BAD_REQUEST"),
        ({"image": "a:1", "to": "r.io/a:1"}, 400, "BAD_REQUEST"),
        ({"image": "a:1", "to": ["r.io/a:1", 1]}, 400, "BAD_REQUEST"),
        ({"image": "a:1", "to": ["r.io/a:1"], "platform": "x/y"}, 400, "BAD_REQUEST"),
        ({"image": "a:1", "to": [f"r.io/a:{n}" for n in range(65)]}, 400, "BAD_REQUEST"),
        ({"image": "a:1"}, 422, "NO_TARGET"),
        ({"image": "a:1", "to": []}, 422, "NO_TARGET"),
        ({"image": "a:1", "to": ["r.io/A:1"]}, 400, "REFERENCE_INVALID"),
        ({"image": "a:1", "to": ["r.io/a@sha256:" + "0" * 64]}, 400, "DIGEST_REFERENCE"),
        ({"image": "a", "to": ["r.io/a:1"]}, 400, "REFERENCE_INVALID"),
        ({"image": "A:1", "to": ["r.io/a:1"]}, 400, "REFERENCE_INVALID"),
        ({"image": "../a:1", "to": ["r.io/a:1"]}, 400, "REFERENCE_INVALID"),
        ({"image": "a" * 256 + ":1", "to": ["r.io/a:1"]}, 400, "REFERENCE_INVALID"),
        ({"image": "a:" + "1" * 129, "to": ["r.io/a:1"]}, 400, "REFERENCE_INVALID"),
        ({"image": "a@sha256:1", "to": ["r.io/a:1"]}, 400, "DIGEST_INVALID"),
    ),
)
def test_wrong_bodies(gateway: Gateway, body: Any, status: int, code: str) -> None:
    refused(send(gateway, body), status, code)


def test_the_limit_of_the_body(gateway: Gateway) -> None:
    body = json.dumps({"image": "no/such:1", "to": ["r.io/a:1"]}).encode()
    for more in (-1, 0):
        refused(send(gateway, body.ljust((64 << 10) + more)), 422, "IMAGE_UNKNOWN")
    refused(send(gateway, body.ljust((64 << 10) + 1)), 413, "JSON_TOO_LARGE")


def test_methods_and_parameters(gateway: Gateway) -> None:
    assert gateway.request("/v1/pushes", method="PATCH").status == 405
    assert gateway.request("/v1/pushes", method="PUT", data=b"{}").headers["allow"] == "POST, GET, HEAD"
    json_type = ["Content-Type: application/json"]
    reply = gateway.request(
        "/v1/pushes?to=r.io/a:1", method="POST", data=b"{}", headers=json_type
    )
    refused(reply, 400, "BAD_REQUEST")
