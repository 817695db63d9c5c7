"""Registries from before schema2: nginx refuses the newer manifests, docker-registry takes schema1.

docker-registry verifies the signature of a schema1 manifest and that all its blobs are there before
it takes one, so what it serves afterwards was right in its eyes.
"""
from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from support.archives import docker_save_old, oci_folder
from support.curl import Reply
from support.gateway import Gateway, failed
from support.images import CREATED, Image, files_layer, make_small_image
from support.nginx import Nginx
from support.processes import must_run
from support.pulled import sha256, uncompressed
from support.registry import Answer, Registry
from support.tars import tar_folder

SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
SCHEMA2 = "application/vnd.docker.distribution.manifest.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"


def oci_error(code: str, message: str = "no newer manifests here") -> str:
    return json.dumps({"errors": [{"code": code, "message": message}]})


@pytest.fixture(scope="module")
def old_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    more = {"compatibility": {"schema1": {"enabled": True}}}
    with Registry(tmp_path_factory.mktemp("old"), more=more) as running:
        yield running


@pytest.fixture(scope="module")
def refusing(
    tmp_path_factory: pytest.TempPathFactory, old_registry: Registry
) -> Iterator[Nginx]:
    """The old registry as old registries answer to schema2 and OCI manifests."""
    refusal = (400, oci_error("MANIFEST_INVALID"))
    folder = tmp_path_factory.mktemp("refusing")
    with Nginx(folder, old_registry.host, refused=[SCHEMA2, OCI], refusal=refusal) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, refusing: Nginx
) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("gateway"), falling_back(refusing.host)) as running:
        yield running


def falling_back(host: str) -> dict[str, Any]:
    """Schema1 is offered only where the configuration says so."""
    return {"registries": {host: {"schema1": "fallback", "retry_wait": "10ms"}}}


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def canonical(document: bytes, signature: dict[str, Any]) -> bytes:
    """The signed bytes, put together again from the document and its protected header."""
    header = json.loads(decode(signature["protected"]))
    return document[: header["formatLength"]] + decode(header["formatTail"])


def signed_with(document: bytes, signature: dict[str, Any]) -> None:
    """Verify as any reader would; raises InvalidSignature."""
    jwk = signature["header"]["jwk"]
    numbers = (int.from_bytes(decode(jwk[axis]), "big") for axis in ("x", "y"))
    key = ec.EllipticCurvePublicNumbers(*numbers, ec.SECP256R1()).public_key()
    raw = decode(signature["signature"])
    der = utils.encode_dss_signature(
        int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    )
    payload = base64.urlsafe_b64encode(canonical(document, signature)).rstrip(b"=")
    text = signature["protected"].encode() + b"." + payload
    key.verify(der, text, ec.ECDSA(hashes.SHA256()))


def stepwise_image(folder: Path, seed: str) -> Image:
    """Steps without a layer first, between and last."""
    folder.mkdir(parents=True, exist_ok=True)
    layers = tuple(files_layer(folder / f"{n}.tar", f"{seed}-{n}", []) for n in range(3))
    steps: list[dict[str, Any]] = [
        {"created": CREATED, "created_by": f"step {n} of \"{seed}\" <&>", "comment": "ü"}
        for n in range(6)
    ]
    for n in (0, 2, 5):
        steps[n]["empty_layer"] = True
    config = {
        "architecture": "arm64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Labels": {"seed": seed}},
        "created": CREATED,
        "history": steps,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    return Image(json.dumps(config).encode(), layers)


