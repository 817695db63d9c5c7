"""The command line: what it prints where, with which exit status, and what it leaves behind."""
from __future__ import annotations

import json
import os
import re
import signal
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from support.archives import docker_save_old, index_layout, oci_folder
from support.certificates import Authority
from support.command import RESULT_LINE, result_lines, slipway, start_slipway
from support.gateway import SOURCE_FOLDER, Gateway, files_below, staged_below
from support.http_server import LoopbackServer
from support.images import Image, files_layer, image_config, make_small_image
from support.ports import refusing_port
from support.processes import Process, must_run
from support.pulled import pull, sha256
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.waiting import wait_until

PUSHED, FAILED, USAGE, REFUSED, UNREACHABLE = 0, 1, 2, 3, 4
END_SECONDS = 10


def blobs(data: Path) -> list[str]:
    return files_below(data / "blobs")


# push


def test_embedded_push(registry: Registry, archive: Path, tmp_path: Path) -> None:
    target = f"{registry.host}/c/embedded:1"
    done = slipway(tmp_path, "push", archive, target, "--data", tmp_path / "data")
    assert done.returncode == PUSHED, done.stderr
    (line,) = result_lines(done.stdout)
    served = registry.manifest("c/embedded", "1")
    assert line["target"] == target
    assert line["digest"] == sha256(served.body)
    assert int(line["size"]) == len(served.body)


