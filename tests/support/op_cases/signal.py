"""Fourier transforms and complex numbers."""

from __future__ import annotations

from typing import Any

from op_cases.case import F, OpCase, on_each, op, refused

PAIR = (F("n", 8), F("n", 8))
LENGTH = (F(4, "n"), F(4, "n"))
COMPLEX = F("n", 4, 2)


def cases() -> list[OpCase]:
    return [*_transforms(), *_frames(), *_complex()]


def _transforms() -> list[OpCase]:
    def both(name: str) -> Any:
        return lambda ops, a, b: getattr(ops, name)((a, b))

    found: list[OpCase] = []
    for name in ("fft", "fft2", "ifft2"):
        for given, how in (
            (PAIR, "rows"),
            (LENGTH, "length"),
            ((F("n", "m"), F("n", "m")), "both"),
        ):
            found += op(name, *given, variant=how, call=both(name))
    for length in (None, 6, 11):
        found += op("rfft", F("n", 8), fft_length=length)
    found += op("rfft", F("n"), variant="length")
    found += op("rfft", F("n"), variant="length", fft_length=8)
    for length in (None, 6, 7):
        found += op(
            "irfft",
            F("n", 5),
            F("n", 5),
            variant=f"fft_length={length}",
            call=lambda ops, a, b, length=length: ops.irfft((a, b), length),
        )
    found += op("irfft", F("n"), F("n"), variant="length", call=both("irfft"))
    return found


def _frames() -> list[OpCase]:
    found = on_each("extract_sequences", F(20), sequence_length=6, sequence_stride=3)
    found += on_each("extract_sequences", F("n", 20), sequence_length=6, sequence_stride=3)
    found += op("extract_sequences", F("h"), sequence_length=4, sequence_stride=3, variant="length")
    short = {"sequence_length": 8, "sequence_stride": 4, "fft_length": 8}
    found += on_each("stft", F(32), F("m", 32), **short)
    found += on_each("stft", F(32), **short | {"center": False, "window": "hamming"})
    found += on_each("stft", F(32), **short | {"fft_length": 16, "window": None})
    found += op(
        "stft", F("h"), variant="length", sequence_length=4, sequence_stride=2, fft_length=4
    )
    spectrum = (F(6, 5), F(6, 5))
    found += op("istft", *spectrum, call=lambda ops, a, b: ops.istft((a, b), **short))
    found += op(
        "istft",
        *spectrum,
        variant="length,not_centered",
        call=lambda ops, a, b: ops.istft((a, b), **short, length=20, center=False),
    )
    found += op(
        "istft",
        F("n", 5),
        F("n", 5),
        variant="frames",
        call=lambda ops, a, b: ops.istft((a, b), **short),
    )
    return found


def _complex() -> list[OpCase]:
    def through(function: Any) -> Any:
        return lambda ops, x: function(ops, ops.view_as_complex(x))

    def returned(function: Any) -> Any:
        return lambda ops, x: ops.view_as_real(function(ops, ops.view_as_complex(x)))

    real = {
        "real": lambda ops, z: ops.real(z),
        "imag": lambda ops, z: ops.imag(z),
        "abs": lambda ops, z: ops.abs(z),
        "angle": lambda ops, z: ops.angle(z),
        "isreal": lambda ops, z: ops.isreal(z),
    }
    found: list[OpCase] = []
    for name, function in real.items():
        found += op(name, COMPLEX, variant="complex", call=through(function))
    kept = {
        "conj": lambda ops, z: ops.conj(z),
        "conjugate": lambda ops, z: ops.conjugate(z),
        "reshape": lambda ops, z: ops.reshape(z, (-1, 2, 2)),
        "transpose": lambda ops, z: ops.transpose(z, (0, 2, 1)),
        "expand_dims": lambda ops, z: ops.expand_dims(z, -1),
        "squeeze": lambda ops, z: ops.squeeze(ops.expand_dims(z, 1), 1),
        "add": lambda ops, z: z + ops.conj(z),
        "subtract": lambda ops, z: z - ops.conj(z),
        "multiply": lambda ops, z: z * z,
        "divide": lambda ops, z: z / (z + ops.cast(3.0, "complex64")),
        "negative": lambda ops, z: ops.negative(z),
        "square": lambda ops, z: ops.square(z),
        "exp": lambda ops, z: ops.exp(z),
        "sum": lambda ops, z: ops.sum(z, axis=1),
        "mean": lambda ops, z: ops.mean(z, axis=-1),
        "concatenate": lambda ops, z: ops.concatenate([z, z], axis=-1),
        "stack": lambda ops, z: ops.stack([z, z], axis=-1),
        "get_item": lambda ops, z: z[:, 1:, ::2],
        "matmul": lambda ops, z: ops.matmul(z, ops.transpose(z, (0, 2, 1))),
        "einsum": lambda ops, z: ops.einsum("bnc,bmc->bnm", z, z),
        "pad": lambda ops, z: ops.pad(z, ((0, 0), (1, 0), (0, 2))),
        "cast": lambda ops, z: z * ops.cast(ops.abs(z), "complex64"),
        "roll": lambda ops, z: ops.roll(z, 1, axis=1),
        "split": lambda ops, z: ops.split(z, 2, axis=2)[0],
        "take": lambda ops, z: ops.take(z, [0, 2], axis=2),
        "where": lambda ops, z: ops.where(ops.abs(z) > 1, z, ops.conj(z)),
        "sqrt": lambda ops, z: ops.sqrt(z),
    }
    for name, function in kept.items():
        found += op(name, COMPLEX, variant="complex", call=returned(function))
    found += op("view_as_complex", COMPLEX, call=returned(lambda ops, z: z))
    found += op("view_as_real", COMPLEX, call=returned(lambda ops, z: z * z))
    found += op(
        "polar",
        F("n", 4, low=0.1),
        F("n", 4),
        call=lambda ops, r, t: ops.view_as_real(ops.polar(r, t)),
    )
    outputs = op("view_as_complex", COMPLEX, variant="output", call=through(lambda ops, z: z))
    found += refused(outputs, "AddV2", "a file has no complex outputs")
    return found
