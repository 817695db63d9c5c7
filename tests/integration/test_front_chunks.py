"""OCI distribution-spec 1.1.1, "Pushing a blob in chunks", rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Pushing a blob in chunks: the session          | test_chunks_session_*         |
| Pushing a blob in chunks: PATCH                | test_chunks_patch_*           |
| Pushing a blob in chunks: closing PUT          | test_chunks_close_*           |
| Pushing a blob in chunks: status, cancelling   | test_chunks_status_*          |

test_front_resume.py has what happens when a client or the gateway is killed.
test_front_sections.py holds the tests to the sections.
"""
from __future__ import annotations

import secrets

import pytest

from support.front import Front, path_of, sha512, with_digest
from support.pulled import sha256


def continued(front: Front, location: str, data: bytes, offset: int, size: int) -> str:
    """One chunk with its range; the Location for the next."""
    part = data[offset : offset + size]
    reply = front.patch(location, part, f"{offset}-{offset + len(part) - 1}")
    assert reply.status == 202, reply
    assert reply.headers["range"] == f"0-{offset + len(part) - 1}"
    return path_of(reply.headers["location"])


def at_offset(front: Front, location: str, size: int) -> None:
    """The session has exactly this many bytes, and says so."""
    reply = front.ask("GET", location)
    assert (reply.status, reply.headers["range"]) == (204, f"0-{size - 1}")


# The session


def test_chunks_session_begins_with_202(front: Front, repository: str) -> None:
    """MUST: POST with Content-Length 0 is answered 202 with a Location; if there is a smallest
    chunk, its header is a number."""
    reply = front.ask("POST", f"/v2/{repository}/blobs/uploads/", b"", {"Content-Length": "0"})
    assert reply.status == 202 and reply.headers["location"]
    assert reply.headers.get("oci-chunk-min-length", "0").isdigit()


def test_chunks_session_of_three_chunks(front: Front, repository: str) -> None:
    """MUST: chunks in order, each to the Location that the one before was answered with, and an
    empty closing PUT make the blob."""
    data = secrets.token_bytes(2_500_000)
    location = front.begin(repository)
    for offset in range(0, len(data), 1_000_000):
        location = continued(front, location, data, offset, 1_000_000)
    reply = front.finish(location, sha256(data))
    assert reply.status == 201
    assert front.ask("GET", path_of(reply.headers["location"])).body == data


def test_chunks_session_of_one_byte_chunks(front: Front, repository: str) -> None:
    """MUST: chunks may be as small as they like where no smallest size was announced."""
    data = secrets.token_bytes(40)
    location = front.begin(repository)
    for offset in range(len(data)):
        location = continued(front, location, data, offset, 1)
    assert front.finish(location, sha256(data)).status == 201
    assert front.blob(repository, sha256(data)).body == data


def test_chunks_session_location_of_the_post(front: Front, repository: str) -> None:
    """SHOULD: a client that keeps to the first Location gets there, too."""
    data = secrets.token_bytes(3000)
    location = front.begin(repository)
    for offset in range(0, 3000, 1000):
        continued(front, location, data, offset, 1000)
    assert front.finish(location, sha256(data)).status == 201


# PATCH


def test_chunks_patch_is_202(front: Front, repository: str) -> None:
    """MUST: a chunk that was taken is answered 202, with the Location and the Range of all so
    far."""
    data = secrets.token_bytes(2000)
    location = front.begin(repository)
    reply = front.patch(location, data[:1500], "0-1499")
    assert (reply.status, reply.headers["range"]) == (202, "0-1499")
    reply = front.patch(path_of(reply.headers["location"]), data[1500:], "1500-1999")
    assert (reply.status, reply.headers["range"]) == (202, "0-1999")
    assert reply.headers["location"]


@pytest.mark.parametrize("first", (1, 100, 1000))
def test_chunks_patch_first_begins_at_zero(front: Front, repository: str, first: int) -> None:
    """MUST: the first chunk begins at 0, or it is out of order: 416."""
    location = front.begin(repository)
    reply = front.patch(location, b"x" * 10, f"{first}-{first + 9}")
    assert (reply.status, reply.error["code"]) == (416, "BLOB_UPLOAD_INVALID")
    assert front.patch(location, b"x" * 10, "0-9").status == 202


