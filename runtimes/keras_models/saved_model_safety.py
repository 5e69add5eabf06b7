"""Which operators of a SavedModel reach outside the model: files, Python, the network.

A SavedModel is a program. Loading it runs the operators that initialize its tables, and calling it
runs the rest, so everything reachable from either is checked before anything is loaded. An operator
with side effects (TensorFlow calls it stateful) must be on a list of harmless ones; any other must
not be one that reads files. https://github.com/tensorflow/tensorflow/blob/master/SECURITY.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

# Stateful operators whose effects stay within the running model.
_HARMLESS = re.compile(
    r"""
    VarHandleOp | VariableV2? | Assign\w*VariableOp | _?ReadVariables?Op | VarIsInitializedOp
    | Assign(Add|Sub)? | IsVariableInitialized | VariableShape | DisableCopyOnRead
    | DestroyResourceOp | IsResourceHandleRefCounting | ResourceInitializedOp | TemporaryVariable
    | Resource(Gather|GatherNd|Scatter\w*|Apply\w*|SparseApply\w*|StridedSliceAssign|CountUpTo)
    | \w*HashTable\w* | LookupTable\w+ | InitializeTable(V2)?
    | TensorArray\w* | Stack\w* | Random(?!Dataset)\w+ | Rng\w+ | NonDeterministicInts
    | Stateful(Standard|Uniform|Truncated|Random)\w* | StatelessRandomGetAlg
    | Multinomial | ParameterizedTruncatedNormal | TruncatedNormal | \w+CandidateSampler
    | SampleDistortedBoundingBox\w* | (Dummy|Anonymous|Delete)\w*SeedGenerator
    | StatefulPartitionedCall | _?(While|If) | Case | _?(Arg|Retval) | _Device(Arg|Retval)
    | Assert | CheckNumerics\w* | GuaranteeConst | Empty | DeepCopy | DeviceIndex | CudnnRNN\w*
    | Print | IsTensorFloat32Enabled | GraphDefVersion | Xla(Launch|CallModule|If|While)
    | MutexV2 | MutexLock | ConsumeMutexLock | Barrier | Timestamp
    """,
    re.VERBOSE,
)

# Operators that reach outside although TensorFlow does not call them stateful.
_OUTSIDE = re.compile(
    r"\w*PyFunc\w*|ReadFile|WriteFile|MatchingFiles|GenerateVocabRemapping|\w*Dataset\w*"
    r"|\w*Reader\w*|Debug\w+|Save\w*|Restore\w*|\w*FromTextFile\w*|LoadAndRemapMatrix"
)

_TEXT_FILE = "InitializeTableFromTextFile"


def outside_operators(meta_graph: Any) -> tuple[str, ...]:
    """Operators reaching outside among those that loading and calling ``meta_graph`` can run.

    ``meta_graph`` is TensorFlow's ``MetaGraphDef``. Returns operator types, each with the function
    or node that uses it, such as ``ReadFile (in __inference_serve_12)``, sorted; empty if there are
    none. Vocabulary files belong to the model as long as they are among its assets.
    """
    found = {
        f"an asset outside the model ({asset.filename!r})"
        for asset in meta_graph.asset_file_def
        if _escapes(asset.filename)
    }
    if meta_graph.HasField("object_graph_def"):
        found |= _in_functions(meta_graph, meta_graph.object_graph_def.concrete_functions)
    else:
        found |= _in_version_1(meta_graph)
    return tuple(sorted(found))


def _escapes(filename: str) -> bool:
    posix, windows = PurePosixPath(filename), PureWindowsPath(filename)
    return posix.is_absolute() or bool(windows.drive) or ".." in {*posix.parts, *windows.parts}


def _in_functions(meta_graph: Any, roots: Iterable[str]) -> set[str]:
    """Check the functions that ``roots`` call, directly or indirectly."""
    library = {
        function.signature.name: function for function in meta_graph.graph_def.library.function
    }
    found: set[str] = set()
    seen: set[str] = set()
    pending = [name for name in roots if name in library]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        function = library[name]
        assets = _asset_arguments(meta_graph, function)
        for node in function.node_def:
            pending += [called for called in _called(node) if called in library]
            if _reaches_outside(node, assets):
                found.add(f"{node.op} (in {name})")
    return found


def _in_version_1(meta_graph: Any) -> set[str]:
    """TensorFlow 1: one graph, of which the outputs, initializers and restore operators are run."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    assets = {_node_of(asset.tensor_info.name) for asset in meta_graph.asset_file_def}
    checkpoint = _node_of(meta_graph.saver_def.filename_tensor_name)
    ran = _ancestors(nodes, _roots_of_version_1(meta_graph))
    restoring = _ancestors(nodes, [_node_of(meta_graph.saver_def.restore_op_name)]) - ran
    found: set[str] = set()
    called: list[str] = []
    for name in sorted(ran | restoring):
        node = nodes[name]
        called += _called(node)
        if name in restoring and node.op.startswith("Restore"):
            if _seen_through_identity(nodes, node.input[0]) != checkpoint:
                found.add(f"{node.op} (at {name})")
        elif _reaches_outside(node, assets):
            found.add(f"{node.op} (at {name})")
    return found | _in_functions(meta_graph, called)


