"""Names, digests, tags and session ids that try to be paths, or anything else than what they are.

For each request: an error of the specification's form, nothing written anywhere, and a connection
that can be used for the next. What is looked at is every file of the gateway's folder and of those
around it, before and after.
"""
from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from support.front import CODES, OCI_MANIFEST, Front, to_json
from support.gateway import Gateway
from support.pulled import sha256
from support.raw_http import RawConnection
from support.waiting import wait_until

PATH_LIMIT = 20_000
# Who is not answered waits for two minutes.
HELLO_SECONDS = 10.0
LOGS = ("slipway.stderr", "slipway.stdout")
# They are LMDB's; what is in them is no file.
METADATA = "meta"

NAMES = (
    "..", "../..", "../../etc", "..%2f..", "%2e%2e", "%2e%2e/%2e%2e", ".%2e", "%252e%252e", ".",
    "./a",
    "a/..", "a/../b", "a/./b", "a/.", "a/...", "a/.b", ".git", "a.", "a/b.",
    "a%2Fb", "a%2fb", "a%252Fb", "%2Fetc%2Fpasswd", "a%5Cb", "a\\b", "a%5c..%5cb",
    "/etc", "//etc", "a//b", "a/", "//", "a///b",
    "A", "a/B", "aB", "%41", "%61",
    "a%00", "a%00b", "%00", "a%00/b", "a%0a", "a%0d%0ab", "a%09", "a%20b", "a%7f",
    "a+b", "a%2Bb", "a@b", "a:b", "a%3Ab", "a*b", "**", "a?b", "a%3Fb", "a%23b", "a~b",
    "a$b", "a'b",
    "%C3%A4", "%E2%80%AE", "%C0%AE%C0%AE", "%ED%A0%80", "%FF", "\u00e4", "\u212a",
    "%", "%2", "%zz", "a%", "a%g0", "%%2e",
    "a_-b", "a___b", "-a", "_a", "a-", "a_", "a/-b", "a..b", "a.-b",
    "x" * 256, "a/" * 128 + "a", "x" * 5_000,
)  # fmt: skip

DIGESTS = (
    "sha256:../../../../../../etc/passwd", "sha256:..%2f..%2f..%2fetc%2fpasswd", "..", "%2e%2e",
    "sha256:", "sha256%3A", ":", ":abc", "sha256:" + "0" * 63, "sha256:" + "0" * 65,
    "sha256:" + "A" * 64, "sha256:" + "g" * 64, "SHA256:" + "0" * 64, "md5:" + "0" * 32,
    "sha512:" + "0" * 64, "sha256:" + "0" * 62 + "%00", "sha256:" + "0" * 64 + "%00",
    "sha256:" + "0" * 63 + "%2f", "sha256:" + "0" * 64 + "%0a", "a+b:" + "0" * 64,
    "sha256:" + "0" * 10_000, "\u00e4", "%FF",
)  # fmt: skip

TAGS = (
    "..", ".", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a%2Fb", "%2Fetc", "a%00", "a%0a", "a%20b",
    "a+b", "-a", "~a", "%C3%A4", "\u00e4", "z" * 129, "z" * 10_000, "%", "a%zz", "*",
)  # fmt: skip

