"""What a web page can make a browser send does nothing; what registry clients send goes on."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import docker_save_new
from support.curl import Reply
from support.front import Front
from support.gateway import Gateway, images_path, pushed
from support.images import make_small_image
from support.raw_http import RawConnection
from support.registry import Registry

FOREIGN = "http://pages.example"
NAME = "slipway.example.com"


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("named"), {"hosts": [NAME]}) as gateway:
        yield gateway


def ask(gateway: Gateway, method: str, path: str, *headers: str, body: bytes = b"") -> Reply:
    """`headers` has the Host."""
    lines = [f"{method} {path} HTTP/1.1", *headers, "Connection: close"]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    with RawConnection(gateway.port) as connection:
        connection.send("\r\n".join([*lines, "", ""]).encode() + body)
        return connection.read_reply(method)


def code(reply: Reply) -> str:
    return str(reply.json()["errors"][0]["code"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/images?to={}/pages/app:1"),
        ("PUT", "/v1/layers"),
        ("POST", "/v1/pushes"),
        ("POST", "/v2/pages/app/blobs/uploads/"),
        ("PUT", "/v2/pages/app/manifests/1"),
        ("DELETE", "/v2/pages/app/manifests/1"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        (f"Origin: {FOREIGN}", "Sec-Fetch-Site: cross-site"),
        (f"Origin: {FOREIGN}",),
        ("Origin: null",),
        ("Sec-Fetch-Site: same-site",),
        ("Host: pages.example", f"Origin: {FOREIGN}", "Sec-Fetch-Site: same-origin"),
    ],
)
def test_a_change_of_another_page(
    named: Gateway,
    registry: Registry,
    tmp_path: Path,
    method: str,
    path: str,
    headers: tuple[str, ...],
) -> None:
    image = make_small_image(tmp_path, "pages")
    archive = docker_save_new([(image, ["pages/app:1"])], tmp_path / "a.tar")
    host = () if headers[0].startswith("Host") else ("Host: localhost",)
    reply = ask(
        named, method, path.format(registry.host), *host, *headers, body=archive.read_bytes()
    )
    assert (reply.status, code(reply)) == (403, "DENIED"), reply.body
    assert not registry.requests("HEAD", "/v2/pages/") + registry.requests("POST", "/v2/pages/")
    assert named.request("/v2/_catalog").json() == {"repositories": []}


@pytest.mark.parametrize("host", ["pages.example", "localhost.pages.example", "0.0.0.0", "10.0.0.1"])
def test_a_name_that_is_not_the_gateways(named: Gateway, host: str) -> None:
    for path in ("/v2/", "/v2/_catalog", "/v1/version"):
        reply = ask(named, "GET", path, f"Host: {host}:{named.port}")
        assert (reply.status, code(reply)) == (403, "DENIED")
        assert host in reply.body.decode()
    for path in ("/healthz", "/readyz"):
        assert ask(named, "GET", path, f"Host: {host}").status == 200


@pytest.mark.parametrize("host", ["localhost", "gateway.localhost", "127.0.0.1", "[::1]", NAME])
def test_names_of_the_gateway(named: Gateway, host: str) -> None:
    assert ask(named, "GET", "/v2/", f"Host: {host}:5000").status == 200
    origin = f"Origin: http://{host}"
    begun = ask(named, "POST", "/v2/names/app/blobs/uploads/", f"Host: {host}", origin)
    assert begun.status == 202


def test_bodies_of_forms(named: Gateway, registry: Registry, tmp_path: Path, seed: str) -> None:
    image = make_small_image(tmp_path, seed)
    archive = docker_save_new([(image, [f"{seed}:1"])], tmp_path / "a.tar")
    path = images_path([f"{registry.host}/{seed}/form:1"])
    content = archive.read_bytes()
    for kind in ("text/plain", "multipart/form-data; boundary=x"):
        for at in (path, "/v1/layers", "/v1/pushes"):
            reply = ask(named, "POST", at, "Host: localhost", f"Content-Type: {kind}", body=content)
            assert (reply.status, code(reply)) == (415, "UNSUPPORTED_MEDIA_TYPE")
            assert "Content-Type: application/" in reply.body.decode()
    assert not registry.requests("POST", f"/v2/{seed}/form/")
    # curl --data-binary and wget --post-file give this type to whatever they send.
    encoded = "Content-Type: application/x-www-form-urlencoded"
    order = json.dumps({"image": f"{seed}:1", "to": [f"{registry.host}/{seed}/more:1"]}).encode()
    assert pushed(named.request(path, method="POST", data=content, headers=[encoded]))
    assert named.request("/v1/pushes", method="POST", data=order, headers=[encoded]).status == 415


def test_content_runs_in_no_browser(named: Gateway, seed: str) -> None:
    page = b'{"x": "<script>alert(1)</script>"}'
    with Front(named.port) as front:
        front.put(f"{seed}/page", "1", page, "text/html")
    for path in (f"/v2/{seed}/page/manifests/1", "/v2/_catalog", "/nothing", "/healthz"):
        headers = named.request(path, headers=["Accept: text/html, */*"]).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
