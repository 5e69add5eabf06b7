"""All cases of ``keras.ops``, and what comes of one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from layer_cases.table import difference, reference
from op_cases import (
    algebra,
    control,
    elementwise,
    images,
    indexing,
    neural,
    reductions,
    shaping,
    signal,
)
from op_cases.case import OpCase

FAMILIES = (
    elementwise,
    reductions,
    shaping,
    indexing,
    algebra,
    signal,
    neural,
    images,
    control,
)

NOT_OPERATORS = {
    "convert_to_numpy": "leaves the graph",
    "dtype": "gives a name, no tensor",
    "is_tensor": "gives a Python boolean",
    "ndim": "gives a Python number",
}


@dataclass(frozen=True)
class Outcome:
    """``right``; ``refused`` with the message; ``wrong``; ``keras`` where Keras itself fails."""

    status: Literal["right", "refused", "wrong", "keras"]
    detail: str = ""
    error: Exception | None = None
    nodes: int = 0


def all_cases() -> list[OpCase]:
    """Every case; two of one name would hide each other."""
    cases = [case for family in FAMILIES for case in family.cases()]
    names = [case.id for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise AssertionError(f"cases of the same name: {sorted(twice)}")
    return cases


def functions(keras: Any) -> dict[str, tuple[str, ...]]:
    """The public functions of ``keras.ops`` with all their names: first comes the shortest."""
    names: dict[Any, list[str]] = {}
    for name in dir(keras.ops):
        found = getattr(keras.ops, name)
        if inspect.ismodule(found):
            inner = [f"{name}.{each}" for each in dir(found) if not each.startswith("_")]
            for each in inner:
                names.setdefault(getattr(found, each.split(".")[1]), []).append(each)
        elif not name.startswith("_"):
            names.setdefault(found, []).append(name)
    ordered = (sorted(each, key=lambda name: (len(name), name)) for each in names.values())
    return {each[0]: tuple(each) for each in ordered}


def attempt(case: OpCase) -> Outcome:
    """Export the function as a model and compare it with Keras through ONNX Runtime."""
    import keras

    keras.backend.clear_session()
    try:
        call = _Call(case, *case.called(keras), "")
        return _compared([call], keras)[0]
    except _KerasFails as error:
        return Outcome("keras", str(error), error)
    except Exception as error:
        return Outcome("keras", f"{type(error).__name__}: {error}", error)


def attempt_all(cases: Sequence[OpCase]) -> list[Outcome]:
    """The outcomes of several cases, found on one model of them all where that goes well."""
    import keras

    keras.backend.clear_session()
    outcomes: dict[str, Outcome] = {}
    calls: list[_Call] = []
    for i, case in enumerate(cases):
        try:
            calls.append(_Call(case, *case.called(keras, f"c{i}_"), f"c{i}_"))
        except Exception as error:
            outcomes[case.id] = Outcome("keras", f"{type(error).__name__}: {error}", error)
    if calls:
        try:
            together = _compared(calls, keras)
        except _KerasFails:
            together = [Outcome("keras")]
        kept = [call.case for call in calls]
        if len(kept) == 1:
            together = [attempt(kept[0])]
        elif len(together) < len(kept) or any(each.status != "right" for each in together):
            half = len(kept) // 2
            together = [*attempt_all(kept[:half]), *attempt_all(kept[half:])]
        outcomes.update(zip((case.id for case in kept), together, strict=True))
    return [outcomes[case.id] for case in cases]


@dataclass(frozen=True)
class _Call:
    case: OpCase
    inputs: list[Any]
    outputs: Any
    prefix: str


class _KerasFails(Exception):
    """Keras itself cannot do it."""


def _compared(calls: list[_Call], keras: Any) -> list[Outcome]:
    """What comes of a model of these calls: one outcome each, or one where it is not exported."""
    from converter.export.export import export
    from runtimes.engines.ort import OrtRuntime
    from runtimes.errors import ModelError, UnsupportedOperator

    feeds = [
        {name: values for feed in several for name, values in feed.items()}
        for several in zip(*(call.case.feeds(call.prefix) for call in calls), strict=True)
    ]
    try:
        inputs = [tensor for call in calls for tensor in call.inputs]
        model = keras.Model(inputs, [call.outputs for call in calls], name="case")
        expected = [reference(model, feed) for feed in feeds]
    except Exception as error:
        raise _KerasFails(f"{type(error).__name__}: {error}") from error
    try:
        converted = export(model)
    except UnsupportedOperator as error:
        return [Outcome("refused", str(error), error)]
    except Exception as error:
        return [Outcome("wrong", f"{type(error).__name__}: {error}", error)]
    nodes = sum(1 for _ in converted.graph.all_nodes())
    problems: dict[str, str] = {}
    try:
        with OrtRuntime(converted, threads=1) as candidate:
            for feed, wanted in zip(feeds, expected, strict=True):
                found = list(candidate.run(feed).values())
                begin = 0
                for call in calls:
                    end = begin + len(keras.tree.flatten(call.outputs))
                    own = wanted[begin:end], found[begin:end]
                    begin = end
                    if problem := difference(*own, call.case.tolerance):
                        problems.setdefault(call.case.id, problem)
    except ModelError as error:
        return [Outcome("wrong", str(error), error, nodes)]
    return [
        Outcome("wrong", problems[call.case.id], nodes=nodes)
        if call.case.id in problems
        else Outcome("right", nodes=nodes)
        for call in calls
    ]
