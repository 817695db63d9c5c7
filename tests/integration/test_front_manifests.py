"""OCI distribution-spec 1.1.1, "Pushing Manifests", rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Pushing Manifests                              | test_pushing_manifests_*      |
| Pushing Manifests with Subject                 | test_subject_*                |

test_front_sections.py holds the tests to the sections.
"""
from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.curl import Reply, curl
from support.front import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    EMPTY_JSON,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Front,
    descriptor,
    index_of,
    manifest_of,
    path_of,
    sha512,
    to_json,
)
from support.pulled import sha256

MANIFEST_LIMIT = 4 << 20
NOWHERE = sha256(b"never pushed")


def docker_image(front: Front, repository: str) -> bytes:
    """A manifest of schema2, as the Docker engine makes it: indented by three."""
    config = to_json({"architecture": "arm64", "os": "linux", "n": secrets.token_hex(8)})
    layer = secrets.token_bytes(100)
    front.push_blob(repository, config)
    front.push_blob(repository, layer)
    value = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG, config),
        "layers": [descriptor(DOCKER_LAYER, layer)],
    }
    return json.dumps(value, indent=3).encode()


# Pushing Manifests


@pytest.mark.parametrize("by", ("tag", "digest"))
def test_pushing_manifests_is_201(front: Front, repository: str, by: str) -> None:
    """MUST: 201, with a Location from which the manifest can be pulled."""
    data = front.image(repository)
    reply = front.put(repository, "1.0" if by == "tag" else sha256(data), data)
    assert reply.status == 201
    location = path_of(reply.headers["location"])
    pulled = front.ask("GET", location, None, {"Accept": OCI_MANIFEST})
    assert (pulled.status, pulled.body) == (200, data)


def test_pushing_manifests_digest_header(front: Front, repository: str) -> None:
    """MUST: Docker-Content-Digest is the digest of what was sent."""
    data = front.image(repository)
    for reference in ("1.0", sha256(data)):
        reply = front.put(repository, reference, data)
        assert reply.headers["docker-content-digest"] == sha256(data)


def test_pushing_manifests_under_another_digest(front: Front, repository: str) -> None:
    """MUST: under a digest only what has it; else DIGEST_INVALID, and nothing is kept."""
    data = front.image(repository)
    for reference in (NOWHERE, sha512(b"never pushed")):
        reply = front.put(repository, reference, data)
        assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")
        assert front.manifest(repository, reference).status == 404
    assert front.manifest(repository, sha256(data)).status == 404


@pytest.mark.parametrize(
    "form", ("indented", "spaced", "newline", "unicode", "escapes", "order", "numbers")
)
def test_pushing_manifests_keeps_the_bytes(front: Front, repository: str, form: str) -> None:
    """MUST: the manifest is stored in exactly the bytes that came, however odd its JSON."""
    value = json.loads(front.image(repository))
    value["annotations"] = {"z": "\u00e4\u20ac", "a": "/"}
    data = {
        "indented": json.dumps(value, indent="\t").encode(),
        "spaced": b" \r\n" + json.dumps(value, separators=(" , ", " : ")).encode() + b"  ",
        "newline": to_json(value) + b"\n",
        "unicode": json.dumps(value, ensure_ascii=False).encode(),
        "escapes": to_json(value).replace(b'"/"', b'"\\/\\u002f"'),
        "order": to_json(dict(reversed(list(value.items())))),
        "numbers": to_json({**value, "x": 1}).replace(b'"x":1', b'"x":1.50e+1'),
    }[form]
    front.must_put(repository, "1.0", data)
    assert front.manifest(repository, "1.0").body == data
    assert front.manifest(repository, sha256(data)).body == data


def test_pushing_manifests_ignores_parameters(front: Front, repository: str) -> None:
    """SHOULD: parameters of Content-Type are not part of the type."""
    data = front.image(repository)
    front.must_put(repository, "1.0", data, OCI_MANIFEST + "; charset=utf-8")
    assert front.manifest(repository, "1.0").headers["content-type"] == OCI_MANIFEST


