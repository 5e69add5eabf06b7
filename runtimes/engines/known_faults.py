"""What engines are known to compute wrongly without saying so, found in a model by its graph.

Each was seen on small graphs of one operator, in OpenCV 5.0.0 and tract 0.23.9. It is named where a
model does not pass there, as the likely cause: the engine, its version and the CPU decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from runtimes.engines.convolutions import Window, window_of

_NAMED = 3


@dataclass(frozen=True)
class KnownFault:
    """One way in which an engine is wrong, and the nodes of a model that it applies to."""

    cause: str
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        listed = ", ".join(repr(name) for name in self.nodes[:_NAMED])
        more = f" and {len(self.nodes) - _NAMED} more" if len(self.nodes) > _NAMED else ""
        return f"{self.cause}: {listed}{more}"


@dataclass(frozen=True)
class _Rule:
    cause: str
    operators: tuple[str, ...]
    applies: Callable[[ir.Node], bool]


def known_faults(model: ir.Model, provider: str) -> list[KnownFault]:
    """The faults that ``provider`` is known for and that nodes of ``model`` meet.

    The sizes of maps are those that the values of ``model`` record; see ``with_sizes``. A rule that
    needs one that is not recorded does not apply.
    """
    found = []
    for rule in _RULES.get(provider, ()):
        nodes = [
            node.name or str(node.outputs[0].name)
            for node in ir.traversal.RecursiveGraphIterator(model.graph)
            if node.domain == "" and node.op_type in rule.operators and rule.applies(node)
        ]
        if nodes:
            found.append(KnownFault(rule.cause, tuple(nodes)))
    return found


def has_known_faults(provider: str) -> bool:
    """Whether any fault of ``provider`` is known."""
    return provider in _RULES


def has_nine_taps_in_line(node: ir.Node) -> bool:
    """Whether OpenCV's new engine takes the kernel for one of 3×3.

    It does so for any kernel of nine taps on one or two axes, and reads beyond the weights.
    """
    window = window_of(node)
    return window is not None and not window.is_depthwise and window.kernel in _NINE_IN_LINE


def meets_the_fast_depthwise_kernel(node: ir.Node) -> bool:
    """Whether OpenCV's classic engine computes the depthwise convolution with wrong borders.

    Its fast kernel for 3×3 takes at most one tap for outside the map on either side: it is wrong
    on maps one pixel high or wide, and left of a dilated kernel.
    """
    window = window_of(node)
    if window is None or not window.is_depthwise or not _is_fast(window):
        return False
    if window.dilations[-1] > 1 and window.pads[-1][0]:
        return True
    return any(_is_outside(window, axis) for axis in range(len(window.kernel)))


def _is_fast(window: Window) -> bool:
    """Whether the classic engine chooses its fast kernel."""
    width = len(window.kernel) - 1
    return (
        window.kernel in ((3,), (3, 3))
        and (
            window.strides[width] == 1 or (window.strides[width], window.dilations[width]) == (2, 1)
        )
        and all(before <= 1 for before, _ in window.pads)
    )


def _is_outside(window: Window, axis: int) -> bool:
    """Whether some output has both ends of its taps outside the map, or the middle one of a row."""
    size, rows = window.map[axis], axis < len(window.kernel) - 1
    if size is None:
        return False
    for place in window.places(axis):
        taps = [place + step * window.dilations[axis] for step in range(window.kernel[axis])]
        outside = [not 0 <= tap < size for tap in taps]
        if (outside[0] and outside[-1]) or (rows and outside[1]):
            return True
    return False


_NINE_IN_LINE = {(9,), (1, 9), (9, 1)}


def _has(attribute: str, *values: object) -> Callable[[ir.Node], bool]:
    """Whether a node has one of these values of an attribute."""

    def applies(node: ir.Node) -> bool:
        found = node.attributes.get(attribute)
        return found is not None and found.value in values

    return applies


def _rule(cause: str, operators: Sequence[str], applies: Callable[[ir.Node], bool]) -> _Rule:
    return _Rule(cause, tuple(operators), applies)


_OPENCV = (
    _rule(
        "OpenCV puts the odd pixel of SAME_LOWER padding on the other side",
        ("AveragePool", "MaxPool"),
        _has("auto_pad", "SAME_LOWER"),
    ),
    _rule(
        "OpenCV gives the last state of a reversed LSTM in the wrong order of time",
        ("LSTM",),
        _has("direction", "reverse"),
    ),
    _rule("OpenCV computes antialiasing otherwise than ONNX", ("Resize",), _has("antialias", 1)),
    _rule(
        "OpenCV computes cubic interpolation otherwise than ONNX",
        ("GridSample",),
        _has("mode", "bicubic", "cubic"),
    ),
)

_RULES: Mapping[str, Sequence[_Rule]] = {
    "opencv": (
        _rule(
            "OpenCV's new engine reads beyond the weights of convolutions whose kernel has nine "
            "taps in a line (1×9, 9×1 or 9)",
            ("Conv",),
            has_nine_taps_in_line,
        ),
        *_OPENCV,
    ),
    "opencv-classic": (
        _rule(
            "OpenCV's classic engine computes the borders of 3×3 depthwise convolutions wrongly on "
            "maps one pixel high or wide, and with a dilation and padding of 1",
            ("Conv",),
            meets_the_fast_depthwise_kernel,
        ),
        *_OPENCV,
    ),
    "tract": (
        _rule(
            "tract runs reversed recurrent layers in the wrong order of time",
            ("GRU", "LSTM", "RNN"),
            _has("direction", "reverse"),
        ),
    ),
}
