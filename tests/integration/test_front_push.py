"""OCI distribution-spec 1.1.1, "Push": whole blobs, and mounts, rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Push (what comes before its parts)             | test_push_*                   |
| Pushing a blob monolithically: POST then PUT   | test_post_then_put_*          |
| Pushing a blob monolithically: Single POST     | test_single_post_*            |
| Mounting a blob from another repository        | test_mounting_*               |

test_front_chunks.py and test_front_manifests.py have the other parts of "Push".
test_front_sections.py holds the tests to the sections.
"""
from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from support.curl import curl
from support.front import (
    BYTES,
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
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
    with_digest,
)
from support.pulled import sha256

NOWHERE = sha256(b"never pushed")


def pullable(front: Front, location: str, data: bytes) -> bool:
    reply = front.ask("GET", path_of(location))
    return (reply.status, reply.body) == (200, data)


# Push


def test_push_referrer_before_its_subject(front: Front, repository: str) -> None:
    """MUST: a manifest is accepted although its subject is not there; both orders end the same."""
    subject = front.image(repository)
    artifact = front.artifact(repository, subject)
    front.must_put(repository, sha256(artifact), artifact)
    assert front.manifest(repository, sha256(subject)).status == 404
    front.must_put(repository, "1.0", subject)
    (listed,) = front.referrers(repository, sha256(subject))
    assert listed["digest"] == sha256(artifact)


@pytest.mark.parametrize("missing", ("config", "layer", "both"))
def test_push_manifest_of_blobs_that_are_not_there(
    front: Front, repository: str, missing: str
) -> None:
    """MUST: where a manifest is refused for that reason, the code is MANIFEST_BLOB_UNKNOWN. Here it
    is refused: what was acknowledged can be pulled."""
    config, layer = secrets.token_bytes(40), secrets.token_bytes(50)
    if missing == "layer":
        front.push_blob(repository, config)
    if missing == "config":
        front.push_blob(repository, layer)
    value = manifest_of(descriptor(OCI_CONFIG, config), descriptor(OCI_LAYER, layer))
    reply = front.put(repository, "1.0", to_json(value))
    codes = [error["code"] for error in reply.json()["errors"]]
    assert reply.status in (400, 404) and set(codes) == {"MANIFEST_BLOB_UNKNOWN"}, reply.body
    absent = layer if missing == "layer" else config
    assert sha256(absent) in reply.body.decode(), "which one is named"
    assert front.manifest(repository, "1.0").status == 404


def test_push_manifest_of_blobs_of_another_repository(front: Front, repository: str) -> None:
    """MUST: being in the registry is not being in the repository: a blob that is only elsewhere has
    to be mounted or sent first."""
    data = front.image(repository + "/other")
    reply = front.put(repository, "1.0", data)
    assert reply.status in (400, 404) and reply.error["code"] == "MANIFEST_BLOB_UNKNOWN"


@pytest.mark.parametrize(
    "media_type, child", ((OCI_INDEX, OCI_MANIFEST), (DOCKER_LIST, DOCKER_MANIFEST))
)
def test_push_index_of_manifests_that_are_not_there(
    front: Front, repository: str, media_type: str, child: str
) -> None:
    """MUST: the same code for an index whose manifests are not there."""
    there = front.image(repository)
    front.must_put(repository, sha256(there), there)
    entries = (descriptor(OCI_MANIFEST, there), descriptor(child, b"not there"))
    index = to_json({**index_of(*entries), "mediaType": media_type})
    reply = front.put(repository, "1.0", index, media_type)
    assert reply.status in (400, 404) and reply.error["code"] == "MANIFEST_BLOB_UNKNOWN"


def test_push_foreign_layer_need_not_be_there(front: Front, repository: str) -> None:
    """MAY: a layer with `urls` is fetched from there, so a manifest may name it without having
    it."""
    config = to_json({"os": "windows", "n": secrets.token_hex(8)})
    front.push_blob(repository, config)
    media_type = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    layer = descriptor(media_type, b"elsewhere", urls=["https://example.com/layer"])
    front.must_put(repository, "1.0", to_json(manifest_of(descriptor(OCI_CONFIG, config), layer)))


# Pushing a blob monolithically: POST then PUT


def test_post_then_put_begins_with_202(front: Front, repository: str) -> None:
    """MUST: POST is answered 202 with a Location."""
    reply = front.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert reply.status == 202
    assert path_of(reply.headers["location"]).startswith(f"/v2/{repository}/blobs/uploads/")


def test_post_then_put_sessions_are_unique(front: Front, repository: str) -> None:
    """MUST: each Location has a session of its own."""
    locations = {path_of(front.begin(repository)).split("?")[0] for _ in range(20)}
    assert len(locations) == 20


def test_post_then_put_post_with_a_content_type(front: Front, repository: str) -> None:
    """MAY: clients send a Content-Type with the empty POST, or no Content-Length."""
    path = f"/v2/{repository}/blobs/uploads/"
    assert front.ask("POST", path, None, {"Content-Type": "application/json"}).status == 202
    assert front.ask("POST", path, b"", chunked=True).status == 202


