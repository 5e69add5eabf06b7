"""Running a model over data while observers watch its intermediate tensors.

Memory stays bounded for any number of samples: every batch is reduced at once, the batch
is as large as the activations allow, and where even one sample's activations are too large
they are observed in several passes over the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from quantizers.calibration.observers import Observer
from quantizers.options import DEFAULT_OPTIONS, QuantizeOptions
from runtimes.base import Array
from runtimes.data.batches import Batch
from runtimes.data.dataset import Dataset
from runtimes.engines.batching import as_taken, fixed_batch, run_padded
from runtimes.engines.ort import OrtRuntime
from runtimes.errors import DataError
from runtimes.onnx_files.load_save import model_inputs
from runtimes.onnx_graph.subgraphs import with_outputs
from runtimes.onnx_graph.values import Names
from runtimes.progress import Progress


def calibrate(
    model: ir.Model,
    data: Dataset,
    observers: Mapping[str, Observer],
    *,
    options: QuantizeOptions = DEFAULT_OPTIONS,
    passes: Passes | None = None,
    progress: Progress | None = None,
) -> int:
    """Let ``observers`` watch float values of ``model``'s main graph while it runs ``data``.

    ``observers`` go by the names of the values; ``data`` is bound to the model's inputs. By
    default the first sample decides on the ``passes``.
    ``progress`` is called with the samples done after each batch. Returns the number of
    samples. Raises ``DataError`` when there are no samples and when an observer refuses a
    value (NaN, infinity), naming the first node that computed one.
    """
    producers = {
        str(value.name): node for node in model.graph for value in node.outputs if value.name
    }
    passes = passes or plan_passes(model, data, observers, options)
    fed = [spec.name for spec in model_inputs(model) if spec.name in observers]
    samples = done = 0
    total = None if data.num_samples is None else data.num_samples * len(passes.values)
    for index, chunk in enumerate(passes.values):
        watched = [*fed, *chunk] if index == 0 else chunk
        with OrtRuntime(with_outputs(model, chunk), threads=options.threads) as runtime:
            for batch in data.batches(passes.batch, block=passes.block):
                arrays = {**batch.feed}
                if chunk:  # else only the inputs are watched, and nothing has to run
                    arrays.update(run_padded(runtime, batch.feed, chunk))
                for name in watched:
                    _update(observers[name], arrays[name], name, producers.get(name), batch)
                samples += len(batch) if index == 0 else 0
                done += len(batch)
                if progress is not None:
                    progress("calibrating", done, total)
    return samples


def _update(
    observer: Observer, values: Array, name: str, node: ir.Node | None, batch: Batch
) -> None:
    try:
        observer.update(values)
    except DataError as error:
        first, last = int(batch.indices.min()), int(batch.indices.max())
        where = "the input" if node is None else f"node {node.name!r} ({node.op_type}), value"
        raise DataError(
            f"{where} {name!r} has {error} for the samples {first} to {last}: INT8 cannot "
            "express that; fix the data or the model, or keep the node in float"
        ) from error


@dataclass(frozen=True)
class Passes:
    """How a model runs over data: what each pass observes, and how many samples go together.

    Whole batches make a block, and shards of the data begin where blocks do: what kernels round
    differently in batches of another size, they round alike in a shard and in the whole.
    """

    values: tuple[tuple[str, ...], ...]
    batch: int
    block: int


def plan_passes(
    model: ir.Model, data: Dataset, names: Iterable[str], options: QuantizeOptions
) -> Passes:
    """Observe ``names`` so that the run of a batch like the first sample stays in the memory."""
    wanted = set(names)
    computed = [value.name for node in model.graph for value in node.outputs]
    ordered = [name for name in computed if name in wanted]
    sizes = bytes_per_sample(model, data, ordered)
    limit = options.memory_bytes
    block = batch = block_size(model, options)
    if fixed_batch(model_inputs(model)) is None:
        most = max(1, min(block, limit // max(1, sum(sizes.values()))))
        batch = max(size for size in range(1, most + 1) if block % size == 0)
    return Passes(tuple(map(tuple, _chunks(sizes, limit // batch))), batch, block)


def block_size(model: ir.Model, options: QuantizeOptions) -> int:
    """Samples that are observed together; shards begin at multiples of it."""
    return fixed_batch(model_inputs(model)) or options.batch_size


def _chunks(sizes: Mapping[str, int], limit: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    total = 0
    for name, size in sizes.items():
        if chunk and total + size > limit:
            yield chunk
            chunk, total = [], 0
        chunk.append(name)
        total += size
    yield chunk


def bytes_per_sample(model: ir.Model, data: Dataset, names: Sequence[str]) -> dict[str, int]:
    """Bytes of each value for the first sample, found without holding the values.

    The shapes come out of the graph through Shape nodes, so dynamic dimensions are right.
    """
    batch = next(iter(data.batches(1)), None)
    if batch is None:
        raise DataError(f"{data.name} holds no samples; calibration needs some")
    if not names:
        return {}
    copy = with_outputs(model, names)
    shapes = []
    free = Names(copy.graph)
    for value in copy.graph.outputs:
        node = ir.node("Shape", [value])
        node.name = node.outputs[0].name = free.take(f"{value.name}_shape")
        node.outputs[0].dtype = ir.DataType.INT64
        copy.graph.append(node)
        shapes.append(node.outputs[0])
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(shapes)
    with OrtRuntime(copy, threads=1) as runtime:
        size = fixed_batch(runtime.inputs, runtime.name) or 1
        result = runtime.run(as_taken(batch.feed, runtime.inputs, size, runtime.name))
    itemsize = np.dtype(np.float32).itemsize
    return {
        name: itemsize * int(np.prod(result[str(shape.name)], dtype=np.int64)) // size
        for name, shape in zip(names, shapes, strict=True)
    }
