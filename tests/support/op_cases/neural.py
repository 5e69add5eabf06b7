"""``keras.ops.nn``: activations, normalization, convolution, pooling, losses, attention."""

from __future__ import annotations

from typing import Any

import numpy as np
from op_cases.case import B, F, I, OpCase, Tensor, on_each, op

X = F("n", 4)
IMAGE = F("h", "w", 3)
SIGNAL = F("n", 3)
FIXED = F(8, 8, 3)
KERNEL = np.random.default_rng(3).standard_normal((3, 3, 3, 4)).astype(np.float32)


def cases() -> list[OpCase]:
    return [
        *_activations(),
        *_normalization(),
        *_convolution(),
        *_pooling(),
        *_patches(),
        *_losses(),
        *_attention(),
    ]


def _activations() -> list[OpCase]:
    names = (
        "celu elu gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu "
        "log_sigmoid log_softmax relu relu6 selu sigmoid silu soft_shrink softmax softplus "
        "softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh_shrink"
    )
    found = on_each(names, X)
    found += on_each("relu relu6 silu softmax gelu sigmoid leaky_relu", I("n", 4))
    found += on_each("softmax log_softmax", X, axis=1)
    found += on_each("softmax", X, axis=(1, 2))
    found += on_each("glu", F(4, "n"), axis=1)
    found += on_each("sparsemax", F("n", 4), axis=1)
    found += on_each("gelu", X, approximate=False)
    found += on_each("celu elu", X, alpha=0.5)
    found += op("threshold", X, threshold=0.2, default_value=-1.0)
    return found


def _normalization() -> list[OpCase]:
    four = F(4)
    return [
        *op(
            "batch_normalization",
            X,
            four,
            F(4, low=0.5, high=2),
            call=lambda ops, x, m, v: ops.batch_normalization(x, m[0], v[0], -1),
        ),
        *op(
            "batch_normalization",
            X,
            four,
            F(4, low=0.5, high=2),
            variant="scaled",
            call=lambda ops, x, m, v: ops.batch_normalization(x, m[0], v[0], -1, m[0], v[0]),
        ),
        *op("layer_normalization", X),
        *op(
            "layer_normalization", X, four, call=lambda ops, x, g: ops.layer_normalization(x, g[0])
        ),
        *op("rms_normalization", X),
        *op("rms_normalization", X, four, call=lambda ops, x, g: ops.rms_normalization(x, g[0])),
        *op("normalize", X, axis=-1, order=3),
    ]


def _convolution() -> list[OpCase]:
    rng = np.random.default_rng(4)
    one = rng.standard_normal((3, 3, 4)).astype(np.float32)
    deep = rng.standard_normal((3, 3, 3, 2)).astype(np.float32)
    point = rng.standard_normal((1, 1, 6, 5)).astype(np.float32)
    found: list[OpCase] = []
    for padding in ("valid", "same"):
        for strides in (1, 2):
            how = {"strides": strides, "padding": padding}
            named = {"variant": f"{padding},{strides}"}
            found += op("conv", IMAGE, **named, call=_with(KERNEL, "conv", how))
            found += op(
                "conv",
                SIGNAL,
                **named | {"variant": f"1d,{padding},{strides}"},
                call=_with(one, "conv", how),
            )
            found += op("depthwise_conv", IMAGE, **named, call=_with(deep, "depthwise_conv", how))
            found += op(
                "separable_conv",
                IMAGE,
                **named,
                call=lambda ops, x, how=how: ops.separable_conv(x, deep, point, **how),
            )
            found += op(
                "conv_transpose",
                IMAGE,
                **named,
                call=_with(KERNEL.swapaxes(-1, -2), "conv_transpose", how),
            )
    found += op("conv", IMAGE, variant="dilated", call=_with(KERNEL, "conv", {"dilation_rate": 2}))
    found += op(
        "conv",
        F(8, 8, 3),
        F(3, 3, 3, 4),
        variant="kernel",
        call=lambda ops, x, k: ops.conv(x, k[0]),
    )
    return found


def _with(kernel: Any, name: str, how: dict[str, Any]) -> Any:
    return lambda ops, x: getattr(ops, name)(x, kernel, **how)


def _pooling() -> list[OpCase]:
    found: list[OpCase] = []
    for padding in ("valid", "same"):
        found += on_each("average_pool max_pool", IMAGE, pool_size=2, padding=padding)
        found += on_each("average_pool max_pool", IMAGE, pool_size=3, strides=2, padding=padding)
        found += on_each("average_pool max_pool", SIGNAL, pool_size=2, padding=padding)
    found += on_each("adaptive_average_pool adaptive_max_pool", F(9, 8, 3), output_size=(4, 3))
    found += on_each("adaptive_average_pool adaptive_max_pool", F(9, 3), output_size=4)
    return found


def _patches() -> list[OpCase]:
    first = F(3, 8, 8)
    return [
        *on_each("depth_to_space", F("h", "w", 8), I("h", "w", 8), block_size=2),
        *on_each("space_to_depth", F(8, 6, 2), block_size=2),
        *on_each("unfold", first, kernel_size=2),
        *on_each("unfold", first, kernel_size=3, stride=2, padding=1),
        *on_each("fold", F(12, 49), output_size=(8, 8), kernel_size=2),
        *on_each("fold", F(12, 16), output_size=(8, 8), kernel_size=2, stride=2),
    ]


def _losses() -> list[OpCase]:
    chance = F("n", 4, low=0.05, high=0.95)
    classes = I("n", low=0, high=4)
    both = (chance, chance)
    found = on_each("binary_crossentropy categorical_crossentropy", both)
    found += on_each("binary_crossentropy categorical_crossentropy", (chance, X), from_logits=True)
    found += on_each("sparse_categorical_crossentropy", (classes, chance))
    found += on_each("sparse_categorical_crossentropy", (classes, X), from_logits=True)
    found += on_each("psnr", both, max_val=1.0)
    lengths = Tensor((), "int32", lambda rng, sizes: np.full(sizes, 3))
    steps = Tensor((), "int32", lambda rng, sizes: np.full(sizes, 8))
    found += op("ctc_loss", I(3, low=1, high=4), F(8, 5), lengths, steps)
    found += op("ctc_decode", F(8, 5), steps)
    found += op("ctc_decode", F(8, 5), steps, strategy="beam_search", top_paths=2)
    return found


def _attention() -> list[OpCase]:
    heads = F("n", 2, 4)
    three = (heads, heads, heads)
    found = on_each("dot_product_attention", three)
    found += on_each("dot_product_attention", three, is_causal=True)
    found += on_each("dot_product_attention", three, scale=0.3)
    found += op(
        "dot_product_attention",
        F(5, 2, 4),
        B(2, 5, 5),
        variant="mask",
        call=lambda ops, x, m: ops.dot_product_attention(x, x, x, mask=m),
    )
    found += op(
        "dot_product_attention",
        F(5, 2, 4),
        F(2, 5, 5),
        variant="bias",
        call=lambda ops, x, b: ops.dot_product_attention(x, x, x, bias=b),
    )
    return found
