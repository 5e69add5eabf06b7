"""LSTM, GRU, SimpleRNN, RNN over their cells and Bidirectional, marked while tracing.

The inner loop of ``RNN`` is replaced and not its ``call``: state, casts and what is returned
stay Keras' own, and a subclass with another ``call`` or cell is left alone. What ONNX's
recurrent operators cannot say (another activation, a cell of the user's own) runs as the loop
that Keras builds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converter.lowering.markers import Replacement, mark
from runtimes.keras_models import keras2_layers

KIND = "recurrent"


@dataclass(frozen=True)
class Direction:
    """One pass over the sequence: a cell, its initial states and which end it starts at."""

    cell: Any
    states: Sequence[Any]
    reverse: bool


def recurrent_replacements() -> list[Replacement]:
    """The methods of Keras' recurrent layers that markers stand in for."""
    from keras import layers

    return [
        Replacement(layers.RNN, "inner_loop", _inner_loop),
        Replacement(layers.LSTM, "inner_loop", _inner_loop),
        Replacement(layers.GRU, "inner_loop", _inner_loop),
        Replacement(layers.Bidirectional, "call", _bidirectional),
    ]


def _inner_loop(
    layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
) -> Any:
    """What ``RNN.inner_loop`` returns: last output, all outputs, final states."""
    import keras
    import tensorflow as tf

    cells = _known_cells(layer)
    mask = _as_mask(mask)
    if not cells or mask is NotImplemented or len(sequences.shape) != 3:
        return NotImplemented
    by_cell = [initial_state] if len(cells) == 1 else list(initial_state)
    states = [keras.tree.flatten(state) for state in by_cell]
    if [len(state) for state in states] != [_state_count(cell) for cell in cells]:
        return NotImplemented
    # All but the last of stacked cells hand their whole sequence on, in the order of the input.
    outputs, finals = [sequences], []
    for i, (cell, state) in enumerate(zip(cells, states, strict=True)):
        last = i == len(cells) - 1
        outputs, final = _mark(
            outputs[0],
            mask,
            [Direction(cell, state, layer.go_backwards)],
            sequences=layer.return_sequences or not last,
            flip=layer.go_backwards and last,
            zero_masked=layer.zero_output_for_mask,
        )
        finals += final
    new_states = keras.tree.pack_sequence_as(initial_state, finals)
    output = outputs[0]
    if layer.return_sequences:
        return output[:, -1], output, new_states
    return output, tf.expand_dims(output, 1), new_states


def _bidirectional(
    layer: Any,
    sequences: Any,
    initial_state: Any = None,
    mask: Any = None,
    training: bool | None = None,
) -> Any:
    """What ``Bidirectional.call`` returns, of one marker for both directions."""
    import keras

    layers = [layer.forward_layer, layer.backward_layer]
    mask = _as_mask(mask)
    if mask is NotImplemented or len(sequences.shape) != 3 or not _form_a_pair(layer, *layers):
        return NotImplemented
    cells = [inner.cell for inner in layers]
    count = _state_count(cells[0])
    if initial_state is not None:
        states = keras.tree.flatten(initial_state)
    elif layer.stateful:
        states = [*layers[0].states, *layers[1].states]
    else:
        batch = keras.ops.shape(sequences)[0]
        states = [s for inner in layers for s in inner.get_initial_state(batch_size=batch)]
    if len(states) != 2 * count:
        return NotImplemented
    outputs, finals = _mark(
        sequences,
        mask,
        [
            Direction(cell, states[i * count : (i + 1) * count], inner.go_backwards)
            for i, (cell, inner) in enumerate(zip(cells, layers, strict=True))
        ],
        sequences=layer.return_sequences,
        flip=False,
        zero_masked=layer.return_sequences,
        merge=layer.merge_mode,
    )
    if layer.stateful:
        for variable, state in zip([*layers[0].states, *layers[1].states], finals, strict=True):
            variable.assign(state)
    result = outputs if layer.merge_mode is None else outputs[:1]
    if layer.return_state:
        return (*result, *finals)
    return tuple(result) if layer.merge_mode is None else result[0]


