"""Codes of few bits, and what they cost."""

import numpy as np
import pytest

from quantizers.low_bit.codes import (
    Inputs,
    PairLimit,
    clustered,
    clustered_codes,
    error_of,
    scaled,
)
from quantizers.low_bit.rows import Rows

RNG = np.random.default_rng(0)
MATRIX = RNG.normal(size=(96, 40)).astype(np.float32)
COLUMNS = Rows(MATRIX.shape, columns=True)


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    """Inputs of which few directions vary much."""
    seen = RNG.normal(size=(2000, 12)) @ RNG.normal(size=(12, 96)) + 0.1 * RNG.normal(
        size=(2000, 96)
    )
    return Inputs((seen.T @ seen / len(seen))[None])


def sqnr_db(weight: np.ndarray, values: np.ndarray) -> float:
    return float(10 * np.log10(np.square(weight).sum() / np.square(values - weight).sum()))


@pytest.mark.parametrize(("bits", "least"), [(8, 42.0), (4, 19.5), (2, 7.0)])
def test_scales_of_rows(bits: int, least: float) -> None:
    found = scaled(MATRIX, bits, rows=COLUMNS)
    assert found.scale is not None
    assert found.scale.shape == (1, 40)
    assert found.codes.min() >= -(2 ** (bits - 1))
    assert found.codes.max() < 2 ** (bits - 1)
    assert sqnr_db(MATRIX, found.values()) > least


@pytest.mark.parametrize("rows", [COLUMNS, Rows(MATRIX.shape)])
def test_scales_of_blocks_err_less(rows: Rows) -> None:
    blocks = scaled(MATRIX, 4, rows=rows, block=16)
    whole = scaled(MATRIX, 4, rows=rows)
    assert blocks.scale is not None
    assert blocks.scale.size == MATRIX.size // rows.block(16)
    assert sqnr_db(MATRIX, blocks.values()) > sqnr_db(MATRIX, whole.values()) + 1


def test_a_block_becomes_smaller_until_rows_consist_of_it() -> None:
    assert COLUMNS.block(32) == 32
    assert COLUMNS.block(40) == 32
    assert Rows((3, 7)).block(5) == 1


def test_errors_cancel_in_the_outputs(inputs: Inputs) -> None:
    for make in (
        lambda known: scaled(MATRIX, 4, rows=COLUMNS, block=32, inputs=known),
        lambda known: clustered(MATRIX, 16, rows=COLUMNS, inputs=known),
    ):
        blind, seeing = (error_of(MATRIX, make(known), COLUMNS, inputs) for known in (None, inputs))
        assert seeing < 0.5 * blind


def test_a_grouped_convolution_has_inputs_for_each_group() -> None:
    weight = RNG.normal(size=(6, 4, 3, 3)).astype(np.float32)
    rows = Rows(weight.shape, groups=2)
    seen = RNG.normal(size=(2, 500, 36)) * np.linspace(0.1, 3, 36)
    inputs = Inputs(np.einsum("gni,gnj->gij", seen, seen) / 500)
    found = clustered(weight, 16, rows=rows, inputs=inputs)
    assert found.scale is not None
    assert found.scale.shape == (6, 1, 1, 1)
    assert error_of(weight, found, rows, inputs) < error_of(
        weight, clustered(weight, 16, rows=rows), rows, inputs
    )


def test_clusters_without_scales_are_as_many_values() -> None:
    found = clustered(MATRIX, 16, per_row=False)
    assert found.scale is None
    assert len(np.unique(found.values())) == 16
    assert sqnr_db(MATRIX, found.values()) > 19.5


def test_weights_that_have_few_values_stay_exact() -> None:
    few = RNG.choice(np.float32([-1.5, 0.0, 0.25, 3.0]), size=(8, 64))
    np.testing.assert_array_equal(clustered(few, 4, per_row=False).values(), few)
    np.testing.assert_array_equal(scaled(np.zeros((4, 64), np.float32), 4).values(), 0)


def test_int8_codes_become_few_int8_values() -> None:
    codes = RNG.integers(-127, 128, size=(16, 64)).astype(np.int8)
    found = clustered_codes(codes, 16, rows=Rows(codes.shape))
    assert found.values().dtype == np.int8
    assert len(np.unique(found.values())) == 16
    assert sqnr_db(codes.astype(float), found.values().astype(float)) > 22


def test_pairs_that_a_kernel_adds_up_stay_below_their_limit() -> None:
    codes = RNG.integers(-127, 128, size=(16, 63)).astype(np.int8)
    order = np.arange(codes.size).reshape(codes.shape)[:, ::-1]
    rows = Rows(codes.shape)
    free = clustered_codes(codes, 16, rows=rows)
    bound = clustered_codes(codes, 16, rows=rows, limit=PairLimit(order, np.full(16, 190)))
    sums = [
        np.abs(one.values().reshape(-1)[order][:, :62].astype(int)).reshape(16, -1, 2).sum(axis=2)
        for one in (free, bound)
    ]
    assert sums[0].max() > 190
    assert sums[1].max() <= 190
    kept = sums[0] <= 190
    np.testing.assert_array_equal(sums[1][kept], sums[0][kept])


def test_large_weights_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = scaled(MATRIX, 4, rows=COLUMNS, block=32)
    monkeypatch.setattr("quantizers.low_bit.rows._CHUNK", 96 * 7)
    np.testing.assert_array_equal(
        scaled(MATRIX, 4, rows=COLUMNS, block=32).values(), whole.values()
    )


@pytest.mark.parametrize("bad", [lambda: scaled(MATRIX, 3), lambda: clustered(MATRIX, 5)])
def test_other_widths_are_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="must be"):
        bad()  # type: ignore[operator]
