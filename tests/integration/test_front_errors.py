"""OCI distribution-spec 1.1.1, "API", "Error Codes" and "Warnings", rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Determining Support                            | test_support_*                |
| Endpoints                                      | test_endpoints_*              |
| Error Codes                                    | test_error_codes_*            |
| Warnings                                       | test_warnings_*               |

support/front.py looks at the form of every error and warning of every test besides.
test_front_sections.py holds the tests to the sections.
"""
from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import Any

import pytest

from support.curl import curl
from support.front import BYTES, CODES, OCI_MANIFEST, Front, check_answer, sha512
from support.pulled import sha256

NOWHERE = sha256(b"never pushed")
SESSION = "0" * 32

# ID, method, path behind the repository, and the statuses that the table of the specification has
# for a failure, where neither repository nor content is there.
FAILURES: tuple[tuple[str, str, str, set[int]], ...] = (
    ("end-2", "GET", f"/blobs/{NOWHERE}", {404}),
    ("end-2", "HEAD", f"/blobs/{NOWHERE}", {404}),
    ("end-3", "GET", "/manifests/1.0", {404}),
    ("end-3", "HEAD", f"/manifests/{NOWHERE}", {404}),
    ("end-4b", "POST", "/blobs/uploads/?digest=sha256:1", {404, 400}),
    ("end-5", "PATCH", f"/blobs/uploads/{SESSION}", {404, 416}),
    ("end-6", "PUT", f"/blobs/uploads/{SESSION}?digest={NOWHERE}", {404, 400}),
    ("end-8a", "GET", "/tags/list", {404}),
    ("end-8b", "GET", "/tags/list?n=1&last=a", {404}),
    ("end-9", "DELETE", "/manifests/1.0", {404, 400, 405}),
    ("end-9", "DELETE", f"/manifests/{NOWHERE}", {404, 400, 405}),
    ("end-10", "DELETE", f"/blobs/{NOWHERE}", {404, 400, 405}),
    ("end-12a", "GET", "/referrers/nothing", {404, 400}),
    ("end-12b", "GET", "/referrers/sha256:1?artifactType=a%2Fb", {404, 400}),
    ("end-13", "GET", f"/blobs/uploads/{SESSION}", {404}),
)


# Determining Support


def test_support_is_200(front: Front) -> None:
    """MUST: GET /v2/ is 200."""
    reply = front.ask("GET", "/v2/")
    assert reply.status == 200
    assert reply.headers.get("docker-distribution-api-version", "registry/2.0") == "registry/2.0"
    assert front.ask("HEAD", "/v2/").status == 200


def test_support_without_the_slash(front: Front) -> None:
    """SHOULD: /v2, which some clients ask for, is the same or leads there."""
    reply = front.ask("GET", "/v2")
    assert reply.status == 200 or reply.headers["location"].endswith("/v2/")


# Endpoints


