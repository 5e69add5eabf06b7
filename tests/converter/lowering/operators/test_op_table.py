"""The table of ``keras.ops``: every public function has a case, and no two have one name."""

from __future__ import annotations

from op_cases.table import NOT_OPERATORS, all_cases, functions


def test_every_function_of_keras_has_a_case() -> None:
    import keras

    covered = {case.op for case in all_cases()} | set(NOT_OPERATORS)
    missing = [name for name, aliases in functions(keras).items() if not covered & {name, *aliases}]
    assert missing == []
