"""Running a model over data while observers watch its intermediate tensors.

Memory stays bounded whatever the number of samples: every batch is reduced at once, the batch
is as large as the activations allow, and where even one sample's activations are too large
they are observed in several passes over the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    progress: Progress | None = None,
) -> int:
    """Let ``observers`` watch float values of ``model``'s main graph while it runs ``data``.

    ``observers`` go by the names of the values; ``data`` is bound to the model's inputs.
    ``progress`` is called with the samples done after each batch. Returns the number of
    samples. Raises ``DataError`` when there are no samples and when an observer refuses a
    value (NaN, infinity), naming the first node that computed one.
    """
    producers = {
        str(value.name): node for node in model.graph for value in node.outputs if value.name
    }
    inputs = {spec.name for spec in model_inputs(model)}
    order = {name: index for index, name in enumerate([*inputs, *producers])}
    names = sorted(observers, key=lambda name: order[name])
    computed = [name for name in names if name not in inputs]
    fed = [name for name in names if name in inputs]
    chunks, batch_size = _fit_memory(model, data, computed, options)
    samples = done = 0
    total = None if data.num_samples is None else data.num_samples * len(chunks)
    for index, chunk in enumerate(chunks):
        watched = [*fed, *chunk] if index == 0 else chunk
        with OrtRuntime(with_outputs(model, chunk), threads=options.threads) as runtime:
            for batch in data.batches(batch_size):
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
            "express that; mend the data or the model, or keep the node in float"
        ) from error


def _fit_memory(
    model: ir.Model, data: Dataset, names: Sequence[str], options: QuantizeOptions
) -> tuple[list[list[str]], int]:
    """Split ``names`` so that a run of a batch stays inside the memory, and size the batch."""
    sizes = bytes_per_sample(model, data, names)
    fixed = fixed_batch(model_inputs(model))
    limit = options.memory_bytes
    if fixed is not None:
        return list(_chunks(sizes, limit // fixed)), fixed
    batch = max(1, min(options.batch_size, limit // max(1, sum(sizes.values()))))
    return list(_chunks(sizes, limit // batch)), batch


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