def _form_a_pair(layer: Any, forward: Any, backward: Any) -> bool:
    """Whether both directions fit into one ONNX node."""
    import keras

    known = (keras.layers.RNN, keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
    if type(forward) not in known or type(backward) not in known or forward.go_backwards:
        return False
    cells = [_known_cells(inner) for inner in (forward, backward)]
    if [len(stack) for stack in cells] != [1, 1]:
        return False
    a, b = cells[0][0], cells[1][0]
    zeroed = {forward.zero_output_for_mask, backward.zero_output_for_mask}
    return (
        type(a) is type(b)
        and a.units == b.units
        and getattr(a, "reset_after", None) == getattr(b, "reset_after", None)
        and layer.compute_dtype == forward.compute_dtype == backward.compute_dtype
        and zeroed == {layer.return_sequences}
    )


def _known_cells(layer: Any) -> list[Any]:
    """The layer's cells from input to output, or nothing where ONNX does not have one of them."""
    import keras

    stack = [layer.cell]
    if type(layer.cell) is keras.layers.StackedRNNCells:
        stack = list(layer.cell.cells)
        if len(stack) == 1:
            return []
    known = all(_cell_operator(cell) and _cell_activations(cell) and cell.built for cell in stack)
    # ONNX Runtime has no kernels for float64.
    dtypes = {cell.compute_dtype for cell in stack} if known else set()
    if dtypes != {layer.compute_dtype} or dtypes == {"float64"}:
        return []
    return stack


def _cell_operator(cell: Any) -> str | None:
    import keras

    return {
        keras.layers.LSTMCell: "LSTM",
        keras.layers.GRUCell: "GRU",
        keras.layers.SimpleRNNCell: "RNN",
    }.get(type(cell))


def _state_count(cell: Any) -> int:
    return 2 if _cell_operator(cell) == "LSTM" else 1


def _cell_activations(cell: Any) -> list[tuple[str, list[float], list[float]]]:
    """The cell's activations in the order of the ONNX operator: name, alphas and betas.

    Empty where ONNX does not have one of them.
    """
    from keras import activations

    names: dict[Any, tuple[str, list[float], list[float]]] = {
        activations.tanh: ("Tanh", [], []),
        activations.sigmoid: ("Sigmoid", [], []),
        activations.relu: ("Relu", [], []),
        activations.hard_sigmoid: ("HardSigmoid", [1 / 6], [0.5]),
        keras2_layers.hard_sigmoid_of_keras_2: ("HardSigmoid", [0.2], [0.5]),
        activations.linear: ("Affine", [1.0], [0.0]),
        activations.elu: ("Elu", [1.0], []),
        activations.leaky_relu: ("LeakyRelu", [0.2], []),
        activations.softsign: ("Softsign", [], []),
        activations.softplus: ("Softplus", [], []),
    }
    used = [cell.activation]
    if _cell_operator(cell) in ("LSTM", "GRU"):
        used.insert(0, cell.recurrent_activation)
    if _cell_operator(cell) == "LSTM":
        used.append(cell.activation)
    try:
        found = [names.get(activation) for activation in used]
    except TypeError:  # an activation that cannot be hashed is not one of these
        return []
    return [] if None in found else [entry for entry in found if entry is not None]


def _as_mask(mask: Any) -> Any:
    """The mask as a boolean tensor (batch, time), ``None``, or ``NotImplemented``."""
    import keras
    import tensorflow as tf

    masks = [m for m in keras.tree.flatten(mask) if m is not None]
    if not masks:
        return None
    found = tf.cast(masks[0], tf.bool)
    if len(found.shape) == 3 and found.shape[2] == 1:
        found = found[:, :, 0]
    if len(found.shape) != 2:
        return NotImplemented
    known = tf.get_static_value(found)
    return None if known is not None and known.all() else found


def _mark(
    x: Any,
    mask: Any,
    directions: Sequence[Direction],
    *,
    sequences: bool,
    flip: bool,
    zero_masked: bool,
    merge: str | None = None,
) -> tuple[list[Any], list[Any]]:
    """Mark one pass, or two in opposite directions, over ``x`` (batch, time, features).

    Returns the outputs, one for each direction or one that is merged, and the final states.
    With ``sequences`` outputs are (batch, time, units), in the order of the input unless
    ``flip``, else (batch, units). ``zero_masked`` says that a masked step gives zeros rather
    than the output before it.
    """
    import keras
    import tensorflow as tf

    compute_dtype = directions[0].cell.compute_dtype
    # Kernels for bfloat16 do not exist; float32 holds every value of it.
    dtype = "float32" if compute_dtype == "bfloat16" else compute_dtype
    inputs: dict[str, Any] = {"x": tf.cast(x, dtype), "mask": mask}
    settings = []
    has_states = not all(_is_zero(s) for direction in directions for s in direction.states)
    for i, direction in enumerate(directions):
        cell = direction.cell
        weights = {"kernel": cell.kernel, "recurrent": cell.recurrent_kernel, "bias": cell.bias}
        states = [keras.ops.convert_to_tensor(state, dtype) for state in direction.states]
        if has_states:
            weights |= {f"state{j}": state for j, state in enumerate(states)}
        for role, tensor in weights.items():
            if tensor is not None:
                inputs[f"{role}_{i}"] = keras.ops.convert_to_tensor(tensor, dtype)
        settings.append(
            {"reverse": direction.reverse, "activations": _cell_activations(cell)},
        )
    units = directions[0].cell.units
    batch, time = x.shape[0], x.shape[1]
    width = units * len(directions) if merge == "concat" else units
    output = (batch, time, width) if sequences else (batch, width)
    split = len(directions) if merge is None else 1
    finals = _state_count(directions[0].cell) * len(directions)
    tensors = mark(
        KIND,
        inputs,
        [(output, dtype)] * split + [((batch, units), dtype)] * finals,
        operator=_cell_operator(directions[0].cell),
        units=units,
        reset_after=bool(getattr(directions[0].cell, "reset_after", False)),
        directions=settings,
        sequences=sequences,
        flip=flip,
        zero_masked=zero_masked,
        merge=merge,
    )
    tensors = [tf.cast(tensor, compute_dtype) for tensor in tensors]
    return tensors[:split], tensors[split:]


def _is_zero(state: Any) -> bool:
    """Whether a tensor of the traced graph, or a variable, is zero whatever is fed."""
    import keras
    import tensorflow as tf

    tensor = keras.ops.convert_to_tensor(state)
    known = tf.get_static_value(tensor)
    if known is not None:
        return not known.any()
    if tf.is_symbolic_tensor(tensor) and tensor.op.type == "Fill":
        known = tf.get_static_value(tensor.op.inputs[1])
    return known is not None and not known.any()
