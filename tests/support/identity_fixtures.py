"""Fixtures of the tests with a policy: import both names, and `gateway` is this one."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.gateway import Gateway
from support.identity import Issuer, identity_gateway


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("issuer") / "jwks.json")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Gateway]:
    """Shared by a file's tests, with an image in each of its repositories."""
    with identity_gateway(tmp_path_factory.mktemp("gateway"), issuer) as running:
        yield running
