"""What the report finds out in an engine that is not ONNX Runtime."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from converter.report.analysis import analyze
from runtimes import Dataset, load_model
from runtimes.onnx_files.load_save import model_inputs, save_model


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two files of one small network, with other weights."""
    found = []
    for name, weight in (("fp32", "1, 2, 3, 4"), ("result", "1, 2, 3, 5")):
        text = f"""<ir_version: 8, opset_import: ["" : 19]>
            g (float[N, 2] x) => (float[N, 2] y) <float[2, 2] w = {{{weight}}}>
            {{ [dense] y = MatMul (x, w) }}"""
        found.append(tmp_path / f"{name}.onnx")
        save_model(ir.from_onnx_text(text), found[-1])
    return found[0], found[1]


def test_an_engine_without_times_of_operators_is_no_defect(files: tuple[Path, Path]) -> None:
    x = np.random.default_rng(0).standard_normal((8, 2)).astype(np.float32)
    data = Dataset.open({"x": x}, inputs=model_inputs(load_model(files[0])))
    found = analyze(*files, data, provider="reference", threads=1)
    assert not found.defects
    assert found.before is found.after is None
    assert any("operators are timed on cpu and cuda only" in note for note in found.notes)
    assert found.errors
    assert found.layers is not None
