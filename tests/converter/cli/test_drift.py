"""``kilnx drift``: exit codes, a table that names the feature, and one JSON document."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from runtimes.bundle import write_bundle
from runtimes.monitor import make_reference

Kilnx = Callable[..., tuple[int, str, str]]


@pytest.fixture
def reference(model: Path) -> Path:
    path = model.parent / "reference.json"
    rng = np.random.default_rng(1)
    x = rng.standard_normal((400, 64)).astype(np.float32)
    path.write_text(make_reference(model, model, {"x": x}).to_json())
    return path


def data(folder: Path, *, drifts: bool) -> Path:
    x = np.random.default_rng(2).standard_normal((150, 64)).astype(np.float32)
    if drifts:
        x[50:, 7] += 8
    np.savez(folder / "new.npz", x=x)
    return folder / "new.npz"


def test_what_has_not_drifted(kilnx: Kilnx, reference: Path, model: Path) -> None:
    code, out, _ = kilnx(
        "drift", reference, data(model.parent, drifts=False), "--model", model, "--fp32", model
    )
    assert code == 0
    assert "no drift in 150 samples" in out
    assert "1.00%" in out


def test_what_has_is_named_with_its_sample(kilnx: Kilnx, reference: Path, model: Path) -> None:
    new = data(model.parent, drifts=True)
    code, out, _ = kilnx("drift", reference, new)
    assert code == 1
    assert "what comes in (inputs) at sample" in out
    assert "x: column 7" in out
    assert "note: not tested" in out
    code, out, _ = kilnx("drift", reference, new, "--model", model, "--json")
    assert code == 1
    found = json.loads(out)
    assert found["passed"] is False
    assert found["groups"]["inputs"]["alarm"] is True
    assert abs(found["groups"]["inputs"]["since"] - 51) < 10
    assert found["groups"]["inputs"]["features"][0]["feature"] == "x: column 7"


def test_a_smaller_risk_asks_for_more_evidence(kilnx: Kilnx, reference: Path, model: Path) -> None:
    new = data(model.parent, drifts=True)
    firsts = []
    for alpha in ("0.1", "0.000001"):
        out = kilnx("drift", reference, new, "--alpha", alpha, "--json")[1]
        firsts.append(json.loads(out)["groups"]["inputs"]["first_alarm"])
    assert firsts[0] < firsts[1]


def test_what_cannot_be_compared(kilnx: Kilnx, reference: Path, model: Path) -> None:
    code, _, err = kilnx("drift", model.parent / "none.json", data(model.parent, drifts=False))
    assert code == 2
    assert "none.json cannot be read" in err
    broken = model.parent / "broken.json"
    broken.write_text('{"format": "kilnx-reference"}')
    code, _, err = kilnx("drift", broken, data(model.parent, drifts=False))
    assert code == 2
    assert "version" in err
    np.savez(model.parent / "other.npz", a=np.zeros((4, 2)), b=np.zeros((4, 2)))
    code, _, err = kilnx("drift", reference, model.parent / "other.npz")
    assert code == 2
    assert "other names" in err


@pytest.mark.parametrize("suffix", ["", ".kilnx"])
def test_a_bundle_brings_all_that_it_takes(
    kilnx: Kilnx, reference: Path, model: Path, suffix: str
) -> None:
    path = model.parent / f"net{suffix}"
    known = {"model": model, "fp32": model, "name": "net"}
    write_bundle(path, **known, reference=reference, policy={"alpha": 0.002}).close()
    code, out, _ = kilnx("drift", path, data(model.parent, drifts=True), "--json")
    found = json.loads(out)
    assert code == 1
    assert found["alpha"] == 0.002
    assert found["untested"] == []
    assert {"inputs", "outputs", "shadow"} <= set(found["groups"])
    assert found["groups"]["shadow"]["alarm"] is False


def test_a_bundle_without_a_reference_says_so(kilnx: Kilnx, model: Path) -> None:
    write_bundle(model.parent / "bare", model=model, name="net").close()
    code, _, err = kilnx("drift", model.parent / "bare", data(model.parent, drifts=False))
    assert code == 2
    assert "no reference to compare with" in err
