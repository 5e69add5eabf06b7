"""How near a picture is to another: PSNR and SSIM, a value for each sample."""

from __future__ import annotations

import numpy as np

from runtimes.base import Array
from runtimes.errors import DataError
from runtimes.metrics.scores import fitted

# Equal pictures have no noise; more than this shows no difference any more.
_MOST_DB = 100.0
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03


def peak_signal_to_noise(output: Array, labels: Array, indices: Array) -> Array:
    """PSNR of each sample in dB, at most 100; the peak is that of the label's range (``peak``)."""
    truth = fitted(output, labels).astype(np.float64)
    error = (output.astype(np.float64) - truth).reshape(len(output), -1)
    mse = np.maximum((error**2).mean(axis=1), 1e-30)
    return np.asarray(np.minimum(10 * np.log10(peak(truth) ** 2 / mse), _MOST_DB))


def structural_similarity(output: Array, labels: Array, indices: Array) -> Array:
    """SSIM of each sample, 1 at best: the mean over channels and places.

    Gaussian windows of 11 pixels with σ = 1.5, as in Wang, Bovik, Sheikh and Simoncelli (Image
    quality assessment, IEEE Transactions on Image Processing 13, 2004). Pictures are [samples,
    height, width] or have channels on the axis that is shortest of the first and the last.
    """
    truth = fitted(output, labels).astype(np.float64)
    x, y = (_planes(one) for one in (output.astype(np.float64), truth))
    spread = peak(truth)[:, None, None, None]
    c1, c2 = (_K1 * spread) ** 2, (_K2 * spread) ** 2
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    both = _blurred(x * y) - mean_x * mean_y
    near = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    found = near / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
    return np.asarray(found.reshape(len(found), -1).mean(axis=1))


def peak(truth: Array) -> Array:
    """The range of each sample's pixels: 1 (0 to 1), 2 (-1 to 1), 255, or what 16 bits hold."""
    flat = truth.reshape(len(truth), -1)
    low, high = flat.min(axis=1), flat.max(axis=1)
    small = np.where(low < 0, 2.0, 1.0)
    return np.where(high <= 1, small, np.where(high <= 255, 255.0, 65535.0))


def _planes(pictures: Array) -> Array:
    """Pictures as [samples, channels, height, width]."""
    if pictures.ndim == 3:
        return pictures[:, None]
    if pictures.ndim != 4:
        raise DataError(f"ssim compares pictures, and the output is {list(pictures.shape)}")
    return np.moveaxis(pictures, -1, 1) if pictures.shape[-1] <= pictures.shape[1] else pictures


def _blurred(planes: Array) -> Array:
    """The Gaussian mean around each place that has a whole window."""
    size = min(_WINDOW, *planes.shape[2:])
    place = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(place**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for axis in (2, 3):
        windows = np.lib.stride_tricks.sliding_window_view(planes, size, axis=axis)
        planes = windows @ weights
    return planes
