"""Let unit tests import the collection as ``ansible_collections.flowstead.airflow``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder
from certificates import Certificates

ROOT = Path(__file__).resolve().parents[2]


def _install_collection_finder() -> None:
    """Point Ansible's own import hook at ``collections/``, as ansible-test does."""
    _AnsibleCollectionFinder(paths=[str(ROOT / "collections")])._install()
    sys.path.insert(0, str(ROOT / "roles" / "airflow" / "files" / "runtime"))
    sys.path.insert(0, str(ROOT / "molecule" / "doubles"))


_install_collection_finder()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for one test run."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
