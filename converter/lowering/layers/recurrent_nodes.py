"""The ONNX nodes of a marked recurrent layer: one LSTM, GRU or RNN, and how masks reach it.

ONNX knows lengths, not masks. A stable sort brings the steps that count to the front of each
sequence, which makes any mask a length; a gather by the number of steps counted so far puts
the outputs where Keras has them. In shapes below: b batch, t time, d directions, h units.
"""

from __future__ import annotations

from dataclasses import dataclass

from converter.lowering.builder import Builder
from converter.lowering.layers.recurrent import KIND
from converter.lowering.markers import Lowering, Marker

# Gates of a Keras kernel by their place in the ONNX weight: Keras has those of an LSTM as input,
# forget, cell, output and ONNX as input, output, forget, cell; those of a GRU are alike.
_GATES = {"LSTM": (0, 3, 1, 2), "GRU": (0, 1, 2), "RNN": (0,)}
_INT32, _INT64 = 6, 7
_MINUS_INFINITY = -(2**63)


@dataclass(frozen=True)
class _Steps:
    """A mask (b, t), the int64 numbers of steps counted up to and before each, and in all (b,)."""

    mask: str
    through: str
    before: str
    total: str


def recurrent_lowerings() -> dict[str, Lowering]:
    """What writes the nodes of these markers."""
    return {KIND: _lower_recurrent}


def _lower_recurrent(build: Builder, marker: Marker) -> list[str]:
    """Write the nodes; returns outputs and final states as ``recurrent`` marked them."""
    config, inputs = marker.config, marker.inputs
    steps = _count_steps(build, inputs["mask"]) if "mask" in inputs else None
    states = [_stacked(build, marker, f"state{i}") for i in range(2) if f"state{i}_0" in inputs]
    sequence, *finals = _operator(build, marker, states, steps)
    if states and steps is not None:
        # Where no step counts, the state stays what it was and the output is zero.
        some = build.unsqueeze(build.op("Greater", steps.total, build.constant(0)), 1)
        last = build.op("Where", some, finals[0], build.scalar(0, finals[0]))
        finals = [
            build.op("Where", some, new, old) for new, old in zip(finals, states, strict=True)
        ]
    else:
        last = finals[0]
    by_direction = [_directions_apart(build, marker, final, 0) for final in finals]
    if config["sequences"]:
        outputs = _whole_sequences(build, marker, sequence, steps)
    elif last == finals[0] and len(config["directions"]) == 1:
        outputs = by_direction[0]
    else:
        outputs = _merged(build, marker, last, 0)
    if steps is not None and config["zero_masked"] and not config["sequences"]:
        outputs = [_zero_if_ends_masked(build, marker, output, steps) for output in outputs]
    return [
        *outputs,
        *(state for direction in zip(*by_direction, strict=True) for state in direction),
    ]


def _count_steps(build: Builder, mask: str) -> _Steps:
    ones = build.op("Cast", mask, to=_INT64)
    axis = build.constant(1)
    return _Steps(
        mask,
        build.op("CumSum", ones, axis),
        build.op("CumSum", ones, axis, exclusive=1),
        build.reduce("ReduceSum", ones, [1]),
    )


def _operator(build: Builder, marker: Marker, states: list[str], steps: _Steps | None) -> list[str]:
    """The recurrent operator: outputs (t, d, b, h) and final states (d, b, h)."""
    config, inputs = marker.config, marker.inputs
    operator, units = config["operator"], config["units"]
    directions = config["directions"]
    x, lengths = inputs["x"], ""
    if steps is not None:
        x = build.op("GatherND", x, _counted_first(build, x, steps), batch_dims=1)
        lengths = build.op("Cast", steps.total, to=_INT32)
    attributes = {
        "hidden_size": units,
        "direction": "bidirectional"
        if len(directions) == 2
        else ("reverse" if directions[0]["reverse"] else "forward"),
    }
    activations = [entry for direction in directions for entry in direction["activations"]]
    attributes["activations"] = [name for name, _, _ in activations]
    attributes["activation_alpha"] = [a for _, alphas, _ in activations for a in alphas]
    attributes["activation_beta"] = [a for _, _, betas in activations for a in betas]
    if operator == "GRU":
        attributes["linear_before_reset"] = int(config["reset_after"])
    return build.ops(
        operator,
        3 if operator == "LSTM" else 2,
        build.op("Transpose", x, perm=[1, 0, 2]),
        _stacked(build, marker, "kernel"),
        _stacked(build, marker, "recurrent"),
        _stacked(build, marker, "bias") if "bias_0" in inputs or "bias_1" in inputs else "",
        lengths,
        *states,
        **{name: value for name, value in attributes.items() if value != []},
    )


def _counted_first(build: Builder, x: str, steps: _Steps) -> str:
    """Indices (build, t, 1) that bring the steps that count to the front, in their order."""
    shape = build.shape(x)
    if shape is not None and shape[1] >= 0:
        time = build.constant(shape[1])
        positions = build.constant(range(shape[1]))
    else:
        time = build.squeeze(
            build.op("Slice", build.op("Shape", x), build.constant([1]), build.constant([2])), 0
        )
        positions = build.op("Range", build.constant(0), time, build.constant(1))
    key = build.op("Where", steps.mask, positions, build.op("Add", positions, time))
    count = build.unsqueeze(time, 0)
    _, order = build.ops("TopK", 2, key, count, axis=1, largest=0, sorted=1)
    return build.unsqueeze(order, 2)


