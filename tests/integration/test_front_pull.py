"""OCI distribution-spec 1.1.1, "Pull", rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Pulling manifests                              | test_pulling_manifests_*      |
| Pulling blobs                                  | test_pulling_blobs_*          |
| Checking if content exists in the registry     | test_checking_content_*       |

test_front_sections.py holds the tests to the sections; each says its rule, and how strong it is.
"""
from __future__ import annotations

import secrets

import pytest

from support.front import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_MANIFEST,
    OCI_MANIFEST,
    Front,
    descriptor,
    sha512,
    to_json,
)
from support.pulled import sha256

NOWHERE = sha256(b"never pushed")
NAME_MAX = 255
TAG_MAX = 128


# Pulling manifests


@pytest.mark.parametrize("by", ("tag", "digest"))
def test_pulling_manifests_gives_the_manifest(front: Front, repository: str, by: str) -> None:
    """MUST: a manifest that is there is answered 200, with the very bytes that were pushed."""
    data = front.image(repository)
    front.must_put(repository, "1.0", data)
    reply = front.manifest(repository, "1.0" if by == "tag" else sha256(data))
    assert (reply.status, reply.body) == (200, data)


@pytest.mark.parametrize("reference", ("2.0", NOWHERE, ".INVALID_MANIFEST_NAME"))
def test_pulling_manifests_not_there(front: Front, repository: str, reference: str) -> None:
    """MUST: what the repository does not have is 404, under a tag, a digest, or what is neither."""
    front.tagged(repository, "1.0")
    reply = front.manifest(repository, reference)
    assert (reply.status, reply.error["code"]) == (404, "MANIFEST_UNKNOWN")


def test_pulling_manifests_of_another_repository(front: Front, repository: str) -> None:
    """MUST: a manifest is found in the repository that it was pushed to, and in no other."""
    digest = front.tagged(repository, "1.0")
    front.tagged(repository + "/other", "2.0")
    for reference in (digest, "1.0"):
        assert front.manifest(repository + "/other", reference).status == 404
        assert front.manifest(repository, reference).status == 200


@pytest.mark.parametrize(
    "reference", ("a:b", "sha256:totallywrong", "a%20b", "-dash", "@" + NOWHERE)
)
def test_pulling_manifests_reference_is_a_digest_or_a_tag(
    front: Front, repository: str, reference: str
) -> None:
    """MUST NOT: nothing is served under a reference of any other form; a digest with a fault in it
    may be called invalid."""
    front.tagged(repository, "1.0")
    reply = front.manifest(repository, reference)
    assert (reply.status, reply.error["code"]) in (
        (404, "MANIFEST_UNKNOWN"),
        (400, "DIGEST_INVALID"),
    )


@pytest.mark.parametrize(
    "name",
    ("a", "0", "a/b/c/d/e/f/g", "a.b", "a_b", "a__b", "a-b", "a---b", "0.1_2-3/x", "a" * 99 + "/b"),
)
def test_pulling_manifests_names_of_the_grammar(front: Front, seed: str, name: str) -> None:
    """MUST: every name of the grammar is a repository."""
    repository = f"spec/{seed}/{name}"
    digest = front.tagged(repository, "1")
    assert front.manifest(repository, "1").headers["docker-content-digest"] == digest


@pytest.mark.parametrize(
    "name",
    ("A", "aB", "a..b", "a.", ".a", "a_", "_a", "a___b", "-a", "a-", "a._b", "a/", "/a", "a//b",
     "a b", "a@b", "a:b", "\u00e4"),
)  # fmt: skip
def test_pulling_manifests_names_outside_the_grammar(front: Front, name: str) -> None:
    """MUST: a name that does not match the grammar is refused, for reading as for writing."""
    for method, path in (
        ("GET", f"/v2/spec/{name}/manifests/1"),
        ("PUT", f"/v2/spec/{name}/manifests/1"),
        ("POST", f"/v2/spec/{name}/blobs/uploads/"),
    ):
        reply = front.ask(method, path.replace(" ", "%20"))
        assert (reply.status, reply.error["code"]) == (400, "NAME_INVALID"), (method, path)


@pytest.mark.parametrize("length", (NAME_MAX - 1, NAME_MAX, NAME_MAX + 1))
def test_pulling_manifests_length_of_a_name(front: Front, seed: str, length: int) -> None:
    """SHOULD: names are kept to what clients can hold. Here that is 255 bytes; hosts have their own
    limit at the target."""
    repository = f"spec/{seed}/".ljust(length, "a")
    reply = front.ask("POST", f"/v2/{repository}/blobs/uploads/")
    if length <= NAME_MAX:
        assert reply.status == 202
        digest = front.tagged(repository, "1")
        assert front.manifest(repository, digest).status == 200
    else:
        assert (reply.status, reply.error["code"]) == (400, "NAME_INVALID")


