"""Tensors of every datatype for hypothesis, from random bits."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st
from oip_reference import DATATYPES, Sent, element_value, size_of

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@st.composite
def tensors(draw: st.DrawFn, *, name: str = "x", binary: bool | None = None) -> Sent:
    """A tensor; one that is sent as JSON holds nothing that JSON has no form for."""
    datatype = draw(st.sampled_from(DATATYPES))
    shape = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    sent = draw(st.booleans()) if binary is None else binary
    element = _elements(datatype, binary=sent)
    count = math.prod(shape)
    values = draw(st.lists(element, min_size=count, max_size=count))
    return Sent(name, datatype, shape, values, sent)


def _elements(datatype: str, *, binary: bool) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        return st.binary(max_size=5) if binary else _TEXT.map(str.encode)
    if datatype == "BOOL":
        return st.booleans()
    size = size_of(datatype)
    values = st.binary(min_size=size, max_size=size).map(lambda data: element_value(datatype, data))
    # The bits of a NaN do not survive Python's floats everywhere; its own test has them.
    return values.filter(lambda value: not math.isnan(value) and (binary or math.isfinite(value)))
