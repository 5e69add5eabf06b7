"""Exactly one ONNX Runtime."""

import sys

import pytest

from runtimes.engines.ort_install import is_installed, require_onnxruntime
from runtimes.errors import RuntimeUnavailable


def test_the_installed_one_is_given_back() -> None:
    import onnxruntime

    assert require_onnxruntime() is onnxruntime
    assert is_installed("numpy")
    assert not is_installed("no-such-distribution-at-all")


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"])
def test_either_alone_is_enough(name: str) -> None:
    assert require_onnxruntime(lambda asked: asked == name).__name__ == "onnxruntime"


def test_neither_says_what_to_install() -> None:
    with pytest.raises(RuntimeUnavailable, match="the extra 'cpu' brings it: pip") as caught:
        require_onnxruntime(lambda _: False)
    assert caught.value.exit_code == 3


def test_both_say_how_to_keep_one() -> None:
    command = r"pip uninstall -y onnxruntime onnxruntime-gpu && pip install '.*\[gpu\]'"
    with pytest.raises(RuntimeUnavailable, match=command):
        require_onnxruntime(lambda name: name != "onnxruntime-openvino")
    with pytest.raises(RuntimeUnavailable, match="are all installed and overwrite each other"):
        require_onnxruntime(lambda _: True)


def test_one_that_does_not_load_is_reinstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(RuntimeUnavailable, match=r"--force-reinstall '.*\[gpu\]'"):
        require_onnxruntime(lambda asked: asked == "onnxruntime-gpu")