def test_embedded_and_gateway_give_the_same_digest(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    lines = []
    for name, options in (
        ("embedded", ["--data", str(tmp_path / "data")]),
        ("gateway", ["--gateway", gateway.url]),
    ):
        done = slipway(tmp_path, "push", archive, f"{registry.host}/c/same-{name}:1", *options)
        assert done.returncode == PUSHED, done.stderr
        lines += result_lines(done.stdout)
    assert lines[0]["digest"] == lines[1]["digest"]
    assert lines[0]["size"] == lines[1]["size"]


def test_gateway_from_the_environment(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path
) -> None:
    target = f"{registry.host}/c/env:1"
    done = slipway(tmp_path, "push", archive, target, env={"SLIPWAY_GATEWAY": gateway.url})
    assert done.returncode == PUSHED, done.stderr
    result_lines(done.stdout)
    assert not list((tmp_path / "home/share").rglob("*")), "no embedded store was made"


@pytest.mark.parametrize("through", ("embedded", "gateway"))
def test_json(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path, through: str
) -> None:
    target = f"{registry.host}/c/json-{through}:1"
    options = ["--data", str(tmp_path / "data")]
    if through == "gateway":
        options = ["--gateway", gateway.url]
    done = slipway(tmp_path, "push", archive, target, "--json", *options)
    assert done.returncode == PUSHED, done.stderr
    value = json.loads(done.stdout)
    assert value["state"] == "pushed"
    (result,) = value["results"]
    assert result["target"] == target
    assert result["digest"] == value["image"]["manifest"]
    assert registry.manifest("c/json-" + through, "1").status == 200


def test_digest_file(registry: Registry, archive: Path, tmp_path: Path) -> None:
    target = f"{registry.host}/c/digest:1"
    path = tmp_path / "digest"
    done = slipway(
        tmp_path, "push", archive, target, "--digest-file", path, "--data", tmp_path / "data"
    )
    assert done.returncode == PUSHED, done.stderr
    assert path.read_text().strip() == result_lines(done.stdout)[0]["digest"]


def test_copies_are_bounded(registry: Registry, archive: Path, tmp_path: Path) -> None:
    """Without a gateway each push leaves its image in the data folder, up to a limit."""
    data = tmp_path / "data"
    for keep, left in (("20GiB", True), ("1B", False)):
        config = write_config(tmp_path, {"limits": {"push_copies": keep}})
        target = f"{registry.host}/c/copies:1"
        words = ["push", archive, target, "--data", data, "--config", config]
        done = slipway(tmp_path, *words)
        assert done.returncode == PUSHED, done.stderr
        assert bool(blobs(data)) == left


@pytest.mark.parametrize("why", ("no registry", "no archive", "no configuration", "no tag"))
def test_no_digest_file_after_a_failure(archive: Path, tmp_path: Path, why: str) -> None:
    """A digest that nobody serves must never be signed, neither one of an earlier push."""
    path = tmp_path / "digest"
    path.write_text("sha256:" + 64 * "0" + "\n")
    words = ["--digest-file", path, "--data", tmp_path / "data"]
    if why == "no configuration":
        words += ["--config", "/nonexistent"]
    with refusing_port() as port:
        target = f"127.0.0.1:{port}/c/x:1"
        if why == "no tag":
            target += "@sha256:0"
        source = archive if why != "no archive" else tmp_path / "none.tar"
        done = slipway(tmp_path, "push", source, target, *words)
    assert done.returncode == (FAILED if why == "no registry" else USAGE), done.stderr
    assert path.read_text() == ""


def test_digest_file_that_cannot_be_written(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """Said before anything is pushed."""
    target = f"{registry.host}/c/unwritten:1"
    done = slipway(
        tmp_path, "push", archive, target, "--digest-file", tmp_path, "--data", tmp_path / "data"
    )
    assert done.returncode == USAGE and str(tmp_path) in done.stderr
    assert registry.tags("c/unwritten") == []


@pytest.mark.parametrize("through", ("embedded", "gateway"))
def test_standard_input(
    gateway: Gateway, registry: Registry, archive: Path, tmp_path: Path, through: str
) -> None:
    target = f"{registry.host}/c/stdin-{through}:1"
    options = ["--data", str(tmp_path / "data")]
    if through == "gateway":
        options = ["--gateway", gateway.url]
    done = slipway(tmp_path, "push", "-", target, *options, stdin=archive)
    assert done.returncode == PUSHED, done.stderr
    result_lines(done.stdout)


@pytest.mark.parametrize("through", ("embedded", "gateway"))
def test_layout_folder(
    gateway: Gateway, registry: Registry, tmp_path: Path, seed: str, through: str
) -> None:
    image = make_small_image(tmp_path / "files", seed)
    layout = oci_folder(image, tmp_path / "oci", "m/folder:1.0")
    (entry,) = json.loads((layout / "index.json").read_text())["manifests"]
    options = ["--data", str(tmp_path / "data")]
    if through == "gateway":
        options = ["--gateway", gateway.url]
    target = f"{registry.host}/c/folder-{through}:1"
    done = slipway(tmp_path, "push", layout, target, *options)
    assert done.returncode == PUSHED, done.stderr
    assert result_lines(done.stdout)[0]["digest"] == entry["digest"]


def bytes_read() -> int:
    """By this process and its children that have ended."""
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counters["rchar"])


def poison(source: Path) -> None:
    """One byte in the middle, which is a layer's, becomes another one."""
    files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def test_what_is_held_is_not_read(registry: Registry, tmp_path: Path, seed: str) -> None:
    """Nor sent: a layer that has changed since behind its beginning goes as the known one."""
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(2 << 20))
    layers = (files_layer(tmp_path / "layer.tar", seed, [noise]),)
    image = Image(image_config(layers, seed), layers)
    layout = oci_folder(image, tmp_path / "oci", "m/held:1.0")
    must_run(["tar", "-C", layout, "-cf", tmp_path / "layout.tar", "."])
    docker = docker_save_old([(image, ["m/held:1.0"])], tmp_path / "docker.tar")
    for kind, source in enumerate((docker, tmp_path / "layout.tar", layout)):
        target = f"{registry.host}/c/held-{kind}:1"
        words = ["push", source, target, "--data", tmp_path / f"data-{kind}"]
        first = slipway(tmp_path, *words)
        assert first.returncode == PUSHED, first.stderr
        poison(source)
        before = bytes_read()
        again = slipway(tmp_path, *words)
        assert again.returncode == PUSHED and again.stdout == first.stdout, again.stderr
        assert bytes_read() - before < 1 << 20


def test_layout_folder_that_is_none(archive: Path, tmp_path: Path, registry: Registry) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    done = slipway(tmp_path, "push", empty, f"{registry.host}/c/x:1", "--data", tmp_path / "data")
    assert done.returncode in (USAGE, REFUSED)
    assert "empty" in done.stderr


def test_platform(registry: Registry, tmp_path: Path, seed: str) -> None:
    layout = index_layout(tmp_path / "index", seed)
    target = f"{registry.host}/c/platform:1"
    done = slipway(
        tmp_path, "push", layout, target, "--platform", "linux/arm64", "--data", tmp_path / "data"
    )
    assert done.returncode == PUSHED, done.stderr
    image = pull(target, tmp_path / "pulled")
    assert json.loads(image.config)["architecture"] == "arm64"