@pytest.mark.parametrize("first", (0, 1, 499, 501, 600, 2**63 - 11))
def test_chunks_patch_out_of_order(front: Front, repository: str, first: int) -> None:
    """MUST: a chunk that does not begin after the last byte is answered 416: repeated, overlapping,
    or with a gap. Nothing of it is kept, and the session goes on."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 500)
    reply = front.patch(location, b"?" * 10, f"{first}-{first + 9}")
    assert reply.status == 416
    at_offset(front, location, 500)
    continued(front, location, data, 500, 500)
    assert front.finish(location, sha256(data)).status == 201
    assert front.blob(repository, sha256(data)).body == data


@pytest.mark.parametrize(
    "value", ("0-", "-9", "a-b", "0-9-10", "9-0", "0_9", "", "0x0-9", "0-99999999999999999999999",
              "1.0-9", "18446744073709551615-18446744073709551624"),
)  # fmt: skip
def test_chunks_patch_range_of_the_grammar(front: Front, repository: str, value: str) -> None:
    """MUST: a Content-Range is two numbers; anything else is refused, and nothing is taken."""
    location = front.begin(repository)
    reply = front.patch(location, b"x" * 10, value)
    assert reply.status in (400, 416), reply
    assert reply.error["code"] in ("BLOB_UPLOAD_INVALID", "SIZE_INVALID")
    assert front.patch(location, b"x" * 10, "0-9").headers["range"] == "0-9"


@pytest.mark.parametrize("last", (0, 8, 10, 1000))
def test_chunks_patch_range_is_inclusive(front: Front, repository: str, last: int) -> None:
    """MUST: both ends of the range are in it, so that ten bytes are 0-9; what does not fit
    Content-Length is refused."""
    location = front.begin(repository)
    reply = front.patch(location, b"x" * 10, f"0-{last}")
    assert reply.status in (400, 416), reply
    assert reply.error["code"] in ("BLOB_UPLOAD_INVALID", "SIZE_INVALID")
    assert front.patch(location, b"x" * 10, "0-9").headers["range"] == "0-9"


@pytest.mark.parametrize("chunked", (False, True))
def test_chunks_patch_streamed(front: Front, repository: str, chunked: bool) -> None:
    """MAY: PATCH without a range adds to the end, as Docker and others send it, with a length or in
    chunked transfer coding."""
    data = secrets.token_bytes(700_000)
    location = front.begin(repository)
    for half in (data[:400_000], data[400_000:]):
        reply = front.patch(location, half, chunked=chunked)
        assert reply.status == 202
        location = path_of(reply.headers["location"])
    assert reply.headers["range"] == "0-699999"
    assert front.finish(location, sha256(data)).status == 201


@pytest.mark.parametrize("form", ("bytes={}-{}", "bytes {}-{}/*", "{}-{}/1000"))
def test_chunks_patch_range_as_some_clients_write_it(
    front: Front, repository: str, form: str
) -> None:
    """MAY: the forms that HTTP has for it are understood, too; and held to the same order."""
    location = front.begin(repository)
    assert front.patch(location, b"x" * 10, form.format(0, 9)).status == 202
    assert front.patch(location, b"x" * 10, form.format(0, 9)).status == 416
    assert front.patch(location, b"x" * 10, form.format(10, 19)).headers["range"] == "0-19"


def test_chunks_patch_of_an_unknown_session(front: Front, repository: str) -> None:
    """MUST: 404 BLOB_UPLOAD_UNKNOWN where there is no such session, or not in this repository."""
    location = front.begin(repository)
    for path in (
        f"/v2/{repository}/blobs/uploads/{secrets.token_hex(16)}",
        location.replace(repository, repository + "/other"),
    ):
        reply = front.patch(path, b"x" * 10, "0-9")
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")


# Closing PUT


def test_chunks_close_with_the_last_chunk(front: Front, repository: str) -> None:
    """MUST: the last chunk may come with the PUT; the digest is of the whole. 201, and a
    Location of the blob."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    reply = front.finish(location, sha256(data), data[600:], "600-999")
    assert reply.status == 201
    assert front.ask("GET", path_of(reply.headers["location"])).body == data


def test_chunks_close_with_the_last_chunk_without_a_range(front: Front, repository: str) -> None:
    """MAY: the same without Content-Range, as clients do it that send all in the PUT."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    assert front.finish(location, sha256(data), data[600:]).status == 201


@pytest.mark.parametrize("first", (0, 599, 601))
def test_chunks_close_out_of_order(front: Front, repository: str, first: int) -> None:
    """MUST: the closing chunk is held to the order, too: 416, and the session goes on."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    reply = front.finish(location, sha256(data), data[600:], f"{first}-{first + 399}")
    assert reply.status == 416
    at_offset(front, location, 600)
    assert front.finish(location, sha256(data), data[600:], "600-999").status == 201