IDS = (
    "..", ".", "%2e%2e", "..%2f..%2f..%2fetc%2fpasswd", "%2Fetc%2Fpasswd", "a%2Fb", "a%00", "%00",
    "a%0a", "lock", "..%5c", "0" * 31, "0" * 33, "0" * 32 + "%00", "0" * 32 + "%2f..", "A" * 32,
    "a" * 128, "a" * 129, "a" * 10_000, "\u00e4", "%FF", "%", "..;", "~", "*",
)  # fmt: skip


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file with its size and time of change, and each folder; logs grow, LMDB's files
    change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.name in LOGS or METADATA in relative.parts:
            continue
        status = path.lstat()
        is_file = not path.is_dir()
        found[str(relative)] = (status.st_size, status.st_mtime_ns) if is_file else (0, 0)
    return found


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with folders in it, so that there is room for what climbs out."""
    return tmp_path_factory.mktemp("around")


@pytest.fixture(scope="module")
def deep_gateway(around: Path) -> Iterator[Gateway]:
    with Gateway(around / "a" / "b" / "c" / "gateway") as running:
        with Front(running.port) as client:
            client.tagged("spec/there", "1.0")
        # A thread may still be tidying up behind the answer.
        wait_until(lambda: not running.staged(), "nothing is being written")
        yield running


@pytest.fixture
def careful(deep_gateway: Gateway, around: Path) -> Iterator[Front]:
    """A client behind whose requests no file may have changed, and whose connection held."""
    before = tree(around)
    with Front(deep_gateway.port) as client:
        yield client
        assert client.ask("GET", "/v2/").status == 200
    assert tree(around) == before
    assert deep_gateway.process.running()


def refused(front: Front, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
    """Status and code of an answer that must be an error; nothing of this machine is in it."""
    reply = front.ask(method, path, body)
    assert 400 <= reply.status < 500, (method, path[:200], reply)
    assert b"root:" not in reply.body and str(Path.home()).encode() + b"/" not in reply.body
    return reply.status, ("" if method == "HEAD" else reply.error["code"])


# Names

# "?" begins a query and "/../" may be read as an endpoint's path by who takes it so: these mean
# something else than a name, and may be answered as that.
MEANS_ANOTHER = ("a?b",)


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[1:40])
def test_names(careful: Front, name: str) -> None:
    """400 NAME_INVALID, for each endpoint that has a name."""
    digest = sha256(b"x")
    for method, path in (
        ("GET", f"/v2/{name}/tags/list"),
        ("GET", f"/v2/{name}/manifests/1.0"),
        ("HEAD", f"/v2/{name}/manifests/1.0"),
        ("GET", f"/v2/{name}/blobs/{digest}"),
        ("POST", f"/v2/{name}/blobs/uploads/"),
        ("POST", f"/v2/{name}/blobs/uploads/?digest={digest}"),
        ("PUT", f"/v2/{name}/manifests/1.0"),
        ("PATCH", f"/v2/{name}/blobs/uploads/{'0' * 32}"),
        ("DELETE", f"/v2/{name}/manifests/1.0"),
        ("GET", f"/v2/{name}/referrers/{digest}"),
    ):
        status, code = refused(careful, method, path, b"x" if method in ("PUT", "PATCH") else None)
        if name not in MEANS_ANOTHER:
            assert (status, code) in ((400, "NAME_INVALID"), (400, "")), (method, path[:200])


@pytest.mark.parametrize("prefix", ("spec/", "spec/there/", "a/b/c/d/"))
def test_names_behind_a_good_one(careful: Front, prefix: str) -> None:
    """The same where the first component is as it should be."""
    for name in NAMES:
        if name in MEANS_ANOTHER or prefix.endswith("d/") and len(name) > 255:
            continue
        path = f"/v2/{prefix}{name}/blobs/uploads/"
        assert refused(careful, "POST", path) == (400, "NAME_INVALID"), name[:100]


def test_names_in_from(careful: Front, deep_gateway: Gateway) -> None:
    """The source of a mount is a name, too: it can be refused, or not be found; it is never a
    path."""
    blob = sha256(b"never pushed")
    for name in NAMES:
        path = f"/v2/spec/there/blobs/uploads/?mount={blob}&from={quote(name, safe='%')}"
        reply = careful.ask("POST", path)
        assert reply.status in (202, 400), (name, reply)
        if reply.status == 202:
            location = reply.headers["location"]
            assert careful.ask("DELETE", location[location.index("/v2/") :]).status == 204
    wait_until(lambda: not list((deep_gateway.data / "uploads").glob("*")), "the sessions are gone")


def test_names_and_the_longest_path(careful: Front) -> None:
    """A path that is longer than any name is refused as one, or by its length."""
    with Front(careful.port) as client:
        client.ask("GET", "/v2/")
        reply = client.ask("GET", "/v2/" + "a/" * (PATH_LIMIT // 2) + "tags/list")
        assert reply.status in (400, 404, 414), reply.status


@pytest.mark.parametrize(
    "path",
    (
        "/v2/../v2/spec/there/tags/list",
        "/v2/spec/../spec/there/tags/list",
        "/../../../../etc/passwd",
        "/v2/../../../../etc/passwd",
        "/v2/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/v2/%2e%2e/%2e%2e/etc/passwd",
        "/v2/spec/there/blobs/../manifests/1.0",
        "/v2/spec/there/manifests/../../../etc/passwd",
        "//v2/spec/there/tags/list",
        "/v2//spec/there/tags/list",
        "/v2/spec/there/tags/list/",
        "/v2/spec/there/manifests/",
        "/v2/spec/there/manifests/1.0/",
        "/v2/spec/there/blobs/",
        "/v2/spec%2Fthere/tags/list",
        "/v2/spec/there%2Ftags/list",
        "/v2/spec/there/tags%2Flist",
        "/%76%32/spec/there/tags/list",
    ),
)
def test_names_paths_are_taken_as_they_are(careful: Front, path: str) -> None:
    """No path is made into another before it is looked at: what is not an endpoint is none."""
    status, _ = refused(careful, "GET", path)
    assert status in (400, 404)


def test_names_nul_and_other_bytes_in_the_request_line(
    deep_gateway: Gateway, around: Path
) -> None:
    """Bytes that HTTP does not allow: refused or the connection ended, and the next one works."""
    before = tree(around)
    for name in (b"a\x00b", b"a\x01b", b"a\tb", b"\xff\xfe", b"a\x7f", b"a\rb"):
        with RawConnection(deep_gateway.port, 5) as connection:
            line = b"GET /v2/" + name + b"/tags/list HTTP/1.1\r\n"
            connection.send(line + b"Host: localhost\r\n\r\n")
            first = connection.read(12)
            assert first == b"" or first.startswith(b"HTTP/1.1 4"), (name, first)
    with Front(deep_gateway.port) as front:
        assert front.tags("spec/there") == ["1.0"]
    assert tree(around) == before


# Digests, tags, ids


@pytest.mark.parametrize("digest", DIGESTS, ids=lambda digest: ascii(digest)[1:40])
def test_digests(careful: Front, digest: str) -> None:
    """DIGEST_INVALID, or what else the path then means; in each place where a digest stands."""
    for method, path in (
        ("GET", f"/v2/spec/there/blobs/{digest}"),
        ("HEAD", f"/v2/spec/there/blobs/{digest}"),
        ("DELETE", f"/v2/spec/there/blobs/{digest}"),
        ("GET", f"/v2/spec/there/referrers/{digest}"),
        ("GET", f"/v2/spec/there/manifests/{digest}"),
        ("DELETE", f"/v2/spec/there/manifests/{digest}"),
        ("PUT", f"/v2/spec/there/manifests/{digest}"),
        ("POST", f"/v2/spec/there/blobs/uploads/?digest={digest}"),
    ):
        status, code = refused(careful, method, path, b"{}" if method == "PUT" else None)
        assert status in (400, 404), (method, path[:200])
        assert code in CODES or code == "", (method, code)


def test_digests_in_a_mount(careful: Front, deep_gateway: Gateway) -> None:
    """The digest of a mount: refused, or a session as for anything that cannot be mounted."""
    for digest in DIGESTS:
        path = f"/v2/spec/there/blobs/uploads/?mount={quote(digest, safe='%')}&from=spec/there"
        reply = careful.ask("POST", path)
        assert reply.status in (202, 400), (digest, reply)
        if reply.status == 202:
            location = reply.headers["location"]
            assert careful.ask("DELETE", location[location.index("/v2/") :]).status == 204
    wait_until(lambda: not list((deep_gateway.data / "uploads").glob("*")), "the sessions are gone")


@pytest.mark.parametrize("tag", TAGS, ids=lambda tag: ascii(tag)[1:40])
def test_tags(careful: Front, tag: str) -> None:
    """No tag: nothing is found under it, and nothing can be put."""
    path = f"/v2/spec/there/manifests/{tag}"
    for method in ("GET", "HEAD", "DELETE"):
        assert refused(careful, method, path)[0] in (400, 404)
    manifest = to_json({"schemaVersion": 2, "mediaType": OCI_MANIFEST})
    reply = careful.ask("PUT", path, manifest, {"Content-Type": OCI_MANIFEST})
    assert reply.status in (400, 404), reply


@pytest.mark.parametrize("session", IDS, ids=lambda session: ascii(session)[1:40])
def test_upload_ids(careful: Front, session: str) -> None:
    """404 BLOB_UPLOAD_UNKNOWN, whatever the id; what is not even one segment may be no endpoint."""
    path = f"/v2/spec/there/blobs/uploads/{session}"
    for method, query, body in (
        ("GET", "", None),
        ("PATCH", "", b"x" * 100),
        ("PUT", f"?digest={sha256(b'x' * 100)}", b"x" * 100),
        ("DELETE", "", None),
    ):
        status, code = refused(careful, method, path + query, body)
        assert status in (400, 404), (method, session)
        assert code in CODES, (method, code)


def test_upload_ids_of_files_that_are_there(deep_gateway: Gateway, around: Path) -> None:
    """A session's id leads to that session, and no detour to its file or to another file does."""
    with Front(deep_gateway.port) as front:
        location = front.begin("spec/there")
        session = location.split("?")[0].rsplit("/", 1)[1]
        assert front.patch(location, b"x" * 1000, "0-999").status == 202
        before = tree(around)
        for detour in (
            f"../uploads/{session}",
            f"..%2fuploads%2f{session}",
            f".%2f{session}",
            f"{session}%2f.",
            f"{session}%00",
            session.upper() if session.upper() != session else session + "0",
            "%2e%2e%2flock",
            "..%2fmeta%2fdata.mdb",
        ):
            path = f"/v2/spec/there/blobs/uploads/{detour}"
            assert refused(front, "PATCH", path, b"y" * 100)[0] in (400, 404), detour
            assert refused(front, "DELETE", path)[0] in (400, 404), detour
        assert tree(around) == before
        assert front.ask("GET", location).headers["range"] == "0-999"
        assert front.ask("DELETE", location).status == 204


