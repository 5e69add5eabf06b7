"""Fourier transforms: parts and absolute values right, complex arithmetic refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runtimes.errors import UnsupportedOperator


def signal(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def model_of(keras: Any, function: Any, *shapes: tuple[int | None, ...]) -> Any:
    tensors = [keras.Input(shape) for shape in shapes]
    if len(tensors) == 1:
        return keras.Model(tensors[0], keras.layers.Lambda(function)(tensors[0]))
    return keras.Model(tensors, keras.layers.Lambda(lambda xs: function(*xs))(tensors))


@pytest.mark.parametrize("length", [16, 15, 10, 24])
def test_spectrum_of_a_real_signal(keras: Any, parity: Any, length: int) -> None:
    model = model_of(keras, lambda x: keras.ops.rfft(x, fft_length=length), (3, 16))
    operators = parity(model, [[signal(2, 3, 16)]], tolerance=1e-5)
    assert operators["MatMul"] == 1


@pytest.mark.parametrize("opset", [17, 20])
def test_a_long_spectrum_is_no_matrix(keras: Any, parity: Any, opset: int) -> None:
    model = model_of(keras, lambda x: keras.ops.rfft(x, fft_length=2048), (None, 1500))
    operators = parity(model, [[signal(1, 2, 1500)]], opset=opset, tolerance=1e-4)
    assert operators["DFT"] == 1
    assert operators["MatMul"] == 0


@pytest.mark.parametrize("length", [16, 15, 8])
def test_back_to_a_real_signal(keras: Any, parity: Any, length: int) -> None:
    model = model_of(
        keras, lambda re, im: keras.ops.irfft((re, im), fft_length=length), (3, 9), (3, 9)
    )
    parity(model, [[signal(2, 3, 9), signal(2, 3, 9)[::-1].copy()]])


@pytest.mark.parametrize("name", ["fft", "fft2", "ifft2"])
def test_complex_transforms(keras: Any, parity: Any, name: str) -> None:
    function = getattr(keras.ops, name)
    model = model_of(keras, lambda re, im: function((re, im)), (6, 5), (6, 5))
    parity(model, [[signal(2, 6, 5), signal(2, 6, 5)[::-1].copy()]])


def test_absolute_values_of_a_plane(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def magnitude(x: Any) -> Any:
        return tf.abs(tf.signal.rfft2d(x))

    parity(model_of(keras, magnitude, (6, 5)), [[signal(2, 6, 5)]])


def test_inverse_of_a_conjugate(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def turned(re: Any, im: Any) -> Any:
        return tf.math.real(tf.signal.ifft(tf.math.conj(tf.complex(re, im))))

    parity(model_of(keras, turned, (5,), (5,)), [[signal(2, 5), signal(2, 5)[::-1].copy()]])


def test_a_product_of_spectra(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def filtered(x: Any) -> Any:
        spectrum = tf.signal.rfft(x)
        return tf.signal.irfft(spectrum * spectrum)

    parity(model_of(keras, filtered, (16,)), [[signal(2, 16)]])


def test_what_is_not_written_for_complex_numbers_is_refused(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    def logarithm(x: Any) -> Any:
        return tf.abs(tf.math.log(tf.signal.rfft(x)))

    with pytest.raises(UnsupportedOperator, match=r"RFFT.*complex numbers go into Log"):
        export(model_of(keras, logarithm, (16,)))


def test_a_complex_output_is_refused(keras: Any) -> None:
    import tensorflow as tf

    from converter.export.export import export

    with pytest.raises(UnsupportedOperator, match="an output of the model"):
        export(model_of(keras, tf.signal.rfft, (16,)))


def test_a_signal_of_dynamic_length(keras: Any, parity: Any) -> None:
    model = model_of(keras, lambda x: keras.ops.fft2((x, x * 0))[0], (None, 6))
    operators = parity(model, [[signal(2, 5, 6)], [signal(1, 8, 6)]])
    assert operators["DFT"] == 2


@pytest.mark.parametrize("length", [None, 5])
def test_nothing_imaginary(keras: Any, parity: Any, length: int | None) -> None:
    def mixed(x: Any) -> Any:
        return keras.ops.fft2((x, keras.ops.zeros_like(x)))[0]

    parity(model_of(keras, mixed, (length, 6)), [[signal(2, 5, 6)]])


def test_parts_are_broadcast(keras: Any, parity: Any) -> None:
    import tensorflow as tf

    def joined(re: Any, im: Any) -> Any:
        return tf.math.imag(tf.signal.fft(tf.complex(re, im)))

    model = model_of(keras, joined, (3, 6), (1, 6))
    parity(model, [[signal(2, 3, 6), signal(2, 1, 6)]])


def test_a_dynamic_length_needs_an_opset_that_has_it(keras: Any) -> None:
    from converter.export.export import export

    model = model_of(keras, lambda x: keras.ops.fft2((x, x * 0))[0], (None, 6))
    with pytest.raises(UnsupportedOperator, match=r"FFT2D.*from opset 17 on"):
        export(model, opset=16)
