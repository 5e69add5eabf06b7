"""A model that cannot be called says which of its parts can be exported, and how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from converter import convert
from runtimes.errors import ConversionError

keras = pytest.importorskip("keras")


class Trained(keras.Model):
    """As those that define a training step of their own."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(name="trained")
        for name, part in parts.items():
            setattr(self, name, part)

    def train_step(self, data: Any) -> Any:
        return {}


def test_the_lines_that_it_tells_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = keras.layers.Dense(2)
    head.build((None, 3))
    model = Trained(
        encoder=keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]),
        critics=[keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])],
        head=head,
        unbuilt=keras.layers.Dense(5),
        sampling=keras.layers.Dropout(0.1),
    )
    with pytest.raises(ConversionError, match=r"Trained defines no call\(\)") as error:
        convert(model, tmp_path / "m.onnx")
    told = str(error.value)
    assert "unbuilt" not in told
    lines = re.findall(r"convert\(.*?onnx\"\)", told)
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    for line in lines:
        exec(line, {"convert": convert, "keras": keras, "model": model})
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "critics_0.onnx",
        "encoder.onnx",
        "head.onnx",
    ]
    session = onnxruntime.InferenceSession("head.onnx", providers=["CPUExecutionProvider"])
    (name,) = [one.name for one in session.get_inputs()]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(session.run(None, {name: x})[0], head(x), atol=1e-6)


def test_a_model_without_any_parts(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"define it, or give a model that has one"):
        convert(Trained(), tmp_path / "m.onnx")
