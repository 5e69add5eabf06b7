"""YAML is read back as what it was written from, whatever the text, by PyYAML (YAML 1.1)."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from converter.packaging.yaml_text import yaml_text

pytestmark = pytest.mark.fast

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        *("yes", "No", "on", "y", "null", "~", "true", ".inf", ".NaN", "1e3", "0x1f", "1_000"),
        *("1:30", "2026-01-02", "- a", "a: b", "a #b", "#", "---", "...", "&a", "*a", "!t", "%x"),
        *("{{.Name}}", "[a", "'", '"', "\\", "a\nb", "\t", "\x85", "\u2028", "\ufeff", "=", "<<"),
    ]
)
scalars = st.none() | st.booleans() | st.integers() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_everything_comes_back(document: dict[str, Any]) -> None:
    assert yaml.safe_load(yaml_text(document)) == document


def test_it_is_read_by_people() -> None:
    document = {
        "kind": "Service",
        "ports": [{"name": "http", "port": 80}, {}, []],
        "args": ["serve", "/bundle", "--port", "8000", ["nested", {"a": True}]],
        "none": None,
    }
    expected = """\
# first
# second
kind: Service
ports:
- name: http
  port: 80
- {}
- []
args:
- serve
- /bundle
- "--port"
- "8000"
- - nested
  - a: true
none: null
"""
    assert yaml_text(document, comment="first\nsecond") == expected


def test_several_documents() -> None:
    assert list(yaml.safe_load_all(yaml_text({"a": 1}, {"b": "no"}))) == [{"a": 1}, {"b": "no"}]


def test_what_has_no_place_in_a_manifest_is_refused() -> None:
    for value in (1.5, b"bytes", {1, 2}):
        with pytest.raises(TypeError, match="no place in a manifest"):
            yaml_text({"a": value})
