"""Workers measure the noise of operators as one process does, whatever happens to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from shard_workers import workers_of_this_process

from quantizers import QuantizeOptions
from quantizers.calibration.statistics import observe
from quantizers.mixed_precision.candidate import CalibratedModel, FloatModel
from quantizers.mixed_precision.sensitivity import measure_sensitivities
from quantizers.mixed_precision.shared_sensitivity import shared_sensitivities
from quantizers.policy.plan import make_plan
from quantizers.rewrites.prepare import prepare
from runtimes import DataError
from runtimes.engines.remembering import RememberingRuntime

OPTIONS = QuantizeOptions()


@pytest.fixture
def measured(residual_model: Any, images: Any, bound: Any) -> Callable[..., dict[str, float]]:
    """The noise of each operator, by so many workers (none: by this process)."""
    source = prepare(residual_model)
    data = bound(source, image=images)
    statistics = observe(source, make_plan(source.graph), data, OPTIONS)
    ranges = {name: statistics.range(name) for name in statistics.observers}
    basis = CalibratedModel(source, statistics, ranges)
    units = make_plan(source.graph).units
    names = [unit.name for unit in units if unit.operator.kind == "compute"]

    def measure(workers: int | None = None, progress: Any = lambda *_: None) -> dict[str, float]:
        with RememberingRuntime(source, threads=1) as reference:
            if workers is None:
                return measure_sensitivities(reference, basis, names, data, OPTIONS)
            options, floats = (
                QuantizeOptions(workers=workers),
                FloatModel(source, reference, {}, {}),
            )
            return shared_sensitivities(floats, basis, names, data, options, progress=progress)

    return measure


def test_workers_find_the_same_numbers(measured: Any) -> None:
    alone = measured()
    assert len(alone) > 2
    assert list(measured(1).items()) == list(alone.items())
    assert list(measured(2).items()) == list(alone.items())


def test_a_worker_that_is_killed_changes_nothing(measured: Any) -> None:
    killed: list[int] = []

    def kill_one(stage: str, done: int, total: int) -> None:
        if not killed and done < total:
            killed.extend(workers_of_this_process()[:1])
            for worker in killed:
                os.kill(worker, signal.SIGKILL)

    assert measured(2, kill_one) == measured()
    assert killed


def test_no_workers_are_refused(measured: Any) -> None:
    with pytest.raises(DataError, match="at least one worker"):
        measured(0)
