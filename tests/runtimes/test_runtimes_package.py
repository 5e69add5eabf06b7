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


def test_profile_stays_the_function_when_its_file_is_imported() -> None:
    code = (
        "from runtimes.profiling.profile import ProfileReport\n"
        "import runtimes\n"
        "assert callable(runtimes.profiling.profile)\n"
        "from runtimes import profile\n"
        "assert callable(profile) and profile.__name__ == 'profile'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_loads_tensorflow_keras_or_onnxruntime_before_it_is_needed() -> None:
    code = (
        "import sys, runtimes\n"
        "assert 'numpy' not in sys.modules\n"
        "from runtimes import Dataset, check, profile, open_runtime\n"
        "loaded = {'tensorflow', 'keras', 'tf2onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
