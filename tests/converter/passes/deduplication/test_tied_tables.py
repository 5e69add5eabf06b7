import numpy as np
import onnx_ir as ir
import pytest

from converter.passes.deduplication.initializers import deduplicate
from converter.passes.deduplication.tied_tables import TieTables
from converter.passes.standard import optimize
from quantizers.rewrites.tied_tables import TieQuantizedTables
from runtimes.onnx_graph.fold_views import FoldViews

rng = np.random.default_rng(0)
TABLE = rng.normal(size=(48, 32)).astype(np.float32)
STEPS = (np.abs(TABLE).max(axis=1) / 127).astype(np.float32)
CODES = np.rint(TABLE / STEPS[:, None]).astype(np.int8)
BODY = """a = Gather(table, i) q = DequantizeLinear<axis = 1>(w, s) y = MatMul(a, q)"""
SIGNATURE = "(int64[N, 5] i) => (float[N, 5, 48] y)"


def tied(graph, codes=None, table=TABLE, body=BODY, steps=STEPS, **options):
    codes = np.ascontiguousarray(CODES.T) if codes is None else codes
    return graph(SIGNATURE, body, table=table, w=codes, s=steps, **options)


def test_both_uses_read_one_table_of_codes(graph, check_pass):
    model = tied(graph)
    assert check_pass(TieQuantizedTables(), model, tolerance=0.02).modified
    held = {v.const_value.dtype: v.const_value.size for v in model.graph.initializers.values()}
    assert held[ir.DataType.INT8] == TABLE.size
    assert sum(v.const_value.nbytes for v in model.graph.initializers.values()) < TABLE.nbytes / 2
    (codes,) = [v for v in model.graph.initializers.values() if v.dtype == ir.DataType.INT8]
    assert sorted(node.op_type for node in codes.consumers()) == ["Gather", "Transpose"]


def test_the_tie_gives_what_the_codes_stand_for(graph, run, random_feed):
    model = tied(graph)
    feed = random_feed(model)
    held = CODES.astype(np.float32) * STEPS[:, None]
    want = run(tied(graph, table=held), feed)[0]
    TieQuantizedTables()(model)
    np.testing.assert_array_equal(run(model, feed)[0], want)


def test_one_scale_and_the_same_order(graph, check_pass):
    step = np.float32(np.abs(TABLE).max() / 127)
    model = graph(
        "(int64[N] i, float[N, 48] x) => (float[N, 32] y)",
        "a = Gather(table, i) q = DequantizeLinear(w, s) b = MatMul(x, q) y = Add(a, b)",
        table=TABLE,
        w=np.rint(TABLE / step).astype(np.int8),
        s=step,
    )
    assert check_pass(TieQuantizedTables(), model, tolerance=0.02).modified
    assert "table" not in model.graph.initializers


def test_an_equalized_weight_is_tied_by_its_factors(graph, check_pass):
    factors = rng.uniform(0.25, 4, size=32).astype(np.float32)
    scaled = TABLE * factors
    steps = (np.abs(scaled).max(axis=1) / 127).astype(np.float32)
    codes = np.rint(scaled / steps[:, None]).astype(np.int8)
    model = tied(graph, np.ascontiguousarray(codes.T), steps=steps)
    assert check_pass(TieQuantizedTables(), model, tolerance=0.05).modified
    assert "table" not in model.graph.initializers


def test_a_table_that_was_quantized_by_columns_gives_way(graph, check_pass):
    columns = (np.abs(TABLE).max(axis=0) / 127).astype(np.float32)
    model = tied(
        graph,
        body=BODY.replace("a = Gather(table", "g = Gather(table").replace(
            "q =", "a = DequantizeLinear<axis = -1>(g, columns) q ="
        ),
        table=np.rint(TABLE / columns).astype(np.int8),
        columns=columns,
    )
    assert check_pass(TieQuantizedTables(), model, tolerance=0.03).modified
    assert "table" not in model.graph.initializers
    assert [v.dtype for v in model.graph.initializers.values()].count(ir.DataType.INT8) == 1


def other(array):
    array = array.copy()
    array[3, 4] += 9
    return array


@pytest.mark.parametrize(
    "change",
    [
        {"codes": np.ascontiguousarray(other(CODES).T)},
        {"table": other(TABLE)},
        {"table": -TABLE},
        {
            "body": BODY.replace(
                "y = MatMul(a, q)", "b = MatMul(a, q) t = Neg(table) c = ReduceSum(t) y = Add(b, c)"
            )
        },
        {
            "body": BODY.replace("Gather(table", "Gather<axis = 0>(table").replace(
                "(w, s)", "(w, s, z)"
            ),
            "z": np.ones(48, np.int8),
        },
    ],
)
def test_near_misses_stay(graph, change):
    model = tied(graph, **change)
    assert not TieQuantizedTables()(model).modified


def test_views_are_computed_and_found_again(graph, check_pass, ops):
    model = graph(
        "(int64[N, 5] i) => (float[N, 5, 48] y)",
        "a = Gather(table, i) t = Transpose<perm = [1, 0]>(table) y = MatMul(a, t)",
        table=TABLE,
    )
    assert check_pass(FoldViews(), model, tolerance=0).modified
    assert ops(model) == ["Gather", "MatMul"]
    assert len(model.graph.initializers) == 2
    assert not FoldViews()(model).modified
    (merge,) = deduplicate(model, views=True).merged
    assert merge.how == "Transpose"
    assert check_pass(FoldViews(only_ours=True), model, tolerance=0).modified
    assert repr(FoldViews()) == "FoldViews(only_ours=False)"


def test_a_view_that_the_model_came_with_may_stay(graph, check_pass):
    model = graph(
        "(int64[N, 5] i) => (float[N, 5, 48] y)",
        "a = Gather(table, i) t = Transpose<perm = [1, 0]>(table) y = MatMul(a, t)",
        table=TABLE,
    )
    assert not check_pass(FoldViews(only_ours=True), model).modified


def test_what_depends_on_the_input_is_no_view(graph, check_pass):
    model = graph(
        "(float[3, 4] x) => (float[4, 3] y, float[4, 3] z)",
        "y = Transpose<perm = [1, 0]>(x) z = Transpose<perm = [1, 0]>(w)",
        w=np.ones((3, 4), np.float32),
    )
    assert not check_pass(FoldViews(), model).modified


def test_a_turned_copy_of_a_table_is_read_out_of_it_for_good(graph, check_pass, ops):
    model = graph(
        "(int64[N, 5] i) => (float[N, 5, 48] y)",
        "a = Gather(table, i) b = MatMul(a, w) y = Relu(b)",
        table=TABLE,
        w=TABLE.T.copy(),
    )
    assert check_pass(TieTables(), model, tolerance=0).modified
    assert ops(model) == ["Transpose", "Gather", "MatMul", "Relu"]
    assert not FoldViews(only_ours=True)(model).modified
    optimize(model)
    assert "Transpose" in ops(model)
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    optimize(model)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_turned_copies_of_what_is_no_table_stay(graph, check_pass):
    model = graph(
        "(float[N, 48] x) => (float[N, 48] y)",
        "a = MatMul(x, table) y = MatMul(a, w)",
        table=TABLE,
        w=TABLE.T.copy(),
    )
    assert not check_pass(TieTables(), model).modified
