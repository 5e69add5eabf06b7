"""Where windows begin and end, for strides, dilations and padding of all sizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from trainable_cases.case import case, distinct, floats
from trainable_checks import check_values

from examples import examples

AXIS = st.fixed_dictionaries(
    {
        "size": st.integers(1, 9),
        "kernel": st.integers(1, 4),
        "stride": st.integers(1, 4),
        "dilation": st.integers(1, 3),
        "before": st.integers(0, 3),
        "behind": st.integers(0, 3),
    }
)
AXES = st.lists(AXIS, min_size=1, max_size=3)
AUTO = st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])


def window(axes: list[dict[str, int]], auto: str, *, dilated: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kernel_shape": [axis["kernel"] for axis in axes],
        "strides": [axis["stride"] for axis in axes],
    }
    if dilated:
        found["dilations"] = [axis["dilation"] for axis in axes]
    if auto != "NOTSET":
        return {**found, "auto_pad": auto}
    return {**found, "pads": [axis[side] for side in ("before", "behind") for axis in axes]}


def fits(axis: dict[str, int], auto: str, *, dilated: bool = True) -> bool:
    """Whether one whole window fits in."""
    extent = (axis["kernel"] - 1) * (axis["dilation"] if dilated else 1) + 1
    pads = axis["before"] + axis["behind"] if auto == "NOTSET" else 0
    return axis["size"] + pads >= extent


@given(axes=AXES, auto=AUTO, group=st.sampled_from([1, 2, 4]))
@examples(24)
def test_convolutions(axes: list[dict[str, int]], auto: str, group: int) -> None:
    assume(all(fits(axis, auto) for axis in axes))
    # ONNX Runtime refuses dilations where it is to find the padding itself.
    dilated = auto in {"NOTSET", "VALID"}
    attributes = window(axes, auto, dilated=dilated)
    x = floats(2, 4, *(axis["size"] for axis in axes))
    kernel = floats(4, 4 // group, *attributes["kernel_shape"])
    check_values(case("Conv", x, kernel, group=group, **attributes))


@given(axes=AXES, auto=AUTO)
@examples(24)
def test_transposed_convolutions(axes: list[dict[str, int]], auto: str) -> None:
    attributes = window(axes, auto, dilated=auto == "NOTSET")
    for axis in axes:
        step = axis["dilation"] if auto == "NOTSET" else 1
        extent = (axis["kernel"] - 1) * step + 1
        pads = axis["before"] + axis["behind"] if auto == "NOTSET" else 0
        assume((axis["size"] - 1) * axis["stride"] + extent > pads)
        assume(auto not in {"SAME_UPPER", "SAME_LOWER"} or extent >= axis["stride"])
    x = floats(2, 2, *(axis["size"] for axis in axes))
    check_values(case("ConvTranspose", x, floats(2, 3, *attributes["kernel_shape"]), **attributes))


@pytest.mark.parametrize("name", ["MaxPool", "AveragePool"])
@given(axes=AXES, auto=AUTO, ceil=st.booleans(), counted=st.booleans())
@examples(24)
def test_pools(name: str, axes: list[dict[str, int]], auto: str, ceil: bool, counted: bool) -> None:
    for axis in axes:
        assume(fits(axis, auto))
        # What lies between windows has no padding, and ONNX Runtime's kernels do not agree on it.
        assume(not auto.startswith("SAME") or axis["kernel"] >= axis["stride"])
        assume(auto != "NOTSET" or max(axis["before"], axis["behind"]) < axis["kernel"])
    dilated = auto in {"NOTSET", "VALID"}
    attributes = window(axes, auto, dilated=dilated)
    attributes["ceil_mode"] = int(ceil and auto == "NOTSET")
    if name == "AveragePool":
        attributes["count_include_pad"] = int(counted)
    x = distinct(2, 3, *(axis["size"] for axis in axes))
    check_values(case(name, x, opset=19, **attributes))
