"""What an engine makes of a Q/DQ graph: which operators it really runs in INT8.

A Q/DQ pair that an engine cannot fuse is slower than float and no more accurate, and
nothing tells the user. So the graph that ONNX Runtime optimized is written out and read back, and
OpenVINO is asked for the graph that it runs. TensorRT, which needs a GPU, is not asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from quantizers.policy.plan import Plan, Unit
from runtimes.atomic_files import scratch_folder
from runtimes.engines.openvino_nodes import RuntimeNode, compile_model, runtime_nodes
from runtimes.engines.ort import OrtRuntime


@dataclass(frozen=True)
class Fusion:
    """``unfused``: names of units that stayed in float, with what the engine runs instead.

    ``operators``: how many nodes of each type the optimized graph has.
    """

    unfused: Mapping[str, str]
    operators: Mapping[str, int]


def examine_fusion(model: ir.Model, plan: Plan) -> Fusion:
    """Open ``model`` in the engine that ``plan`` is for, and look up what became of each unit."""
    if plan.form.engine == "openvino":
        return _in_openvino(model, plan)
    if plan.form.engine == "tensorrt":
        return Fusion({}, Counter(node.op_type for node in model.graph))
    return _in_onnx_runtime(model, plan)


def _in_openvino(model: ir.Model, plan: Plan) -> Fusion:
    """By the nodes of OpenVINO's runtime model."""
    nodes = list(runtime_nodes(compile_model(model, threads=1)))
    unfused = {}
    for unit in plan.units:
        found = [node for node in nodes if _became(unit.name, node)]
        if unit.operator.kind == "compute" and found and not any(one.on_bytes for one in found):
            unfused[unit.name] = f"OpenVINO runs it as {found[-1].kind} in {found[-1].precision}"
    return Fusion(unfused, Counter(node.kind for node in nodes))


def _became(name: str, node: RuntimeNode) -> bool:
    """Whether the node called ``name`` went into ``node``; steps of it follow a slash."""
    return any(one == name or one.startswith(f"{name}/") for one in node.origins)


def _in_onnx_runtime(model: ir.Model, plan: Plan) -> Fusion:
    """By the graph that ONNX Runtime optimized.

    Level "extended" is where the INT8 kernels are chosen; the layout level behind it only
    renames them.
    """
    with scratch_folder() as folder:
        path = folder / "optimized.onnx"
        with OrtRuntime(model, threads=1, optimization="extended", optimized_model_path=path):
            pass
        optimized = ir.load(path, format="protobuf")
    unfused = {}
    for unit in plan.units:
        node = _find(unit, optimized.graph)
        if node is not None and not _is_int8(unit, node):
            unfused[unit.name] = f"ONNX Runtime does not fuse it, it runs {node.op_type} in float"
    return Fusion(unfused, Counter(node.op_type for node in optimized.graph))


def _find(unit: Unit, graph: ir.Graph) -> ir.Node | None:
    """The node that became of ``unit``; None where ONNX Runtime needed none.

    Fused nodes keep the name of the node they replace, or put what they did behind a slash.
    """
    for node in graph:
        name = str(node.name)
        if name == unit.name or name.startswith(f"{unit.name}/"):
            return node
    return None


def _is_int8(unit: Unit, node: ir.Node) -> bool:
    if unit.operator.kernels:
        return node.op_type in unit.operator.kernels
    # A movement keeps its type; what counts is that bytes reach it.
    value = node.inputs[0]
    producer = value.producer() if value is not None else None
    return producer is None or producer.op_type != "DequantizeLinear"
