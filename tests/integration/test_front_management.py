"""OCI distribution-spec 1.1.1, "Content Management", rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Deleting tags                                  | test_deleting_tags_*          |
| Deleting Manifests                             | test_deleting_manifests_*     |
| Deleting Blobs                                 | test_deleting_blobs_*         |

test_front_sections.py holds the tests to the sections.
"""
from __future__ import annotations

import json
import secrets

import pytest

from support.curl import Reply
from support.front import OCI_INDEX, OCI_MANIFEST, Front, descriptor, index_of, sha512, to_json
from support.pulled import sha256

NOWHERE = sha256(b"never pushed")


def delete(front: Front, repository: str, reference: str) -> Reply:
    return front.ask("DELETE", f"/v2/{repository}/manifests/{reference}")


def delete_blob(front: Front, repository: str, digest: str) -> Reply:
    return front.ask("DELETE", f"/v2/{repository}/blobs/{digest}")


# Deleting tags


def test_deleting_tags_is_202(front: Front, repository: str) -> None:
    """MUST: 202, and from then on the tag is 404, for GET, HEAD, the list and a second DELETE."""
    front.tagged(repository, "1.0", "2.0")
    assert delete(front, repository, "1.0").status == 202
    reply = front.manifest(repository, "1.0")
    assert (reply.status, reply.error["code"]) == (404, "MANIFEST_UNKNOWN")
    assert front.manifest(repository, "1.0", "HEAD").status == 404
    assert front.tags(repository) == ["2.0"]
    assert delete(front, repository, "1.0").status == 404


def test_deleting_tags_leaves_the_manifest(front: Front, repository: str) -> None:
    """MUST: it is the tag that goes: the manifest is there under its digest and its other tags."""
    digest = front.tagged(repository, "1.0", "2.0")
    assert delete(front, repository, "1.0").status == 202
    for reference in ("2.0", digest):
        assert front.manifest(repository, reference).status == 200


def test_deleting_tags_the_last_one(front: Front, repository: str) -> None:
    """MUST: a repository whose last tag went is still there, with an empty list."""
    digest = front.tagged(repository, "1.0")
    assert delete(front, repository, "1.0").status == 202
    assert front.tags(repository) == []
    assert front.manifest(repository, digest).status == 200


def test_deleting_tags_not_there(front: Front, repository: str) -> None:
    """MUST: 404 for a tag that is not there, in a repository that is, or in one that is not."""
    front.tagged(repository, "1.0")
    for name in (repository, repository + "/none"):
        reply = delete(front, name, "3.0")
        assert reply.status == 404
        assert reply.error["code"] in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN")
    assert front.tags(repository) == ["1.0"]


def test_deleting_tags_and_giving_it_again(front: Front, repository: str) -> None:
    """MUST: a deleted tag can be given again, and names what it was given."""
    front.tagged(repository, "1.0")
    assert delete(front, repository, "1.0").status == 202
    digest = front.tagged(repository, "1.0")
    assert front.manifest(repository, "1.0").headers["docker-content-digest"] == digest


# Deleting Manifests


def test_deleting_manifests_is_202(front: Front, repository: str) -> None:
    """MUST: 202, and from then on the digest is 404."""
    digest = front.tagged(repository, "1.0")
    assert delete(front, repository, digest).status == 202
    reply = front.manifest(repository, digest)
    assert (reply.status, reply.error["code"]) == (404, "MANIFEST_UNKNOWN")
    assert front.manifest(repository, digest, "HEAD").status == 404


def test_deleting_manifests_takes_the_tags(front: Front, repository: str) -> None:
    """MUST: every tag that points to it is 404, too, and not in the list; other tags stay."""
    digest = front.tagged(repository, "1.0", "1", "latest")
    front.tagged(repository, "2.0")
    assert delete(front, repository, digest).status == 202
    for tag in ("1.0", "1", "latest"):
        assert front.manifest(repository, tag).status == 404
    assert front.tags(repository) == ["2.0"]


def test_deleting_manifests_unknown_repository(front: Front, repository: str) -> None:
    """MUST: 404 where the repository does not exist."""
    reply = delete(front, repository, NOWHERE)
    assert reply.status == 404
    assert reply.error["code"] in ("NAME_UNKNOWN", "MANIFEST_UNKNOWN")


def test_deleting_manifests_not_there(front: Front, repository: str) -> None:
    """MUST: 404 MANIFEST_UNKNOWN for one that is not there, or was deleted, or is a blob."""
    digest = front.tagged(repository, "1.0")
    blob = front.push_blob(repository, secrets.token_bytes(10))
    assert delete(front, repository, digest).status == 202
    for reference in (NOWHERE, digest, blob):
        reply = delete(front, repository, reference)
        assert (reply.status, reply.error["code"]) == (404, "MANIFEST_UNKNOWN")
    assert front.blob(repository, blob).status == 200


def test_deleting_manifests_of_one_repository(front: Front, repository: str) -> None:
    """MUST: the same manifest in another repository stays, with its tags and its blobs."""
    data = front.image(repository)
    other = repository + "/other"
    for name in (repository, other):
        for part in data.decode().split('"digest":"')[1:]:
            digest = part.split('"')[0]
            front.ask("POST", f"/v2/{name}/blobs/uploads/?mount={digest}&from={repository}")
        front.must_put(name, "1.0", data)
    assert delete(front, repository, sha256(data)).status == 202
    assert front.manifest(other, "1.0").body == data
    assert front.manifest(other, sha256(data)).body == data


