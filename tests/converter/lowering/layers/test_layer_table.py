"""Every public layer of Keras, in its variants: exported right, or refused by name."""

from __future__ import annotations

import pytest
from layer_cases.activations import FUNCTIONS
from layer_cases.case import Case
from layer_cases.table import NOT_LAYERS, all_cases, attempt, layer_classes

from runtimes.errors import UnsupportedOperator


def _params() -> list[object]:
    """All cases; quick is the first of each class, but for most of the random ones.

    Those do nothing at inference, one like the other.
    """
    seen: set[str] = set()
    params: list[object] = []
    for case in all_cases():
        alike = case.layer.startswith("Random") and case.layer not in ("RandomCrop", "RandomFlip")
        quick = case.layer not in seen and not alike
        seen.add(case.layer)
        marks = [] if quick else [pytest.mark.slow]
        params.append(pytest.param(case, id=case.id, marks=marks))
    return params


@pytest.mark.parametrize("case", _params())
def test_layer(case: Case) -> None:
    outcome = attempt(case)
    if outcome.status == "absent":
        pytest.skip(outcome.detail)
    if case.refused is None:
        assert outcome.status == "right", outcome.detail
        return
    assert outcome.status != "right", "this case works now: take its refusal out of the table"
    assert outcome.status == "refused", outcome.detail
    assert isinstance(outcome.error, UnsupportedOperator)
    message = str(outcome.error)
    assert case.refused.operator in message
    assert "the layer '" in message
    assert "move it out of the model" in message


def test_every_layer_of_keras_has_a_case() -> None:
    import keras

    covered = {case.layer for case in all_cases()} | set(NOT_LAYERS)
    missing = [
        name for name, aliases in layer_classes(keras).items() if not covered & {name, *aliases}
    ]
    assert missing == []


def test_every_activation_of_keras_has_a_case() -> None:
    import keras

    public = {name for name in dir(keras.activations) if not name.startswith("_")}
    assert public - {"get", "serialize", "deserialize"} <= set(FUNCTIONS)


def test_every_refusal_says_why() -> None:
    assert [case.id for case in all_cases() if case.refused and not case.refused.because] == []
