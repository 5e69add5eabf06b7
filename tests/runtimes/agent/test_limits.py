"""Nobody gets more than there is, and what is timed runs alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from runtimes import DataError, ModelError
from runtimes.agent.limits import Counter, Turns
from runtimes.agent.messages import ModelFiles, Part
from runtimes.agent.parts import parts_of
from runtimes.agent.store import MissingParts, PartStore
from runtimes.network.rate_limiter import RateLimiter

pytestmark = pytest.mark.fast


def test_a_rate_is_of_one_address_and_comes_back_with_time() -> None:
    now = [0.0]
    limiter = RateLimiter(2.0, 3.0, clock=lambda: now[0])
    assert [limiter.allows("a") for _ in range(4)] == [True, True, True, False]
    assert limiter.allows("b")
    now[0] += 0.5
    assert [limiter.allows("a") for _ in range(2)] == [True, False]
    now[0] += 1000
    assert [limiter.allows("a") for _ in range(4)] == [True, True, True, False]


def test_what_was_given_back_can_be_taken_again() -> None:
    room = Counter(10)
    assert room.take(7)
    assert not room.take(4)
    room.give_back(7)
    assert room.take(10)


def test_what_is_timed_runs_alone() -> None:
    turns, running, seen = Turns(), [], []

    def work(name: str, *, alone: bool, go: threading.Event) -> None:
        with turns.turn(alone=alone):
            running.append(name)
            seen.append(sorted(running))
            go.wait(10)
            running.remove(name)

    events = [threading.Event() for _ in range(4)]
    plan = [("a", False), ("b", False), ("timed", True), ("c", False)]
    threads = []
    for (name, alone), go in zip(plan, events, strict=True):
        one = threading.Thread(target=work, args=(name,), kwargs={"alone": alone, "go": go})
        one.start()
        threads.append(one)
        if name == "b":
            while len(seen) < 2:
                threading.Event().wait(0.001)
        while name == "timed" and not turns._waiting:
            threading.Event().wait(0.001)
    for go in events:
        go.set()
    for one in threads:
        one.join(10)
    assert [max(seen[:2], key=len), *seen[2:]] == [["a", "b"], ["timed"], ["c"]]


def part(content: bytes) -> Part:
    return Part(hashlib.sha256(content).hexdigest(), len(content))


def put(store: PartStore, content: bytes) -> Part:
    left = [content]
    store.add(part(content), lambda size: left.pop() if left else b"")
    return part(content)


def test_parts_that_were_used_longest_ago_go_first(tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts", 10)
    first, second = put(store, b"aaaa"), put(store, b"bbbb")
    assert store.missing([first.digest]) == []  # which counts as used
    third = put(store, b"cccc")
    assert store.missing([first.digest, second.digest, third.digest]) == [second.digest]
    with pytest.raises(DataError, match="more than is kept"):
        put(store, b"d" * 11)
    again = PartStore(tmp_path / "parts", 10)
    assert again.missing([first.digest, third.digest]) == []


def test_a_part_that_is_another_one_is_not_taken(tmp_path: Path) -> None:
    store = PartStore(tmp_path, 100)
    with pytest.raises(DataError, match="not what its digest says"):
        store.add(part(b"right"), lambda _: b"wrong")
    left = [b"", b"ri"]
    with pytest.raises(DataError, match="cut off"):
        store.add(part(b"right"), lambda _: left.pop())
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_was_changed_on_the_disk_is_not_used(tmp_path: Path) -> None:
    store = PartStore(tmp_path / "parts", 100)
    one = put(store, b"right")
    model = ModelFiles("m", {"m": (one, one)})
    assert store.assemble(model, tmp_path / "a").read_bytes() == b"rightright"
    (tmp_path / "parts" / one.digest).write_bytes(b"wrong")
    with pytest.raises(DataError, match="damaged"):
        store.assemble(model, tmp_path / "b")
    with pytest.raises(MissingParts):
        store.assemble(model, tmp_path / "c")


def test_two_models_share_the_parts_of_their_weights(
    graph: Callable[[str], ir.Model], tmp_path: Path
) -> None:
    weights = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    found = []
    for operator in ("Relu", "Neg"):
        model = graph(
            "g (float[n, 256] x) => (float[n, 256] y) <float[1, 1] w = {1}>"
            f"{{ a = MatMul(x, w)\n y = {operator}(a) }}"
        )
        value = model.graph.initializers["w"]
        value.const_value, value.shape = ir.tensor(weights), ir.Shape(weights.shape)
        with parts_of(model) as parts:
            found.append(parts)
            assert sum(len(one) for one in parts.content.values()) == parts.files.size
    shared = found[0].content.keys() & found[1].content.keys()
    assert {len(found[0].content[digest]) for digest in shared} >= {weights.nbytes}


def test_external_data_outside_the_folder_are_not_sent(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"s" * 16)
    array = ir.ExternalTensor(
        "../secret", 0, 16, ir.DataType.FLOAT, shape=ir.Shape([4]), name="w", base_dir=folder
    )
    value = ir.Value(name="w", const_value=array, shape=ir.Shape([4]))
    value.type = ir.TensorType(ir.DataType.FLOAT)
    node = ir.node("Neg", [value])
    node.outputs[0].name, node.outputs[0].type = "y", value.type
    graph = ir.Graph(
        [], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 18}, name="g"
    )
    ir.save(ir.Model(graph, ir_version=10), folder / "m.onnx")
    with pytest.raises(ModelError, match="outside the model's folder"), parts_of(folder / "m.onnx"):
        pass
