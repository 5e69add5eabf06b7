"""References: exact sums, one text for one content, and nothing taken on trust."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_models import one_node

from runtimes.errors import DataError
from runtimes.monitor import Reference, make_reference
from runtimes.monitor.binning import whole_units
from runtimes.monitor.layout import UNIT

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.fixture
def reference(quantized: Path, original: Path, held_out: dict[str, Array]) -> Reference:
    return make_reference(quantized, original, held_out)


def test_it_says_what_was_looked_at(reference: Reference) -> None:
    assert {block.group for block in reference.layout} == {
        "inputs",
        "outputs",
        "saturation",
        "shadow",
    }
    assert set(reference.samples.values()) == {600}
    (block, counts) = reference.blocks(["inputs"])[0]
    assert block.names == tuple(f"x: column {place}" for place in range(4))
    assert (counts.sum(axis=1) == 600).all()
    assert counts[:, 1:9].min() > 50  # eight quantiles, and nothing beyond what was seen
    assert (counts[:, [0, 9, 10]] == 0).all()


def test_labels_give_the_metric_of_the_model_that_serves(reference: Reference) -> None:
    assert reference.metric is not None
    assert reference.metric.name == "top1"
    assert 0.97 < reference.metric.value <= 1


def test_the_text_holds_all_of_it(reference: Reference) -> None:
    text = reference.to_json()
    assert Reference.from_json(text) == reference
    assert Reference.from_json(text.encode()).to_json() == text
    assert len(text) < 10_000


def test_the_same_data_give_the_same_bytes(
    quantized: Path, original: Path, held_out: dict[str, Array]
) -> None:
    one, two = (make_reference(quantized, original, held_out).to_json() for _ in range(2))
    assert one == two


def test_parts_add_up_to_the_whole(
    quantized: Path, original: Path, held_out: dict[str, Array], reference: Reference
) -> None:
    parts = [
        make_reference(
            quantized,
            original,
            {name: one[rows] for name, one in held_out.items()},
            layout=reference.layout,
        )
        for rows in (slice(0, 100), slice(100, 350), slice(350, 600))
    ]
    one = parts[0].merge(parts[1]).merge(parts[2])
    other = parts[2].merge(parts[0].merge(parts[1]))
    assert one == other == reference.with_metric(None)


def test_other_edges_do_not_merge(
    quantized: Path, original: Path, held_out: dict[str, Array], reference: Reference
) -> None:
    other = make_reference(quantized, original, {"x": held_out["x"] / 2})
    with pytest.raises(DataError, match="different layouts"):
        reference.merge(other)


def test_an_image_of_many_values_has_few_features(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (40, 96, 96, 3)).astype(np.float32)
    found = make_reference(one_node(tmp_path, "float[N, 96, 96, 3]"), None, {"x": images})
    names = [name for block, _ in found.blocks(["inputs"]) for name in block.names]
    assert len(names) == 3 + 3 * 3 + 16
    assert "x: gradient energy of channel 2" in names
    assert len(found.to_json()) < 20_000


def test_channels_come_first_or_last(tmp_path: Path) -> None:
    images = np.random.default_rng(0).uniform(0, 1, (40, 12, 12, 3)).astype(np.float32)
    first = np.ascontiguousarray(np.moveaxis(images, -1, 1))
    one = make_reference(one_node(tmp_path, "float[N, 12, 12, 3]"), None, {"x": images})
    two = make_reference(one_node(tmp_path, "float[N, 3, 12, 12]"), None, {"x": first})
    for (block, counts), (same, others) in zip(
        one.blocks(["inputs"]), two.blocks(["inputs"]), strict=True
    ):
        assert block.names == same.names
        assert (counts == others).all()


def test_tokens_are_counted_by_frequency(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.geometric(0.05, (300, 12)).astype(np.int64)
    found = make_reference(
        one_node(tmp_path, "int64[N, 12]", "y = Gather(table, x)", 500),
        None,
        {"x": tokens},
    )
    ((block, counts),) = found.blocks(["inputs"])
    assert block.form == "tokens"
    assert len(block.categories) == 63
    assert {1, 2, 3} <= set(block.categories)
    assert counts.sum() == 300 * UNIT
    assert counts[0, -1] > 0  # all that are rare


def test_texts_are_categories_too(tmp_path: Path) -> None:
    words = np.array([["red"], ["blue"], ["red"], ["green"]] * 10, object)
    found = make_reference(one_node(tmp_path, "string[N, 1]"), None, {"x": words})
    block, counts = found.blocks(["inputs"])[0]
    assert block.categories == ("blue", "green", "red")
    assert counts.tolist() == [[10 * UNIT, 10 * UNIT, 20 * UNIT, 0]]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=12), st.integers(1, 5))
def test_shares_become_integers_without_loss(parts: list[int], rows: int) -> None:
    shares = np.array([parts] * rows, float) + np.eye(rows, len(parts))
    shares /= shares.sum(axis=1, keepdims=True)
    units = whole_units(shares, UNIT)
    assert (units.sum(axis=1) == UNIT).all()
    assert (units >= 0).all()
    assert np.abs(units / UNIT - shares).max() <= len(parts) / UNIT


def _change(path: tuple[Any, ...], value: Any) -> Any:
    def changed(document: dict[str, Any]) -> Any:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return document

    return changed


HOSTILE = {
    "is not JSON": lambda document: None,
    "not an object": lambda document: [document],
    "format is": _change(("format",), "other"),
    "of version": _change(("version",), 2),
    "claims": _change(("samples", "inputs"), 2**50),
    "in place of a count": _change(("samples", "inputs"), -1),
    "samples is not an object": _change(("samples",), None),
    "blocks is not a list": _change(("blocks",), {}),
    "are the most": _change(("blocks",), [{}] * 1000),
    "there are no such": _change(("blocks", 0, "form"), "sorcery"),
    "and edges for": _change(("blocks", 0, "edges"), []),
    "do not increase": _change(("blocks", 0, "edges", 0, 0), 1e9),
    "in place of a number": _change(("blocks", 0, "edges", 0, 0), "x"),
    "not finite": _change(("blocks", 0, "edges", 0, 0), -(10**400)),
    "has no features": _change(("blocks", 0, "names"), []),
    "features and counts of": _change(("blocks", 0, "counts"), []),
    "bins and": _change(("blocks", 0, "counts", 0), [600]),
    "do not sum to": _change(("blocks", 0, "counts", 0, 3), 10**9),
    "has categories": _change(("blocks", 0, "categories"), [1]),
    "neither all integers": _change(("blocks", 1, "categories"), [1, "a", 2, 3]),
    "not sorted": _change(("blocks", 1, "categories"), [3, 2, 1, 0]),
    "is not one of kilnx' own": _change(("metric", "name"), "os.path:join"),
    "neither true nor false": _change(("metric", "higher_is_better"), 1),
}


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_files_are_refused(reference: Reference, message: str) -> None:
    document = HOSTILE[message](json.loads(reference.to_json()))
    text = "{" if document is None else json.dumps(document)
    with pytest.raises(DataError, match=message):
        Reference.from_json(text)


def test_no_nan_and_no_nest(reference: Reference) -> None:
    with pytest.raises(DataError, match="NaN is no JSON"):
        Reference.from_json(reference.to_json().replace("600", "NaN", 1))
    with pytest.raises(DataError, match="is not JSON"):
        Reference.from_json("[" * 100_000)


def test_outputs_without_samples_are_left_out(tmp_path: Path) -> None:
    path = one_node(tmp_path, "float[N, 4]", "y = ReduceMean<keepdims=1>(x)")
    found = make_reference(path, None, {"x": np.ones((40, 4), np.float32)})
    assert {block.group for block in found.layout} == {"inputs"}
    assert Reference.from_json(found.to_json()) == found
