"""LSTM, GRU and RNN with all that ONNX Runtime lets them have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from trainable_cases.case import Case, floats

_T, _N, _I, _H = 4, 3, 5, 6
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
_LENGTHS = np.array([4, 2, 3], np.int32)


def cases() -> list[Case]:
    """All of them."""
    found = []
    for kind in _GATES:
        for direction in _DIRECTIONS:
            found += [
                replace(recurrent(kind, direction=direction), differentiable=False),
                recurrent(kind, lengths=_LENGTHS, initial=True, direction=direction),
            ]
        found += [
            recurrent(kind, biased=False, opset=14),
            recurrent(kind, clip=0.4),
            replace(recurrent(kind, steps=18), differentiable=kind == "LSTM"),
            recurrent(kind, steps=18, lengths=_LENGTHS, direction="reverse"),
        ]
    return [*found, *_lstm(), *_gru(), *_activations()]


def recurrent(
    kind: str,
    *,
    steps: int = _T,
    lengths: Any = None,
    initial: bool = False,
    peepholes: bool = False,
    biased: bool = True,
    opset: int = 18,
    **attributes: Any,
) -> Case:
    """A layer of that ``kind``."""
    directions, gates = _DIRECTIONS[attributes.get("direction", "forward")], _GATES[kind]
    state = (directions, _N, _H)
    arrays: list[Any] = [
        floats(steps, _N, _I),
        0.5 * floats(directions, gates * _H, _I),
        0.5 * floats(directions, gates * _H, _H, seed=1),
        0.5 * floats(directions, 2 * gates * _H) if biased else None,
        lengths,
        floats(*state) if initial else None,
    ]
    if kind == "LSTM":
        arrays += [floats(*state, seed=1) if initial else None]
        arrays += [0.3 * floats(directions, 3 * _H) if peepholes else None]
    made = Case(kind, tuple(arrays), {"hidden_size": _H, **attributes}, opset)
    return replace(made, outputs=3 if kind == "LSTM" else 2, orders=False, tolerance=1e-5)


def _lstm() -> list[Case]:
    return [
        recurrent("LSTM", peepholes=True),
        recurrent("LSTM", peepholes=True, initial=True, direction="bidirectional"),
        recurrent("LSTM", input_forget=1),
        recurrent("LSTM", peepholes=True, input_forget=1, clip=0.5),
    ]


def _gru() -> list[Case]:
    return [
        recurrent("GRU", linear_before_reset=1),
        recurrent("GRU", linear_before_reset=1, biased=False),
        recurrent("GRU", linear_before_reset=1, initial=True, direction="bidirectional"),
    ]


def _activations() -> list[Case]:
    return [
        recurrent("LSTM", activations=["HardSigmoid", "Relu", "Softsign"]),
        recurrent(
            "LSTM",
            activations=["HardSigmoid", "Elu", "ScaledTanh"],
            activation_alpha=[0.3, 1.5, 0.8],
            activation_beta=[0.4, 0.9],
        ),
        recurrent(
            "LSTM",
            activations=["Sigmoid", "Tanh", "Tanh", "HardSigmoid", "LeakyRelu", "Tanh"],
            activation_alpha=[0.25, 0.2],
            activation_beta=[0.45],
            direction="bidirectional",
        ),
        recurrent("GRU", activations=["HardSigmoid", "LeakyRelu"]),
        recurrent("GRU", activations=["Sigmoid", "Softplus"]),
        recurrent("RNN", activations=["Relu"]),
        recurrent("RNN", activations=["Affine"], activation_alpha=[0.7], activation_beta=[0.1]),
        recurrent("RNN", activations=["ThresholdedRelu"], activation_alpha=[0.5]),
        recurrent("RNN", activations=["Relu", "Tanh"], direction="bidirectional"),
    ]
