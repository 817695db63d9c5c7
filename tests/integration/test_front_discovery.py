"""OCI distribution-spec 1.1.1, "Content Discovery", rule by rule.

| section                                        | tests                         |
|------------------------------------------------|-------------------------------|
| Listing Tags                                   | test_listing_tags_*           |
| Listing Referrers                              | test_listing_referrers_*      |
| Enabling the Referrers API                     | test_enabling_referrers_*     |
| the catalog (not in the specification)         | test_catalog_*                |

test_front_sections.py holds the tests to the sections.
"""
from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from support.front import (
    EMPTY_JSON,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_MANIFEST,
    Front,
    descriptor,
    index_of,
    sha512,
    to_json,
)
from support.pulled import sha256

NOWHERE = sha256(b"never pushed")
TAGS = [f"v{number}" for number in range(1, 8)]
SBOM = "application/vnd.example.sbom.v1+json"
SIGNATURE = "application/vnd.example.signature.v1"
MANIFEST_LIMIT = 4 << 20
MANY = 1001
CLIENTS = 8


# Listing Tags


@pytest.fixture
def tagged(front: Front, repository: str) -> str:
    """A repository with TAGS."""
    front.tagged(repository, *reversed(TAGS))
    return repository


def test_listing_tags_is_200_with_all(front: Front, tagged: str) -> None:
    """MUST: 200, and a JSON object with the repository's name and its tags."""
    reply = front.ask("GET", f"/v2/{tagged}/tags/list")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.json() == {"name": tagged, "tags": TAGS}
    assert "link" not in reply.headers


def test_listing_tags_is_in_lexical_order(front: Front, repository: str) -> None:
    """MUST: the tags are in lexical order, however they came."""
    tags = ["1.0", "1.10", "1.2", "_x", "a", "a-b", "a.b", "b", "latest", "v1"]
    front.tagged(repository, *reversed(tags))
    assert sorted(front.tags(repository)) == sorted(tags)
    assert [tag for tag in front.tags(repository) if tag[0].isalnum()] == [
        tag for tag in tags if tag[0].isalnum()
    ]


def test_listing_tags_order_without_case(front: Front, repository: str) -> None:
    """MUST: which means alphanumeric, and case does not matter; pages keep to it, too."""
    front.tagged(repository, "b", "C", "A", "d", "B2", "a1")
    assert front.tags(repository) == ["A", "a1", "b", "B2", "C", "d"]
    pages = list(front.pages(f"/v2/{repository}/tags/list?n=2"))
    assert [page["tags"] for page in pages] == [["A", "a1"], ["b", "B2"], ["C", "d"]]
    assert front.tags(repository, "?last=B2") == ["C", "d"]


def test_listing_tags_of_none(front: Front, repository: str) -> None:
    """MAY: a repository that is there without a tag has an empty list."""
    front.push_blob(repository, secrets.token_bytes(10))
    reply = front.ask("GET", f"/v2/{repository}/tags/list")
    assert reply.status == 200 and reply.json() == {"name": repository, "tags": []}


def test_listing_tags_of_an_unknown_repository(front: Front, repository: str) -> None:
    """MUST: 404 NAME_UNKNOWN where there is no such repository."""
    reply = front.ask("GET", f"/v2/{repository}/tags/list")
    assert (reply.status, reply.error["code"]) == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("count", (1, 3, len(TAGS) - 1, len(TAGS), len(TAGS) + 1, 10_000))
def test_listing_tags_n(front: Front, tagged: str, count: int) -> None:
    """MUST: with `n` there are that many, from the beginning and in order; fewer only if there
    are no more, or a Link leads to them."""
    reply = front.ask("GET", f"/v2/{tagged}/tags/list?n={count}")
    assert reply.status == 200
    assert reply.json()["tags"] == TAGS[:count]
    assert ("link" in reply.headers) == (count < len(TAGS))


def test_listing_tags_n_is_zero(front: Front, tagged: str) -> None:
    """MUST and MUST NOT: no tags, and no Link, for n=0."""
    reply = front.ask("GET", f"/v2/{tagged}/tags/list?n=0")
    assert (reply.status, reply.json()["tags"]) == (200, [])
    assert "link" not in reply.headers


