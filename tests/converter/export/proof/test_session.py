"""A large file is proven on the weights that it was written from, which must be those in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from converter import convert
from converter.export import convert as conversion
from converter.export.proof import session as proof_session
from converter.export.proof.session import proof_session as session_of
from runtimes import ConversionError, open_runtime
from runtimes.engines.ort import OrtRuntime
from runtimes.onnx_files import streaming as single_file
from runtimes.onnx_files.load_save import write_model


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_session, "_SHARED_ABOVE_BYTES", 0)
    monkeypatch.setattr(single_file, "_REFERRED_ABOVE_BYTES", 16)


def graph(text: str) -> ir.Model:
    header = '<ir_version: 10, opset_import: ["" : 18]>\n'
    return ir.from_proto(onnx.parser.parse_model(header + text))


@pytest.mark.parametrize("external_above", [0, 10**9])
def test_the_weights_of_the_session_are_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, external_above: int
) -> None:
    monkeypatch.setattr("runtimes.onnx_files.load_save._EXTERNAL_ABOVE_BYTES", external_above)
    model = graph(
        "g (float[n, 2] x) => (float[n, 300] y) <float[1] w = {1}, bfloat16[1] b = {1}> {"
        " m = MatMul(x, w)\n c = Cast<to = 1>(b)\n y = Add(m, c) }"
    )
    weights = np.random.default_rng(0).random((2, 300), np.float32)
    tensors = {"w": ir.tensor(weights), "b": ir.tensor(np.ones(300, ml_dtypes.bfloat16))}
    for name, tensor in tensors.items():
        value = model.graph.initializers[name]
        value.const_value, value.shape = tensor, tensor.shape
    path = tmp_path / "m.onnx"
    write_model(model, path)
    files = sorted(tmp_path.iterdir())
    x = np.float32([[1, 2]])
    with session_of(path, model) as found:
        assert set(found.initializers) == {"w"}  # numpy lacks bfloat16: mapped from the file
        assert found.initializers["w"].data_ptr() == weights.ctypes.data
        assert found.path.stat().st_size < 1000
        with OrtRuntime(found.path, initializers=found.initializers) as runtime:
            np.testing.assert_allclose(runtime.run({"x": x})["y"], x @ weights + 1, rtol=1e-6)
    assert sorted(tmp_path.iterdir()) == files


def test_a_small_file_runs_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof_session, "_SHARED_ABOVE_BYTES", 10**6)
    model = graph("g (float[n] x) => (float[n] y) { y = Neg(x) }")
    write_model(model, tmp_path / "m.onnx")
    with session_of(tmp_path / "m.onnx", model) as found:
        assert found.path == tmp_path / "m.onnx"
        assert found.initializers == {}


def test_a_converted_model_is_proven_in_that_way(
    digits_model: Any, digits: Any, tmp_path: Path
) -> None:
    convert(digits_model, tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    images = digits[1]["image"][:5]
    with open_runtime(tmp_path / "m.onnx") as runtime:
        (found,) = runtime.run({"image": images}).values()
    np.testing.assert_allclose(found, digits_model.predict(images, verbose=0), atol=1e-4)


def test_another_byte_in_the_file_is_seen(
    digits_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaging(model: ir.Model, path: Path) -> None:
        write_model(model, path)
        largest = max(
            (v.const_value for v in model.graph.initializers.values() if v.const_value is not None),
            key=lambda tensor: tensor.nbytes,
        )
        written = bytearray(path.read_bytes())
        written[written.index(largest.tobytes()) + 3] ^= 1
        path.write_bytes(written)

    monkeypatch.setattr(conversion, "write_model", damaging)
    with pytest.raises(
        ConversionError, match=r"weight '.*' in the file differs from what was written"
    ):
        convert(digits_model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
