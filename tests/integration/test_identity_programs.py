"""crane, helm and oras at a gateway with a policy: each request as they send it, since Debian has
none of them (support/identity.py)."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from support.front import path_of, with_digest
from support.gateway import Gateway
from support.identity import CRANE, HELM, JWT_LEEWAY_SECONDS, ORAS, USERS, Issuer, Program
from support.identity import TokenClient, access_config, as_user, mounted
from support.identity_fixtures import gateway, issuer  # noqa: F401
from support.pulled import sha256
from support.raw_http import RawConnection
from support.wall_clock import WallClock

PROGRAMS = (CRANE, HELM, ORAS)


@pytest.fixture(params=PROGRAMS, ids=[program.name for program in PROGRAMS])
def program(request: pytest.FixtureRequest) -> Program:
    return request.param  # type: ignore[no-any-return]


def open_client(
    program: Program, gateway: Gateway, user: str = "", password: str = ""
) -> TokenClient:
    return TokenClient(program, gateway.port, (user, password or USERS[user]) if user else None)


def test_pull(program: Program, gateway: Gateway) -> None:
    paths = {name: f"/v2/{name}/app/manifests/1.0" for name in ("public", "team-a", "secret")}
    with open_client(program, gateway) as nobody:
        assert nobody.ask("GET", paths["public"]).status == 200 and nobody.tokens <= 1
        refused = nobody.ask("GET", paths["team-a"])
        assert refused.status == 401
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    with open_client(program, gateway, "bob") as bob:
        assert bob.ask("GET", paths["team-a"]).status == 200 and bob.tokens == 1
        assert bob.ask("GET", paths["secret"]).status in (401, 404)


def test_log_in(program: Program, gateway: Gateway, issuer: Issuer) -> None:
    with open_client(program, gateway, "ann") as ann:
        assert ann.log_in()
    with open_client(program, gateway, "oidc", issuer.jwt()) as job:
        assert job.log_in() and job.push(f"team-a/{program.name}-ci", "ci") == [201, 201, 201]
    wrong = TokenClient(program, gateway.port, ("ann", "wrong"), address="127.0.0.9")
    with wrong:
        assert not wrong.log_in() and wrong.tokens == 0


def test_push(program: Program, gateway: Gateway, seed: str) -> None:
    new, second, third = (f"team-a/{program.name}-{seed}-{n}" for n in range(3))
    with open_client(program, gateway, "ann") as ann:
        assert ann.push(new, seed) == [201, 201, 201]
        assert ann.push(second, seed, mount_from=new) == [201, 201, 201]
        assert mounted(gateway, second) == 1
        assert ann.push(new, seed) == [200, 200, 201]
    with as_user(gateway.port, "olga") as olga:
        olga.push_blob("secret/app", f"layer {seed}x".encode())
    with open_client(program, gateway, "ann") as ann:
        assert ann.push(third, f"{seed}x", mount_from="secret/app") == [201, 201, 201]
        assert mounted(gateway, third) == 0


def test_with_less_than_they_need(program: Program, gateway: Gateway, seed: str) -> None:
    with open_client(program, gateway, "bob") as bob:
        assert bob.push("team-a/app", seed) == [403, 403, 403]
    with open_client(program, gateway) as nobody:
        assert nobody.push("team-a/app", seed) == [401, 401, 401]
    # A token for pulling alone: nothing is there yet, and what pushes is told which token does.
    with open_client(program, gateway, "ann") as ann:
        path = f"/v2/team-a/{seed}/manifests/1"
        assert ann.ask("HEAD", path).status == 404 and ann.tokens == 1
        begun = ann.ask("POST", f"/v2/team-a/{seed}/blobs/uploads/")
        assert begun.status == 202 and ann.tokens == 2


# ---- a push that is longer than its token, or than the proof that got it


def end_in_mid_push(
    program: Program, gateway: Gateway, seed: str, later: Callable[[], None]
) -> None:
    """`later` moves the clock behind the end of all tokens."""
    repository, data = f"team-a/long-{program.name}", f"{seed} {program.name}".encode()
    with open_client(program, gateway, "ann") as ann, RawConnection(gateway.port) as line:
        assert ann.send(repository, b"{}") == 201
        place = path_of(ann.ask("POST", f"/v2/{repository}/blobs/uploads/").headers["location"])
        head = {"Authorization": ann.shown, "Expect": "100-continue"}
        head["Content-Length"] = str(len(data))
        line.send_head("PUT", with_digest(place, sha256(data)), head)
        assert line.read_head()[0] == 100
        later()
        before = ann.tokens
        over = ann.plain("GET", place, None, {"Authorization": ann.shown})
        assert over.status == 401
        assert 'error="invalid_token"' in over.headers["www-authenticate"]
        # What began in time ends.
        line.send(data)
        assert line.read_reply("PUT").status == 201
        assert ann.put(repository, "1", b"{}", data) == 201
        assert ann.tokens == before + 1


def test_a_token_ends_in_mid_push(issuer: Issuer, tmp_path: Path, seed: str) -> None:
    clock = WallClock(tmp_path / "clock")
    with Gateway(tmp_path / "gateway", access_config(tmp_path, issuer), env=clock.env) as gateway:
        for number, program in enumerate(PROGRAMS, 1):
            end_in_mid_push(program, gateway, seed, partial(clock.ahead, number * 3610))


def test_a_push_outlives_the_proof_of_its_job(issuer: Issuer, tmp_path: Path, seed: str) -> None:
    clock = WallClock(tmp_path / "clock")
    proof = issuer.jwt()
    with Gateway(tmp_path / "gateway", access_config(tmp_path, issuer), env=clock.env) as gateway:
        with open_client(CRANE, gateway, "oidc", proof) as docker, open_client(
            ORAS, gateway, "oidc", proof
        ) as oras:
            docker.offline = True
            assert docker.log_in() and docker.refresh_token
            assert oras.send("team-a/job", b"{}") == 201
            tokens = oras.tokens
            clock.ahead(300 + JWT_LEEWAY_SECONDS + 1)
            assert oras.send("team-a/job", seed.encode()) == 201 and oras.tokens == tokens
            with open_client(HELM, gateway, "oidc", proof) as late:
                assert not late.log_in()
            # What `docker login` left is good for as long as the mapping says.
            assert docker.push("team-a/job-docker", seed) == [201, 201, 201]
            clock.ahead(3600 + 10)
            assert not docker.log_in() and oras.send("team-a/job", b"more") == 401