def test_deleting_manifests_leaves_the_blobs(front: Front, repository: str) -> None:
    """MUST: what it referred to is not deleted by that: the same image can be pushed again by its
    manifest alone, and the repository is there."""
    data = front.image(repository)
    front.must_put(repository, "1.0", data)
    assert delete(front, repository, sha256(data)).status == 202
    assert front.tags(repository) == []
    front.must_put(repository, "1.0", data)
    assert front.manifest(repository, "1.0").body == data


def test_deleting_manifests_of_an_index(front: Front, repository: str) -> None:
    """MUST: an index goes alone, its manifests stay."""
    image = front.image(repository)
    front.must_put(repository, sha256(image), image)
    index = to_json(index_of(descriptor(OCI_MANIFEST, image)))
    front.must_put(repository, "1.0", index, OCI_INDEX)
    assert delete(front, repository, sha256(index)).status == 202
    assert front.manifest(repository, "1.0").status == 404
    assert front.manifest(repository, sha256(image)).body == image


def test_deleting_manifests_by_sha512(front: Front, repository: str) -> None:
    """MUST: what was pushed under a sha512 digest is deleted under it."""
    data = front.image(repository)
    front.must_put(repository, sha512(data), data)
    assert delete(front, repository, sha512(data)).status == 202
    assert front.manifest(repository, sha512(data)).status == 404


@pytest.mark.parametrize("reference", ("sha256:abc", "md5:" + "0" * 32, ".bad"))
def test_deleting_manifests_reference_that_is_none(
    front: Front, repository: str, reference: str
) -> None:
    """MUST: 400 or 404 for what is neither digest nor tag; nothing goes."""
    digest = front.tagged(repository, "1.0")
    assert delete(front, repository, reference).status in (400, 404)
    assert front.manifest(repository, digest).status == 200


# Deleting Blobs


def test_deleting_blobs_is_202(front: Front, repository: str) -> None:
    """MUST: 202, and from then on the blob is 404."""
    digest = front.push_blob(repository, secrets.token_bytes(100))
    assert delete_blob(front, repository, digest).status == 202
    reply = front.blob(repository, digest)
    assert (reply.status, reply.error["code"]) == (404, "BLOB_UNKNOWN")
    assert front.blob(repository, digest, "HEAD").status == 404


def test_deleting_blobs_not_there(front: Front, repository: str) -> None:
    """MUST: 404 BLOB_UNKNOWN for a blob that is not there, was deleted, or is another
    repository's."""
    digest = front.push_blob(repository, secrets.token_bytes(100))
    elsewhere = front.push_blob(repository + "/other", secrets.token_bytes(100))
    assert delete_blob(front, repository, digest).status == 202
    for unknown in (NOWHERE, digest, elsewhere):
        reply = delete_blob(front, repository, unknown)
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UNKNOWN")
    assert front.blob(repository + "/other", elsewhere).status == 200


def test_deleting_blobs_of_one_repository(front: Front, repository: str) -> None:
    """MUST: the same blob in another repository stays."""
    data = secrets.token_bytes(100)
    for name in (repository, repository + "/other"):
        front.push_blob(name, data)
    assert delete_blob(front, repository, sha256(data)).status == 202
    assert front.blob(repository + "/other", sha256(data)).body == data


def test_deleting_blobs_and_pushing_it_again(front: Front, repository: str) -> None:
    """MUST: a deleted blob can be pushed again, and is counted as missing until then."""
    image = front.image(repository)
    layer = json.loads(image)["layers"][0]["digest"]
    data = front.blob(repository, layer).body
    assert delete_blob(front, repository, layer).status == 202
    reply = front.put(repository, "1.0", image)
    assert reply.error["code"] == "MANIFEST_BLOB_UNKNOWN"
    front.push_blob(repository, data)
    front.must_put(repository, "1.0", image)


def test_deleting_blobs_by_sha512(front: Front, repository: str) -> None:
    """MUST: what was pushed under a sha512 digest is deleted under it."""
    data = secrets.token_bytes(100)
    front.push_blob(repository, data, sha512(data))
    assert delete_blob(front, repository, sha512(data)).status == 202
    assert front.blob(repository, sha512(data)).status == 404


def test_deleting_blobs_digest_that_is_none(front: Front, repository: str) -> None:
    """MUST: 400 DIGEST_INVALID, and not a path of any kind."""
    front.push_blob(repository, secrets.token_bytes(10))
    for digest in ("sha256:abc", "latest", "sha256:" + "0" * 63 + "/"):
        reply = delete_blob(front, repository, digest)
        assert reply.status in (400, 404), digest
        assert reply.error["code"] in ("DIGEST_INVALID", "UNSUPPORTED", "NAME_INVALID"), digest


def test_deleting_everything_of_a_repository(front: Front, repository: str) -> None:
    """MUST: the order in which the public suite cleans up: manifest first, then its blobs; all 202,
    then all 404."""
    image = front.image(repository)
    front.must_put(repository, "1.0", image)
    value = json.loads(image)
    assert delete(front, repository, sha256(image)).status == 202
    for entry in (value["config"], *value["layers"]):
        assert delete_blob(front, repository, entry["digest"]).status == 202
        assert front.blob(repository, entry["digest"]).status == 404
    assert front.ask("GET", f"/v2/{repository}/tags/list").status == 404
