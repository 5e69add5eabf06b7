"""Images as they would look from elsewhere: turned, sheared, nearer or further, and moved.

Few samples say little of the world, and a teacher can be asked about any picture: so a student sees
each of its samples from many sides. Bilinear; beyond the edge, the edge goes on. The ranges are
small, so that a warped image is still one that the teacher knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtimes.base import Array


@dataclass(frozen=True)
class Warp:
    """How far images go, each within plus and minus these.

    Attributes:
        turn: Radians.
        shear: Pixels sideways for each pixel down.
        zoom: Logarithm of the scale, of each axis apart.
        move: Share of the width and the height.
    """

    turn: float = 0.2
    shear: float = 0.1
    zoom: float = 0.15
    move: float = 0.08

    def on(self, images: Array, axes: tuple[int, int], random: np.random.Generator) -> Array:
        """Every image warped in its own way; ``axes``: of height and width in a single one."""
        batch_axes = (axes[0] + 1, axes[1] + 1)
        last = np.moveaxis(images, batch_axes, (-2, -1))
        flat = last.reshape(len(images), -1, *last.shape[-2:])
        rows, columns = self._places(len(images), flat.shape[-2:], random)
        warped = _between(flat, rows, columns).astype(images.dtype).reshape(last.shape)
        return np.moveaxis(warped, (-2, -1), batch_axes)

    def _places(
        self, count: int, size: tuple[int, ...], random: np.random.Generator
    ) -> tuple[Array, Array]:
        """Where each pixel comes from: rows and columns, of shape (count, height, width)."""
        height, width = size

        def draw(most: float) -> Array:
            return random.uniform(-most, most, (count, 1, 1))

        turn, shear = draw(self.turn), draw(self.shear)
        zooms = np.exp(draw(self.zoom)), np.exp(draw(self.zoom))
        moves = draw(self.move) * height, draw(self.move) * width
        middle = (height - 1) / 2, (width - 1) / 2
        down, right = np.meshgrid(
            np.arange(height) - middle[0], np.arange(width) - middle[1], indexing="ij"
        )
        cosine, sine = np.cos(turn), np.sin(turn)
        rows = (sine * right + cosine * down) * zooms[0] + moves[0] + middle[0]
        columns = (cosine * right + (shear - sine) * down) * zooms[1] + moves[1] + middle[1]
        return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)


def _between(images: Array, rows: Array, columns: Array) -> Array:
    """The values of ``images`` (count, channels, height, width) between their pixels."""
    height, width = images.shape[-2:]
    top, left = np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)
    below, after = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, right = (rows - top)[:, None], (columns - left)[:, None]
    count = np.arange(len(images))[:, None, None]

    def at(row: Array, column: Array) -> Array:
        return np.moveaxis(images[count, :, row, column], -1, 1)

    upper = at(top, left) * (1 - right) + at(top, after) * right
    lower = at(below, left) * (1 - right) + at(below, after) * right
    mixed: Array = upper * (1 - down) + lower * down
    return mixed
