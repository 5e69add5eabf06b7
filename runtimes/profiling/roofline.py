"""The peak performance of this machine: the roofline that operators are compared with.

Williams, Waterman, Patterson: Roofline, an insightful visual performance model for multicore
architectures, CACM 52 (2009). Arithmetic is measured by a large matrix product, memory by copying
arrays that fit in no cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from runtimes.base import Array
from runtimes.engines.ort import NO_SPINNING, OrtRuntime

# Rows and columns of the matrices; three of them take 7 MB, which fits in most machines' caches.
_SIDE = 768
# Larger than the cache of any common CPU today.
_COPY_BYTES = 128_000_000
# The fastest run counts: interference only makes a run slower.
_REPEATS = 5


@dataclass(frozen=True)
class Roof:
    """The measured peaks: float32 GFLOP/s, and GB/s of memory traffic."""

    gflops: float
    gigabytes_per_s: float

    @property
    def ridge(self) -> float:
        """Operations per byte above which arithmetic is the limit."""
        return self.gflops / self.gigabytes_per_s

    def memory_bound(self, operations: float, moved: float) -> bool:
        """Whether memory limits an operator with these numbers of operations and bytes."""
        return operations < self.ridge * moved


def measure_roof(threads: int | None = None) -> Roof:
    """Run both tests, with as many ``threads`` as the model; takes about a second.

    The copy uses one thread, which alone saturates the memory bandwidth of most machines.
    """
    rng = np.random.default_rng(0)
    square = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    with OrtRuntime(_product(), threads=threads, config=NO_SPINNING) as runtime:
        call = runtime.prepare({"a": square, "b": square})
        gemm = _best(call)
    source: Array = np.ones(_COPY_BYTES // 4, np.float32)
    target = np.empty_like(source)
    copy = _best(lambda: np.copyto(target, source))
    return Roof(2 * _SIDE**3 / gemm / 1e9, 2 * source.nbytes / copy / 1e9)


def _best(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(_REPEATS):
        before = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - before)
    return min(seconds)


def _product() -> ir.Model:
    a, b = (ir.val(name, ir.DataType.FLOAT, (_SIDE, _SIDE)) for name in "ab")
    node = ir.node("MatMul", [a, b])
    node.outputs[0].name = "c"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([a, b], node.outputs, nodes=[node], opset_imports={"": 18}, name="gemm")
    return ir.Model(graph, ir_version=10)
