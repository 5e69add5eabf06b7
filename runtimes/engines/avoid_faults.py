"""The same model in a form that an engine's known faults do not meet, at no cost or nearly none.

For the files that are written for an engine. An engine that judges a file runs it as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.engines.convolutions import Window, window_of
from runtimes.engines.fixed_sizes import only_batch_is_free, smallest_sizes
from runtimes.engines.known_faults import has_nine_taps_in_line, meets_the_fast_depthwise_kernel
from runtimes.engines.recorded_sizes import with_recorded_sizes
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.values import add_initializer, constant, drop_if_unused, unused_name


def avoid_faults(model: ir.Model, provider: str) -> list[str]:
    """Rewrite, in place, the nodes of ``model`` that ``provider`` is known to compute wrongly.

    On ``opencv``, a kernel of nine taps in a line gets a tenth one, of zeros. On
    ``opencv-classic``, a 3×3 kernel over a map one pixel high or wide loses the taps that only ever
    meet padding. Both are exact. The sizes of maps are those at a batch of 1; nodes whose map has
    no fixed size stay as they are, as do those that nothing cheap helps (``known_faults``).

    Returns:
        The names of the nodes that were rewritten.
    """
    rewrite = _REWRITES.get(provider)
    if rewrite is None:
        return []
    applies, change = rewrite
    inputs = model_inputs(model)
    recorded = model
    if only_batch_is_free(inputs):
        recorded = with_recorded_sizes(model, smallest_sizes(inputs))
    pairs = zip(list(model.graph), list(recorded.graph), strict=True)
    return [
        str(node.name)
        for node, known in pairs
        if node.op_type == "Conv" and node.domain == "" and applies(known) and change(node, known)
    ]


def _add_a_tap(node: ir.Node, known: ir.Node) -> bool:
    """Let the long axis of the kernel have a tap of zeros after the last, on further padding."""
    window = window_of(known)
    if window is None:
        return False
    axis = window.kernel.index(9)
    widths = [(0, 0)] * (2 + len(window.kernel))
    widths[2 + axis] = (0, 1)
    if not _change_weights(node, lambda weights: np.pad(weights, widths)):
        return False
    pads = list(window.pads)
    pads[axis] = (pads[axis][0], pads[axis][1] + window.dilations[axis])
    _set_window(node, [size + (place == axis) for place, size in enumerate(window.kernel)], pads)
    return True


def _drop_padding_taps(node: ir.Node, known: ir.Node) -> bool:
    """Cut off the first and last rows and columns of a kernel that lie on padding in any place."""
    window = window_of(known)
    if window is None or None in window.map:
        return False
    used = [_used_taps(window, axis) for axis in range(len(window.kernel))]
    if any(taps is None for taps in used):
        return False
    ranges = [taps for taps in used if taps is not None]
    if all(len(taps) == size for taps, size in zip(ranges, window.kernel, strict=True)):
        return False
    pads = [
        (
            before - taps.start * window.dilations[axis],
            after - (window.kernel[axis] - taps.stop) * window.dilations[axis],
        )
        for axis, (taps, (before, after)) in enumerate(zip(ranges, window.pads, strict=True))
    ]
    if min(min(pair) for pair in pads) < 0:
        return False
    cut = (slice(None), slice(None), *(slice(taps.start, taps.stop) for taps in ranges))
    if not _change_weights(node, lambda weights: weights[cut]):
        return False
    _set_window(node, [len(taps) for taps in ranges], pads)
    return True


def _used_taps(window: Window, axis: int) -> range | None:
    """The taps from the first to the last that are on the map somewhere; None without any."""
    size = window.map[axis] or 0
    used = [
        tap
        for tap in range(window.kernel[axis])
        if any(0 <= place + tap * window.dilations[axis] < size for place in window.places(axis))
    ]
    return range(used[0], used[-1] + 1) if used else None


def _set_window(node: ir.Node, kernel: list[int], pads: list[tuple[int, int]]) -> None:
    node.attributes.pop("auto_pad", None)
    node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", kernel)
    both = [before for before, _ in pads] + [after for _, after in pads]
    node.attributes["pads"] = ir.AttrInt64s("pads", both)


def _change_weights(node: ir.Node, change: Callable[[Array], Array]) -> bool:
    """Give a Conv changed weights: constants, or constants behind a DequantizeLinear of its own.

    A changed copy is made, for others may read them. False where they are neither.
    """
    reader, place = node, 1
    source = node.inputs[1].producer() if node.inputs[1] is not None else None
    if source is not None:
        if not _keeps_zero(source):
            return False
        reader, place = source, 0
    old = reader.inputs[place]
    array, graph = constant(old), node.graph
    if array is None or old is None or not isinstance(graph, ir.Graph):
        return False
    name = unused_name(graph, str(old.name))
    reader.replace_input_with(
        place, add_initializer(graph, name, np.ascontiguousarray(change(array)))
    )
    drop_if_unused([old])
    return True


def _keeps_zero(node: ir.Node) -> bool:
    """Whether a DequantizeLinear that only one node reads makes zeros of zeros."""
    if node.op_type != "DequantizeLinear" or len(node.outputs[0].uses()) != 1:
        return False
    if node.attributes.get_int("block_size", 0):
        return False
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    values = constant(zero)
    return zero is None or (values is not None and not np.asarray(values).any())


_REWRITES: dict[str, tuple[Callable[[ir.Node], bool], Callable[[ir.Node, ir.Node], bool]]] = {
    "opencv": (has_nine_taps_in_line, _add_a_tap),
    "opencv-classic": (meets_the_fast_depthwise_kernel, _drop_padding_taps),
}
