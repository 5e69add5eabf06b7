"""Fixtures that several parts share: small trained models, made once a session."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
import threading

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# A defect is raised where it is, also in commands that would go on without what it costs.
os.environ["KILNX_STRICT"] = "1"
# The cost table of the tests is their own, shared by those that run side by side.
if "KILNX_TEST_CACHE" not in os.environ:  # else another process made it, and removes it
    os.environ["KILNX_TEST_CACHE"] = tempfile.mkdtemp(prefix="kilnx-tests-")
    atexit.register(shutil.rmtree, os.environ["KILNX_TEST_CACHE"], ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = os.environ["KILNX_TEST_CACHE"]

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

for _module in ("graph", "pruning", "quantizer", "runtime"):
    pytest.register_assert_rewrite(f"{_module}_fixtures")
pytest.register_assert_rewrite("pruning_checks", "layer_cases.table")

# No test asserts a time, and a busy machine is no reason to fail.
# The same examples each time: whoever looks for new ones says `--hypothesis-profile search`.
usual = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("kilnx", usual, derandomize=True)
settings.register_profile("thorough", usual, derandomize=True, max_examples=300)
settings.register_profile("search", usual, max_examples=300)
settings.load_profile("kilnx")


# Folders whose tests need no TensorFlow, no training and no timing: about a minute on two cores.
_FAST = (
    "test_packaging.py",
    "test_public_api.py",
    "converter/passes",
    "converter/compression/test_attempts.py",
    "converter/compression/test_decisions.py",
    "converter/cli/test_groups.py",
    "quantizers/calibration",
    "quantizers/equalization",
    "quantizers/policy",
    "quantizers/qdq",
    "quantizers/weights",
    "runtimes/costs/test_kernels.py",
    "runtimes/costs/test_table.py",
    "runtimes/data",
    "runtimes/metrics",
    "runtimes/onnx_files",
    "runtimes/onnx_graph",
    "runtimes/parity",
    "runtimes/test_errors.py",
    "runtimes/test_moved.py",
    "runtimes/test_options.py",
)
_NEED_KERAS = {"keras", "digits", "digits_model", "digits_files", "keras2_hdf5"}


def pytest_configure() -> None:
    """Heed signals as in a terminal, also where the tests run in the background or under nohup."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_IGN:
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file run in one process, where what they share is made once.

    Files go out in their order, which begins with those that take long: few are left for the end.
    """
    if config.getvalue("dist") != "load":  # what -n says of itself
        return None
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


_frozen = False


def pytest_runtest_teardown() -> None:
    """Leave what TensorFlow consists of out of garbage collections from the first test with it on.

    Keras collects whenever a session is cleared, which took as long as the exports that are tested.
    """
    global _frozen  # noqa: PLW0603
    if not _frozen and "tensorflow" in sys.modules:
        gc.collect()
        gc.freeze()
        _frozen = True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``slow`` most cases of sweeps, and as ``fast`` what the fast loop runs."""
    root, seen = Path(__file__).parent, Counter[str]()
    for item in items:
        sweep, function = item.get_closest_marker("sweep"), item.nodeid.partition("[")[0]
        if sweep is not None and seen[function] % sweep.args[0]:
            item.add_marker("slow")
        seen[function] += 1
        inside = item.path.relative_to(root).as_posix().startswith(_FAST)
        needs = _NEED_KERAS & {
            *getattr(item, "fixturenames", ()),
            *(mark.name for mark in item.iter_markers()),
        }
        if inside and not needs and item.get_closest_marker("slow") is None:
            item.add_marker("fast")


@pytest.fixture(autouse=True)
def idle_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a report says of the machine's load does not hang on what else runs on it."""
    from runtimes import machine_load

    moment = machine_load.Moment(0.0, 0.0, 0.0, 0.0, 0.0, 1)
    monkeypatch.setattr(machine_load, "now", lambda: moment)


@pytest.fixture(scope="session", autouse=True)
def short_measurements() -> Iterator[None]:
    """Commands time models for moments only: no test depends on what a clock says."""
    from short_measurements import shorten

    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        yield


@pytest.fixture(scope="session")
def digits() -> tuple[dict[str, Any], dict[str, Any]]:
    """Training and test samples of scikit-learn's digits, as the demo uses them."""
    from converter.demo import load_digits

    return load_digits(seed=0)


@pytest.fixture(scope="session")
def keras() -> Any:
    """Keras on TensorFlow, without start-up noise."""
    from runtimes.keras_models.load import import_keras

    return import_keras()


@pytest.fixture(scope="session")
def digits_model(keras: Any, digits: tuple[dict[str, Any], dict[str, Any]]) -> Any:
    """A small convolutional network with BatchNormalization, trained for some seconds."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((16, 16, 1), name="image")
    x = layers.Conv2D(12, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    y = layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9)(y))
    y = layers.Conv2D(12, 1)(y)
    x = layers.Add()([x, layers.BatchNormalization(momentum=0.9)(y)])
    x = layers.ReLU()(layers.Conv2D(24, 3, strides=2)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(10, name="digit")(x), name="small_digits")
    model.compile(
        keras.optimizers.Adam(5e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    train = digits[0]
    model.fit(train["image"], train["labels"], batch_size=64, epochs=10, verbose=0)
    return model


@pytest.fixture(scope="session")
def digits_files(
    digits_model: Any,
    digits: tuple[dict[str, Any], dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder with ``model.keras``, ``train.npz`` and ``test.npz``; not to be written to."""
    folder = tmp_path_factory.mktemp("digits")
    digits_model.save(folder / "model.keras")
    for name, samples in zip(("train", "test"), digits, strict=True):
        np.savez(folder / f"{name}.npz", **samples)
    return folder


@pytest.fixture
def kilnx(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command line in this process: exit code, standard output, standard error."""
    from converter.cli import app
    from converter.cli.console import run_cli

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run_cli(app, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
