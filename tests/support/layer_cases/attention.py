"""Attention layers."""

from __future__ import annotations

from layer_cases.case import Case, Given, case, masks

QUERY, VALUE = (5, 8), (7, 8)
QUERY_MASK = Given((5,), "bool", masks)
VALUE_MASK = Given((7,), "bool", masks)
ATTENTION_MASK = Given((5, 7), "bool", masks)


def cases() -> list[Case]:
    return [*_simple(), *_multi_head(), *_grouped()]


def _simple() -> list[Case]:
    found = []
    for layer in ("Attention", "AdditiveAttention"):
        found += [
            case(layer, QUERY, VALUE),
            case(layer, QUERY, VALUE, VALUE, variant="key"),
            case(
                layer,
                QUERY,
                VALUE,
                QUERY_MASK,
                VALUE_MASK,
                variant="masks",
                call=lambda layer, q, v, qm, vm: layer([q, v], mask=[qm, vm]),
            ),
            case(
                layer,
                QUERY,
                QUERY,
                variant="causal",
                call=lambda layer, q, v: layer([q, v], use_causal_mask=True),
            ),
            case(
                layer,
                QUERY,
                VALUE,
                variant="scores",
                call=lambda layer, q, v: layer([q, v], return_attention_scores=True),
            ),
            case(
                layer,
                Given((None, 8), dynamic=(4,)),
                Given((None, 8), dynamic=(6,)),
                variant="dynamic",
            ),
        ]
    return [
        *found,
        case("Attention", QUERY, VALUE, use_scale=True),
        case("Attention", QUERY, VALUE, score_mode="concat"),
        case("Attention", QUERY, VALUE, score_mode="concat", use_scale=True),
        case("Attention", QUERY, VALUE, dropout=0.3),
        case("AdditiveAttention", QUERY, VALUE, use_scale=False),
    ]


def _multi_head() -> list[Case]:
    name = "MultiHeadAttention"
    return [
        case(name, QUERY, VALUE, num_heads=2, key_dim=4, call=_two),
        case(
            name,
            QUERY,
            VALUE,
            VALUE,
            num_heads=2,
            key_dim=4,
            variant="key",
            call=lambda layer, q, v, k: layer(q, v, key=k),
        ),
        case(
            name, QUERY, num_heads=2, key_dim=4, variant="self", call=lambda layer, q: layer(q, q)
        ),
        case(name, QUERY, VALUE, num_heads=2, key_dim=4, value_dim=3, output_shape=6, call=_two),
        case(name, QUERY, VALUE, num_heads=2, key_dim=4, use_bias=False, call=_two),
        case(name, QUERY, VALUE, num_heads=2, key_dim=4, dropout=0.3, call=_two),
        case(name, QUERY, VALUE, num_heads=2, key_dim=4, use_gate=True, call=_two),
        case(
            name,
            QUERY,
            VALUE,
            ATTENTION_MASK,
            num_heads=2,
            key_dim=4,
            variant="attention_mask",
            call=lambda layer, q, v, mask: layer(q, v, attention_mask=mask),
        ),
        case(
            name,
            QUERY,
            VALUE,
            QUERY_MASK,
            VALUE_MASK,
            num_heads=2,
            key_dim=4,
            variant="padding_masks",
            call=lambda layer, q, v, qm, vm: layer(q, v, query_mask=qm, value_mask=vm),
        ),
        case(
            name,
            QUERY,
            num_heads=2,
            key_dim=4,
            variant="causal",
            call=lambda layer, q: layer(q, q, use_causal_mask=True),
        ),
        case(
            name,
            QUERY,
            num_heads=2,
            key_dim=4,
            sliding_window=2,
            variant="sliding_window",
            call=lambda layer, q: layer(q, q),
        ),
        case(
            name,
            QUERY,
            VALUE,
            num_heads=2,
            key_dim=4,
            variant="scores",
            call=lambda layer, q, v: layer(q, v, return_attention_scores=True),
        ),
        case(
            name,
            (4, 5, 8),
            num_heads=2,
            key_dim=4,
            attention_axes=(1, 2),
            variant="2d",
            call=lambda layer, q: layer(q, q),
        ),
        case(
            name,
            (4, 5, 8),
            num_heads=2,
            key_dim=4,
            attention_axes=(2,),
            variant="second_axis",
            call=lambda layer, q: layer(q, q),
        ),
        case(
            name,
            Given((None, 8), dynamic=(4,)),
            num_heads=2,
            key_dim=4,
            variant="dynamic",
            call=lambda layer, q: layer(q, q, use_causal_mask=True),
        ),
        case(
            name,
            QUERY,
            num_heads=2,
            key_dim=4,
            variant="mixed_float16",
            dtype="mixed_float16",
            tolerance=1e-2,
            call=lambda layer, q: layer(q, q),
        ),
    ]


def _grouped() -> list[Case]:
    # Keras exports the class under both names; this one is the documentation's.
    name = "GroupQueryAttention"
    heads = {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2}
    return [
        case(name, QUERY, VALUE, **heads, call=_two),
        case(name, QUERY, VALUE, head_dim=4, num_query_heads=4, num_key_value_heads=1, call=_two),
        case(name, QUERY, VALUE, **heads, use_bias=False, call=_two),
        case(name, QUERY, VALUE, **heads, use_gate=True, call=_two),
        case(
            name,
            QUERY,
            VALUE,
            ATTENTION_MASK,
            **heads,
            variant="attention_mask",
            call=lambda layer, q, v, mask: layer(q, v, attention_mask=mask),
        ),
        case(
            name,
            QUERY,
            **heads,
            variant="causal",
            call=lambda layer, q: layer(q, q, use_causal_mask=True),
        ),
        case(
            name,
            QUERY,
            VALUE,
            **heads,
            variant="scores",
            call=lambda layer, q, v: layer(q, v, return_attention_scores=True),
        ),
    ]


def _two(layer, query, value):  # type: ignore[no-untyped-def]
    return layer(query, value)