# Queries


@pytest.mark.parametrize(
    "query", ("n=%00", "n=1&n=2", "last=%2e%2e%2f", "last=" + "x" * 10_000, "n=%zz", "=", "&&&",
              "%", "last=%FF%FE", "n=1&last=%0d%0aX:%20y", "&".join("a=b" for _ in range(300))),
)  # fmt: skip
def test_queries(careful: Front, query: str) -> None:
    """A list, or a refusal, and a Link that holds nothing but what was escaped."""
    for path in ("/v2/spec/there/tags/list", "/v2/_catalog"):
        reply = careful.ask("GET", f"{path}?{query}")
        assert reply.status in (200, 400), reply
        assert "x" not in reply.headers
        assert reply.headers.get("link", "<").isprintable()


def test_locations_are_escaped(careful: Front) -> None:
    """What a client sent along is not in a Location as it came."""
    path = f"/v2/spec/there/blobs/uploads/?mount={sha256(b'?')}&x=%0d%0aSet-Cookie:%20a=b"
    reply = careful.ask("POST", path)
    assert reply.status in (202, 400) and "set-cookie" not in reply.headers
    if reply.status == 202:
        location = reply.headers["location"]
        assert careful.ask("DELETE", location[location.index("/v2/") :]).status == 204


# Media types