def test_chunks_close_digest_is_of_the_whole(front: Front, repository: str) -> None:
    """MUST: the digest of the last chunk alone is not accepted."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    reply = front.finish(location, sha256(data[600:]), data[600:], "600-999")
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")
    assert front.blob(repository, sha256(data)).status == 404


def test_chunks_close_needs_a_digest(front: Front, repository: str) -> None:
    """MUST: without `digest` the session is not closed; it can be afterwards."""
    data = secrets.token_bytes(100)
    location = continued(front, front.begin(repository), data, 0, 100)
    for path in (location, with_digest(location, ""), with_digest(location, "sha256:1")):
        reply = front.ask("PUT", path, b"")
        assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")
    assert front.finish(location, sha256(data)).status == 201


def test_chunks_close_sha512(front: Front, repository: str) -> None:
    """MUST: the algorithm is known only at the end; both will do."""
    data = secrets.token_bytes(100_000)
    location = continued(front, front.begin(repository), data, 0, 50_000)
    location = continued(front, location, data, 50_000, 50_000)
    assert front.finish(location, sha512(data)).status == 201
    assert front.blob(repository, sha512(data)).body == data


@pytest.mark.parametrize("said", ("sha256", "sha512"))
def test_chunks_close_algorithm_was_said(front: Front, repository: str, said: str) -> None:
    """SHOULD (after 1.1.1): a client says the algorithm when it begins; what counts is the
    digest."""
    data = secrets.token_bytes(100_000)
    for digest in (sha256(data), sha512(data), sha512(b"other")):
        begin = front.ask("POST", f"/v2/{repository}/blobs/uploads/?digest-algorithm={said}", b"")
        assert begin.status == 202
        location = continued(front, path_of(begin.headers["location"]), data, 0, 50_000)
        location = continued(front, location, data, 50_000, 50_000)
        there = digest != sha512(b"other")
        assert front.finish(location, digest).status == (201 if there else 400)
        assert (front.blob(repository, digest).body == data) is there


@pytest.mark.parametrize("said", ("blake3", "SHA256", ""))
def test_chunks_close_algorithm_that_is_not_supported(
    front: Front, repository: str, said: str
) -> None:
    """SHOULD (after 1.1.1): 400 for an algorithm that no digest here can have, before any byte."""
    reply = front.ask("POST", f"/v2/{repository}/blobs/uploads/?digest-algorithm={said}", b"")
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")


def test_chunks_close_ends_the_session(front: Front, repository: str) -> None:
    """MUST: a closed session is unknown: for its status, more chunks, and a second closing."""
    data = secrets.token_bytes(100)
    location = continued(front, front.begin(repository), data, 0, 100)
    assert front.finish(location, sha256(data)).status == 201
    for reply in (
        front.ask("GET", location),
        front.patch(location, b"x", "100-100"),
        front.finish(location, sha256(data)),
        front.ask("DELETE", location),
    ):
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")


# Status, cancelling


def test_chunks_status_is_204(front: Front, repository: str) -> None:
    """MUST: GET of a session is 204, with the Location and the Range of what is there; as often as
    one likes."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    for _ in range(3):
        reply = front.ask("GET", location)
        assert (reply.status, reply.headers["range"]) == (204, "0-599")
        location = path_of(reply.headers["location"])
    continued(front, location, data, 600, 400)


def test_chunks_status_after_416(front: Front, repository: str) -> None:
    """MUST: after a 416 the status says where to go on, and there it goes on."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    assert front.patch(location, data[700:], "700-999").status == 416
    reply = front.ask("GET", location)
    assert reply.status == 204
    offset = int(reply.headers["range"].split("-")[1]) + 1
    continued(front, path_of(reply.headers["location"]), data, offset, 1000 - offset)
    assert front.finish(location, sha256(data)).status == 201


def test_chunks_status_of_an_empty_session(front: Front, repository: str) -> None:
    """MUST: a session without a byte has a status, and goes on at 0."""
    location = front.begin(repository)
    reply = front.ask("GET", location)
    assert reply.status == 204 and reply.headers["location"]
    assert reply.headers.get("range", "0-0") in ("0-0", "0--1")
    assert front.patch(location, b"x" * 10, "0-9").status == 202


def test_chunks_status_of_an_unknown_session(front: Front, repository: str) -> None:
    """MUST: 404 BLOB_UPLOAD_UNKNOWN."""
    front.begin(repository)
    reply = front.ask("GET", f"/v2/{repository}/blobs/uploads/{secrets.token_hex(16)}")
    assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_chunks_status_cancelled(front: Front, repository: str) -> None:
    """MAY: DELETE ends a session with 204, as registries have done since before the specification;
    nothing of it is left."""
    data = secrets.token_bytes(1000)
    location = continued(front, front.begin(repository), data, 0, 600)
    assert front.ask("DELETE", location).status == 204
    for reply in (front.ask("GET", location), front.patch(location, data[600:], "600-999")):
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert front.blob(repository, sha256(data[:600])).status == 404


def test_chunks_status_sessions_do_not_mix(front: Front, repository: str) -> None:
    """MUST: sessions side by side, for the same blob, too, have each their own bytes."""
    first, second = secrets.token_bytes(2000), secrets.token_bytes(2000)
    sessions = [(front.begin(repository), data) for data in (first, second, first)]
    for offset in (0, 1000):
        sessions = [(continued(front, at, data, offset, 1000), data) for at, data in sessions]
    for location, data in sessions:
        assert front.finish(location, sha256(data)).status == 201
    for data in (first, second):
        assert front.blob(repository, sha256(data)).body == data
