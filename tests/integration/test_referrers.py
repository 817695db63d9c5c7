"""Signatures, attestations and the like, which an OCI layout carries beside its image.

docker-registry 2.8 has no referrers API and names no OCI-Subject, so the list of what refers to a
manifest is kept under the tag "sha256-HEX" (distribution-spec 1.1, "Referrers Tag Schema").
"""
from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.archives import (
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    compact,
    docker_save_new,
    oci_folder,
)
from support.front import EMPTY_JSON, Front
from support.gateway import Gateway, pushed
from support.images import files_layer, make_small_image
from support.processes import must_run
from support.pulled import sha256
from support.registry import Registry
from support.tars import tar_folder
from support.waiting import wait_until

SIGNATURE = "application/vnd.dev.cosign.artifact.sig.v1+json"
ATTESTATION = "application/vnd.in-toto+json"
EMPTY = "application/vnd.oci.empty.v1+json"
REF_NAME = "org.opencontainers.image.ref.name"
ARCHITECTURES = ("amd64", "arm64", "s390x")


def list_tag(digest: str) -> str:
    return digest.replace(":", "-")


@dataclass
class Layout:
    """An OCI layout in the making: blobs by digest, and what index.json lists."""

    folder: Path
    entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs/sha256"

    def put(self, data: bytes) -> str:
        self.blobs.mkdir(parents=True, exist_ok=True)
        digest = sha256(data)
        (self.blobs / digest.split(":")[1]).write_bytes(data)
        return digest

    def bytes_of(self, digest: str) -> bytes:
        return (self.blobs / digest.split(":")[1]).read_bytes()

    def describe(self, media_type: str, digest: str, **more: Any) -> dict[str, Any]:
        size = len(self.bytes_of(digest))
        return {"mediaType": media_type, "digest": digest, "size": size, **more}

    def list(self, descriptor: dict[str, Any], name: str = "") -> None:
        named = {"annotations": {REF_NAME: name}} if name else {}
        self.entries.append({**descriptor, **named})

    def index(self, children: Sequence[dict[str, Any]]) -> dict[str, Any]:
        value = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(children)}
        return self.describe(OCI_INDEX, self.put(compact(value)))

    def artifact(
        self,
        subject: dict[str, Any] | None,
        kind: str,
        content: bytes,
        layer_type: str = "application/json",
    ) -> dict[str, Any]:
        """An artifact manifest; written with odd spaces, which only kept bytes have."""
        value: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": kind,
            "config": self.describe(EMPTY, self.put(b"{}")),
            "layers": [self.describe(layer_type, self.put(content))],
            "annotations": {"org.example.note": content[:12].decode(errors="replace")},
        }
        if subject:
            value["subject"] = {key: subject[key] for key in ("mediaType", "digest", "size")}
        return self.describe(OCI_MANIFEST, self.put(json.dumps(value, indent=1).encode()))

    def archive(self, path: Path) -> Path:
        value = {"schemaVersion": 2, "manifests": self.entries}
        (self.folder / "index.json").write_bytes(compact(value))
        (self.folder / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.0"}')
        return tar_folder(self.folder, path)


def add_platforms(layout: Layout, work: Path, seed: str) -> list[dict[str, Any]]:
    """Three real images, by skopeo, as members of an index to come."""
    children = []
    for one in ARCHITECTURES:
        image = make_small_image(work / one, f"{seed}-{one}", architecture=one)
        part = oci_folder(image, work / f"oci-{one}", f"m/part:{one}")
        for blob in (part / "blobs/sha256").iterdir():
            layout.put(blob.read_bytes())
        (child,) = json.loads((part / "index.json").read_text())["manifests"]
        child.pop("annotations", None)
        children.append({**child, "platform": {"architecture": one, "os": "linux"}})
    return children


@dataclass
class Signed:
    layout: Layout
    children: list[dict[str, Any]]
    index: dict[str, Any]
    signature: dict[str, Any]
    attestation: dict[str, Any]
    attestation_signature: dict[str, Any]


@pytest.fixture
def signed(tmp_path: Path, seed: str) -> Signed:
    """An index with a signature; a member with an attestation; that with a signature in turn."""
    layout = Layout(tmp_path / "layout")
    children = add_platforms(layout, tmp_path, seed)
    index = layout.index(children)
    signature = layout.artifact(index, SIGNATURE, f"signed {seed}".encode())
    attestation = layout.artifact(children[1], ATTESTATION, f"built {seed}".encode())
    second = layout.artifact(attestation, SIGNATURE, f"signed too {seed}".encode())
    return Signed(layout, children, index, signature, attestation, second)


def listed(registry: Registry, repository: str, subject: dict[str, Any]) -> list[dict[str, Any]]:
    """What the registry knows to refer to `subject`."""
    answer = registry.manifest(repository, list_tag(subject["digest"]))
    if answer.status == 404:
        return []
    assert answer.status == 200 and answer.headers["Content-Type"] == OCI_INDEX, answer
    value = answer.json()
    assert (value["schemaVersion"], value["mediaType"]) == (2, OCI_INDEX)
    return list(value["manifests"])


def same_bytes(registry: Registry, repository: str, layout: Layout, *digests: str) -> None:
    for digest in digests:
        answer = registry.manifest(repository, digest)
        assert answer.status == 200, digest
        assert answer.body == layout.bytes_of(digest)
        assert answer.headers["Docker-Content-Digest"] == digest


def test_index_signature_and_attestation_arrive_as_they_came(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    layout = signed.layout
    layout.list(signed.signature)
    layout.list(signed.index, "1.0")
    layout.list(signed.attestation_signature)
    layout.list(signed.attestation)
    archive = layout.archive(tmp_path / "signed.tar")
    target = f"{registry.host}/r/signed:1.0"
    for _ in range(2):
        (result,) = pushed(gateway.post(archive, target))
        assert result["digest"] == signed.index["digest"]
        referrers = (signed.signature, signed.attestation, signed.attestation_signature)
        members = [child["digest"] for child in signed.children]
        same_bytes(registry, "r/signed", layout, signed.index["digest"], *members)
        same_bytes(registry, "r/signed", layout, *(one["digest"] for one in referrers))
        for subject, referrer, kind in (
            (signed.index, signed.signature, SIGNATURE),
            (signed.children[1], signed.attestation, ATTESTATION),
            (signed.attestation, signed.attestation_signature, SIGNATURE),
        ):
            document = json.loads(layout.bytes_of(referrer["digest"]))
            assert listed(registry, "r/signed", subject) == [
                {**referrer, "artifactType": kind, "annotations": document["annotations"]}
            ]
        assert listed(registry, "r/signed", signed.children[0]) == []
    assert result["bytes_uploaded"] == 0

    raw = must_run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}"])
    assert sha256(raw.encode()) == signed.index["digest"]
    url = f"http://{registry.host}/v2/r/signed/manifests/{list_tag(signed.index['digest'])}"
    by_curl = json.loads(must_run(["curl", "-fsS", "-H", f"Accept: {OCI_INDEX}", url]))
    assert [one["digest"] for one in by_curl["manifests"]] == [signed.signature["digest"]]
    # skopeo fetches the signature with its blobs, and checks their digests while it does.
    source = f"docker://{registry.host}/r/signed@{signed.signature['digest']}"
    must_run(
        ["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"dir:{tmp_path}/copied"]
    )
    fetched = (tmp_path / "copied/manifest.json").read_bytes()
    assert sha256(fetched) == signed.signature["digest"]


def test_the_tag_comes_last(
    own_gateway: Gateway, tmp_path: Path, signed: Signed
) -> None:
    """Who sees the tag finds the signature."""
    signed.layout.list(signed.index, "1.0")
    signed.layout.list(signed.signature)
    archive = signed.layout.archive(tmp_path / "signed.tar")
    with Registry(tmp_path / "registry") as registry:
        pushed(own_gateway.post(archive, f"{registry.host}/r/order:1.0"))
        puts = registry.requests("PUT", "/r/order/manifests/")
    order = [line.split("/manifests/")[1].split()[0] for line in puts]
    index, signature = signed.index["digest"], signed.signature["digest"]
    assert order[-4:] == [index, signature, list_tag(index), "1.0"]


def test_lists_of_referrers_in_the_layout(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    """As regctl copies them: only the list under its tag leads to the signature."""
    layout = signed.layout
    layout.list(signed.index, "1.0")
    layout.list(layout.index([signed.signature]), list_tag(signed.index["digest"]))
    archive = layout.archive(tmp_path / "lists.tar")
    pushed(gateway.post(archive, f"{registry.host}/r/lists:1.0"))
    (entry,) = listed(registry, "r/lists", signed.index)
    assert entry["digest"] == signed.signature["digest"]
    same_bytes(registry, "r/lists", layout, signed.signature["digest"])


def test_layouts_that_list_every_manifest(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    """As oras writes them: the members of an index are no images of their own."""
    layout = signed.layout
    for child in signed.children:
        layout.list(child)
    layout.list(signed.index, "1.0")
    layout.list(signed.signature)
    archive = layout.archive(tmp_path / "all.tar")
    (result,) = pushed(gateway.post(archive, f"{registry.host}/r/all"))
    assert (result["digest"], result["tag"]) == (signed.index["digest"], "1.0")
    assert len(listed(registry, "r/all", signed.index)) == 1


def test_signatures_under_cosign_tags(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    layout = signed.layout
    content = json.dumps({"critical": signed.index["digest"]}).encode()
    signature = layout.artifact(None, SIGNATURE, content)
    tag = list_tag(signed.index["digest"]) + ".sig"
    layout.list(signature, tag)
    layout.list(signed.index, "1.0")
    archive = layout.archive(tmp_path / "cosign.tar")
    (result,) = pushed(gateway.post(archive, f"{registry.host}/r/cosign:2.0"))
    assert result["digest"] == signed.index["digest"]
    assert registry.tags("r/cosign") == sorted([tag, "2.0"])
    served = registry.manifest("r/cosign", tag)
    assert served.body == layout.bytes_of(signature["digest"])


def test_a_platform_takes_only_what_refers_to_it(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    layout = signed.layout
    for one in (signed.signature, signed.attestation, signed.attestation_signature):
        layout.list(one)
    layout.list(signed.index, "1.0")
    archive = layout.archive(tmp_path / "platform.tar")
    target = f"{registry.host}/r/platform:1.0"
    (result,) = pushed(gateway.post(archive, target, platform="linux/arm64"))
    assert result["digest"] == signed.children[1]["digest"]
    assert len(listed(registry, "r/platform", signed.children[1])) == 1
    assert len(listed(registry, "r/platform", signed.attestation)) == 1
    assert registry.manifest("r/platform", signed.signature["digest"]).status == 404
    pushed(gateway.post(archive, f"{registry.host}/r/plain:1.0", platform="linux/amd64"))
    assert registry.tags("r/plain") == ["1.0"]


def test_a_referrer_can_be_chosen(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    signed.layout.list(signed.index, "1.0")
    signed.layout.list(signed.signature)
    archive = signed.layout.archive(tmp_path / "choice.tar")
    digest = signed.signature["digest"]
    (result,) = pushed(gateway.post(archive, f"{registry.host}/r/choice:sig", image=digest))
    assert result["digest"] == digest
    assert registry.manifest("r/choice", signed.index["digest"]).status == 404


def test_two_images_stay_ambiguous(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    """Only the images are offered to choose from."""
    signed.layout.list(signed.children[0], "one")
    signed.layout.list(signed.children[1], "two")
    signed.layout.list(signed.attestation)
    archive = signed.layout.archive(tmp_path / "two.tar")
    reply = gateway.post(archive, f"{registry.host}/r/two:1")
    assert (reply.status, reply.error["code"]) == (422, "AMBIGUOUS_IMAGE")
    assert "one, two" in reply.error["message"]
    assert signed.attestation["digest"] not in reply.error["message"]
    # With a choice the other image's attestation stays behind.
    pushed(gateway.post(archive, f"{registry.host}/r/two:1", image="one"))
    assert registry.manifest("r/two", signed.attestation["digest"]).status == 404


def test_incomplete_referrers_are_left_out(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path
) -> None:
    document = json.loads(signed.layout.bytes_of(signed.signature["digest"]))
    missing = document["layers"][0]["digest"]
    (signed.layout.blobs / missing.split(":")[1]).unlink()
    signed.layout.list(signed.index, "1.0")
    signed.layout.list(signed.signature)
    archive = signed.layout.archive(tmp_path / "incomplete.tar")
    pushed(gateway.post(archive, f"{registry.host}/r/incomplete:1.0"))
    assert listed(registry, "r/incomplete", signed.index) == []
    assert f"a referrer is left out: layer {missing} is not in the archive" in gateway.log()


def test_layers_of_a_referrer_are_not_compressed(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path, seed: str
) -> None:
    """An image's plain tar is compressed; a signed artifact's is what was signed."""
    tar = files_layer(tmp_path / "model.tar", seed, []).path.read_bytes()
    artifact = signed.layout.artifact(signed.index, "application/x-model", tar, OCI_LAYER)
    signed.layout.list(signed.index, "1.0")
    signed.layout.list(artifact)
    archive = signed.layout.archive(tmp_path / "model-image.tar")
    pushed(gateway.post(archive, f"{registry.host}/r/tar:1.0"))
    same_bytes(registry, "r/tar", signed.layout, artifact["digest"])
    assert registry.blob("r/tar", sha256(tar)).body == tar


def test_what_refers_to_a_changed_manifest_is_left_out(
    own_gateway: Gateway, registry: Registry, tmp_path: Path, seed: str
) -> None:
    """Layers had to be compressed, so the signature is of an image that no registry will have."""
    image = make_small_image(tmp_path / "files", seed)
    plain = docker_save_new([(image, ["m/plain:1.0"])], tmp_path / "plain.tar", docker_names=False)
    folder = tmp_path / "plain"
    folder.mkdir()
    must_run(["tar", "-xf", plain, "-C", folder])
    layout = Layout(folder)
    (subject,) = json.loads((folder / "index.json").read_text())["manifests"]
    signature = layout.artifact(subject, SIGNATURE, seed.encode())
    layout.entries = [subject]
    layout.list(signature)
    archive = layout.archive(tmp_path / "changed.tar")
    (result,) = pushed(own_gateway.post(archive, f"{registry.host}/r/changed:1.0"))
    assert result["digest"] != subject["digest"]
    assert registry.tags("r/changed") == ["1.0"]
    assert f"referrer {signature['digest']} is left out" in own_gateway.log()


def test_signatures_that_come_at_once_are_all_listed(
    gateway: Gateway, registry: Registry, signed: Signed, tmp_path: Path, seed: str
) -> None:
    """The list is read, changed and written by one push at a time."""
    layout = signed.layout
    signatures = [
        layout.artifact(signed.index, SIGNATURE, f"signer {number} {seed}".encode())
        for number in range(6)
    ]
    archives = []
    for number, signature in enumerate(signatures):
        layout.entries = []
        layout.list(signed.index, "1.0")
        layout.list(signature)
        archives.append(layout.archive(tmp_path / f"{number}.tar"))

    def post(number: int) -> None:
        pushed(gateway.post(archives[number], f"{registry.host}/r/many:{number}"))

    post(0)  # the image itself: docker-registry minds two who write one manifest at once
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(post, range(1, 6)))
    found = {entry["digest"] for entry in listed(registry, "r/many", signed.index)}
    assert found == {signature["digest"] for signature in signatures}


# Lists that clients put themselves, as if the gateway were a registry without the referrers API


def entry_of(data: bytes, **more: Any) -> dict[str, Any]:
    """What a list says of a manifest, as the specification wants it."""
    document = json.loads(data)
    kind = document.get("artifactType") or document["config"]["mediaType"]
    entry = {"mediaType": OCI_MANIFEST, "digest": sha256(data), "size": len(data)}
    if "annotations" in document:
        entry["annotations"] = document["annotations"]
    return {**entry, "artifactType": kind, **more}


def list_of(*entries: dict[str, Any]) -> bytes:
    return compact({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)})


def by_digest(entries: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {entry["digest"]: entry for entry in entries}
    assert len(found) == len(entries), entries
    return found


def mirrored(*to: str, acknowledge: str = "pushed") -> dict[str, Any]:
    return {"mirrors": [{"match": "**", "to": list(to), "acknowledge": acknowledge}]}


@dataclass
class Clients:
    """What clients of one repository do, which is mirrored to a registry without the API."""

    front: Front
    registry: Registry
    name: str
    subject: bytes

    @property
    def tag(self) -> str:
        return list_tag(sha256(self.subject))

    def artifact(self, note: str, *, refers: bool = True, **more: Any) -> bytes:
        data = self.front.artifact(self.name, self.subject, annotations={"n": note}, **more)
        if not refers:
            data = compact({k: v for k, v in json.loads(data).items() if k != "subject"})
        self.front.must_put(self.name, sha256(data), data)
        return data

    def put(self, *entries: dict[str, Any]) -> bytes:
        data = list_of(*entries)
        self.front.must_put(self.name, self.tag, data, OCI_INDEX)
        assert self.front.manifest(self.name, self.tag).body == data
        return data

    def check(self, *referrers: bytes) -> None:
        """Gateway and mirror list these, as they are."""
        expected = by_digest([entry_of(data) for data in referrers])
        assert by_digest(self.front.referrers(self.name, sha256(self.subject))) == expected
        assert by_digest(self.there()) == expected

    def there(self) -> list[dict[str, Any]]:
        return listed(self.registry, self.name, {"digest": sha256(self.subject)})

    def delete(self, data: bytes) -> None:
        path = f"/v2/{self.name}/manifests/{sha256(data)}"
        assert self.front.ask("DELETE", path).status == 202


@pytest.fixture
def clients(registry: Registry, tmp_path: Path, seed: str) -> Iterator[Clients]:
    config = mirrored(f"{registry.host}/**")
    with Gateway(tmp_path / "front", config) as gateway, Front(gateway.port) as front:
        name = f"lists/{seed}"
        subject = front.image(name)
        front.must_put(name, "1.0", subject)
        yield Clients(front, registry, name, subject)


def test_a_list_that_a_client_puts_joins_the_one_at_the_mirror(clients: Clients) -> None:
    first = clients.artifact("first", artifactType=SIGNATURE)
    clients.check(first)
    # Without what came before, and with an artifactType as older versions of cosign wrote it.
    second = clients.artifact("second", artifactType=SIGNATURE)
    third = clients.artifact("third", refers=False)
    clients.put(entry_of(second, artifactType=""), entry_of(third, artifactType="wrong"))
    clients.check(first, second, third)
    # The registry has all of it: nothing is written there, whatever the bytes.
    before = clients.registry.manifest(clients.name, clients.tag).body
    clients.put(entry_of(first), entry_of(second))
    clients.put()
    assert clients.registry.manifest(clients.name, clients.tag).body == before
    clients.check(first, second, third)
    # A list that says all goes as it is.
    fourth = clients.artifact("fourth", refers=False)
    whole = clients.put(*(entry_of(one) for one in (fourth, third, second, first)))
    assert clients.registry.manifest(clients.name, clients.tag).body == whole


def test_what_was_deleted_here_leaves_the_list_at_the_mirror(clients: Clients) -> None:
    gone = clients.artifact("gone")
    also = clients.artifact("also", refers=False)
    kept = clients.artifact("kept")
    clients.put(entry_of(gone), entry_of(also), entry_of(kept))
    clients.check(gone, also, kept)
    clients.delete(gone)
    clients.delete(also)
    listed_here = clients.front.referrers(clients.name, sha256(clients.subject))
    assert [one["digest"] for one in listed_here] == [sha256(kept)]
    # By a list of a client that has not noticed, as one that adds to what it read here.
    late = clients.artifact("late", refers=False)
    clients.put(entry_of(gone), entry_of(also), entry_of(kept), entry_of(late))
    clients.check(kept, late)
    # By the next referrer alone; and what is put again is there again.
    clients.delete(kept)
    new = clients.artifact("new")
    clients.check(late, new)
    clients.front.must_put(clients.name, sha256(kept), kept)
    clients.check(kept, late, new)
    # What nobody ever had is still missing.
    stranger = clients.front.artifact_of(clients.subject, annotations={"n": "never put"})
    reply = clients.front.put(clients.name, clients.tag, list_of(entry_of(stranger)), OCI_INDEX)
    assert (reply.status, reply.error["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_entries_that_others_wrote_at_the_mirror_stay_and_are_repaired(clients: Clients) -> None:
    with Front(clients.registry.port) as there:
        there.push_blob(clients.name, EMPTY_JSON)
        foreign = there.artifact_of(clients.subject, annotations={"n": "foreign"})
        there.must_put(clients.name, sha256(foreign), foreign)
        untyped = {k: v for k, v in entry_of(foreign).items() if k != "artifactType"}
        ours = clients.artifact("ours")
        wrong = entry_of(ours, artifactType="application/vnd.oci.image.config.v1+json")
        wrong["annotations"]["added"] = "there"
        there.must_put(clients.name, clients.tag, list_of(untyped, wrong), OCI_INDEX)
        more = clients.artifact("more")
        found = by_digest(clients.there())
        assert found[sha256(foreign)] == entry_of(foreign)
        annotations = {"n": "ours", "added": "there"}
        assert found[sha256(ours)] == {**entry_of(ours), "annotations": annotations}
        assert found[sha256(more)] == entry_of(more)
        # An entry whose manifest was deleted there, for which docker-registry refuses the list.
        path = f"/v2/{clients.name}/manifests/{sha256(foreign)}"
        assert there.ask("DELETE", path).status == 202
        last = clients.artifact("last")
        lost = clients.artifact("lost", refers=False)
        clients.put(entry_of(ours), entry_of(lost))
        kept = {sha256(one) for one in (ours, more, last, lost)}
        assert set(by_digest(clients.there())) == kept
        # Something else under the tag is replaced by a client's list.
        there.must_put(clients.name, clients.tag, clients.subject)
        clients.put(entry_of(ours))
        assert clients.there() == [entry_of(ours)]


def copy_to(there: Front, clients: Clients, name: str, data: bytes) -> None:
    document = json.loads(data)
    for part in (document["config"], *document["layers"]):
        there.push_blob(name, clients.front.blob(clients.name, part["digest"]).body)


def test_lists_of_skopeo_sync(clients: Clients, tmp_path: Path) -> None:
    """From a registry without the API, where the list is a tag and its entries are members."""
    kept = clients.artifact("kept")
    name = clients.name
    with Registry(tmp_path / "source") as source, Front(source.port) as there:
        copy_to(there, clients, name, clients.subject)
        there.must_put(name, "1.0", clients.subject)
        signature = there.artifact(name, clients.subject, annotations={"n": "signed"})
        there.must_put(name, sha256(signature), signature)
        there.must_put(name, clients.tag, list_of(entry_of(signature)), OCI_INDEX)
        sync = ["skopeo", "sync", "--all", "--src-tls-verify=false", "--dest-tls-verify=false"]
        sync += ["--src", "docker", "--dest", "docker", f"{source.host}/{name}"]
        must_run([*sync, f"127.0.0.1:{clients.front.port}/{name.rsplit('/', 1)[0]}"])
    clients.check(kept, signature)


def test_a_list_at_a_second_gateway(registry: Registry, tmp_path: Path, seed: str) -> None:
    """It has the API: its tag is the client's, and so is its list; the same at its own mirror.
    Promised lists do not supersede each other."""
    name = f"lists/{seed}"
    with Gateway(tmp_path / "second", mirrored(f"{registry.host}/**")) as second:
        to = mirrored(f"127.0.0.1:{second.port}/**", acknowledge="stored")
        with Gateway(tmp_path / "first", to) as first, Front(first.port) as front:
            subject = front.image(name)
            front.must_put(name, "1.0", subject)
            clients = Clients(front, registry, name, subject)
            put = []
            for number in range(4):
                put.append(clients.artifact(str(number), refers=False))
                last = clients.put(entry_of(put[-1]))
            with Front(second.port) as there:
                # Their names come after the targets of the second one.
                whole = by_digest([entry_of(one) for one in put])
                wait_until(
                    lambda: by_digest(there.referrers(name, sha256(subject))) == whole,
                    "the entries of four lists",
                    60,
                )
                clients.check(*put)
                assert there.manifest(name, clients.tag).status == 200
            assert front.manifest(name, clients.tag).body == last
