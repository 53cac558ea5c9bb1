from ansible_collections.flowstead.airflow.plugins.module_utils._docker.engine import Engine


def test_import():
    assert Engine