def _roots_of_version_1(meta_graph: Any) -> list[str]:
    """Outputs of all signatures, and all nodes that are run to set the graph up."""
    from tensorflow.core.framework.variable_pb2 import VariableDef

    roots: list[str] = []
    for signature in meta_graph.signature_def.values():
        for info in signature.outputs.values():
            sparse, parts = info.coo_sparse, info.composite_tensor.components
            roots += [info.name, sparse.values_tensor_name, sparse.indices_tensor_name]
            roots += [sparse.dense_shape_tensor_name, *(part.name for part in parts)]
    for name, collection in meta_graph.collection_def.items():
        roots += collection.node_list.value
        if name.endswith("variables"):
            for serialized in collection.bytes_list.value:
                roots.append(VariableDef.FromString(serialized).initializer_name)
    return [_node_of(name) for name in roots if name]


def _ancestors(nodes: Mapping[str, Any], roots: Iterable[str]) -> set[str]:
    """All nodes that ``roots`` depend on, including themselves and control inputs."""
    found: set[str] = set()
    pending = [name for name in roots if name in nodes]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += [source for source in map(_node_of, nodes[name].input) if source in nodes]
    return found


def _seen_through_identity(nodes: Mapping[str, Any], tensor: str) -> str:
    name = _node_of(tensor)
    while name in nodes and nodes[name].op == "Identity":
        name = _node_of(nodes[name].input[0])
    return name


def _asset_arguments(meta_graph: Any, function: Any) -> set[str]:
    """The arguments of an object graph's function that are paths of the model's assets."""
    objects = meta_graph.object_graph_def
    if function.signature.name not in objects.concrete_functions:
        return set()
    bound = objects.concrete_functions[function.signature.name].bound_inputs
    captures = function.signature.input_arg[len(function.signature.input_arg) - len(bound) :]
    return {
        argument.name
        for argument, node in zip(captures, bound, strict=True)
        if objects.nodes[node].WhichOneof("kind") == "asset"
    }


def _called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls, from all of its attributes."""
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)


def _reaches_outside(node: Any, assets: set[str]) -> bool:
    from tensorflow.python.framework import op_def_registry

    if node.op.startswith(_TEXT_FILE):
        return len(node.input) < 2 or _node_of(node.input[1]) not in assets
    if node.op == "PrintV2":
        return bool(node.attr["output_stream"].s.startswith(b"file"))
    definition = op_def_registry.get(node.op)
    stateful = definition is not None and bool(definition.is_stateful)
    if stateful and not _HARMLESS.fullmatch(node.op):
        return True
    return _OUTSIDE.fullmatch(node.op) is not None


def _node_of(tensor: str) -> str:
    """The node or argument that a tensor's or control input's name refers to."""
    return tensor.removeprefix("^").split(":")[0]
