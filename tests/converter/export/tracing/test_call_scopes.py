"""Names of inlined functions: the scopes of the model that was saved, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from converter.export.tracing.call_scopes import strip_calls


@pytest.fixture(scope="module")
def graph_def_type(keras: Any) -> Any:
    from tensorflow.core.framework.graph_pb2 import GraphDef

    return GraphDef


def graph(graph_def_type: Any, *names: str) -> Any:
    """A chain of nodes, each with the one before as its input."""
    graph_def = graph_def_type()
    for index, name in enumerate(names):
        node = graph_def.node.add(name=name, op="Identity")
        if index:
            node.input.append(f"{names[index - 1]}:0")
    return graph_def


def names(graph_def: Any) -> list[str]:
    return [node.name for node in graph_def.node]


def test_the_model_itself_is_left_out(graph_def_type: Any) -> None:
    call = "whole/whole_1/StatefulPartitionedCall/PartitionedCall_2"
    graph_def = graph(
        graph_def_type,
        "x",
        f"{call}/net/conv/Conv2D",
        f"{call}/net/conv/Conv2D/ReadVariableOp",
        f"{call}/net/block/dense/Tensordot/MatMul",
        f"{call}/net/lstm/PartitionedCall/while",
        "Identity_1",
    )
    scopes = strip_calls(graph_def, {"whole"}, fixed=["x", "Identity_1"], whole="whole")
    assert scopes == {"conv", "block/dense", "lstm"}
    assert names(graph_def) == [
        "x",
        "conv/Conv2D",
        "conv/Conv2D/ReadVariableOp",
        "block/dense/Tensordot/MatMul",
        "lstm/while",
        "Identity_1",
    ]
    assert [list(node.input) for node in graph_def.node] == [
        [],
        ["x:0"],
        ["conv/Conv2D:0"],
        ["conv/Conv2D/ReadVariableOp:0"],
        ["block/dense/Tensordot/MatMul:0"],
        ["lstm/while:0"],
    ]


def test_a_layer_with_functions_inside_keeps_its_path(graph_def_type: Any) -> None:
    graph_def = graph(
        graph_def_type,
        "stem/Relu",
        "stem/saved/saved_1/StatefulPartitionedCall/net/dense/MatMul",
    )
    scopes = strip_calls(graph_def, {"stem", "stem/saved"}, fixed=[], whole="whole")
    assert scopes == {"stem/saved/net/dense"}
    assert names(graph_def) == ["stem/Relu", "stem/saved/net/dense/MatMul"]


def test_names_stay_unique_and_control_inputs_follow(graph_def_type: Any) -> None:
    graph_def = graph(graph_def_type, "a/PartitionedCall/Mul", "a/PartitionedCall_1/Mul")
    graph_def.node[1].input.append("^a/PartitionedCall/Mul")
    strip_calls(graph_def, {"a"}, fixed=[], whole="whole")
    assert names(graph_def) == ["a/Mul", "a/Mul_1"]
    assert list(graph_def.node[1].input) == ["a/Mul:0", "^a/Mul"]


def test_calls_that_are_still_there_keep_their_names(graph_def_type: Any) -> None:
    graph_def = graph(graph_def_type, "a/PartitionedCall", "b/Mul", "Func/a/PartitionedCall/input")
    before = names(graph_def)
    assert strip_calls(graph_def, {"a", "b"}, fixed=[], whole="whole") == set()
    assert names(graph_def) == before