@pytest.mark.parametrize(
    "tag", ("a", "_", "A", "0", "v1.2-rc.1", "a..b", "_-.", "z" * (TAG_MAX - 1), "z" * TAG_MAX)
)
def test_pulling_manifests_tags_of_the_grammar(front: Front, repository: str, tag: str) -> None:
    """MUST: every tag of the grammar, up to 128 characters, is one."""
    digest = front.tagged(repository, tag)
    assert front.manifest(repository, tag).headers["docker-content-digest"] == digest


@pytest.mark.parametrize(
    "tag", ("z" * (TAG_MAX + 1), ".a", "-a", "a+b", "a%20b", "%C3%A4", "a%2Fb")
)
def test_pulling_manifests_tags_outside_the_grammar(
    front: Front, repository: str, tag: str
) -> None:
    """MUST: what is no tag cannot be given to a manifest, and nothing is found under it."""
    data = front.image(repository)
    reply = front.put(repository, tag, data)
    assert reply.status in (400, 404) and reply.error["code"] in ("TAG_INVALID", "MANIFEST_INVALID")
    assert front.manifest(repository, tag).status == 404
    assert front.tags(repository) == []


def test_pulling_manifests_media_type(front: Front, repository: str) -> None:
    """SHOULD: Content-Type is what the manifest was pushed with, and has no parameters."""
    config, layer = to_json({"os": "linux", "n": secrets.token_hex(8)}), secrets.token_bytes(50)
    front.push_blob(repository, config)
    front.push_blob(repository, layer)
    docker = to_json({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": descriptor(DOCKER_CONFIG, config),
        "layers": [descriptor(DOCKER_LAYER, layer)],
    })  # fmt: skip
    front.must_put(repository, "docker", docker, DOCKER_MANIFEST)
    front.must_put(repository, "oci", front.image(repository), OCI_MANIFEST)
    for tag, media_type in (("docker", DOCKER_MANIFEST), ("oci", OCI_MANIFEST)):
        for method in ("GET", "HEAD"):
            reply = front.manifest(repository, tag, method)
            assert reply.headers["content-type"] == media_type


def test_pulling_manifests_whatever_is_accepted(front: Front, repository: str) -> None:
    """MAY: a client that names no type, or all, or several with weights, gets the manifest, too."""
    digest = front.tagged(repository, "1")
    for accept in ("", OCI_MANIFEST, "*/*", f"text/plain;q=0.1, {OCI_MANIFEST};q=0.9"):
        reply = front.manifest(repository, "1", accept=accept)
        assert (reply.status, sha256(reply.body)) == (200, digest), accept


def test_pulling_manifests_digest_header(front: Front, repository: str) -> None:
    """SHOULD: Docker-Content-Digest names what is served, by tag and by digest."""
    digest = front.tagged(repository, "1.0")
    for reference in ("1.0", digest):
        reply = front.manifest(repository, reference)
        assert reply.headers["docker-content-digest"] == digest == sha256(reply.body)


def test_pulling_manifests_by_sha512(front: Front, repository: str) -> None:
    """MUST: what was pushed under a sha512 digest is found under it, byte for byte; the header's
    digest fits, too, whatever its algorithm."""
    data = front.image(repository)
    front.must_put(repository, sha512(data), data)
    reply = front.manifest(repository, sha512(data))
    assert (reply.status, reply.body) == (200, data)
    assert reply.headers["docker-content-digest"] in (sha256(data), sha512(data))


# Pulling blobs


@pytest.mark.parametrize("size", (0, 1, 65_537, 3_000_001))
def test_pulling_blobs_gives_the_blob(front: Front, repository: str, size: int) -> None:
    """MUST: a blob that is there is answered 200, with its bytes; also the empty one."""
    data = secrets.token_bytes(size)
    reply = front.blob(repository, front.push_blob(repository, data))
    assert (reply.status, reply.body) == (200, data)


def test_pulling_blobs_digest_header(front: Front, repository: str) -> None:
    """SHOULD, then MUST: Docker-Content-Digest is there, and is that of the body."""
    data = secrets.token_bytes(1000)
    reply = front.blob(repository, front.push_blob(repository, data))
    assert reply.headers["docker-content-digest"] == sha256(reply.body) == sha256(data)


def test_pulling_blobs_by_sha512(front: Front, repository: str) -> None:
    """MUST: a blob is found under the digest that it was pushed with, of either algorithm."""
    data = secrets.token_bytes(1000)
    front.push_blob(repository, data, sha512(data))
    reply = front.blob(repository, sha512(data))
    assert (reply.status, reply.body) == (200, data)
    assert reply.headers["docker-content-digest"] in (sha256(data), sha512(data))