def test_pushing_manifests_type_from_the_manifest(front: Front, repository: str) -> None:
    """SHOULD: where Content-Type is left out, the manifest's own mediaType says what it is."""
    data = front.image(repository)
    reply = front.put(repository, "1.0", data, None)
    assert reply.status == 201, reply
    assert front.manifest(repository, "1.0").headers["content-type"] == OCI_MANIFEST


def test_pushing_manifests_without_media_type(front: Front, repository: str) -> None:
    """SHOULD: an OCI manifest need not have the field; Content-Type says it."""
    value = json.loads(front.image(repository))
    del value["mediaType"]
    front.must_put(repository, "1.0", to_json(value))
    assert front.manifest(repository, "1.0").headers["content-type"] == OCI_MANIFEST


def test_pushing_manifests_of_two_types(front: Front, repository: str) -> None:
    """MUST: Content-Type is the manifest's mediaType; one that says something else is refused,
    since each reader would take it for something different."""
    reply = front.put(repository, "1.0", front.image(repository), OCI_INDEX)
    assert (reply.status, reply.error["code"]) == (400, "MANIFEST_INVALID")
    assert front.manifest(repository, "1.0").status == 404


def test_pushing_manifests_without_layers(front: Front, repository: str) -> None:
    """MAY: the list of blobs may be empty."""
    config = to_json({"os": "linux", "n": secrets.token_hex(8)})
    front.push_blob(repository, config)
    front.must_put(repository, "1.0", to_json(manifest_of(descriptor(OCI_CONFIG, config))))
    front.must_put(repository, "index", to_json(index_of()), OCI_INDEX)


def test_pushing_manifests_with_fields_of_later_versions(front: Front, repository: str) -> None:
    """MUST: fields that nobody here knows, and embedded data, are kept as all else is."""
    config = to_json({"os": "linux", "n": secrets.token_hex(8)})
    front.push_blob(repository, config)
    entry = descriptor(OCI_CONFIG, config, data="aGVsbG8=", newUnspecifiedField="eA==")
    data = to_json(manifest_of(entry, somethingNew={"a": [1, 2, None]}))
    front.must_put(repository, "1.0", data)
    assert front.manifest(repository, "1.0").body == data


@pytest.mark.parametrize(
    "data", (b"", b"blablabla", b"[]", b"null", b'"text"', b"{", b'{"schemaVersion":2}x',
             b"\xff\xfe{}",
             b'{"schemaVersion":2,"layers":{}}', b'{"schemaVersion":2,"config":5,"layers":[]}',
             b'{"schemaVersion":2,"config":{"digest":"sha256:1","size":1},"layers":[]}',),
)  # fmt: skip
def test_pushing_manifests_that_are_none(front: Front, repository: str, data: bytes) -> None:
    """MUST: what is no manifest is MANIFEST_INVALID."""
    reply = front.put(repository, "1.0", data)
    assert (reply.status, reply.error["code"]) == (400, "MANIFEST_INVALID")
    assert front.manifest(repository, "1.0").status == 404


def test_pushing_manifests_nested_too_deep(front: Front, repository: str) -> None:
    """MUST: JSON that is made to exhaust its reader is refused as any other that is no manifest."""
    for data in (b"[" * 100_000, b'{"a":' * 100_000, b'{"layers":' + b"[" * 4_000_000):
        reply = front.put(repository, "1.0", data)
        assert reply.status in (400, 413) and reply.error["code"] == "MANIFEST_INVALID"


def test_pushing_manifests_and_pulling_from_a_repository_that_is_not_there(
    front: Front, repository: str
) -> None:
    """MUST: pulling from a repository that does not exist is 404."""
    for reference in ("1.0", NOWHERE):
        reply = front.manifest(repository, reference)
        assert reply.status == 404
        assert reply.error["code"] in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("size", (MANIFEST_LIMIT - 1, MANIFEST_LIMIT, MANIFEST_LIMIT + 1))
