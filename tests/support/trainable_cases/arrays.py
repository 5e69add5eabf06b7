"""Products, normalizations, reductions, and what moves or picks elements."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from trainable_cases.case import Case, case, distinct, floats, indices, ints, positive

X = floats(2, 3, 4, 5)


def cases() -> list[Case]:
    """All of them."""
    found = [*_products(), *_normalizations(), *_softmax(), *_reductions(), *_places()]
    return [*found, *_moves(), *_pads(), *_indexing(), *_scattering(), *_sequences(), *_shapes()]


def _products() -> list[Case]:
    found = [
        case("MatMul", floats(3, 4), floats(4, 5)),
        case("MatMul", X, floats(5, 6)),
        case("MatMul", X, floats(2, 3, 5, 4)),
        case("MatMul", X, floats(3, 5, 4)),
        case("MatMul", floats(4), floats(2, 4, 3)),
        case("MatMul", floats(2, 3, 4), floats(4)),
        case("MatMul", floats(4), floats(4, seed=1)),
        case("Gemm", floats(3, 4), floats(4, 5)),
        case("Gemm", floats(3, 4), floats(5, 4), floats(5), transB=1),
        case("Gemm", floats(4, 3), floats(4, 5), floats(3, 1), transA=1, alpha=0.5, beta=2.0),
        case("Einsum", floats(2, 3, 4), floats(2, 4, 5), equation="bij,bjk->bik"),
        case("Einsum", X, floats(5, 6), equation="nhqd,de->nqhe"),
        case("Einsum", floats(3, 3), equation="ij->ji"),
    ]
    return [replace(one, tolerance=5e-6) for one in found]


def _normalizations() -> list[Case]:
    three = (floats(3), floats(3, seed=1), floats(3, seed=2), positive(3))
    found = [
        case("BatchNormalization", X, *three),
        case("BatchNormalization", X, *three, epsilon=0.01, opset=9),
        case("BatchNormalization", floats(4, 3), *three),
        case("LayerNormalization", X, floats(5), floats(5, seed=1)),
        case("LayerNormalization", X, floats(4, 5), axis=-2, epsilon=0.01),
        case("LayerNormalization", X, floats(3, 4, 5), floats(3, 4, 5, seed=1), axis=1),
        case("RMSNormalization", X, floats(5), opset=23),
        case("RMSNormalization", X, floats(4, 5), axis=2, epsilon=0.01, opset=23),
        case("SimplifiedLayerNormalization", X, floats(5), epsilon=0.01),
        case("InstanceNormalization", X, floats(3), floats(3, seed=1)),
        case("InstanceNormalization", floats(2, 3, 6), floats(3), floats(3, seed=1), epsilon=0.1),
        case(
            "GroupNormalization",
            floats(2, 6, 4, 3),
            floats(6),
            floats(6, seed=1),
            num_groups=3,
            opset=21,
        ),
        case("GroupNormalization", floats(2, 6, 4), floats(2), floats(2, seed=1), num_groups=2),
        case("LpNormalization", X),
        case("LpNormalization", X, axis=1, p=1),
        case("LRN", floats(2, 6, 3, 4), size=3),
        case("LRN", floats(2, 6, 3, 4), size=5, alpha=0.5, beta=0.6, bias=1.5),
    ]
    return [replace(one, tolerance=1e-5) for one in found]


def _softmax() -> list[Case]:
    found = []
    for name in ("Softmax", "LogSoftmax", "Hardmax"):
        found += [
            case(name, X),
            case(name, X, axis=1),
            case(name, X, axis=-2),
            case(name, X, opset=11),
            case(name, X, axis=2, opset=11),
            case(name, floats(3, 4), axis=0),
        ]
    return [replace(one, differentiable=one.op_type != "Hardmax") for one in found]


def _reductions() -> list[Case]:
    found = []
    for name in (
        *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
        *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
    ):
        x = positive(2, 3, 4, 5) if name == "ReduceLogSum" else X
        found += [
            case(name, x, ints(1), keepdims=0),
            case(name, x, ints(2, -1)),
            case(name, x, ints(2, 3), keepdims=0),
            case(name, x, ints(-2), keepdims=0),
            case(name, x, keepdims=0),
        ]
        if name == "ReduceSum":
            found.append(case(name, x, ints(0, 1), keepdims=0, opset=13))
        else:
            found.append(case(name, x, axes=[0, 1], keepdims=0, opset=13))
    found.append(case("ReduceSum", X, noop_with_empty_axes=1))
    found.append(case("ReduceMean", X, axes=[-1], opset=11))
    return [replace(one, tolerance=5e-6) for one in found]


def _places() -> list[Case]:
    found = []
    for name in ("ArgMax", "ArgMin"):
        near = np.round(2 * X)
        found += [
            case(name, X),
            case(name, X, axis=-1, keepdims=0),
            case(name, near, axis=1, select_last_index=1),
            case(name, near, axis=1),
        ]
    return [replace(one, differentiable=False) for one in found]


def _moves() -> list[Case]:
    return [
        case("Reshape", X, ints(2, 12, 5)),
        case("Reshape", X, ints(0, -1, 5)),
        case("Reshape", X, ints(0, 0, -1)),
        case("Flatten", X),
        case("Flatten", X, axis=0),
        case("Flatten", X, axis=-1),
        case("Flatten", X, axis=4),
        case("Transpose", X),
        case("Transpose", X, perm=[0, 2, 3, 1]),
        case("Transpose", X, perm=[0, 3, 1, 2]),
        case("Transpose", X, perm=[1, 0, 3, 2]),
        case("Transpose", floats(3, 4), perm=[1, 0]),
        case("Squeeze", floats(2, 1, 3, 1), ints(1)),
        case("Squeeze", floats(2, 1, 3, 1)),
        case("Squeeze", floats(2, 1, 3, 1), opset=11, axes=[-1]),
        case("Unsqueeze", floats(2, 3, 4), ints(1, -1)),
        case("Unsqueeze", floats(2, 3, 4), ints(-2, 0)),
        case("Unsqueeze", floats(2, 3, 4), opset=11, axes=[0]),
        case("Concat", X, floats(2, 2, 4, 5), axis=1),
        case("Concat", X, floats(2, 3, 4, 1), axis=-1),
        Case("Split", (X, ints(1, 2)), {"axis": 1}, outputs=2),
        Case("Split", (X,), {"axis": -1, "num_outputs": 2}, outputs=2),
        Case("Split", (X,), {"axis": 2}, outputs=2, opset=13),
        Case("Split", (X,), {"axis": 1, "split": [2, 1]}, outputs=2, opset=11),
        case("Expand", floats(3, 1, 5), ints(2, 1, 4, 1)),
        case("Tile", X, ints(1, 2, 1, 3)),
        case("DepthToSpace", floats(2, 8, 3, 2), blocksize=2),
        case("DepthToSpace", floats(2, 8, 3, 2), blocksize=2, mode="CRD"),
        case("SpaceToDepth", floats(2, 3, 4, 6), blocksize=2),
    ]


def _pads() -> list[Case]:
    pads = ints(0, 1, 2, 0, 1, 0, 1, 3)
    found = [
        case("Pad", X, pads),
        _fixed(case("Pad", X, pads, np.float32(1.5))),
        case("Pad", X, pads, mode="reflect"),
        case("Pad", X, pads, mode="edge"),
        case("Pad", X, pads, mode="wrap", opset=19),
        case("Pad", X, ints(0, 0, -1, 1, 0, 0, 2, -2)),
        case("Pad", X, ints(1, 2, 0, 1), None, ints(-1, 2)),
        case("Pad", X, opset=10, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5),
    ]
    return found


def _fixed(made: Case) -> Case:
    return replace(made, constant=frozenset(range(1, len(made.arrays))))


def _indexing() -> list[Case]:
    return [
        case("Slice", X, ints(1), ints(3), ints(2)),
        case("Slice", X, ints(1, -3), ints(2**62, -1), ints(1, 3), ints(1, 2)),
        case("Slice", X, ints(-1), ints(-(2**62)), ints(2), ints(-1)),
        case("Slice", X, ints(3), ints(0), ints(-2), ints(-2)),
        case("Slice", X, ints(0, 1), ints(2, 3)),
        case("Slice", X, opset=9, starts=[1, 0], ends=[3, 1000], axes=[1, 2]),
        case("Gather", X, indices(3, 4, low=-3), axis=1),
        case("Gather", X, indices(5, 2, 2), axis=-1),
        case("Gather", floats(9, 4), indices(9, 3, 5)),
        case("Gather", X, np.array(1), axis=2),
        case("GatherElements", X, indices(3, 2, 2, 4, 5, low=-3), axis=1),
        case("GatherElements", X, indices(5, 1, 2, 3, 4), axis=-1),
        case("GatherElements", floats(6), indices(6, 4)),
        case("GatherND", X, np.array([[0, 1], [1, -2]])),
        case("GatherND", X, np.array([[1], [2]]), batch_dims=1),
        _fixed(
            replace(
                case("OneHot", indices(4, 2, 3, low=-4), ints(4), floats(2)), differentiable=False
            )
        ),
        _fixed(
            replace(
                case("OneHot", indices(4, 2, 3), ints(4), floats(2), axis=1), differentiable=False
            )
        ),
        Case("TopK", (distinct(2, 3, 5), ints(3)), {}, outputs=2),
        Case("TopK", (distinct(2, 4, 5), ints(2)), {"axis": 1, "largest": 0}, outputs=2),
        case("Trilu", X),
        case("Trilu", X, np.array(-1), upper=0),
        case("Trilu", X, np.array(2), upper=1),
        case("CumSum", X, np.array(1)),
        case("CumSum", X, np.array(-1), exclusive=1, reverse=1),
    ]


def _scattering() -> list[Case]:
    places = np.array([[0, 2], [1, -1]])
    along = np.array([[[1, -2, 0, 2]] * 2] * 2).transpose(0, 2, 1)[:, :3]
    line, updates = floats(2, 3, 2), floats(2, 3, 2, seed=1)
    found: list[Case] = []
    for how in ("none", "add", "max", "min"):
        named: dict[str, Any] = {} if how == "none" else {"reduction": how}
        found += [
            case("ScatterND", X, places, floats(2, 4, 5), **named),
            case("ScatterElements", line, along, updates, axis=1, **named),
        ]
    unique = np.array([[2, 0, 1], [0, 1, 2]])
    return [
        *(replace(one, tolerance=5e-6) for one in found if "reduction" in one.attributes),
        case("ScatterND", X, places, floats(2, 4, 5)),
        case("ScatterElements", floats(2, 4), unique, floats(2, 3), axis=-1),
        case("ScatterElements", floats(4, 3), unique, floats(2, 3)),
        case("Scatter", floats(2, 4), unique, floats(2, 3), axis=1, opset=10),
    ]


def _sequences() -> list[Case]:
    return [
        case("ReverseSequence", floats(5, 3, 2), ints(5, 2, 1)),
        case("ReverseSequence", floats(3, 5, 2), ints(5, 2, 1), time_axis=1, batch_axis=0),
    ]


def _shapes() -> list[Case]:
    value = np.array([3], np.int64)
    plain = [
        case("Shape", X),
        case("Shape", X, start=1, end=-1),
        case("Size", X),
        case("Cast", 3 * X, to=7),
        case("Cast", X > 0, to=1),
        case("CastLike", indices(5, 3), np.ones(1, np.float32)),
        case("ConstantOfShape", ints(2, 3)),
        case("ConstantOfShape", ints(2, 3), value=value),
        case("Range", np.array(1, np.int64), np.array(9, np.int64), np.array(3, np.int64)),
        case("Range", np.float32(1), np.float32(2), np.float32(0.25)),
        case("EyeLike", floats(3, 4)),
        case("EyeLike", floats(4, 3), k=-1, dtype=7),
    ]
    constants = [
        Case("Constant", (), {"value": np.array([1.5, 2], np.float32)}),
        Case("Constant", (), {"value_ints": [1, 2]}),
        Case("Constant", (), {"value_float": 2.5}),
    ]
    found = [replace(one, differentiable=False) for one in (*plain, *constants)]
    return [*found, case("Cast", X, to=1), case("CastLike", X, np.ones(1, np.float32))]