@pytest.mark.parametrize("row", FAILURES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_endpoints_failure(
    front: Front, repository: str, row: tuple[str, str, str, set[int]]
) -> None:
    """MUST: each endpoint is there, and fails with a status of its row."""
    _, method, path, statuses = row
    reply = front.ask(method, f"/v2/{repository}{path}")
    assert reply.status in statuses, reply
    if method != "HEAD":
        assert reply.error["code"] in CODES, reply.body


@pytest.mark.parametrize(
    "method, path",
    (
        ("POST", f"/blobs/{NOWHERE}"),
        ("PUT", f"/blobs/{NOWHERE}"),
        ("PATCH", "/manifests/1.0"),
        ("POST", "/tags/list"),
        ("DELETE", f"/referrers/{NOWHERE}"),
        ("GET", "/blobs/uploads/"),
        ("POST", f"/blobs/uploads/{SESSION}"),
        ("BREW", "/manifests/1.0"),
    ),
)
def test_endpoints_other_methods(front: Front, repository: str, method: str, path: str) -> None:
    """SHOULD: a method that an endpoint does not have is 405 UNSUPPORTED, and Allow has those it
    has."""
    reply = front.ask(method, f"/v2/{repository}{path}")
    assert reply.status == 405
    assert reply.error["code"] == "UNSUPPORTED"
    assert method not in reply.headers["allow"] and reply.headers["allow"]


@pytest.mark.parametrize(
    "path", ("/v2/x", "/v2/_other", "/v2/{}", "/v2/{}/other/list", "/v2/{}/tags",
             "/v2/{}/tags/other", "/v2/{}/blobs", "/v2/{}/manifests", "/v2//", "/v2/blobs/uploads/",
             "/v3/", "/v2x/"),
)  # fmt: skip
def test_endpoints_that_are_none(front: Front, repository: str, path: str) -> None:
    """MUST: what is no endpoint is a 4xx in the form of errors, and never a redirect."""
    reply = front.ask("GET", path.format(repository))
    assert reply.status in (400, 404, 405), reply


def test_endpoints_names_that_look_like_them(front: Front, repository: str) -> None:
    """MUST: a repository may have any name of the grammar, also one with an endpoint's words in
    it."""
    for name in ("blobs", "manifests", "tags/list", "blobs/uploads", "referrers", "v2", "uploads"):
        looks = f"{repository}/{name}"
        digest = front.tagged(looks, "1.0")
        assert sha256(front.manifest(looks, "1.0").body) == digest
        assert front.tags(looks) == ["1.0"]


def test_endpoints_get_with_a_body(front: Front, repository: str) -> None:
    """SHOULD: a body where none is expected does no harm."""
    front.tagged(repository, "1.0")
    path = f"/v2/{repository}/manifests/sha256:totallywrong"
    reply = front.ask("GET", path, b"blablabla", {"Content-Type": OCI_MANIFEST})
    assert reply.status in (400, 404) and reply.error["code"] in CODES
    assert front.ask("GET", f"/v2/{repository}/tags/list", b"x" * 10_000).status == 200
    assert front.manifest(repository, "1.0").status == 200


# Error Codes


def provoke(front: Front, repository: str) -> dict[str, Any]:
    """An answer for each code that a registry without users can give."""
    front.tagged(repository, "1.0")
    at = f"/v2/{repository}"
    head = {"Content-Type": BYTES}
    begun = front.begin(repository)
    image = front.image(repository + "/other")
    return {
        "BLOB_UNKNOWN": front.blob(repository, NOWHERE),
        "BLOB_UPLOAD_INVALID": front.patch(begun, b"x", "5-5"),
        "BLOB_UPLOAD_UNKNOWN": front.ask("GET", f"{at}/blobs/uploads/{SESSION}"),
        "DIGEST_INVALID": front.finish(begun, NOWHERE, b"x"),
        "MANIFEST_BLOB_UNKNOWN": front.put(repository, "2.0", image),
        "MANIFEST_INVALID": front.put(repository, "2.0", b"{"),
        "MANIFEST_UNKNOWN": front.manifest(repository, "2.0"),
        "NAME_INVALID": front.ask("GET", "/v2/UPPER/tags/list"),
        "NAME_UNKNOWN": front.ask("GET", f"{at}/none/tags/list"),
        "UNSUPPORTED": front.ask("PUT", f"{at}/blobs/{NOWHERE}", b"x", head),
    }


def test_error_codes_each(front: Front, repository: str) -> None:
    """MUST: the code is the one that the table has for the case."""
    for code, reply in provoke(front, repository).items():
        assert reply.error["code"] == code, (code, reply)


def test_error_codes_form(front: Front, repository: str) -> None:
    """MUST: the JSON of an error has the form of the section; a code is of capitals and
    underscores; a message, if there is one, is a line for people."""
    for reply in provoke(front, repository).values():
        value = reply.json()
        assert set(value) == {"errors"}
        for error in value["errors"]:
            assert re.fullmatch(r"[A-Z_]+", error["code"]) and error["code"] in CODES
            assert isinstance(error["message"], str) and error["message"].isprintable()
            detail = error.get("detail")
            party = detail.get("party", "client") if isinstance(detail, dict) else "client"
            assert party == "client", "what is asked for in vain is nobody else's fault"
        assert reply.headers["content-type"].startswith("application/json")


def test_error_codes_of_a_size(front: Front, repository: str) -> None:
    """MUST: a length that does not match its content is SIZE_INVALID, or the upload is invalid."""
    reply = front.patch(front.begin(repository), b"x" * 10, "0-4")
    assert reply.status in (400, 416)
    assert reply.error["code"] in ("SIZE_INVALID", "BLOB_UPLOAD_INVALID")


def test_error_codes_message_quotes_safely(front: Front, repository: str) -> None:
    """SHOULD: what the client sent comes back in a message only as text."""
    front.tagged(repository, "1.0")
    for part in ("%0d%0aSet-Cookie:%20a=b", "%22%7D", "%1b%5b31m", "%ff%fe", "%3Cscript%3E"):
        for path in ("/manifests/{}", "/referrers/{}", "/blobs/{}", "{}/tags/list"):
            reply = front.ask("GET", f"/v2/{repository}{path.format(part)}")
            assert 400 <= reply.status < 500
            assert "set-cookie" not in reply.headers
            assert reply.error["message"].isprintable(), reply.body


def test_error_codes_as_curl_sees_them(front_port: int, repository: str, tmp_path: Path) -> None:
    """MUST: the same for a client that nobody here wrote."""
    url = f"http://127.0.0.1:{front_port}/v2/{repository}/manifests/1.0"
    reply = curl(url, tmp_path)
    check_answer("GET", reply)
    assert reply.status == 404
    assert curl(url, tmp_path, method="HEAD").status == 404


def test_error_codes_leave_the_connection(front: Front, repository: str) -> None:
    """SHOULD: an error is not the end of a connection whose request was read."""
    provoke(front, repository)
    for _ in range(20):
        assert front.blob(repository, NOWHERE).status == 404
        assert front.blob(repository, sha512(b"never pushed")).status == 404
    assert front.connections == 1


# Warnings


def test_warnings_have_their_form(front: Front, repository: str) -> None:
    """MUST: a Warning, if there is one, has code 299, agent "-", no date, and is short; each
    answer of all these tests is held to it."""
    digest = front.push_blob(repository, secrets.token_bytes(10))
    for method, path in (
        ("GET", "/v2/"),
        ("GET", f"/v2/{repository}/blobs/{digest}"),
        ("GET", f"/v2/{repository}/tags/list"),
        ("DELETE", f"/v2/{repository}/blobs/{digest}"),
    ):
        check_answer(method, front.ask(method, path))