@pytest.mark.parametrize("size", (0, 1, 42, 5_000_000))
def test_post_then_put_ends_with_201(front: Front, repository: str, size: int) -> None:
    """MUST: PUT is answered 201, with a Location under which the blob can be pulled."""
    data = secrets.token_bytes(size)
    reply = front.finish(front.begin(repository), sha256(data), data)
    assert reply.status == 201
    assert pullable(front, reply.headers["location"], data)
    assert reply.headers.get("docker-content-digest", sha256(data)) == sha256(data)


def test_post_then_put_sha512(front: Front, repository: str) -> None:
    """MUST: the digest of either registered algorithm is taken; the Location is as good."""
    data = secrets.token_bytes(100_000)
    reply = front.finish(front.begin(repository), sha512(data), data)
    assert reply.status == 201
    assert pullable(front, reply.headers["location"], data)
    assert front.blob(repository, sha512(data)).body == data


def test_post_then_put_without_a_length(front: Front, repository: str) -> None:
    """MAY: a body in chunked transfer coding is as good as one with a length."""
    data = secrets.token_bytes(300_000)
    location = with_digest(front.begin(repository), sha256(data))
    assert front.ask("PUT", location, data, {"Content-Type": BYTES}, chunked=True).status == 201
    assert front.blob(repository, sha256(data)).body == data


def test_post_then_put_as_curl_does_it(
    front: Front, front_port: int, repository: str, tmp_path: Path
) -> None:
    """MUST: the same with a client that nobody here wrote; a large body, so that it asks first."""
    data = secrets.token_bytes(3_000_000)
    (tmp_path / "blob").write_bytes(data)
    url = f"http://127.0.0.1:{front_port}"
    begun = curl(f"{url}/v2/{repository}/blobs/uploads/", tmp_path, method="POST")
    location = with_digest(path_of(begun.headers["location"]), sha256(data))
    reply = curl(url + location, tmp_path, method="PUT", upload=tmp_path / "blob")
    assert reply.status == 201
    assert curl(url + path_of(reply.headers["location"]), tmp_path).body == data


def test_post_then_put_of_what_is_there(front: Front, repository: str) -> None:
    """MUST: a blob that is there already can be pushed again; 201 as the first time."""
    data = secrets.token_bytes(1000)
    for name in (repository, repository, repository + "/other"):
        front.push_blob(name, data)
        assert front.blob(name, sha256(data)).body == data


def test_post_then_put_of_one_blob_at_once(front: Front, repository: str) -> None:
    """MUST: "Layer Upload De-duplication": clients that send one blob at the same time are all
    answered 201, and it is there in each repository."""
    data = secrets.token_bytes(2_000_000)
    names = [f"{repository}/{number % 3}" for number in range(6)]

    def push(name: str) -> None:
        with Front(front.port) as client:
            client.push_blob(name, data)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(push, names))
    for name in names:
        assert front.blob(name, sha256(data)).body == data


def test_post_then_put_wrong_digest(front: Front, repository: str) -> None:
    """MUST: bytes that do not have the digest are DIGEST_INVALID, and nothing is there under it."""
    data = secrets.token_bytes(1000)
    claimed = sha256(data + b"more")
    reply = front.finish(front.begin(repository), claimed, data)
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")
    for digest in (claimed, sha256(data)):
        assert front.blob(repository, digest).status == 404


@pytest.mark.parametrize(
    "digest", ("", "sha256:", "sha256:abc", "md5:" + "0" * 32, "SHA256:" + "0" * 64, "0" * 64,
               "sha256:" + "G" * 64, "sha256:" + "0" * 63, "sha256:" + "0" * 65,
               "sha512:" + "0" * 64,
               "sha256:" + "A" * 64, "../../" + "0" * 64, "sha256:../" + "0" * 61),
)  # fmt: skip
def test_post_then_put_digest_that_is_none(front: Front, repository: str, digest: str) -> None:
    """MUST: closing needs a digest; one that is none is DIGEST_INVALID."""
    reply = front.finish(front.begin(repository), digest, b"x")
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")


def test_post_then_put_without_a_digest(front: Front, repository: str) -> None:
    """MUST: the same where the parameter is not there at all."""
    reply = front.ask("PUT", front.begin(repository), b"x", {"Content-Type": BYTES})
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")


def test_post_then_put_unknown_session(front: Front, repository: str) -> None:
    """MUST: 404 BLOB_UPLOAD_UNKNOWN for a session that never was, is over, or is another
    repository's."""
    data = secrets.token_bytes(100)
    over, open_one = front.begin(repository), front.begin(repository)
    assert front.finish(over, sha256(data), data).status == 201
    for location in (
        f"/v2/{repository}/blobs/uploads/{'0' * 32}",
        f"/v2/{repository}/blobs/uploads/nothing",
        over,
        open_one.replace(repository, repository + "/other"),
    ):
        reply = front.finish(location, sha256(data), data)
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN"), location


# Pushing a blob monolithically: Single POST


