"""The same command gives the same file, whatever the clock reads."""

import hashlib
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter import compress
from converter.compression import judge as judging
from converter.compression.gain import lost_race, lost_to_another
from runtimes.profiling.report import ProfileReport


@pytest.fixture
def reckless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races that say anything: between half and three times as fast, with a wide interval."""
    race, chance = judging.profile, random.Random(7)

    def said(*models: Any, **options: Any) -> ProfileReport:
        found = race(*models, **{**options, "min_time": 0.01, "max_time": 0.02})
        if found.batches[0].ratio is None:
            return found
        ratio = chance.uniform(0.5, 3.0)
        wide = replace(found.batches[0], ratio=ratio, ratio_low=ratio / 3, ratio_high=ratio * 3)
        return replace(found, batches=(wide,))

    monkeypatch.setattr(judging, "profile", said)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def network(graph: Any) -> Any:
    """Convolutions with channels that are sums of others: there is something to prune."""
    rng = np.random.default_rng(3)

    def redundant(outputs: int, *rest: int) -> np.ndarray:
        few = rng.standard_normal((8, *rest)) / np.sqrt(np.prod(rest))
        mixed = np.tensordot(rng.standard_normal((outputs, 8)), few, 1)
        return mixed.astype(np.float32)

    text = """
        network (float[N, 3, 16, 16] image, float[32, 3, 3, 3] w1, float[32, 32, 3, 3] w2,
                 float[32, 10] w3) => (float[N, 10] logits) {
            [first] a = Conv <pads = [1, 1, 1, 1]> (image, w1)
            [relu] b = Relu (a)
            [second] c = Conv <pads = [1, 1, 1, 1]> (b, w2)
            [relu2] d = Relu (c)
            [pool] e = GlobalAveragePool (d)
            [flat] f = Flatten (e)
            [dense] logits = MatMul (f, w3)
        }
    """
    weights = {"w1": redundant(32, 3, 3, 3), "w2": redundant(32, 32, 3, 3)}
    return graph(text, {**weights, "w3": rng.standard_normal((32, 10)).astype(np.float32)})


def test_one_table_gives_one_file(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reckless: None
) -> None:
    """The first run measures the kernels, the other finds them in the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = np.random.default_rng(1).standard_normal((160, 3, 16, 16)).astype(np.float32)
    # What pruning leaves of random weights holds on these samples only.
    floors = {"min_agreement": 0.5, "min_sqnr": 8.0, "stress": "none", "recover": False}
    reports = [compress(network, tmp_path / name, data, **floors) for name in ("a", "b")]
    assert len({digest(tmp_path / name / "model.onnx") for name in ("a", "b")}) == 1
    assert len({report.costs["digest"] for report in reports}) == 1  # type: ignore[index]
    assert len({tuple(step.kept for step in report.steps) for report in reports}) == 1
    kept = [step.name for step in reports[0].steps if step.kept]
    assert "prune" in kept, [step.reason for step in reports[0].steps]


@pytest.mark.parametrize(
    ("interval", "prefer", "refused"),
    [
        ((0.5, 0.45, 0.6), "balanced", True),
        ((0.5, 0.45, 0.6), "size", False),
        ((0.8, 0.5, 1.1), "balanced", False),  # it may be as fast
        ((0.97, 0.96, 0.98), "balanced", False),  # slower, and within the margin
        ((None, None, None), "balanced", False),
    ],
)
def test_a_race_refuses_only_beyond_doubt(interval: Any, prefer: Any, refused: bool) -> None:
    reason = lost_race(*interval, prefer)
    assert (reason is not None) == refused
    assert reason is None or "in a race (0.45× to 0.60×)" in reason


@pytest.mark.parametrize(
    ("high", "before", "prefer", "refused"),
    [
        (1.5, 2.0, "balanced", True),
        (1.5, 2.0, "size", False),
        (1.7, 2.0, "balanced", False),  # within what the table errs
        (None, 2.0, "balanced", False),
        (2.0, None, "balanced", False),
    ],
)
def test_what_was_much_faster_is_not_replaced(
    high: Any, before: Any, prefer: Any, refused: bool
) -> None:
    assert (lost_to_another(high, before, prefer) is not None) == refused
