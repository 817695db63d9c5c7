"""docs/openapi.yaml against the running gateway: what it describes is what is answered."""
from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.archives import docker_save_old
from support.curl import Reply
from support.gateway import SOURCE_FOLDER, Gateway
from support.images import make_small_image
from support.registry import Registry, htpasswd_file
from support.schema import complaints, resolve

DOCUMENT: dict[str, Any] = yaml.safe_load((SOURCE_FOLDER / "docs/openapi.yaml").read_text())
CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
METHODS = ("get", "put", "post", "delete", "patch")


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def described(path: str, method: str, status: int) -> dict[str, Any]:
    """The description of one answer."""
    responses = DOCUMENT["paths"][path][method.lower()]["responses"]
    assert str(status) in responses, f"{method} {path} answers {status}, which is not described"
    found: dict[str, Any] = resolve(DOCUMENT, responses[str(status)])
    return found


def assert_as_described(reply: Reply, path: str, method: str) -> None:
    response = described(path, method, reply.status)
    identity = DOCUMENT["components"]["headers"]["RequestId"]["schema"]
    assert not complaints(DOCUMENT, identity, reply.headers["x-request-id"])
    kind = reply.headers["content-type"].split(";")[0]
    assert kind in response["content"], (kind, list(response["content"]))
    schema = response["content"][kind]["schema"]
    value = reply.json() if kind.endswith("json") else reply.body.decode()
    found = complaints(DOCUMENT, schema, value)
    assert not found, (reply.status, found, reply.body[:2000])
    for name, described_header in response.get("headers", {}).items():
        header = resolve(DOCUMENT, described_header)
        value = reply.headers.get(name.lower())
        assert value is not None, f"{method} {path} {reply.status} has no {name}"
        if header["schema"].get("type") == "integer":
            assert not complaints(DOCUMENT, header["schema"], int(value))


# The document itself


def test_every_reference_leads_somewhere() -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                resolve(DOCUMENT, value)
            for part in value.values():
                walk(part)
        elif isinstance(value, list):
            for part in value:
                walk(part)

    walk(DOCUMENT)


def test_error_codes_are_those_of_the_guide() -> None:
    guide = (SOURCE_FOLDER / "docs/api.md").read_text().split("## Error codes")[1]
    rows = [line.split("`")[1] for line in guide.splitlines() if line.startswith("| `")]
    codes = list(dict.fromkeys(rows))
    assert codes == DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"]


def test_the_validator_refuses() -> None:
    """A validator that finds nothing would make every other test here worthless."""
    push = DOCUMENT["components"]["schemas"]["Push"]
    bad = {"id": "", "state": "done", "image": {"manifest": "sha256:0", "media_type": 1}}
    found = complaints(DOCUMENT, push, bad)
    places = {text.split(":")[0] for text in found}
    assert places == {"$", "$.id", "$.state", "$.image.manifest", "$.image.media_type"}, found
    errors = DOCUMENT["components"]["schemas"]["Errors"]
    assert complaints(DOCUMENT, errors, {"errors": []})
    assert complaints(DOCUMENT, errors, {"errors": [{"code": "NO", "message": "x"}]})


# Every operation


@pytest.mark.parametrize("path", [p for p, m, _ in operations() if m == "GET" and "{" not in p])
def test_get(gateway: Gateway, path: str) -> None:
    reply = gateway.request(path)
    assert reply.status == (404 if path == "/token" else 200)  # there is no policy
    assert_as_described(reply, path, "GET")


def test_operations_are_those_of_the_routes() -> None:
    """x-operation against the table of gateway/server/routes.c."""
    source = (SOURCE_FOLDER / "gateway/server/routes.c").read_text()
    names = dict(re.findall(r"\[(\w+)\] = \{true, OPERATION_(\w+),", source))
    rows = re.findall(r'\{"(/[^"]+)", "([^"]+)", \w+, (?:NULL|"[^"]+"), (\w+),', source)
    table = {
        (path, method): names[need].lower().replace("_", ":") if need in names else None
        for path, methods, need in rows
        for method in methods.split(", ")
    }
    assert len(table) > 30
    for path, method, described in operations():
        if (path, method) in table:
            assert described.get("x-operation") == table[path, method], (method, path)
        if "x-operation" in described:
            assert "401" in described["responses"], (method, path)