@pytest.mark.parametrize(
    "media_type", ("../../etc/passwd", "x", "a/b/c", "a b", "text/html\u00e4", "a/" + "b" * 5000)
)
def test_media_types(careful: Front, media_type: str) -> None:
    """Content-Type becomes a header of later answers, so it is held to its form."""
    data = to_json({"n": secrets.token_hex(4)})
    path = f"/v2/spec/there/manifests/{sha256(data)}"
    reply = careful.ask("PUT", path, data, {"Content-Type": media_type})
    assert reply.status in (400, 415), reply


# TLS on the plain port


def hello() -> bytes:
    """The first flight of a TLS client, as its library makes it."""
    out = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="slipway.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


@pytest.mark.parametrize("size", (1, 5, 100, 0))
def test_tls_hello_is_answered_or_closed(deep_gateway: Gateway, size: int) -> None:
    """Docker, podman and skopeo begin so. The client knows soon that this is not TLS:
    also when only the beginning of its hello has come, whose first byte says it all."""
    data = hello()
    assert data[:1] == b"\x16" and len(data) > 100
    with RawConnection(deep_gateway.port, 20) as connection:
        begin = time.monotonic()
        connection.send(data[: size or len(data)])
        try:
            answer = connection.read(12)
        except ConnectionError:
            answer = b""
        assert answer == b"" or answer.startswith(b"HTTP/1."), answer
        assert time.monotonic() - begin < HELLO_SECONDS
    with Front(deep_gateway.port) as front:
        assert front.ask("GET", "/v2/").status == 200
