"""What the command line takes for a model besides .keras files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def in_json(digits_model: Any, tmp_path: Path) -> tuple[Path, Path]:
    """The configuration of a model and its weights, in two files."""
    (tmp_path / "digits.json").write_text(digits_model.to_json())
    digits_model.save_weights(tmp_path / "digits.weights.h5")
    return tmp_path / "digits.json", tmp_path / "digits.weights.h5"


def test_json_and_weights(
    kilnx: Run, in_json: tuple[Path, Path], digits_model: Any, digits: Any, tmp_path: Path
) -> None:
    config, weights = in_json
    output = tmp_path / "model.onnx"
    code, _, err = kilnx("convert", config, "-o", output)
    assert code == 2
    assert "--weights" in err
    assert not output.exists()
    code, _, err = kilnx("convert", config, "--weights", weights, "-o", output)
    assert code == 0, err
    images = digits[1]["image"][:4]
    (found,) = onnxruntime.InferenceSession(output).run(None, {"image": images})
    np.testing.assert_allclose(found, digits_model.predict(images, verbose=0), atol=1e-4)


def test_a_check_against_them(
    kilnx: Run, in_json: tuple[Path, Path], digits_model: Any, digits_files: Path, tmp_path: Path
) -> None:
    config, weights = in_json
    digits_model.export(tmp_path / "exported", verbose=False)
    samples = digits_files / "test.npz"
    for reference, options in (
        (config, ["--weights", weights]),
        (tmp_path / "exported", []),
        (tmp_path / "exported", ["--signature-key", "serve"]),
    ):
        code, out, err = kilnx(
            "check", reference, digits_files / "model.keras", "--data", samples, *options
        )
        assert code == 0, out + err


def test_weights_that_do_not_fit(kilnx: Run, in_json: tuple[Path, Path], tmp_path: Path) -> None:
    config, weights = in_json
    config.write_text(config.read_text().replace('"units": 10', '"units": 7'))
    code, _, err = kilnx("convert", config, "--weights", weights, "-o", tmp_path / "model.onnx")
    assert code == 2
    assert "do not fit the model" in " ".join(err.split())
    assert "Traceback" not in err
