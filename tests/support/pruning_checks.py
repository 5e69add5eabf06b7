"""Running graphs as they stand, removing channels at random, and judging what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime

from converter.pruning.groups.selection import Dependencies, Selection
from converter.pruning.search.judging import HeldOut, Judging
from converter.pruning.search.objective import Judgement
from runtimes.data.dataset import Dataset

Array = np.ndarray[Any, np.dtype[Any]]


def run_model(model: ir.Model, feed: Mapping[str, Array]) -> list[Array]:
    """Results of ORT with all of its own optimizations off; the model is checked first."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, dict(feed))


def random_selection(dependencies: Dependencies, seed: int) -> Selection:
    """A random part of a random choice of groups is gone; something of every axis stays."""
    rng = np.random.default_rng(seed)
    kept = dependencies.everything()
    for group in dependencies.groups:
        if not group.is_open or rng.random() < 0.3:
            continue
        for unit in rng.permutation(group.units)[: rng.integers(1, len(group.units) + 1)]:
            fewer = kept.without(np.array([unit]))
            if dependencies.leaves_something(fewer):
                kept = fewer
    return kept


def zero_operand(model: ir.Model, add: str, index: int) -> ir.Model:
    """A copy of the model with zeros in place of an operand of the Add."""
    copy = model.clone()
    node = next(node for node in copy.graph if node.name == add)
    zero = ir.Value(
        name=f"{add}/zero",
        const_value=ir.tensor(np.zeros((), np.float32), name=f"{add}/zero"),
        shape=ir.Shape(()),
        type=ir.TensorType(ir.DataType.FLOAT),
    )
    copy.graph.register_initializer(zero)
    masked = ir.node("Mul", [node.inputs[index], zero], name=f"{add}/masked")
    masked.outputs[0].name = f"{add}/masked_out"
    copy.graph.insert_before(node, masked)
    node.replace_input_with(index, masked.outputs[0])
    return copy


def judge(
    reference: ir.Model,
    candidates: Sequence[tuple[ir.Model, Dataset]],
    metric: str | None,
    *,
    threads: int = 1,
) -> Judgement:
    """Judge models that stand for one: each on its own data, all together."""
    judging = Judging(reference, metric, candidates[0][1].label_names)
    for model, data in candidates:
        judging.add(model, HeldOut(reference, [data], threads))
    return judging.result()