@pytest.mark.parametrize("value", ("-1", "x", "1x", "", "0x10", "99999999999999999999999"))
def test_listing_tags_n_that_is_none(front: Front, tagged: str, value: str) -> None:
    """MUST: an `n` that is no number is the client's mistake, and is not a list cut at will."""
    reply = front.ask("GET", f"/v2/{tagged}/tags/list?n={value}")
    assert reply.status == 400 or reply.json()["tags"] == TAGS


@pytest.mark.parametrize("count", (1, 2, 3, 6, 7))
def test_listing_tags_link(front: Front, tagged: str, count: int) -> None:
    """MUST: a Link has rel="next" and leads on, page by page, to the end: each tag once."""
    pages = list(front.pages(f"/v2/{tagged}/tags/list?n={count}"))
    assert [tag for page in pages for tag in page["tags"]] == TAGS
    assert all(page["name"] == tagged for page in pages)
    assert len(pages) == -(-len(TAGS) // count)


@pytest.mark.parametrize("last, count", (("v3", 2), ("v3", 100), ("v6", 1), ("v7", 5), ("v1", 1)))
def test_listing_tags_last(front: Front, tagged: str, last: str, count: int) -> None:
    """MUST: `last` begins behind that tag, which is not in the list itself; still in order."""
    after = TAGS[TAGS.index(last) + 1 :]
    assert front.tags(tagged, f"?n={count}&last={last}") == after[:count]


def test_listing_tags_last_alone(front: Front, tagged: str) -> None:
    """MAY: `last` without `n` gives all that are behind it."""
    assert front.tags(tagged, "?last=v5") == ["v6", "v7"]


@pytest.mark.parametrize("last, first", (("v0", "v1"), ("v3a", "v4"), ("a", "v1"), ("v30", "v4")))
def test_listing_tags_last_that_is_not_there(
    front: Front, tagged: str, last: str, first: str
) -> None:
    """MUST: `last` is the value of a tag and no position: the list begins where it would stand,
    also when it was deleted meanwhile."""
    assert front.tags(tagged, f"?n=1&last={last}") == [first]
    assert front.tags(tagged, "?last=z") == []


def test_listing_tags_of_a_longer_name(front: Front, tagged: str) -> None:
    """MUST: tags are of this repository, and not of one whose name begins like it."""
    front.tagged(tagged + "/v0", "other")
    front.tagged(tagged + "x", "another")
    assert front.tags(tagged) == TAGS


# Listing Referrers


def refer(front: Front, repository: str, subject: bytes | str, **more: object) -> str:
    data = front.artifact(repository, subject, **more)
    front.must_put(repository, sha256(data), data)
    return sha256(data)


@pytest.fixture
def subject(front: Front, repository: str) -> bytes:
    """An image that is there to be referred to."""
    data = front.image(repository)
    front.must_put(repository, "1.0", data)
    return data


def test_listing_referrers_is_an_index(front: Front, repository: str, subject: bytes) -> None:
    """MUST: 200, an image index in JSON, under the media type of one."""
    refer(front, repository, subject)
    reply = front.ask("GET", f"/v2/{repository}/referrers/{sha256(subject)}")
    assert reply.status == 200
    assert reply.headers["content-type"] == OCI_INDEX
    value = reply.json()
    assert (value["schemaVersion"], value["mediaType"]) == (2, OCI_INDEX)
    assert len(value["manifests"]) == 1


@pytest.mark.parametrize("name", ("", "/never/used"))
@pytest.mark.parametrize("digest", (NOWHERE, sha512(b"never pushed"), "image"))
def test_listing_referrers_of_none(
    front: Front, repository: str, subject: bytes, name: str, digest: str
) -> None:
    """MUST, and MUST NOT be 404: an empty list for what nobody refers to, and for what is not
    there; whatever the repository."""
    digest = sha256(subject) if digest == "image" else digest
    reply = front.ask("GET", f"/v2/{repository}{name}/referrers/{digest}")
    assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX)
    assert reply.json()["manifests"] == []


@pytest.mark.parametrize("digest", ("sha256:1", "latest", "md5:" + "0" * 32, "sha256:" + "X" * 64))
def test_listing_referrers_of_an_invalid_digest(front: Front, repository: str, digest: str) -> None:
    """MUST: 400 where the digest is none."""
    reply = front.ask("GET", f"/v2/{repository}/referrers/{digest}")
    assert (reply.status, reply.error["code"]) == (400, "DIGEST_INVALID")