def test_pushing_manifests_limit(front: Front, repository: str, size: int, tmp_path: Path) -> None:
    """SHOULD: four megabytes are taken; one byte more is 413. With curl, as a client is in the
    middle of its body when a refusal comes."""
    value = json.loads(front.image(repository))
    value["annotations"] = {"a": ""}
    value["annotations"]["a"] = "x" * (size - len(to_json(value)))
    data = to_json(value)
    assert len(data) == size
    (tmp_path / "manifest").write_bytes(data)
    url = f"http://127.0.0.1:{front.port}/v2/{repository}/manifests/1.0"
    head = [f"Content-Type: {OCI_MANIFEST}"]
    for chunked in (False, True):
        reply = curl(
            url, tmp_path, method="PUT", upload=tmp_path / "manifest", headers=head, chunked=chunked
        )
        if size <= MANIFEST_LIMIT:
            assert reply.status == 201
            assert front.manifest(repository, "1.0").body == data
        else:
            assert reply.status == 413
            assert reply.error["code"] in ("MANIFEST_INVALID", "SIZE_INVALID")
            assert front.manifest(repository, "1.0").status == 404


def test_pushing_manifests_over_the_limit_without_asking(front: Front, repository: str) -> None:
    """SHOULD: a client that does not wait for a 100 gets the 413, too, and no broken connection."""
    for _ in range(5):
        reply = front.put(repository, "1.0", b" " * (MANIFEST_LIMIT + 1))
        assert reply.status == 413


def test_pushing_manifests_with_a_wrong_size(front: Front, repository: str) -> None:
    """SHOULD: what a descriptor says of a size is so (image-spec, "Descriptors"): pulled content of
    another one is not trusted."""
    right = json.loads(front.image(repository))
    for off in (-1, 1, 1 << 40):
        for part in (right["config"], right["layers"][0]):
            part["size"] += off
            reply = front.put(repository, "1.0", to_json(right))
            assert (reply.status, reply.error["code"]) == (400, "MANIFEST_INVALID"), reply
            part["size"] -= off
    front.must_put(repository, "1.0", to_json(right))
    member = descriptor(OCI_MANIFEST, to_json(right))
    for size, status in ((member["size"] - 1, 400), (member["size"], 201)):
        index = to_json(index_of({**member, "size": size}))
        assert front.put(repository, "2.0", index, OCI_INDEX).status == status


def test_pushing_manifests_moves_the_tag(front: Front, repository: str) -> None:
    """MUST: a tag names what it was given last; what it named before is there under its digest."""
    first, second = front.tagged(repository, "1.0"), front.tagged(repository, "1.0")
    assert front.manifest(repository, "1.0").headers["docker-content-digest"] == second
    assert sha256(front.manifest(repository, first).body) == first
    assert front.tags(repository) == ["1.0"]


def test_pushing_manifests_again(front: Front, repository: str) -> None:
    """MUST: pushing what is there, under the same tag or another, is 201 each time."""
    data = front.image(repository)
    for tag in ("1.0", "1.0", "2.0"):
        front.must_put(repository, tag, data)
    assert front.tags(repository) == ["1.0", "2.0"]


def test_pushing_manifests_docker_schema2(front: Front, repository: str) -> None:
    """MUST: Docker's manifest and its list of manifests are stored and served as they came."""
    images = [docker_image(front, repository) for _ in range(2)]
    for data in images:
        front.must_put(repository, sha256(data), data, DOCKER_MANIFEST)
    entries = [descriptor(DOCKER_MANIFEST, data, platform={"os": "linux"}) for data in images]
    value = {"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": entries}
    listed = json.dumps(value, indent=3).encode()
    front.must_put(repository, "1.0", listed, DOCKER_LIST)
    for reference, data, kind in (
        ("1.0", listed, DOCKER_LIST),
        (sha256(listed), listed, DOCKER_LIST),
        (sha256(images[0]), images[0], DOCKER_MANIFEST),
    ):
        reply = front.manifest(repository, reference)
        assert (reply.body, reply.headers["content-type"]) == (data, kind)


def test_pushing_manifests_nested_indexes(front: Front, repository: str) -> None:
    """MUST: an index of an index of an image; pulled back level by level."""
    image = front.image(repository)
    inner = to_json(index_of(descriptor(OCI_MANIFEST, image)))
    outer = to_json(index_of(descriptor(OCI_INDEX, inner), descriptor(OCI_MANIFEST, image)))
    front.must_put(repository, sha256(image), image)
    front.must_put(repository, sha256(inner), inner, OCI_INDEX)
    front.must_put(repository, "1.0", outer, OCI_INDEX)
    for reference, data in (("1.0", outer), (sha256(inner), inner), (sha256(image), image)):
        assert front.manifest(repository, reference).body == data


