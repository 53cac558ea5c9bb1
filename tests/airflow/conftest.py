"""Tests against the Airflow that the image holds. They run from the repository's own environment too:

    .venv/bin/pytest tests/airflow

``test_inside.py`` then makes environments below ``.cache`` from the image's lock (seconds when packages are in uv's
cache), and with Google's provider on top, and runs ``inside/`` with them.
"""

from __future__ import annotations

import importlib.metadata


def _has_airflow() -> bool:
    try:
        importlib.metadata.distribution("apache-airflow-core")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


collect_ignore = ["test_inside.py"] if _has_airflow() else ["inside"]
