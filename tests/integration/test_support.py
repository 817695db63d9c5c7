"""The tools of the tests, tried with skopeo: when these fail, look here and not at slipway."""
from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from support.archives import FORMS, OUTER, docker_save_old, expected, wrap
from support.certificates import Authority
from support.images import make_small_image
from support.processes import run
from support.pulled import pull
from support.registry import Registry
from support.throttle import ThrottledProxy
from support.token_server import token_server
from support.waiting import DeadlineExceeded, wait_until


def skopeo_push(archive: Path, target: str, *options: str) -> int:
    return run(
        ["skopeo", "copy", "-q", *options, f"docker-archive:{archive}", f"docker://{target}"]
    ).returncode


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_what_skopeo_reads(form: str, tmp_path: Path, seed: str) -> None:
    archive = FORMS[form](tmp_path, seed)
    transport = "oci-archive" if expected_is_oci(archive) else "docker-archive"
    done = run(["skopeo", "copy", "-q", "--all", f"{transport}:{archive}", f"dir:{tmp_path}/out"])
    assert done.returncode == 0, done.stderr


def expected_is_oci(archive: Path) -> bool:
    return "manifest.json" not in run(["tar", "tf", archive]).stdout


def test_outer_compressions_unpack_to_the_archive(archive: Path) -> None:
    for outer in OUTER:
        path = wrap(archive, outer)
        assert run(["tar", "tf", path]).returncode == 0
        assert (path == archive) == (outer == "plain")


def test_the_same_seed_gives_the_same_archive(tmp_path: Path) -> None:
    made = []
    for folder in ("a", "b"):
        image = make_small_image(tmp_path / folder, "fixed")
        made.append(docker_save_old([(image, ["m/x:1"])], tmp_path / f"{folder}.tar").read_bytes())
    assert made[0] == made[1]


def test_htpasswd_registry(archive: Path, tmp_path: Path) -> None:
    with Registry(tmp_path / "r", users={"ci": "right"}) as registry:
        target = f"{registry.host}/t/app:1"
        plain = "--dest-tls-verify=false"
        assert skopeo_push(archive, target, plain) != 0
        assert skopeo_push(archive, target, plain, "--dest-creds", "ci:wrong") != 0
        assert skopeo_push(archive, target, plain, "--dest-creds", "ci:right") == 0
        assert registry.tags("t/app") == ["1"]
        image = pull(target, tmp_path / "pulled", creds="ci:right")
        assert tuple(image.diff_ids) == expected(archive).diff_ids[0]
        assert registry.requests("PUT", "/v2/t/app/manifests/1")
        assert registry.open_uploads() == []


def test_token_registry(archive: Path, tmp_path: Path) -> None:
    with token_server(tmp_path / "tokens", {"ci": "right"}) as tokens:
        with Registry(tmp_path / "r", auth=tokens.registry_auth()) as registry:
            target = f"{registry.host}/t/app:1"
            plain = "--dest-tls-verify=false"
            assert skopeo_push(archive, target, plain, "--dest-creds", "ci:wrong") != 0
            assert skopeo_push(archive, target, plain, "--dest-creds", "ci:right") == 0
            assert [r.user for r in tokens.requests if r.granted]
            assert any("repository:t/app:pull,push" in r.scopes for r in tokens.requests)


def test_tls_registry(archive: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    folder = tmp_path / "trusted"
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.path.read_bytes())
    for expired in (False, True):
        certificate = authority.server("expired" if expired else "good", expired=expired)
        with Registry(tmp_path / f"r{expired}", tls=certificate, ca=authority.path) as registry:
            target = f"{registry.host}/t/app:1"
            assert skopeo_push(archive, target) != 0
            status = skopeo_push(archive, target, "--dest-cert-dir", str(folder))
            assert (status != 0) == expired
            if not expired:
                assert registry.tags("t/app") == ["1"]


def _echo_once(listener: socket.socket, received: list[int]) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(65536):
            received.append(len(data))


def test_throttle_limits_and_holds() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        received: list[int] = []
        thread = threading.Thread(target=_echo_once, args=(listener, received))
        thread.start()
        with ThrottledProxy(listener.getsockname()[1], to_server=1_000_000) as proxy:
            proxy.hold()
            with socket.create_connection(("127.0.0.1", proxy.port)) as client:
                started = time.monotonic()
                sender = threading.Thread(target=client.sendall, args=(b"x" * 500_000,))
                sender.start()
                with pytest.raises(DeadlineExceeded):
                    wait_until(lambda: received, "bytes while held", 0.2)
                proxy.release()
                sender.join()
                client.shutdown(socket.SHUT_WR)
                thread.join()
                elapsed = time.monotonic() - started
        assert sum(received) == 500_000
        assert elapsed > 0.4, "500 kB at 1 MB/s"
