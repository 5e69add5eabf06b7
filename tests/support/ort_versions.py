"""What the installed ONNX Runtime can do, for tests that a version with a fault should skip."""

from __future__ import annotations

import functools
import re

import onnx.parser
import pytest


def needs_ort(version: str, because: str) -> pytest.MarkDecorator:
    """Skip a test where ONNX Runtime is older than ``version``, such as ``"1.21"``."""
    import onnxruntime

    old = _numbers(onnxruntime.__version__) < _numbers(version)
    return pytest.mark.skipif(old, reason=f"before ONNX Runtime {version}, {because}")


@functools.cache
def ort_reads_opset(opset: int) -> bool:
    """Whether the installed ONNX Runtime opens models of this version of ONNX's operators."""
    import onnxruntime

    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[1] x) => (float[1] y)'
        "{ y = Neg (x) }"
    )
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
