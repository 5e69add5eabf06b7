"""Moving biases so that rounding leaves the mean of every channel where it was.

Rounded weights and activations shift the mean of what a layer accumulates, and the shifts of
all layers add up. The shift is measured, layer after layer, with the layers before already
corrected, and subtracted by way of the bias (Nagel et al. 2019, arXiv:1906.04721, appendix D,
"empirical bias correction").

The graph is walked stage by stage: what a stage computes is kept for all samples as bytes,
and dropped when no later stage reads it. Every layer runs once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from quantizers.calibration.calibrate import bytes_per_sample, calibrate
from quantizers.calibration.observers import ChannelMeanObserver
from quantizers.calibration.scales import QuantizationParameters, quantize_array
from quantizers.calibration.statistics import spread
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from quantizers.policy.plan import Plan, Unit
from runtimes.base import Array
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files.load_save import model_inputs, weight_bytes
from runtimes.onnx_graph.values import constant, only_user

# The mean over samples and positions is known well long before the range is; where weights are
# many, so are positions and channels, and every sample takes long.
_MOST_SAMPLES = 64
_MOST_SAMPLES_OF_LARGE = 32
_LARGE = 40 * 2**20
_LEAST_SAMPLES = 8

Means = dict[tuple[str, int, int], Array]
"""Means of the channels of a float value by its name, the axis and the number of samples."""


def measure_bias_shifts(
    source: ir.Model,
    placed: ir.Model,
    plan: Plan,
    data: Dataset,
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    known: Means | None = None,
) -> dict[str, Array]:
    """What to add to the bias of each unit of ``plan``, float64 ``[channels]`` by unit name.

    ``source`` is the float model, ``placed`` its Q/DQ form as ``place`` made it of ``plan``,
    ``data`` is bound to the inputs. Nothing comes back where the activations of
    eight samples exceed the memory.
    ``known`` remembers what was measured of ``source`` on ``data``; share it between their plans.
    """
    stages = _stages(placed, plan)
    names = dict.fromkeys(stage.target_name for stage in stages if stage.model is not None)
    sizes = bytes_per_sample(placed, data, list(names))
    most = _MOST_SAMPLES if weight_bytes(source) < _LARGE else _MOST_SAMPLES_OF_LARGE
    samples = min(most, options.memory_bytes // max(1, _peak(stages, sizes)))
    if samples < _LEAST_SAMPLES:
        return {}
    data = spread(data, samples)
    known = {} if known is None else known
    float_means = _float_means(source, stages, data, options, known, samples)
    store = _read_inputs(placed, data, options)
    last_use = {name: index for index, stage in enumerate(stages) for name in stage.inputs}
    shifts: dict[str, Array] = {}
    for index, stage in enumerate(stages):
        results = _run(stage, store, options)
        if stage.unit is not None:
            mean = ChannelMeanObserver(stage.unit.channel_axis)
            for values in results:
                mean.update(values)
            shift = float_means[stage.unit.name] - mean.mean()
            shifts[stage.unit.name] = shift
            for values in results:
                _add_in_place(values, shift, stage.unit.channel_axis)
        if stage.grid is not None:
            for batch, values in enumerate(results):  # one after the other: the floats are large
                results[batch] = quantize_array(values, stage.grid)
        store[stage.result_name] = results
        for name in [name for name in store if last_use.get(name, -1) <= index]:
            del store[name]
    return shifts


@dataclass(frozen=True)
class _Stage:
    """From values that are stored to the next one that has to be.

    ``model`` computes the float value ``target_name`` from ``inputs``; None where it is stored
    already. ``result_name`` is stored: the codes on ``grid``, or without one the target. The bias
    of ``unit`` shifts the target.
    """

    model: ir.Model | None
    inputs: tuple[str, ...]
    target_name: str
    result_name: str
    grid: QuantizationParameters | None
    unit: Unit | None


def _stages(model: ir.Model, plan: Plan) -> list[_Stage]:
    """Cut the graph at every sum of a kernel and at every rounding, in graph order."""
    units = {unit.sum: unit for unit in plan.units if unit.takes_bias}
    stored = {value: value.dtype for value in model.graph.inputs}
    stages: list[_Stage] = []
    for node in model.graph:
        unit = units.get(node.outputs[0])
        rounding = only_user(node.outputs[0]) if unit is not None else node
        if rounding is not None and rounding.op_type == "QuantizeLinear":
            target, result = rounding.inputs[0], rounding.outputs[0]
            grid = _grid(rounding)
        elif unit is not None:
            target = result = node.outputs[0]
            grid = None
        else:
            continue
        if target is None or result in stored:
            continue
        inner = None if target in stored else _extract(model, stored, target)
        inputs = [target] if inner is None else inner.graph.inputs
        stages.append(
            _Stage(
                model=inner,
                inputs=tuple(str(value.name) for value in inputs),
                target_name=str(target.name),
                result_name=str(result.name),
                grid=grid,
                unit=unit,
            )
        )
        stored[result] = ir.DataType.FLOAT if grid is None else ir.DataType.UINT8
    while stages and stages[-1].unit is None:  # nothing behind it is corrected
        stages.pop()
    return stages


def _grid(rounding: ir.Node) -> QuantizationParameters:
    _, scale, zero_point = (constant(value) for value in rounding.inputs)
    assert scale is not None
    assert zero_point is not None
    return QuantizationParameters(float(scale), int(zero_point))


def _extract(
    model: ir.Model, stored: Mapping[ir.Value, ir.DataType | None], target: ir.Value
) -> ir.Model:
    """The part of ``model`` that computes ``target`` from what is stored, as a model."""
    graph = ir.convenience.extract(model.graph, list(stored), [target])
    graph.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    dtypes = {value.name: dtype for value, dtype in stored.items()}
    for value in tuple(graph.inputs):
        dtype = dtypes[value.name]
        if not value.uses():
            graph.inputs.remove(value)
        elif dtype is not None:
            value.type = ir.TensorType(dtype)
    functions = [function.clone() for function in model.functions.values()]
    return ir.Model(graph, ir_version=model.ir_version, functions=functions)


def _run(stage: _Stage, store: Mapping[str, list[Array]], options: QuantizeOptions) -> list[Array]:
    if stage.model is None:
        return list(store[stage.target_name])
    for value in stage.model.graph.inputs:
        if value.shape is None:  # ONNX Runtime shows an unknown rank like a scalar's
            value.shape = ir.Shape([None] * store[str(value.name)][0].ndim)
    with OrtRuntime(stage.model, threads=options.threads) as runtime:
        batches = zip(*(store[name] for name in stage.inputs), strict=True)
        return [
            runtime.run(dict(zip(stage.inputs, arrays, strict=True)))[stage.target_name]
            for arrays in batches
        ]


def _peak(stages: Sequence[_Stage], sizes: Mapping[str, int]) -> int:
    """Most bytes a sample that are alive at once."""
    last_use = {name: index for index, stage in enumerate(stages) for name in stage.inputs}
    alive: dict[str, int] = {}
    peak = 0
    for index, stage in enumerate(stages):
        floats = sizes.get(stage.target_name, 0)
        peak = max(peak, sum(alive.values()) + floats)
        alive[stage.result_name] = floats if stage.grid is None else floats // 4
        alive = {name: size for name, size in alive.items() if last_use.get(name, -1) > index}
    return peak


def _float_means(  # noqa: PLR0917
    source: ir.Model,
    stages: Sequence[_Stage],
    data: Dataset,
    options: QuantizeOptions,
    known: Means,
    samples: int,
) -> dict[str, Array]:
    """Mean of every channel of each unit's sum in the float model, by unit name."""
    nodes = {str(node.name): node for node in source.graph}
    keys: dict[str, tuple[str, int, int]] = {}
    for stage in stages:
        if stage.unit is not None:
            # An output of the model keeps its name only in the float model.
            producer = stage.unit.sum.producer()
            assert producer is not None
            name = str(nodes[str(producer.name)].outputs[0].name)
            keys[stage.unit.name] = name, stage.unit.channel_axis, samples
    new = {key: ChannelMeanObserver(key[1]) for key in keys.values() if key not in known}
    if new:
        calibrate(source, data, {key[0]: one for key, one in new.items()}, options=options)
        known.update({key: one.mean() for key, one in new.items()})
    return {unit: known[key] for unit, key in keys.items()}


def _read_inputs(
    model: ir.Model, data: Dataset, options: QuantizeOptions
) -> dict[str, list[Array]]:
    """All batches of the inputs; where the model fixes the batch, the last is filled up."""
    specs = model_inputs(model)
    size = fixed_batch(specs)
    store: dict[str, list[Array]] = {spec.name: [] for spec in specs}
    for batch in data.batches(size or options.batch_size):
        for name, array in as_taken(batch.feed, specs, size).items():
            store[name].append(array)
    return store


def _add_in_place(values: Array, shift: Array, axis: int) -> None:
    shape = [1] * values.ndim
    shape[axis] = -1
    values += shift.astype(np.float32).reshape(shape)
