"""tract as a runtime: Sonos' inference engine in Rust, https://github.com/sonos/tract."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from runtimes.base import Array, Feed
from runtimes.engines.failing_node import named
from runtimes.engines.fixed_sizes import Sizes
from runtimes.engines.placement import LayerPrecision
from runtimes.engines.provider_table import require_package
from runtimes.engines.shaped import Opened, ShapedRuntime
from runtimes.engines.tract_trial import TractPanicked, try_in_a_process
from runtimes.errors import RuntimeUnavailable
from runtimes.onnx_files.load_save import ModelSource

_NODE = re.compile(r'(?:node |Evaluating |Translating node )#\d+ "(?P<name>[^"]*)" (?P<op>[\w<>]+)')

# What only moves or relabels values, or holds them.
_MOVES = {
    "AddAxis", "Const", "Gather", "MoveAxis", "OptMatMulPack", "Reshape", "RmAxis", "Slice",
    "Source", "TypedConcat",
}  # fmt: skip


class TractRuntime(ShapedRuntime):
    """One ONNX model in tract, on the CPU and on one thread.

    tract ends the process on some models, so each is first tried in a process of its own.
    """

    engine = "tract"
    asked = "tract"

    def __init__(self, model: ModelSource, *, threads: int | None = None) -> None:
        if threads is not None and threads > 1:
            raise RuntimeUnavailable(
                f"tract's Python package computes on one thread, not on {threads}: give --threads 1"
            )
        super().__init__(model, threads=1 if threads is None else threads)

    def _require(self) -> str:
        self._tract = require_package("tract", "tract", "tract")
        return str(self._tract.version())

    def _adapted(self, model: ir.Model) -> ir.Model:
        """The model, refused where tract is known to end the process: no trial could say why."""
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            if node.op_type in ("GRU", "LSTM", "RNN") and not node.outputs[0].name:
                raise TractPanicked(
                    named(
                        node,
                        "tract ends the process where a recurrent layer's first output has no "
                        "name; give it one",
                    )
                )
        return model

    def _open(self, path: Path, sizes: Sizes) -> Any:
        types = [spec.dtype.str for spec in self._fed]
        try_in_a_process(path, sizes, types)
        return self._tract.onnx().load(str(path)).into_model().into_runnable()

    def _call(self, opened: Opened, feed: Feed) -> Sequence[Array | None]:
        arrays = [np.asarray(feed[spec.name], order="C") for spec in self._fed]
        return [tensor.to_numpy() for tensor in opened.model.run(arrays)]

    def _layers(self, opened: Opened) -> Sequence[LayerPrecision]:
        nodes = sorted(
            json.loads(opened.model.profile_json(None))["nodes"],
            key=lambda node: node["qualified_id"],
        )
        return [_layer(node) for node in nodes if node["op_name"] not in _MOVES]

    def _is_engines(self, error: Exception) -> bool:
        return isinstance(error, self._tract.TractError | TractPanicked)

    def _reason(self, error: Exception) -> str:
        text = str(error).split("Stack backtrace:")[0]
        text = re.sub(r"\s+", " ", text).strip()
        found = _NODE.search(text)
        reason = text.rsplit("Caused by: ", 1)[-1]
        reason = re.sub(r"^(\d+: .*)?\d+: ", "", reason)[:300]
        if found is None:
            return reason
        unknown = re.search(r"Unimplemented\((\w+)\)", text)
        if unknown:
            return f"node {found['name']!r} ({unknown[1]}): tract does not have this operator"
        return f"node {found['name']!r} ({found['op']}): {reason}"


def _layer(node: dict[str, Any]) -> LayerPrecision:
    """A layer and what it computes in: told by its cost, or by the operator's name."""
    op_type = str(node["op_name"])
    costs = " ".join(node.get("cost", {}))
    found = re.search(r"FMA\((\w+)\)|Div\((\w+)\)", costs)
    precision = (found[1] or found[2]).lower() if found else ""
    if not precision:
        named = re.search(r"([UIF](?:8|16|32|64))$", op_type)
        precision = named[1].lower() if named else "f32"
    return LayerPrecision(str(node["node_name"]), op_type, precision)
