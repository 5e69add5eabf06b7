"""A model repository of Triton says what the model is, and batches only what can be batched."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from bundles import make_bundle, make_model_with_data

from converter.packaging.deploy import deploy
from converter.packaging.options import DeployOptions, DeployReport
from runtimes.bundle import write_bundle
from runtimes.errors import DataError

pytestmark = pytest.mark.fast

Graph = Callable[[str], ir.Model]
Saved = Callable[[ir.Model], Path]


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def export(bundle: Path, **options: Any) -> tuple[Path, str, DeployReport]:
    """The model's folder, its configuration and the report."""
    output = bundle.parent / "triton"
    report = deploy(bundle, output, "triton", DeployOptions(**options))
    (model,) = (output / "repository").iterdir()
    return model, (model / "config.pbtxt").read_text(), report


def exported(saved: Saved, model: ir.Model, **more: Any) -> tuple[Path, str, DeployReport]:
    path = saved(model)
    write_bundle(path.parent / "bundle", model=path, name="net", **more).close()
    return export(path.parent / "bundle")


def test_the_whole_configuration(tmp_path: Path) -> None:
    sample = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
    bundle = make_bundle(tmp_path, "bundle.kilnx", version="3", warmup=npz(x=sample))
    model, config, report = export(bundle, instances=2)
    assert model.name == "digits"
    head, _, body = config.partition("\n")
    assert head == f"# digits 3, written by kilnx from bundle {report.bundle}"
    expected = """\
name: "digits"
backend: "onnxruntime"
max_batch_size: 32
default_model_filename: "model.onnx"
version_policy {
  specific {
    versions: 3
  }
}
input {
  name: "x"
  data_type: TYPE_FP32
  dims: 4
}
output {
  name: "y"
  data_type: TYPE_FP32
  dims: 4
  label_filename: "labels.txt"
}
instance_group {
  count: 2
  kind: KIND_CPU
}
dynamic_batching {
}
parameters {
  key: "intra_op_thread_count"
  value {
    string_value: "1"
  }
}
model_warmup {
  name: "sample"
  batch_size: 1
  inputs {
    key: "x"
    value {
      data_type: TYPE_FP32
      dims: 4
      input_data_file: "input0.bin"
    }
  }
}
"""
    assert body == expected
    assert (model / "3/model.onnx").read_bytes() == (
        tmp_path / "model-of-bundle.kilnx.onnx"
    ).read_bytes()
    assert (model / "labels.txt").read_text("utf-8") == "zero\none\nzwölf\ndreizehn\n"
    assert (model / "warmup/input0.bin").read_bytes() == sample[:1].tobytes()


def test_limits_name_and_batch(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path, limits={"max_batch_size": 8})
    model, config, _ = export(bundle, name="other.net")
    assert model.name == "other.net"
    assert 'name: "other.net"\n' in config
    assert "max_batch_size: 8\n" in config


def test_the_option_is_above_the_bundle(tmp_path: Path) -> None:
    assert "max_batch_size: 5\n" in export(make_bundle(tmp_path), max_batch=5)[1]


def test_what_cannot_be_batched_has_its_whole_shape(graph: Graph, saved: Saved) -> None:
    model = graph("g (float[2, n] x) => (float[2, n] y) { y = Relu(x) }")
    _, config, report = exported(saved, model)
    assert "max_batch_size: 0\n" in config
    assert "dims: 2\n  dims: -1\n" in config
    assert "dynamic_batching" not in config
    assert "model_warmup" not in config  # the size of n is not known
    assert any("no batching" in note for note in report.notes)
    assert any("no warm-up" in note for note in report.notes)


def test_a_tensor_without_dimensions_is_reshaped(graph: Graph, saved: Saved) -> None:
    model = graph("g (float[b] x) => (int64[b] y) { y = Cast <to = 7> (x) }")
    _, config, _ = exported(saved, model, warmup=npz(x=np.float32([7, 8])))
    assert config.count("  dims: 1\n  reshape {\n  }\n") == 2
    assert "data_type: TYPE_INT64" in config
    assert "      dims: 1\n      input_data_file" in config


def test_zeros_warm_up_where_all_sizes_are_known(graph: Graph, saved: Saved) -> None:
    model = graph("g (float[b, 3, 2] x) => (float[b, 3, 2] y) { y = Relu(x) }")
    _, config, _ = exported(saved, model)
    assert "      dims: 3\n      dims: 2\n      zero_data: true\n" in config


def test_text_warms_up_with_its_length(graph: Graph, saved: Saved) -> None:
    model = graph("g (string[b, 2] x) => (string[b, 2] y) { y = Identity(x) }")
    folder, config, _ = exported(saved, model, warmup=npz(x=np.array([["a", "zwölf"]])))
    assert "TYPE_STRING" in config
    raw = (folder / "warmup/input0.bin").read_bytes()
    assert raw == b"\x01\0\0\0a" + b"\x06\0\0\0" + "zwölf".encode()


def test_an_element_type_that_triton_lacks_is_refused(graph: Graph, saved: Saved) -> None:
    model = graph("g (float8e4m3fn[b] x) => (float8e4m3fn[b] y) { y = Identity(x) }")
    with pytest.raises(DataError, match=r"Triton has no element type float8_e4m3fn, which 'x' has"):
        exported(saved, model)


def test_weights_in_other_files_come_along(tmp_path: Path) -> None:
    model = make_model_with_data(tmp_path / "model.onnx", "weights.data")
    write_bundle(tmp_path / "bundle", model=model, name="net").close()
    folder, _, _ = export(tmp_path / "bundle")
    names = sorted(path.name for path in (folder / "1").iterdir())
    assert len(names) == 2
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "1/model.onnx")
    assert session.run(None, {"x": np.ones((2, 4), np.float32)})[0].shape == (2, 1024)


def test_a_version_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"version '1.2' cannot be a version of a model repository"):
        export(make_bundle(tmp_path, version="1.2"))
    assert not (tmp_path / "triton").exists()


def test_a_label_of_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a label with a line end"):
        export(make_bundle(tmp_path, labels=["a\nb", "c", "d", "e"]))