def the_result(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, (reply.status, reply.body[:2000])
    (result,) = reply.json()["results"]
    assert result["state"] == "pushed", result
    return dict(result)


def served(registry: Registry, repository: str, reference: str) -> Answer:
    answer = registry.manifest(repository, reference)
    assert answer.status == 200, answer
    assert answer.headers["Content-Type"] == SCHEMA1
    return answer


def test_signed_schema1_is_served_as_reported(
    gateway: Gateway, refusing: Nginx, old_registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = stepwise_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, ["m/old:1.0"])], tmp_path / "image.tar")
    reply = gateway.post(archive, f"{refusing.host}/m/old:1.0")
    result = the_result(reply)
    assert result["media_type"] == SCHEMA1
    assert result["digest"] != reply.json()["image"]["manifest"]

    answer = served(old_registry, "m/old", "1.0")
    assert answer.headers["Docker-Content-Digest"] == result["digest"]
    assert served(old_registry, "m/old", result["digest"]).status == 200
    document = answer.json()
    (signature,) = document["signatures"]
    signed_with(answer.body, signature)
    payload = canonical(answer.body, signature)
    assert (sha256(payload), len(payload)) == (result["digest"], result["size"])
    with pytest.raises(InvalidSignature):
        signed_with(answer.body.replace(b'"1.0"', b'"1.1"'), signature)

    assert document["schemaVersion"] == 1
    assert (document["name"], document["tag"]) == ("m/old", "1.0")
    assert document["architecture"] == "arm64"


def test_history_and_layers_newest_first(
    gateway: Gateway, refusing: Nginx, old_registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = stepwise_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, ["m/steps:1.0"])], tmp_path / "image.tar")
    the_result(gateway.post(archive, f"{refusing.host}/m/steps:1.0"))
    document = served(old_registry, "m/steps", "1.0").json()

    blobs = [layer["blobSum"] for layer in reversed(document["fsLayers"])]
    assert [blob == EMPTY_LAYER for blob in blobs] == [True, False, True, False, False, True]
    full = [blob for blob in blobs if blob != EMPTY_LAYER]
    contents = [uncompressed(old_registry.blob("m/steps", blob).body) for blob in full]
    assert [sha256(content) for content in contents] == image.diff_ids
    empty = old_registry.blob("m/steps", EMPTY_LAYER).body
    assert (len(empty), uncompressed(empty)) == (32, bytes(1024))

    steps = [json.loads(step["v1Compatibility"]) for step in reversed(document["history"])]
    assert len({step["id"] for step in steps}) == 6
    assert [step.get("parent") for step in steps] == [None, *(step["id"] for step in steps[:-1])]
    assert [step.get("throwaway", False) for step in steps] == [
        blob == EMPTY_LAYER for blob in blobs
    ]
    history = json.loads(image.config)["history"]
    for step, was in zip(steps[:-1], history[:-1], strict=True):
        assert step["container_config"] == {"Cmd": [was["created_by"]]}
        assert (step["comment"], step["created"]) == (was["comment"], was["created"])
    newest = {**json.loads(image.config), "id": steps[-1]["id"], "parent": steps[-2]["id"]}
    del newest["rootfs"], newest["history"]
    assert steps[-1] == {**newest, "throwaway": True}


def test_other_tools_read_it(
    gateway: Gateway, refusing: Nginx, old_registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = make_small_image(tmp_path / "files", seed)
    archive = docker_save_old([(image, ["m/read:1.0"])], tmp_path / "image.tar")
    result = the_result(gateway.post(archive, f"{refusing.host}/m/read:1.0"))
    source = f"docker://{old_registry.host}/m/read:1.0"
    seen = json.loads(must_run(["skopeo", "inspect", "--tls-verify=false", source]))
    assert seen["Digest"] == result["digest"]
    assert seen["Architecture"] == "amd64"
    # skopeo makes a config of the v1 strings again: its layers must be ours.
    folder = tmp_path / "converted"
    must_run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--format", "oci", source,
         f"dir:{folder}"]
    )
    manifest = json.loads((folder / "manifest.json").read_text())
    config = json.loads((folder / manifest["config"]["digest"].split(":")[1]).read_text())
    assert config["rootfs"]["diff_ids"] == image.diff_ids
    assert config["config"]["Labels"] == {"seed": seed}


