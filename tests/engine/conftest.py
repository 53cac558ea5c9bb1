"""One private Docker Engine for all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from packages import NotInstallable, engine_packages
from private_engine import CannotStart, PrivateEngine, swarm_of_one


@pytest.fixture(scope="session")
def packages() -> Iterator[None]:
    """What an engine needs, on this machine."""
    try:
        with engine_packages():
            yield
    except NotInstallable as reason:
        pytest.fail(str(reason), pytrace=False)


@pytest.fixture(scope="session")
def docker(packages: None) -> Iterator[PrivateEngine]:
    """A swarm of one node with the images ``tiny:1`` and ``tiny:2``."""
    try:
        with swarm_of_one() as engine:
            yield engine
    except CannotStart as reason:
        pytest.fail(str(reason), pytrace=False)
