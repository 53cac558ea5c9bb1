"""Certificates of an inventory as files of a host."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flowstead.airflow.plugins.filter.certificate_texts import certificate_texts


def test_content_and_read_files_become_texts_that_end_with_a_newline() -> None:
    entries = [{"name": "one", "content": "ONE\n\n"}, {"name": "two", "src": "two.pem"}]

    assert certificate_texts(entries, "/trust/{name}.crt", {"two.pem": "TWO"}) == {
        "/trust/one.crt": "ONE\n",
        "/trust/two.crt": "TWO\n",
    }


def test_an_entry_without_a_text_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="neither content nor a src"):
        certificate_texts([{"name": "one", "src": "one.pem"}], "/trust/{name}.crt", {})