def test_listing_referrers_names_each(front: Front, repository: str, subject: bytes) -> None:
    """MUST: a descriptor for each manifest and index that has it as its subject, whether it was put
    under a digest or a tag, before the subject or after; and for no other."""
    expected = {refer(front, repository, subject, artifactType=SBOM, annotations={"n": str(number)})
                for number in range(3)}  # fmt: skip
    index = to_json(index_of(subject=descriptor(OCI_MANIFEST, subject)))
    front.must_put(repository, "index", index, OCI_INDEX)
    front.tagged(repository, "2.0")
    refer(front, repository, NOWHERE)
    refer(front, repository + "/other", subject)
    listed = front.referrers(repository, sha256(subject))
    assert {entry["digest"] for entry in listed} == expected | {sha256(index)}
    assert len(listed) == 4
    for entry in listed:
        data = front.manifest(repository, entry["digest"]).body
        assert (entry["size"], sha256(data)) == (len(data), entry["digest"])
        assert entry["mediaType"] == (OCI_INDEX if data == index else OCI_MANIFEST)


def test_listing_referrers_once_each(front: Front, repository: str, subject: bytes) -> None:
    """MUST: a referrer that is pushed again, under other tags, too, is listed once."""
    data = front.artifact(repository, subject)
    for reference in (sha256(data), "signature", "again", sha256(data)):
        front.must_put(repository, reference, data)
    assert len(front.referrers(repository, sha256(subject))) == 1


def test_listing_referrers_artifact_type(front: Front, repository: str, subject: bytes) -> None:
    """MUST: artifactType is that of the manifest, where it has one."""
    refer(front, repository, subject, artifactType=SBOM)
    (listed,) = front.referrers(repository, sha256(subject))
    assert listed["artifactType"] == SBOM


@pytest.mark.parametrize("empty", (False, True))
def test_listing_referrers_type_of_the_config(
    front: Front, repository: str, subject: bytes, empty: bool
) -> None:
    """MUST: where a manifest's artifactType is empty or missing, it is the media type of the
    config."""
    more = {"artifactType": ""} if empty else {}
    refer(front, repository, subject, config=descriptor(SIGNATURE, EMPTY_JSON), **more)
    (listed,) = front.referrers(repository, sha256(subject))
    assert listed["artifactType"] == SIGNATURE


@pytest.mark.parametrize("more", ({}, {"artifactType": ""}, {"artifactType": SBOM}))
def test_listing_referrers_type_of_an_index(
    front: Front, repository: str, subject: bytes, more: dict[str, str]
) -> None:
    """MUST: an index has its own artifactType, and if it has none, the field is left out."""
    index = to_json(index_of(subject=descriptor(OCI_MANIFEST, subject), **more))
    front.must_put(repository, sha256(index), index, OCI_INDEX)
    (listed,) = front.referrers(repository, sha256(subject))
    assert listed.get("artifactType", "left out") == (more.get("artifactType") or "left out")


def test_listing_referrers_annotations(front: Front, repository: str, subject: bytes) -> None:
    """MUST: the annotations of manifest or index are in the descriptor, as they are."""
    annotations = {"org.example.key": "value \u00e4\u20ac \"quoted\"", "empty": ""}
    refer(front, repository, subject, annotations=annotations)
    index = index_of(subject=descriptor(OCI_MANIFEST, subject), annotations=annotations)
    front.must_put(repository, "index", to_json(index), OCI_INDEX)
    listed = front.referrers(repository, sha256(subject))
    assert [entry["annotations"] for entry in listed] == [annotations, annotations]


def test_listing_referrers_filter(front: Front, repository: str, subject: bytes) -> None:
    """SHOULD, then MUST: `artifactType` leaves the others out, and the header says that it did."""
    sboms = {refer(front, repository, subject, artifactType=SBOM, annotations={"n": str(number)})
             for number in range(2)}  # fmt: skip
    signature = refer(front, repository, subject, config=descriptor(SIGNATURE, EMPTY_JSON))
    path = f"/v2/{repository}/referrers/{sha256(subject)}"
    for asked, expected in ((SBOM, sboms), (SIGNATURE, {signature}), (OCI_EMPTY, set())):
        reply = front.ask("GET", f"{path}?artifactType={quote(asked, safe='')}")
        assert reply.headers["oci-filters-applied"] == "artifactType"
        assert reply.headers["content-type"] == OCI_INDEX
        assert {entry["digest"] for entry in reply.json()["manifests"]} == expected
    # Media types have a plus, and some clients leave it as it is.
    assert len(front.referrers(repository, sha256(subject), f"?artifactType={SBOM}")) == 2