def test_image(registry: Registry, tmp_path: Path, seed: str) -> None:
    first = make_small_image(tmp_path / "1", seed + "1")
    second = make_small_image(tmp_path / "2", seed + "2")
    archive = docker_save_old([(first, ["m/a:1"]), (second, ["m/b:1"])], tmp_path / "two.tar")
    data = tmp_path / "data"
    target = f"{registry.host}/c/image:1"
    unclear = slipway(tmp_path, "push", archive, target, "--data", data)
    assert unclear.returncode == REFUSED
    assert "m/a:1" in unclear.stderr and "m/b:1" in unclear.stderr
    done = slipway(tmp_path, "push", archive, target, "--image", "m/b:1", "--data", data)
    assert done.returncode == PUSHED, done.stderr
    assert pull(target, tmp_path / "pulled").config_digest == second.config_digest


def test_several_targets_one_fails(registry: Registry, archive: Path, tmp_path: Path) -> None:
    with refusing_port() as port:
        good, bad = f"{registry.host}/c/good:1", f"127.0.0.1:{port}/c/bad:1"
        done = slipway(tmp_path, "push", archive, bad, good, "--data", tmp_path / "data")
    assert done.returncode == FAILED
    (line,) = result_lines(done.stdout)
    assert line["target"] == good
    assert bad in done.stderr


def test_progress_is_lines_on_stderr(registry: Registry, archive: Path, tmp_path: Path) -> None:
    """No terminal, so no control characters, and nothing of it on stdout."""
    target = f"{registry.host}/c/progress:1"
    done = slipway(tmp_path, "push", archive, target, "--data", tmp_path / "data")
    assert RESULT_LINE.fullmatch(done.stdout.rstrip("\n"))
    assert done.stderr.strip()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", done.stderr)


