"""Networks that people build go through the commands; benchmarks/compress_layers.py has more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from architectures.case import Architecture
from architectures.outcomes import exported, outcome
from architectures.table import all_architectures

pytestmark = pytest.mark.slow

ALL = all_architectures()

# Where pruning or INT8 went wrong once, or where nothing else has the like.
WHOLE = ("two towers", "VAE decoder", "pixel shuffle, depth first", "masked policy")


@pytest.fixture(scope="module")
def ready(request: pytest.FixtureRequest, keras: Any) -> Any:
    architecture: Architecture = request.param
    live = architecture.model(keras)
    return exported(live), architecture.samples(live)


@pytest.mark.parametrize("command", ["cut", "prune", "quantize", "dedupe"])
@pytest.mark.parametrize("ready", ALL, ids=lambda one: one.name, indirect=True)
def test_the_result_does_the_same_job(command: str, ready: Any, tmp_path: Path) -> None:
    model, samples = ready
    found = outcome(command, model.clone(), samples, tmp_path)
    assert found.status != "fault", found.detail
    assert found.detail


@pytest.mark.parametrize(
    "ready", [one for one in ALL if one.name in WHOLE], ids=lambda one: one.name, indirect=True
)
def test_compress_keeps_what_is_sound(ready: Any, tmp_path: Path) -> None:
    model, samples = ready
    found = outcome("compress", model, samples, tmp_path)
    assert found.status != "fault", found.detail


def test_there_are_fifty_of_them() -> None:
    assert len(ALL) >= 50
