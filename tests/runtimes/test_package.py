"""The names of the package, and what importing them costs."""

import subprocess
import sys

import pytest

import runtimes


def test_every_public_name_is_there() -> None:
    for name in runtimes.__all__:
        assert getattr(runtimes, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = runtimes.nothing


def test_nothing_loads_tensorflow_keras_or_onnxruntime_before_it_is_needed() -> None:
    code = (
        "import sys, runtimes\n"
        "assert 'numpy' not in sys.modules\n"
        "from runtimes import Dataset, check, profile, open_runtime\n"
        "loaded = {'tensorflow', 'keras', 'tf2onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