def test_with_a_policy(tmp_path: Path) -> None:
    rule = {"who": ["anonymous"], "may": ["pull"], "repositories": ["public/**"]}
    config = {
        "clients": {"htpasswd": str(htpasswd_file(tmp_path, {"ann": "ann's password"}))},
        "policy": [rule, {"who": ["ann"], "may": ["pull"], "repositories": ["**"]}],
    }
    good, bad = ("Authorization: Basic " + base64.b64encode(text).decode()
                 for text in (b"ann:ann's password", b"ann:another"))
    form = ("Content-Type: application/x-www-form-urlencoded",)
    kind = ("Content-Type: application/json",)
    asked: list[tuple[int, str, str, tuple[str, ...], bytes | None]] = [
        (200, "GET", "/token?scope=repository:public/x:pull", (), None),
        (200, "GET", "/token?offline_token=true", (good,), None),
        (401, "GET", "/token", (bad,), None),
        (400, "POST", "/token", form, b"grant_type=other"),
        (404, "POST", "/token", kind, b"{}"),
        (401, "GET", "/v2/", (), None),
        (200, "GET", "/v2/", (good,), None),
        (200, "GET", "/v2/_catalog", (), None),
        (401, "GET", "/v1/pushes", (), None),
        (403, "GET", "/v1/pushes", (good,), None),
        (401, "POST", "/v1/pushes", kind, b"{}"),
        (403, "POST", "/v1/pushes", (good, *kind), b"{}"),
        (403, "POST", "/v1/gc", (good, *kind), b"{}"),
        (401, "GET", "/metrics", (), None),
        (200, "GET", "/healthz", (), None),
        (405, "PUT", "/token", (), None),
    ]
    with Gateway(tmp_path / "gateway", config) as gateway:
        for status, method, path, headers, data in asked:
            reply = gateway.request(path, method=method, headers=headers, data=data)
            assert reply.status == status, (method, path, reply.status, reply.body)
            if status != 405:
                assert_as_described(reply, path.partition("?")[0], method)


Case = Callable[["Sender"], Reply]


class Sender:
    """One way of sending an image, with POST or PUT."""

    def __init__(self, gateway: Gateway, registry: Registry, folder: Path, method: str) -> None:
        self.gateway = gateway
        self.folder = folder
        self.method = method
        self.good = f"{registry.host}/openapi/{method.lower()}:1"
        image = make_small_image(folder / "files", f"openapi-{method}")
        self.archive = docker_save_old([(image, ["m/source:1.0"])], folder / "image.tar")

    def send(self, archive: Path | None = None, *to: str, **parameters: str) -> Reply:
        return self.gateway.post(archive or self.archive, to, method=self.method, **parameters)

    def file(self, data: bytes) -> Path:
        path = self.folder / "body"
        path.write_bytes(data)
        return path


CASES: dict[str, tuple[int, Case]] = {
    "pushed": (200, lambda s: s.send(None, s.good)),
    "one fails": (502, lambda s: s.send(None, s.good, "127.0.0.1:1/x:1")),
    "no target": (422, lambda s: s.send(None)),
    "bad target": (400, lambda s: s.send(None, "Bad//x")),
    "unknown parameter": (400, lambda s: s.send(None, s.good, colour="red")),
    "empty body": (400, lambda s: s.send(s.file(b""), s.good)),
    "no archive": (400, lambda s: s.send(s.file(b"x" * 5000), s.good)),
    "no such image": (422, lambda s: s.send(None, s.good, image="other:1")),
    "no such platform": (422, lambda s: s.send(None, s.good, platform="linux/s390x")),
}


@pytest.mark.parametrize("case", list(CASES))
@pytest.mark.parametrize("method", ("POST", "PUT"))
def test_images(
    gateway: Gateway, registry: Registry, tmp_path: Path, method: str, case: str
) -> None:
    status, send = CASES[case]
    reply = send(Sender(gateway, registry, tmp_path, method))
    assert reply.status == status, reply.body[:2000]
    assert_as_described(reply, "/v1/images", method)


def test_too_large(registry: Registry, tmp_path: Path) -> None:
    with Gateway(tmp_path / "small", {"limits": {"archive": "1KiB"}}) as gateway:
        sender = Sender(gateway, registry, tmp_path, "POST")
        for chunked in (False, True):
            reply = gateway.post(sender.archive, sender.good, chunked=chunked)
            assert reply.status == 413
            assert_as_described(reply, "/v1/images", "POST")


def test_layers(gateway: Gateway, tmp_path: Path) -> None:
    (layer, _) = make_small_image(tmp_path / "files", "openapi-layers").layers
    held = f"/v1/layers/{layer.diff_id}"
    no_tar = tmp_path / "no-tar"
    no_tar.write_bytes(b"x" * 5000)
    reply = gateway.request(held)
    assert reply.status == 404
    assert_as_described(reply, "/v1/layers/{diff_id}", "GET")
    for method in ("POST", "PUT"):
        for path, body, status in (
            ("/v1/layers", layer.path, 201),
            ("/v1/layers", no_tar, 400),
            ("/v1/layers?diff_id=sha256:" + "0" * 64, layer.path, 422),
            ("/v1/layers?colour=red", layer.path, 400),
        ):
            reply = gateway.request(path, method=method, upload=body)
            assert reply.status == status, reply.body[:2000]
            assert_as_described(reply, "/v1/layers", method)
    for path, status in ((held, 200), ("/v1/layers/x", 400)):
        reply = gateway.request(path)
        assert reply.status == status
        assert_as_described(reply, "/v1/layers/{diff_id}", "GET")