def test_pulling_blobs_not_there(front: Front, repository: str) -> None:
    """MUST: a blob that the repository does not have is 404, also if another one has it."""
    digest = front.push_blob(repository + "/other", secrets.token_bytes(100))
    front.push_blob(repository, secrets.token_bytes(100))
    for unknown in (NOWHERE, digest):
        reply = front.blob(repository, unknown)
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    "asked, first, last",
    (
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=100-199", 100, 199),
        ("bytes=900-", 900, 999),
        ("bytes=999-999", 999, 999),
        ("bytes=-1", 999, 999),
        ("bytes=-300", 700, 999),
        ("bytes=500-5000", 500, 999),
        ("bytes=-5000", 0, 999),
    ),
)
def test_pulling_blobs_range(
    front: Front, repository: str, asked: str, first: int, last: int
) -> None:
    """SHOULD: a part can be asked for, as RFC 9110 has it: 206 and its Content-Range."""
    data = secrets.token_bytes(1000)
    path = f"/v2/{repository}/blobs/{front.push_blob(repository, data)}"
    reply = front.ask("GET", path, None, {"Range": asked})
    assert (reply.status, reply.body) == (206, data[first : last + 1])
    assert reply.headers["content-range"] == f"bytes {first}-{last}/1000"


@pytest.mark.parametrize(
    "asked", ("bytes=1000-", "bytes=1000-1001", "bytes=5000-6000", "bytes=-0", "bytes=500-0")
)
def test_pulling_blobs_range_that_is_not_there(front: Front, repository: str, asked: str) -> None:
    """SHOULD: 416 with the size, when there is nothing of what was asked for; the conformance suite
    asks that of a range that ends before it begins, too."""
    path = f"/v2/{repository}/blobs/{front.push_blob(repository, secrets.token_bytes(1000))}"
    reply = front.ask("GET", path, None, {"Range": asked})
    assert reply.status == 416
    assert reply.headers["content-range"] == "bytes */1000"
    assert front.ask("HEAD", path).status == 200


@pytest.mark.parametrize(
    "asked", ("bytes=", "bytes=b-c", "lines=1-2", "bytes=0-0,2-3", "bytes 0-1", "1-2",
              "bytes=99999999999999999999999-", "bytes=--1"),
)  # fmt: skip
def test_pulling_blobs_range_that_is_none(front: Front, repository: str, asked: str) -> None:
    """SHOULD: a Range that is malformed, of another unit, or of several parts may be passed over;
    never are wrong bytes given for it."""
    data = secrets.token_bytes(1000)
    path = f"/v2/{repository}/blobs/{front.push_blob(repository, data)}"
    reply = front.ask("GET", path, None, {"Range": asked})
    assert reply.status in (200, 416) or "," in asked
    assert reply.status == 416 or reply.status == 206 or reply.body == data


def test_pulling_blobs_goes_on_where_it_broke(front: Front, repository: str) -> None:
    """SHOULD: "Resumable Pull": what a client has is not sent again, and the parts make the
    whole."""
    data = secrets.token_bytes(2_000_000)
    path = f"/v2/{repository}/blobs/{front.push_blob(repository, data)}"
    got = b""
    while len(got) < len(data):
        upto = len(got) + 700_000
        reply = front.ask("GET", path, None, {"Range": f"bytes={len(got)}-{upto - 1}"})
        assert reply.status == 206
        got += reply.body
    assert got == data


# Checking if content exists in the registry


def test_checking_content_blob(front: Front, repository: str) -> None:
    """MUST: HEAD of a blob that is there is 200."""
    assert front.blob(repository, front.push_blob(repository, b"x" * 100), "HEAD").status == 200


@pytest.mark.parametrize("by", ("tag", "digest"))
def test_checking_content_manifest(front: Front, repository: str, by: str) -> None:
    """MUST: HEAD of a manifest that is there is 200, by tag and by digest."""
    digest = front.tagged(repository, "1.0")
    reply = front.manifest(repository, "1.0" if by == "tag" else digest, "HEAD")
    assert reply.status == 200


def test_checking_content_digest(front: Front, repository: str) -> None:
    """SHOULD: the answer to HEAD names the digest."""
    manifest, blob = front.tagged(repository, "1"), front.push_blob(repository, b"y" * 100)
    for reply, digest in (
        (front.blob(repository, blob, "HEAD"), blob),
        (front.manifest(repository, "1", "HEAD"), manifest),
        (front.manifest(repository, manifest, "HEAD"), manifest),
    ):
        assert reply.headers["docker-content-digest"] == digest


@pytest.mark.parametrize("size", (0, 1, 300_000))
def test_checking_content_size(front: Front, repository: str, size: int) -> None:
    """SHOULD: the answer to HEAD has the size as Content-Length."""
    blob = front.push_blob(repository, secrets.token_bytes(size))
    assert front.blob(repository, blob, "HEAD").headers["content-length"] == str(size)
    data = front.image(repository)
    front.must_put(repository, "1", data)
    assert front.manifest(repository, "1", "HEAD").headers["content-length"] == str(len(data))


def test_checking_content_not_there(front: Front, repository: str) -> None:
    """MUST: HEAD of what is not there is 404, in a repository that is there and in one that is
    not."""
    front.tagged(repository, "1.0")
    for name in (repository, repository + "/none"):
        assert front.blob(name, NOWHERE, "HEAD").status == 404
        for reference in ("2.0", NOWHERE, ".INVALID_MANIFEST_NAME"):
            assert front.manifest(name, reference, "HEAD").status == 404
    assert front.connections == 1