def test_listing_referrers_without_a_filter(front: Front, repository: str, subject: bytes) -> None:
    """MUST: where no filter was asked for, none is reported."""
    refer(front, repository, subject)
    reply = front.ask("GET", f"/v2/{repository}/referrers/{sha256(subject)}")
    assert "oci-filters-applied" not in reply.headers


def test_listing_referrers_that_do_not_fit(
    front: Front, repository: str, subject: bytes
) -> None:
    """MUST: what does not fit one manifest goes on behind a Link with rel="next"; no page is larger
    than a manifest may be, and none is lost, however many they are."""
    large = "x" * (MANIFEST_LIMIT // MANY)
    artifacts = [
        front.artifact_of(subject, annotations={"n": str(number), "large": large})
        for number in range(MANY)
    ]
    front.push_blob(repository, EMPTY_JSON)

    def put(some: list[bytes]) -> None:
        with Front(front.port) as client:
            for data in some:
                client.must_put(repository, sha256(data), data)

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(put, [artifacts[first::CLIENTS] for first in range(CLIENTS)]))
    listed, pages = [], 0
    for page in front.pages(f"/v2/{repository}/referrers/{sha256(subject)}"):
        assert len(to_json(page)) <= MANIFEST_LIMIT
        listed += [entry["digest"] for entry in page["manifests"]]
        pages += 1
    assert pages > 1 and len(listed) == MANY
    assert set(listed) == {sha256(data) for data in artifacts}


def test_listing_referrers_after_deletion(front: Front, repository: str, subject: bytes) -> None:
    """MUST: a referrer that was deleted is not listed; one whose subject was deleted is."""
    gone = refer(front, repository, subject, annotations={"n": "1"})
    kept = refer(front, repository, subject, annotations={"n": "2"})
    assert front.ask("DELETE", f"/v2/{repository}/manifests/{gone}").status == 202
    assert front.ask("DELETE", f"/v2/{repository}/manifests/{sha256(subject)}").status == 202
    assert [entry["digest"] for entry in front.referrers(repository, sha256(subject))] == [kept]


# Enabling the Referrers API


def test_enabling_referrers_lists_what_is_new(front: Front, repository: str) -> None:
    """MUST: every manifest with a subject that is pushed is in the list as soon as it is
    acknowledged; there was no time before the list, so no older ones are to be taken over."""
    for number in range(5):
        refer(front, repository, NOWHERE, annotations={"n": str(number)})
        assert len(front.referrers(repository, NOWHERE)) == number + 1


# The catalog


def catalog(front: Front, query: str = "") -> list[str]:
    found = []
    for page in front.pages(f"/v2/_catalog{query}"):
        found += page["repositories"]
    return found


def test_catalog_lists_repositories(front: Front, repository: str) -> None:
    """MAY: as the forerunner of the specification has it: all repositories, in order."""
    names = [f"{repository}/{part}" for part in ("a", "a/b", "b")]
    for name in reversed(names):
        front.tagged(name, "1")
    listed = catalog(front)
    assert [name for name in listed if name.startswith(repository)] == names
    assert listed == sorted(listed)


@pytest.mark.parametrize("count", (1, 2, 5))
def test_catalog_page_by_page(front: Front, repository: str, count: int) -> None:
    """MAY: `n`, `last` and Link as for tags."""
    names = [f"{repository}/{number}" for number in range(5)]
    for name in names:
        front.tagged(name, "1")
    reply = front.ask("GET", f"/v2/_catalog?n={count}&last={quote(repository, safe='')}/0")
    assert reply.json()["repositories"] == names[1 : count + 1] or count == 5
    everything = catalog(front, "?n=1000")
    assert catalog(front, f"?n={count}") == everything
    assert len(set(everything)) == len(everything)
