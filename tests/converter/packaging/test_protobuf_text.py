"""Text of messages is read back by protobuf's own parser."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from hypothesis import given
from hypothesis import strategies as st

from converter.packaging.protobuf_text import Enum, map_entries, protobuf_text

pytestmark = pytest.mark.fast


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(-(2**31), 2**31 - 1))
def test_everything_comes_back(text: str, number: int) -> None:
    field = {"name": text, "number": number, "type": Enum("TYPE_BYTES"), "proto3_optional": True}
    message = {
        "name": text,
        "dependency": [text, "b"],
        "message_type": [{"name": "m", "field": [field, {}]}, {}],
        "options": {},
    }
    found = text_format.Parse(protobuf_text(message, "a\nb"), FileDescriptorProto())
    assert (found.name, list(found.dependency)) == (text, [text, "b"])
    read = found.message_type[0].field[0]
    assert (read.name, read.number, read.type) == (text, number, FieldDescriptorProto.TYPE_BYTES)
    assert read.proto3_optional
    assert len(found.message_type) == 2
    assert found.HasField("options")


def test_maps_are_entries() -> None:
    assert protobuf_text({"m": map_entries({"a": {"v": "1"}})}) == (
        'm {\n  key: "a"\n  value {\n    v: "1"\n  }\n}\n'
    )


def test_what_has_no_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no form in a message"):
        protobuf_text({"a": 1.5})