class BusyAtFirst(BaseHTTPRequestHandler):
    """A registry that asks for patience, and refuses after that."""

    protocol_version = "HTTP/1.1"
    patience_until = 0.0

    def _go(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kind = type(self)
        status = {"GET": 200, "HEAD": 404}.get(self.command, 403)
        if status == 403 and kind.patience_until == 0:
            kind.patience_until = time.monotonic() + 0.5
        if status == 403 and time.monotonic() < kind.patience_until:
            status = 503
        self.send_response(status)
        self.send_header("Retry-After", "1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = _go

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


def test_a_wait_is_one_line(archive: Path, tmp_path: Path) -> None:
    """For what and until when; not one a layer and target."""
    with LoopbackServer(BusyAtFirst) as server:
        host = f"127.0.0.1:{server.port}"
        config = write_config(
            tmp_path, {"registries": {host: {"retry_wait": "100ms", "plain_http": True}}}
        )
        targets = [f"{host}/c/wait-{n}:1" for n in range(2)]
        done = slipway(
            tmp_path, "push", archive, *targets, "--data", tmp_path / "data", "--config", config
        )
    assert done.returncode == FAILED
    waits = re.findall(
        rf"^waiting \d+ s for registry {host}, until \d\d:\d\d:\d\d UTC: (.*)$",
        done.stderr,
        re.MULTILINE,
    )
    assert len(waits) == 1 and "status 503" in waits[0], done.stderr
    assert "Retrying" not in done.stderr


def test_exit_status_of_a_refused_archive(
    gateway: Gateway, registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "garbage.tar"
    path.write_bytes(b"garbage" * 1000)
    for options in (["--data", str(tmp_path / "data")], ["--gateway", gateway.url]):
        done = slipway(tmp_path, "push", path, f"{registry.host}/c/garbage:1", *options)
        assert done.returncode == REFUSED, done.stderr
        assert done.stdout == ""
        assert "archive" in done.stderr


def test_exit_status_of_a_failed_push(gateway: Gateway, archive: Path, tmp_path: Path) -> None:
    for options in (["--data", str(tmp_path / "data")], ["--gateway", gateway.url]):
        with refusing_port() as port:
            done = slipway(tmp_path, "push", archive, f"127.0.0.1:{port}/c/x:1", *options)
            assert done.returncode == FAILED, done.stderr
            assert done.stdout == ""
            assert f"127.0.0.1:{port}" in done.stderr


def test_exit_status_of_an_unreachable_gateway(archive: Path, tmp_path: Path) -> None:
    with refusing_port() as port:
        url = f"http://127.0.0.1:{port}"
        done = slipway(tmp_path, "push", archive, "r.example.com/c/x:1", "--gateway", url)
    assert done.returncode == UNREACHABLE, done.stderr
    assert done.stdout == "" and str(port) in done.stderr


@pytest.mark.parametrize(
    "words",
    (
        (),
        ("frobnicate",),
        ("push",),
        ("push", "only-an-archive.tar"),
        ("push", "--no-such-option", "a.tar", "r.example.com/x:1"),
        ("push", "a.tar", "r.example.com/x:1", "--platform"),
        ("serve", "stray"),
        ("serve", "--listen", "not-an-address"),
        ("serve", "--config", "/nonexistent/slipway.json"),
        ("config", "--config", "/nonexistent/slipway.json"),
    ),
)
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = slipway(tmp_path, *words, seconds=20)
    assert done.returncode == USAGE
    assert done.stdout == ""
    assert done.stderr.strip()


def test_archive_that_is_not_there(tmp_path: Path) -> None:
    done = slipway(
        tmp_path, "push", tmp_path / "missing.tar", "r.example.com/x:1", "--data", tmp_path / "d"
    )
    assert done.returncode in (USAGE, REFUSED)
    assert "missing.tar" in done.stderr


def test_bad_target_is_wrong_usage(archive: Path, tmp_path: Path) -> None:
    target = "r.example.com/Team:1"
    done = slipway(tmp_path, "push", archive, target, "--data", tmp_path / "data")
    assert done.returncode == USAGE, done.stderr
    assert target in done.stderr


# version, help, config


def test_version(tmp_path: Path) -> None:
    done = slipway(tmp_path, "version")
    assert done.returncode == 0
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_help(tmp_path: Path) -> None:
    done = slipway(tmp_path, "help")
    assert done.returncode == 0
    for command in ("serve", "push", "config", "version", "help"):
        assert command in done.stdout
    for command in ("serve", "push", "config"):
        one = slipway(tmp_path, "help", command)
        assert one.returncode == 0 and command in one.stdout
    assert "--digest-file" in slipway(tmp_path, "help", "push").stdout
    assert slipway(tmp_path, "help", "frobnicate").returncode == USAGE


@pytest.mark.parametrize("command", ("serve", "push", "config", "version", "help"))
def test_help_as_an_option(tmp_path: Path, command: str) -> None:
    wanted = slipway(tmp_path, "help", *([command] if command != "help" else ()))
    words: list[tuple[str, ...]] = [(command, "--help"), (command, "-h")]
    if command == "push":
        words.append((command, "app.tar", "r.example.com/x:1", "--json", "--help"))
    for one in words:
        done = slipway(tmp_path, *one)
        assert (done.returncode, done.stdout, done.stderr) == (0, wanted.stdout, "")


def test_every_option_is_described(tmp_path: Path) -> None:
    """What getopt takes is what help has."""
    sources = SOURCE_FOLDER / "gateway/cli"
    for command, name in (("push", "cmd_push.c"), ("serve", "cmd_serve.c"), ("config", "cli.c")):
        taken = set(re.findall(r'{"([a-z-]+)", (?:required|no)_argument', (sources / name).read_text()))
        described = set(re.findall(r"--([a-z-]+)", slipway(tmp_path, "help", command).stdout))
        assert taken and taken == described, command


def write_config(folder: Path, value: Any) -> Path:
    path = folder / "slipway.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_config_defaults(tmp_path: Path) -> None:
    done = slipway(tmp_path, "config", "--defaults")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["listen"] == "127.0.0.1:5000"
    assert value["limits"]["uploads"] == 16
    assert value["compression"]["codec"] == "gzip"


def test_config_prints_what_is_in_force_without_secrets(tmp_path: Path) -> None:
    entry = {"username": "ci", "password": "very-s3cret", "chunk": "32MiB"}
    path = write_config(tmp_path, {"registries": {"r.example.com": entry}})
    done = slipway(tmp_path, "config", "--config", path)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["registries"]["r.example.com"]["username"] == "ci"
    assert "very-s3cret" not in done.stdout + done.stderr
    assert value["registries"]["r.example.com"]["password"] == "(redacted)"


def test_config_prints_absolute_paths(tmp_path: Path) -> None:
    """Read from elsewhere, they would be others."""
    (tmp_path / "below").mkdir()
    Authority(tmp_path / "ca").path.rename(tmp_path / "below/ca.pem")
    entry = {"ca": "ca.pem"}
    path = write_config(tmp_path / "below", {"data": "d", "registries": {"r.example.com": entry}})
    for name in (str(path), "below/slipway.json"):
        value = json.loads(slipway(tmp_path, "config", "--config", name).stdout)
        assert value["data"] == str(tmp_path / "below/d")
        assert value["registries"]["r.example.com"]["ca"] == str(tmp_path / "below/ca.pem")


def test_config_finds_a_key_that_is_not_the_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    made = authority.server()
    locked, empty = tmp_path / "locked.key", tmp_path / "empty.key"
    must_run(["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", made.key, "-out", locked])
    empty.write_text("")
    serve = ("--listen", "127.0.0.1:0", "--data", tmp_path / "d")
    for certificate, key, wrong in (
        (made.certificate, authority.server("other").key, "tls.key"),
        (made.key, made.certificate, "tls.certificate"),
        (made.certificate, locked, "tls.key"),
        (made.certificate, empty, "tls.key"),
        (made.certificate, made.key, ""),
    ):
        tls = {"certificate": str(certificate), "key": str(key)}
        path = write_config(tmp_path, {"tls": tls})
        done = slipway(tmp_path, "config", "--config", path, seconds=20)
        assert done.returncode == (USAGE if wrong else 0), done.stderr
        shown = {"client_certificate": str(certificate), "client_key": str(key)}
        path.write_text(json.dumps({"registries": {"r.example.com": shown}}))
        client = slipway(tmp_path, "config", "--config", path)
        told = wrong.replace("tls.", "registries.r.example.com.client_")
        assert client.returncode == done.returncode and told in client.stderr, client.stderr
        write_config(tmp_path, {"tls": tls})
        assert done.stderr.startswith(f"slipway: {wrong}: /" if wrong else ""), done.stderr
        if wrong:
            assert slipway(tmp_path, "serve", "--config", path, *serve).returncode == USAGE


@pytest.mark.parametrize(
    "value, says",
    (
        ({"lissten": "127.0.0.1:1"}, "lissten"),
        ({"limits": {"upload": 1}}, "limits.upload"),
        ({"registries": {"r.example.com": {"chunks": "1MiB"}}}, "registries.r.example.com.chunks"),
        ({"limits": {"uploads": "many"}}, "limits.uploads"),
        ({"limits": {"uploads": 0}}, "limits.uploads"),
        ({"limits": {"archive": "12 parsecs"}}, "limits.archive"),
        ({"compression": {"codec": "brotli"}}, "compression.codec"),
        ({"registries": {"r.example.com": {"plain_http": "yes"}}}, "plain_http"),
        ({"registries": {"r.example.com": {"password_file": "/nonexistent/p"}}}, "password_file"),
        ({"tls": {"certificate": "/nonexistent/c.pem"}}, "tls"),
        ([], "slipway.json"),
        ("{not json", "slipway.json"),
        ('{"listen":"127.0.0.1:1","listen":"127.0.0.1:2"}', "listen"),
    ),
)
def test_bad_configuration_names_the_key(tmp_path: Path, value: Any, says: str) -> None:
    path = write_config(tmp_path, value)
    for words in (("config",), ("serve", "--data", str(tmp_path / "data"))):
        done = slipway(tmp_path, *words, "--config", path, seconds=20)
        assert done.returncode == USAGE, (words, done.stderr)
        assert says in done.stderr, done.stderr


@pytest.mark.parametrize("address", ("0.0.0.0:0", "[::]:0"))
def test_beyond_loopback_needs_words(tmp_path: Path, address: str) -> None:
    done = slipway(tmp_path, "serve", "--listen", address, "--data", tmp_path / "d", seconds=20)
    assert done.returncode == USAGE
    assert "set policy" in done.stderr


@pytest.mark.parametrize("name", ("slipway.json", "compose-slipway.json"))
def test_beyond_loopback_with_words(tmp_path: Path, name: str) -> None:
    path = Path(__file__).parents[2] / "docker" / name
    words = ["serve", "--config", path, "--listen", "0.0.0.0:0", "--data", tmp_path / "data"]
    with start_slipway(tmp_path, *words) as process:
        process.wait_for(lambda: "listening on 0.0.0.0:" in process.stderr(), "its port")
        assert process.stop() == 0


# One store, one process


def test_second_process_on_the_same_folder(
    own_gateway: Gateway, archive: Path, registry: Registry, tmp_path: Path
) -> None:
    data = own_gateway.data
    for words in (
        ("serve", "--listen", "127.0.0.1:0"),
        ("push", str(archive), f"{registry.host}/c/locked:1"),
    ):
        done = slipway(tmp_path, *words, "--data", data, seconds=30)
        assert done.returncode != 0
        assert str(data) in done.stderr
        assert str(own_gateway.process.pid) in done.stderr
    assert own_gateway.request("/healthz").status == 200


# Ctrl-C


def interrupt(process: Process) -> None:
    process.signal(signal.SIGINT)
    assert process.wait(END_SECONDS) != 0
    process.assert_no_sanitizer_report()
    assert process.stdout() == ""


def test_interrupt_during_ingest(registry: Registry, larger_archive: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    reader, writer = os.pipe()
    target = f"{registry.host}/c/ingest:1"
    # Where an image is chosen, no layer leaves early; one that has stays in the store.
    words = ["push", "-", target, "--data", data, "--image", "m/source:1.0"]
    with os.fdopen(writer, "wb") as pipe:
        with start_slipway(tmp_path, *words, stdin=reader) as process:
            os.close(reader)
            pipe.write(larger_archive.read_bytes()[:-200_000])
            pipe.flush()
            process.wait_for(lambda: staged_below(data), "the first blob is staged")
            interrupt(process)
    assert staged_below(data) == [] and blobs(data) == []
    assert registry.tags("c/ingest") == []
    # The folder is as good as new.
    done = slipway(tmp_path, "push", larger_archive, target, "--data", data)
    assert done.returncode == PUSHED, done.stderr


def answered(registry: Registry, method: str, repository: str, status: int) -> list[str]:
    """The requests about upload sessions that had this answer: the session of each."""
    lines = registry.requests(method, f"/v2/{repository}/blobs/uploads/")
    right = (line for line in lines if f'HTTP/1.1" {status} ' in line)
    return [re.sub(r".*/blobs/uploads/([^? ]*).*", r"\1", line) for line in right]


def closed_sessions(registry: Registry, repository: str) -> set[str]:
    """Taken back, or whole; one whose last bytes had arrived already may be both."""
    taken_back = answered(registry, "DELETE", repository, 204)
    return {*taken_back, *answered(registry, "PUT", repository, 201)}


def test_interrupt_during_push(registry: Registry, larger_archive: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with ThrottledProxy(registry.port, to_server=100_000) as slow:
        target = f"127.0.0.1:{slow.port}/c/interrupted:1"
        words = ["push", larger_archive, target, "--data", data]
        with start_slipway(tmp_path, *words) as process:
            process.wait_for(
                lambda: slow.sent_up > 50_000
                and len(answered(registry, "POST", "c/interrupted", 202)) == 4,
                "three layers and the config are on their way",
            )
            interrupt(process)
        # Not the registry's folders: it writes what is still on its way into a session that it
        # has already dropped. What counts is that no session is left open: each was taken back, or
        # its last bytes had arrived before the interrupt. The registry writes its log a moment
        # after it answered.
        wait_until(
            lambda: len(closed_sessions(registry, "c/interrupted")) == 4,
            "all four sessions are closed",
        )
    assert staged_below(data) == []
    assert registry.tags("c/interrupted") == []
    target = f"{registry.host}/c/interrupted:1"
    done = slipway(tmp_path, "push", larger_archive, target, "--data", data)
    assert done.returncode == PUSHED, done.stderr


def test_half_an_archive_on_standard_input(
    registry: Registry, archive: Path, tmp_path: Path
) -> None:
    """`docker save x | slipway push -` where docker save dies: refused, not pushed."""
    path = tmp_path / "part.tar"
    path.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    target = f"{registry.host}/c/part:1"
    done = slipway(tmp_path, "push", "-", target, "--data", tmp_path / "data", stdin=path)
    assert done.returncode == REFUSED, done.stderr
    assert registry.tags("c/part") == []
