"""Shards of every form of data and model are merged to the bytes of the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from quantizers.calibration.observe_shard import Place, observe_shard
from quantizers.calibration.shard_statistics import merge_all
from quantizers.calibration.statistics_file import parse_statistics, statistics_chunks
from quantizers.options import QuantizeOptions
from runtimes import DataError, Dataset

Graph = Callable[..., ir.Model]
RNG = np.random.default_rng(4)
WHOLE = Place()


def raw(model: ir.Model, data: Any, place: Place = WHOLE, **options: Any) -> bytes:
    found = observe_shard(model, Dataset.open(data), place, options=QuantizeOptions(**options))
    return b"".join(statistics_chunks(found))


def merged(parts: list[bytes]) -> bytes:
    found = merge_all(parse_statistics(one, f"{i}.stats") for i, one in enumerate(parts))
    found.require_whole()
    return b"".join(statistics_chunks(found))


def same_for_any_number(model: ir.Model, data: Any, **options: Any) -> None:
    whole = raw(model, data, **options)
    for count in (2, 3):
        shards = [raw(model, data, Place((index, count)), **options) for index in range(count)]
        assert merged(shards[::-1]) == whole


def convolution(graph: Graph, batch: str = "n", size: str = "6") -> ir.Model:
    return graph(
        f"""g (float[{batch}, 3, {size}, {size}] x, float[5, 3, 3, 3] w, float[5, 4] v)
        => (float[{batch}, 4] y)
        {{ c = Conv (x, w) r = Relu (c) p = GlobalAveragePool (r) f = Flatten (p)
           y = MatMul (f, v) }}""",
        {
            "w": RNG.normal(size=(5, 3, 3, 3)).astype(np.float32),
            "v": RNG.normal(size=(5, 4)).astype(np.float32),
        },
    )


def images(count: int) -> Any:
    return RNG.normal(size=(count, 3, 6, 6)).astype(np.float32)


def test_a_model_that_fixes_its_batch_has_shards_of_whole_batches(graph: Graph) -> None:
    model, x = convolution(graph, batch="6"), images(50)
    same_for_any_number(model, x)
    whole = observe_shard(model, Dataset.open(x))
    assert (whole.identity.batch, whole.identity.block) == (6, 6)


def test_little_memory_takes_several_passes(graph: Graph) -> None:
    model, x = convolution(graph), images(100)
    little = {"memory_bytes": 330}
    same_for_any_number(model, x, **little)
    identity = observe_shard(model, Dataset.open(x), options=QuantizeOptions(**little)).identity
    assert identity.batch < 32
    assert len(identity.passes) > 1


def test_images_of_several_sizes(graph: Graph, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number in range(75):
        side = 6 + number * number % 5
        pixels = RNG.integers(0, 256, (side, 6, 3)).astype(np.uint8)
        image.fromarray(pixels).save(tmp_path / f"{number:03}.png")
    same_for_any_number(convolution(graph, size="s"), tmp_path)


def test_two_inputs_and_one_value_for_all(graph: Graph) -> None:
    model = graph(
        """g (float[n, 8] x, float[n, 8] z, float scale, float[8, 4] w) => (float[n, 4] y)
        { m = Mul (x, scale) a = Add (m, z) y = MatMul (a, w) }""",
        {"w": RNG.normal(size=(8, 4)).astype(np.float32)},
    )
    x, z = RNG.normal(size=(2, 70, 8)).astype(np.float32)
    same_for_any_number(model, {"x": x, "z": z, "scale": np.float32(2)})


def test_data_without_positions_of_their_own_are_refused(graph: Graph) -> None:
    model, x = convolution(graph), images(70)
    with pytest.raises(DataError, match="does not say how many"):
        observe_shard(model, Dataset.open(lambda: iter([x])))
    with pytest.raises(DataError, match="a part of other data"):
        observe_shard(model, Dataset.open(x).split(0.5)[0])


def test_nan_is_named_with_its_samples(graph: Graph) -> None:
    x = images(70)
    x[40] = 3e38
    with pytest.raises(DataError, match="samples 32 to 63"):
        observe_shard(convolution(graph), Dataset.open(x), Place((1, 2)))