def single_post(repository: str, digest: str) -> str:
    return f"/v2/{repository}/blobs/uploads/?digest={quote(digest, safe='')}"


@pytest.mark.parametrize("size", (0, 1, 2_000_000))
def test_single_post_is_201(front: Front, repository: str, size: int) -> None:
    """MUST: 201, with a Location under which the blob can be pulled."""
    data = secrets.token_bytes(size)
    reply = front.ask("POST", single_post(repository, sha256(data)), data, {"Content-Type": BYTES})
    assert reply.status == 201
    assert pullable(front, reply.headers["location"], data)


def test_single_post_sha512(front: Front, repository: str) -> None:
    """MUST: the same for the other algorithm."""
    data = secrets.token_bytes(100)
    reply = front.ask("POST", single_post(repository, sha512(data)), data, {"Content-Type": BYTES})
    assert reply.status == 201
    assert front.blob(repository, sha512(data)).body == data


@pytest.mark.parametrize("digest", (NOWHERE, "sha256:abc", ""))
def test_single_post_digest_must_match(front: Front, repository: str, digest: str) -> None:
    """MUST: the digest is that of the content, or the request fails and leaves nothing."""
    data = secrets.token_bytes(100)
    reply = front.ask("POST", single_post(repository, digest), data, {"Content-Type": BYTES})
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")
    assert front.blob(repository, sha256(data)).status == 404


def test_single_post_length_must_match(front: Front, repository: str) -> None:
    """MUST: a body that ends before its length is no blob, even if the digest fits what came."""
    data = secrets.token_bytes(1000)
    with Front(front.port) as other:
        head = {"Content-Type": BYTES, "Content-Length": "2000"}
        other.send_part("POST", single_post(repository, sha256(data)), head, data)
    assert front.blob(repository, sha256(data)).status == 404


# Mounting a blob from another repository


def mount(front: Front, repository: str, digest: str, source: str | None) -> str:
    path = f"/v2/{repository}/blobs/uploads/?mount={quote(digest, safe='')}"
    return path if source is None else f"{path}&from={quote(source, safe='')}"


def test_mounting_is_201(front: Front, repository: str) -> None:
    """MUST: 201, with a Location under which the blob can be pulled, in the new repository."""
    data = secrets.token_bytes(1000)
    digest = front.push_blob(repository, data)
    target = repository + "/target"
    reply = front.ask("POST", mount(front, target, digest, repository))
    assert reply.status == 201
    assert path_of(reply.headers["location"]) in (
        f"/v2/{target}/blobs/{digest}",
        f"/v2/{target}/blobs/{quote(digest, safe='')}",
    )
    assert pullable(front, reply.headers["location"], data)
    assert reply.headers.get("docker-content-digest", digest) == digest
    assert front.blob(target, digest).body == data


def test_mounting_with_more_parameters(front: Front, repository: str) -> None:
    """MAY: clients add `origin`, and leave slashes as they are."""
    digest = front.push_blob(repository, secrets.token_bytes(1000))
    query = f"from={repository}&mount={digest}&origin=r.example.com"
    assert front.ask("POST", f"/v2/{repository}/x/blobs/uploads/?{query}").status == 201


def test_mounting_without_from(front: Front, repository: str) -> None:
    """MAY: without `from`, a blob that any repository has is mounted."""
    data = secrets.token_bytes(1000)
    digest = front.push_blob(repository, data)
    assert front.ask("POST", mount(front, repository + "/x", digest, None)).status == 201
    assert front.blob(repository + "/x", digest).body == data


@pytest.mark.parametrize("source", (None, "spec/no/such/repository", "itself"))
def test_mounting_what_cannot_be_is_a_session(
    front: Front, repository: str, source: str | None
) -> None:
    """SHOULD: what cannot be mounted is answered 202, with a session in which it can be sent."""
    data = secrets.token_bytes(1000)
    source = repository if source == "itself" else source
    reply = front.ask("POST", mount(front, repository, sha256(data), source))
    assert reply.status == 202
    location = path_of(reply.headers["location"])
    assert location.startswith(f"/v2/{repository}/blobs/uploads/")
    assert front.finish(location, sha256(data), data).status == 201


def test_mounting_from_a_repository_that_lost_it(front: Front, repository: str) -> None:
    """SHOULD: a blob that was deleted from its only repository is not mounted any more."""
    digest = front.push_blob(repository, secrets.token_bytes(1000))
    assert front.ask("DELETE", f"/v2/{repository}/blobs/{digest}").status == 202
    for source in (repository, None):
        assert front.ask("POST", mount(front, repository + "/x", digest, source)).status == 202
    assert front.blob(repository + "/x", digest).status == 404


def test_mounting_makes_an_image_complete(front: Front, repository: str) -> None:
    """MUST: what was mounted counts as there for the manifest that needs it."""
    data = front.image(repository)
    target = repository + "/copy"
    for digest in {part.split('"')[0] for part in data.decode().split('"digest":"')[1:]}:
        assert front.ask("POST", mount(front, target, digest, repository)).status == 201
    front.must_put(target, "1.0", data)
    assert front.manifest(target, "1.0").body == data
