"""Several codes in a byte."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantizers.low_bit.packing import pack, signed, unpack, unpacking_table


@given(bits=st.sampled_from([2, 4]), codes=st.lists(st.integers(-8, 7), max_size=40))
def test_what_is_packed_comes_back(bits: int, codes: list[int]) -> None:
    half = 1 << (bits - 1)
    array = np.array([max(-half, min(half - 1, code)) for code in codes], np.int8)
    packed = pack(array, bits)
    assert packed.dtype == np.uint8
    assert packed.size == -(-array.size * bits // 8)
    np.testing.assert_array_equal(unpack(packed, bits, array.size), array)


@pytest.mark.parametrize("bits", [2, 4])
def test_indices_and_signed_codes_are_the_same_bits(bits: int) -> None:
    indices = np.arange(1 << bits)
    np.testing.assert_array_equal(pack(indices, bits), pack(signed(indices, bits), bits))
    values = np.arange(100, 100 + (1 << bits))
    np.testing.assert_array_equal(values[signed(indices, bits)], values)


def test_the_first_code_is_in_the_lowest_bits() -> None:
    assert unpacking_table(4)[0x3F].tolist() == [-1, 3]
    assert unpacking_table(2)[0b00_01_10_11].tolist() == [-1, -2, 1, 0]