def test_pushing_manifests_of_sha512(front: Front, repository: str) -> None:
    """MUST: a manifest may name its blobs, and an index its manifests, by sha512; and be pushed by
    it."""
    config, layer = to_json({"n": secrets.token_hex(8)}), secrets.token_bytes(100)
    for data in (config, layer):
        front.push_blob(repository, data, sha512(data))
    parts = [
        {**descriptor(kind, data), "digest": sha512(data)}
        for kind, data in ((OCI_CONFIG, config), (OCI_LAYER, layer))
    ]
    image = to_json(manifest_of(*parts))
    reply = front.put(repository, sha512(image), image)
    assert reply.status == 201
    assert reply.headers.get("docker-content-digest") in (sha512(image), sha256(image))
    index = to_json(index_of({**descriptor(OCI_MANIFEST, image), "digest": sha512(image)}))
    front.must_put(repository, "1.0", index, OCI_INDEX)
    assert front.manifest(repository, sha512(image)).body == image


TAGS_MAX = 20


def tags_of(reply: Reply) -> list[str]:
    """Of all OCI-Tag headers."""
    return sorted(filter(None, reply.headers.get("oci-tag", "").split(", ")))


@pytest.mark.parametrize("algorithm", (sha256, sha512))
def test_pushing_manifests_with_tags(
    front: Front, repository: str, algorithm: Callable[[bytes], str]
) -> None:
    """MUST (after 1.1.1): the tags of the query name the digest, and OCI-Tag names each once."""
    data = front.image(repository)
    digest = algorithm(data)
    front.must_put(repository, "old", front.image(repository))
    for tags in (["one"], ["one", "two", "one", "old"], [f"t{n}" for n in range(TAGS_MAX)]):
        query = "&".join(f"tag={tag}" for tag in tags)
        reply = front.must_put(repository, f"{digest}?{query}", data)
        assert reply.headers["docker-content-digest"] == digest
        assert tags_of(reply) == sorted(set(tags))
        for tag in tags:
            named = front.manifest(repository, tag)
            assert named.headers["docker-content-digest"] == digest and named.body == data
    assert tags_of(front.must_put(repository, digest, data)) == []


def test_pushing_manifests_with_tags_is_all_or_nothing(front: Front, repository: str) -> None:
    """MUST: none of them is there when one cannot be, or when the manifest is refused."""
    data = front.image(repository)
    many = "&".join(f"tag=t{n}" for n in range(TAGS_MAX + 1))
    missing = front.artifact_of(data, config=descriptor(OCI_CONFIG, b"never pushed"))
    for reference, body, status, code in (
        (f"{sha256(data)}?tag=good&tag=.bad", data, 400, "TAG_INVALID"),
        (f"{sha256(data)}?tag=good&tag=", data, 400, "TAG_INVALID"),
        (f"{sha256(data)}?tag=good&tag=a%2Fb", data, 400, "TAG_INVALID"),
        (f"{sha256(data)}?{many}", data, 414, "TAG_INVALID"),
        (f"{NOWHERE}?tag=good", data, 400, "DIGEST_INVALID"),
        (f"{sha256(missing)}?tag=good", missing, 404, "MANIFEST_BLOB_UNKNOWN"),
        ("good?tag=other", data, 400, "UNSUPPORTED"),
    ):
        reply = front.put(repository, reference, body)
        assert (reply.status, reply.error["code"]) == (status, code), reference
        assert front.manifest(repository, "good").status == 404, reference


def test_pushing_manifests_artifact(front: Front, repository: str) -> None:
    """MUST: an artifact with the empty config, whose blob is there, is a manifest as any other."""
    payload = secrets.token_bytes(100)
    front.push_blob(repository, payload)
    front.push_blob(repository, EMPTY_JSON)
    value = manifest_of(
        descriptor(OCI_EMPTY, EMPTY_JSON),
        descriptor("application/vnd.example.sbom+json", payload),
        artifactType="application/vnd.example.sbom.v1",
    )
    front.must_put(repository, "sbom", to_json(value))
    assert front.manifest(repository, "sbom").json() == value