def _stacked(build: Builder, marker: Marker, role: str) -> str:
    """A weight or state of all directions, as the ONNX operator takes it."""
    parts = []
    for i in range(len(marker.config["directions"])):
        tensor = marker.inputs.get(f"{role}_{i}")
        if role in ("kernel", "recurrent"):
            assert tensor is not None
            tensor = _gates_in_order(build, marker, build.op("Transpose", tensor, perm=[1, 0]))
        elif role == "bias":
            tensor = _bias(build, marker, tensor)
        assert tensor is not None
        parts.append(build.unsqueeze(tensor, 0))
    return parts[0] if len(parts) == 1 else build.op("Concat", *parts, axis=0)


def _gates_in_order(build: Builder, marker: Marker, tensor: str) -> str:
    """The gates along the first axis of ``tensor``, in ONNX' order."""
    units, gates = marker.config["units"], _GATES[marker.config["operator"]]
    if gates == tuple(range(len(gates))):
        return tensor
    rows = [gate * units + i for gate in gates for i in range(units)]
    return build.op("Gather", tensor, build.constant(rows), axis=0)


def _bias(build: Builder, marker: Marker, bias: str | None) -> str:
    """Input and recurrent bias one after the other; Keras has the second in a GRU only."""
    units, gates = marker.config["units"], len(_GATES[marker.config["operator"]])
    like = marker.inputs["kernel_0"]
    if bias is None:
        return build.filled(0, [2 * gates * units], like)
    if marker.config["reset_after"]:
        return build.reshape(bias, [2 * gates * units])
    return build.op(
        "Concat",
        _gates_in_order(build, marker, bias),
        build.filled(0, [gates * units], like),
        axis=0,
    )


def _directions_apart(build: Builder, marker: Marker, tensor: str, axis: int) -> list[str]:
    """One tensor a direction, without the axis of directions."""
    count = len(marker.config["directions"])
    parts = [tensor]
    if count > 1:
        parts = build.ops("Split", count, tensor, build.constant([1] * count), axis=axis)
    return [build.squeeze(part, axis) for part in parts]


def _merged(build: Builder, marker: Marker, tensor: str, axis: int) -> list[str]:
    """Directions merged: (d, b, h) to (b, h), or (t, d, b, h) to (t, b, h); as Keras does."""
    merge = marker.config["merge"]
    if merge is None:
        return _directions_apart(build, marker, tensor, axis)
    if merge != "concat":
        reduction = {"sum": "ReduceSum", "ave": "ReduceMean", "mul": "ReduceProd"}[merge]
        return [build.reduce(reduction, tensor, [axis])]
    width = marker.config["units"] * len(marker.config["directions"])
    leading = list(range(axis))
    beside = build.op("Transpose", tensor, perm=[*leading, axis + 1, axis, axis + 2])
    return [build.reshape(beside, [0] * (axis + 1) + [width])]


def _whole_sequences(
    build: Builder, marker: Marker, sequence: str, steps: _Steps | None
) -> list[str]:
    """Outputs (b, t, h) of (t, d, b, h), each step where Keras has it."""
    outputs = [
        build.op("Transpose", output, perm=[1, 0, 2])
        for output in _merged(build, marker, sequence, 1)
    ]
    if steps is not None:
        where, valid = _places(build, marker, steps)
        outputs = [
            build.op(
                "Where",
                valid,
                build.op("GatherND", output, where, batch_dims=1),
                build.scalar(0, output),
            )
            for output in outputs
        ]
    if marker.config["flip"]:
        minus_one = build.constant([-1])
        end, axis = build.constant([_MINUS_INFINITY]), build.constant([1])
        outputs = [build.op("Slice", output, minus_one, end, axis, minus_one) for output in outputs]
    return outputs


def _places(build: Builder, marker: Marker, steps: _Steps) -> tuple[str, str]:
    """Which counted step (build, t, 1) each step of the output shows, and whether there is one.

    A masked step repeats the counted step that was processed before it, unless it is zero.
    """
    config = marker.config
    if config["zero_masked"]:
        where, valid = steps.before, steps.mask
    elif config["directions"][0]["reverse"]:
        where = steps.before
        valid = build.op("Less", steps.before, build.unsqueeze(steps.total, 1))
    else:
        # Index -1, before the first counted step, is a valid index of an element not shown.
        where = build.op("Sub", steps.through, build.constant(1))
        valid = build.op("Greater", steps.through, build.constant(0))
    return build.unsqueeze(where, 2), build.unsqueeze(valid, 2)


def _zero_if_ends_masked(build: Builder, marker: Marker, output: str, steps: _Steps) -> str:
    """The last output (b, h), zero where the step that is processed last is masked."""
    last = 0 if marker.config["directions"][0]["reverse"] else -1
    ends = build.op("Gather", steps.mask, build.constant([last]), axis=1)
    return build.op("Where", ends, output, build.scalar(0, output))
