"""Processes that die at a step that writes, and small models for them to write."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

DIED = 9
STEPS = ("open", "write", "fsync", "replace", "mkdir", "unlink")


def dense_model(folder: Path, name: str, seed: int) -> Path:
    """Write a matrix product."""
    value = ir.Value(name="w")
    tensor = ir.tensor(np.random.default_rng(seed).normal(size=(16, 16)).astype(np.float32))
    value.const_value, value.type, value.shape = tensor, ir.TensorType(tensor.dtype), tensor.shape
    x = ir.val("x", ir.DataType.FLOAT, ["N", 16])
    node = ir.node("MatMul", [x, value])
    node.outputs[0].name, node.outputs[0].type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 18})
    graph.name = "g"
    ir.save(ir.Model(graph, ir_version=9), folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def die_at(count: int) -> None:
    """Let this process die, without any cleaning up, at its ``count``-th step that writes.

    A write dies when half of it is done.
    """
    left = [count]

    def wrap(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return original(*arguments, **options)
            left[0] -= 1
            if left[0] == 0:
                if name == "write":
                    original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                os._exit(DIED)
            return original(*arguments, **options)

        return step

    for name in STEPS:
        setattr(os, name, wrap(name, getattr(os, name)))


def in_a_process(work: Callable[[], object], count: int) -> int:
    """Run ``work`` in a child that dies at step ``count``; its exit code."""
    child = os.fork()
    if child == 0:
        try:
            die_at(count)
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