def test_pushing_manifests_of_any_type(front: Front, repository: str) -> None:
    """MUST: the registry is agnostic of content: a manifest of a type of somebody's own is kept,
    and served under that type."""
    kind = "application/vnd.example.thing.v1+json"
    data = to_json({"mediaType": kind, "n": secrets.token_hex(8)})
    front.must_put(repository, "thing", data, kind)
    reply = front.manifest(repository, "thing", accept="*/*")
    assert (reply.body, reply.headers["content-type"]) == (data, kind)


def test_pushing_manifests_in_chunked_coding(front: Front, repository: str) -> None:
    """MAY: a manifest may come without a length."""
    data = front.image(repository)
    path, head = f"/v2/{repository}/manifests/1.0", {"Content-Type": OCI_MANIFEST}
    assert front.ask("PUT", path, data, head, chunked=True).status == 201
    assert front.manifest(repository, "1.0").body == data


# Pushing Manifests with Subject


def with_subject(front: Front, repository: str, kind: str, subject: bytes) -> bytes:
    if kind == OCI_MANIFEST:
        return front.artifact(repository, subject)
    value: dict[str, Any] = index_of(subject=descriptor(OCI_MANIFEST, subject))
    return to_json(value)


@pytest.mark.parametrize("kind", (OCI_MANIFEST, OCI_INDEX))
@pytest.mark.parametrize("there", (True, False))
def test_subject_is_answered(front: Front, repository: str, kind: str, there: bool) -> None:
    """MUST: a manifest or index with a subject is answered with OCI-Subject, its digest, whether
    the subject is there or not, under a tag or a digest."""
    subject = front.image(repository)
    if there:
        front.must_put(repository, "1.0", subject)
    data = with_subject(front, repository, kind, subject)
    for reference in (sha256(data), "signature"):
        reply = front.must_put(repository, reference, data, kind)
        assert reply.headers["oci-subject"] == sha256(subject)


def test_subject_of_sha512(front: Front, repository: str) -> None:
    """MUST: the header has the digest as the manifest has it."""
    subject = sha512(b"not there, " + repository.encode())
    data = front.artifact(repository, subject)
    reply = front.must_put(repository, sha256(data), data)
    assert reply.headers["oci-subject"] == subject
    assert [entry["digest"] for entry in front.referrers(repository, subject)] == [sha256(data)]


def test_subject_is_not_invented(front: Front, repository: str) -> None:
    """MUST: without a subject there is no header, as it would tell the client that one was seen."""
    reply = front.must_put(repository, "1.0", front.image(repository))
    assert "oci-subject" not in reply.headers


@pytest.mark.parametrize(
    "subject", (5, "sha256:1", {}, {"mediaType": OCI_MANIFEST, "digest": "x", "size": 1})
)
def test_subject_that_is_none(front: Front, repository: str, subject: object) -> None:
    """MUST: a manifest whose subject is no descriptor is not valid."""
    data = to_json({**json.loads(front.image(repository)), "subject": subject})
    reply = front.put(repository, "1.0", data)
    assert (reply.status, reply.error["code"]) == (400, "MANIFEST_INVALID")


def test_subject_with_the_tag_of_older_clients(front: Front, repository: str) -> None:
    """MUST: a client that keeps the index under `sha256-HEX` itself can do so; the listing is the
    same."""
    subject = front.image(repository)
    front.must_put(repository, "1.0", subject)
    artifact = front.artifact(repository, subject)
    front.must_put(repository, sha256(artifact), artifact)
    tag = sha256(subject).replace(":", "-")
    index = to_json(index_of(descriptor(OCI_MANIFEST, artifact, artifactType=OCI_EMPTY)))
    front.must_put(repository, tag, index, OCI_INDEX)
    assert front.manifest(repository, tag).body == index
    listed = front.referrers(repository, sha256(subject))
    assert [entry["digest"] for entry in listed] == [sha256(artifact)]
