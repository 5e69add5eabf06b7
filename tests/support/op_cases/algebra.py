"""Products and linear algebra."""

from __future__ import annotations

from op_cases.case import F, I, OpCase, on_each, op, refused, well_conditioned

A, B = F("n", 4), F(4, "m")
IA, IB = I("n", 4), I(4, "m")


def cases() -> list[OpCase]:
    return [*_products(), *_solving(), *_factoring()]


def _products() -> list[OpCase]:
    found = on_each("matmul", (A, B), (IA, IB), (IA, B))
    found += on_each("dot", (A, F("n", 4)), call=lambda ops, x, y: ops.dot(x, ops.transpose(y[0])))
    found += op("dot", IA, IA, call=lambda ops, x, y: ops.dot(x, ops.transpose(y[0])))
    found += on_each("inner", (A, F(4)), (IA, I(4)))
    found += on_each("outer", (F(3), F(4)), (I(3), I(4)))
    found += on_each("vdot", (A, A), (IA, IA))
    found += on_each("cross", (F("n", 3), F("n", 3)), (I("n", 3), I("n", 3)))
    found += op("cross", F("n", 2), F("n", 2))
    found += on_each(
        "kron", (F(3), F(2)), (I(3), I(2)), call=lambda ops, x, y: ops.kron(x[0], y[0])
    )
    found += op("kron", F(3), F(2), variant="matrices")
    found += on_each(
        "tensordot",
        (A, F(4, 3)),
        (IA, I(4, 3)),
        call=lambda ops, x, y: ops.tensordot(x, y[0], axes=1),
    )
    found += op("tensordot", A, A, axes=[[1, 2], [1, 2]])
    found += on_each(
        "einsum", (A, B), (IA, IB), call=lambda ops, x, y: ops.einsum("bnc,bcm->bmn", x, y)
    )
    found += op(
        "einsum", F("n", "n"), variant="diagonal", call=lambda ops, x: ops.einsum("bii->bi", x)
    )
    found += op(
        "einsum",
        A,
        A,
        A,
        variant="three",
        call=lambda ops, x, y, z: ops.einsum("bnc,bnc,bnd->bcd", x, y, z),
    )
    found += on_each("cdist", (A, F("m", 4)))
    return found


def _solving() -> list[OpCase]:
    square = well_conditioned(4, 4)
    symmetric = well_conditioned(4, 4, symmetric=True)
    found: list[OpCase] = []
    found += on_each("inv linalg.inv det linalg.det slogdet", square)
    found += on_each("inv det slogdet", well_conditioned(1, 1), variant="one")
    found += on_each("inv det slogdet", well_conditioned(2, 2), variant="two")
    found += on_each("inv det", well_conditioned(3, 2, 2), variant="stack")
    found += on_each("inv det", well_conditioned("n", "n"), variant="of_n")
    found += op("det", F(5, 5), variant="any")
    found += op("slogdet", F(3, 3), variant="any")
    found += op("inv", F(5, 5), variant="any", tolerance=1e-3)
    found += op("logdet", symmetric)
    found += on_each("solve linalg.solve", (square, F(4, 2)), (square, F(4)))
    found += op("solve", square, F(4, "n"), variant="wide")
    for lower in (False, True):
        found += on_each("solve_triangular", (square, F(4, 2)), (square, F(4)), lower=lower)
        found += on_each("cholesky cholesky_inverse", symmetric, upper=lower)
    found += on_each("cholesky", well_conditioned("n", "n", symmetric=True), variant="of_n")
    return found


def _factoring() -> list[OpCase]:
    square = well_conditioned(4, 4)
    symmetric = well_conditioned(4, 4, symmetric=True)
    found: list[OpCase] = []
    found += on_each("qr", F(5, 3), square)
    found += op("lu_factor", square)
    singular = op("svd", F(5, 3), compute_uv=False)
    singular += op(
        "svd",
        F(5, 3),
        variant="product",
        call=lambda ops, x: _product(ops, ops.svd(x, full_matrices=False)),
    )
    singular += on_each("pinv matrix_rank", F(5, 3))
    singular += op("lstsq", F(5, 3), F(5, 2), call=lambda ops, a, b: ops.lstsq(a[0], b[0]))
    found += refused(singular, "Svd", "ONNX has no singular values")
    values = op("eigh", symmetric, variant="values", call=lambda ops, x: ops.eigh(x)[0])
    found += refused(values, "SelfAdjointEigV2", "ONNX has no eigenvalues")
    values = op("eig", symmetric, variant="values", call=lambda ops, x: ops.real(ops.eig(x)[0]))
    found += refused(values, "Eig", "ONNX has no eigenvalues")
    return found


def _product(ops, parts):  # type: ignore[no-untyped-def]
    u, s, v = parts
    return ops.matmul(u * s[:, None, :], v)