def test_the_same_image_keeps_its_digest_and_its_signer(
    refusing: Nginx, old_registry: Registry, tmp_path: Path, archive: Path
) -> None:
    """From push to push, and from data folder to data folder; the key stays in its folder."""
    seen = []
    for name in ("one", "two"):
        with Gateway(tmp_path / name, falling_back(refusing.host)) as running:
            digests = {
                the_result(running.post(archive, f"{refusing.host}/m/same:1"))["digest"]
                for _ in range(2)
            }
            assert len(digests) == 1
            seen += digests
        key = running.data / "trust_key.pem"
        assert key.stat().st_mode & 0o777 == 0o600
        assert key.read_text().startswith("-----BEGIN PRIVATE KEY-----\n")
        before = key.read_bytes()
        with Gateway(tmp_path / name, falling_back(refusing.host)) as running:
            the_result(running.post(archive, f"{refusing.host}/m/same:1"))
        assert key.read_bytes() == before
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("status", "code"),
    (
        (400, "MANIFEST_INVALID"),
        (400, "UNSUPPORTED"),
        (405, "UNSUPPORTED"),
        (405, "ANY"),
        (415, "ANY"),
    ),
)
def test_refusals_of_the_kind_fall_back(
    old_registry: Registry, tmp_path: Path, archive: Path, status: int, code: str
) -> None:
    name = f"m/kind-{status}-{code.lower().replace('_', '-')}"
    with Nginx(
        tmp_path / "nginx",
        old_registry.host,
        refused=[SCHEMA2],
        refusal=(status, oci_error(code)),
    ) as proxy, Gateway(tmp_path / "gateway", falling_back(proxy.host)) as running:
        assert the_result(running.post(archive, f"{proxy.host}/{name}:1"))["media_type"] == SCHEMA1
    assert "signed schema1" in running.log()


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    ((403, "DENIED", "DENIED"), (400, "TAG_INVALID", "MANIFEST_REFUSED")),
)
def test_other_refusals_do_not(
    old_registry: Registry,
    tmp_path: Path,
    archive: Path,
    status: int,
    code: str,
    expected: str,
) -> None:
    name = f"m/other-{status}"
    with Nginx(
        tmp_path / "nginx",
        old_registry.host,
        refused=[SCHEMA2],
        refusal=(status, oci_error(code)),
    ) as proxy, Gateway(
        tmp_path / "gateway", {"registries": {proxy.host: {"retry_wait": "10ms"}}}
    ) as running:
        failed(running.post(archive, f"{proxy.host}/{name}:1"), expected, "registry")
    assert old_registry.tags(name) == []


def test_never_means_never(
    refusing: Nginx, old_registry: Registry, tmp_path: Path, archive: Path
) -> None:
    """It is the default."""
    config = {"registries": {refusing.host: {"retry_wait": "10ms"}}}
    with Gateway(tmp_path / "gateway", config) as running:
        error = failed(
            running.post(archive, f"{refusing.host}/m/never:1"), "MANIFEST_REFUSED", "registry"
        )
    assert "no newer manifests here" in error["message"]
    assert old_registry.tags("m/never") == []
    assert not (running.data / "trust_key.pem").exists()


def test_oci_manifests_never_fall_back(
    gateway: Gateway, refusing: Nginx, old_registry: Registry, tmp_path: Path, seed: str
) -> None:
    image = make_small_image(tmp_path / "files", seed)
    layout = oci_folder(image, tmp_path / "oci", "m/oci:1.0")
    archive = tar_folder(layout, tmp_path / "oci.tar")
    failed(gateway.post(archive, f"{refusing.host}/m/oci:1"), "MANIFEST_REFUSED", "registry")
    assert old_registry.tags("m/oci") == []


def test_when_schema1_is_refused_too_the_first_refusal_is_told(
    tmp_path: Path, archive: Path
) -> None:
    """docker-registry without the compatibility switch takes no schema1."""
    with Registry(tmp_path / "new") as registry, Nginx(
        tmp_path / "nginx",
        registry.host,
        refused=[SCHEMA2],
        refusal=(415, oci_error("ANY", "the first refusal")),
    ) as proxy, Gateway(tmp_path / "gateway", falling_back(proxy.host)) as running:
        error = failed(
            running.post(archive, f"{proxy.host}/m/both:1"), "REGISTRY_UNSUPPORTED", "registry"
        )
        assert "the first refusal" in error["message"]
        assert error["status"] == 415
        assert len(registry.requests("PUT", "/m/both/manifests/1")) >= 1
        assert registry.tags("m/both") == []