@pytest.mark.parametrize("method", ("POST", "PUT"))
@pytest.mark.parametrize("kind", CONFIG_TYPES)
def test_configs(
    gateway: Gateway, registry: Registry, tmp_path: Path, kind: str, method: str
) -> None:
    assert kind in DOCUMENT["components"]["requestBodies"]["Archive"]["content"]
    image = make_small_image(tmp_path / "files", f"openapi {kind} {method}")
    path = f"/v1/images?to={registry.host}/openapi/config:1"
    for status in (409, 200):
        reply = gateway.request(
            path, method=method, data=image.config, headers=(f"Content-Type: {kind}",)
        )
        assert reply.status == status, reply.body[:2000]
        assert_as_described(reply, "/v1/images", method)
        for layer in image.layers:
            assert gateway.request("/v1/layers", method="POST", upload=layer.path).status == 201


def test_pushes(gateway: Gateway, registry: Registry, tmp_path: Path) -> None:
    image = make_small_image(tmp_path / "files", "openapi-pushes")
    archive = docker_save_old([(image, ["m/held:1.0"])], tmp_path / "image.tar")
    assert gateway.post(archive, f"{registry.host}/openapi/held:1").status == 200
    target = f"{registry.host}/openapi/again:1"
    for body, status in (
        ({"image": "m/held:1.0", "to": [target]}, 200),
        ({"image": "m/held:1.0", "to": [target, "127.0.0.1:1/x:1"]}, 502),
        ({"image": "m/held:2.0", "to": [target]}, 422),
        ({"image": "m/held:1.0", "from": "x"}, 400),
        ({"image": "m/held:1.0", "to": [target + " " * 70000]}, 413),
    ):
        data = json.dumps(body).encode()
        reply = gateway.request(
            "/v1/pushes", method="POST", data=data, headers=["Content-Type: application/json"]
        )
        assert reply.status == status, reply.body[:2000]
        assert_as_described(reply, "/v1/pushes", "POST")


@pytest.mark.parametrize(
    ("acknowledge", "required", "status"),
    [("stored", True, 202), ("stored", False, 202), ("pushed", False, 200), ("pushed", True, 502)],
)
def test_mirrors(
    registry: Registry, tmp_path: Path, acknowledge: str, required: bool, status: int
) -> None:
    to = [f"{registry.host}/openapi/mirror", {"target": "127.0.0.1:1/x", "required": required}]
    config = {"mirrors": [{"match": "m/*", "to": to, "acknowledge": acknowledge}]}
    with Gateway(tmp_path / "mirror", config) as gateway:
        sender = Sender(gateway, registry, tmp_path, "POST")
        reply = sender.send()
        assert reply.status == status, reply.body[:2000]
        assert_as_described(reply, "/v1/images", "POST")
        stream = gateway.post(sender.archive, headers=["Accept: application/x-ndjson"])
        assert stream.status == (202 if acknowledge == "stored" else 200)
        schema = DOCUMENT["components"]["schemas"]["Event"]
        for line in stream.body.splitlines():
            assert not complaints(DOCUMENT, schema, json.loads(line)), line


# What is not described


def test_elsewhere_is_404(gateway: Gateway) -> None:
    errors = DOCUMENT["components"]["schemas"]["Errors"]
    for path in ("/", "/v3/images", "/v1/imagesx", "/v1/images/", "/%ff"):
        assert path not in DOCUMENT["paths"]
        for method in ("GET", "POST", "DELETE"):
            reply = gateway.request(path, method=method)
            assert reply.status == 404, (method, path)
            assert reply.headers["content-type"] == "application/json"
            assert not complaints(DOCUMENT, errors, reply.json()), (method, path)


def test_methods_that_are_not_described_are_405(gateway: Gateway) -> None:
    known = {(path, method) for path, method, _ in operations()}
    errors = DOCUMENT["components"]["schemas"]["Errors"]
    for path in DOCUMENT["paths"]:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
            if (path, method) in known or "{" in path or path == "/token":
                continue
            reply = gateway.request(path, method=method)
            assert reply.status == 405, (method, path)
            assert not complaints(DOCUMENT, errors, json.loads(reply.body)), (method, path)
            allowed = {word.strip() for word in reply.headers["allow"].split(",")}
            described_methods = {m for p, m in known if p == path}
            assert allowed - {"HEAD"} == described_methods, (path, allowed)
