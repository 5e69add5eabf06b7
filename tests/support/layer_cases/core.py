"""Dense, Embedding and the other core layers."""

from __future__ import annotations

from layer_cases.case import Case, Given, case, integers

IDS = Given((7,), "int32", integers(11))


def cases() -> list[Case]:
    return [*_dense(), *_einsum_dense(), *_embedding(), *_other()]


def _dense() -> list[Case]:
    return [
        case("Dense", (8,), units=5),
        case("Dense", (8,), units=5, use_bias=False),
        case("Dense", (6, 8), units=5),
        case("Dense", (3, 4, 8), units=5, activation="tanh"),
        case("Dense", Given((None, 8), dynamic=(4,)), units=5, variant="dynamic_length"),
        case("Dense", (8,), units=5, activation="softmax"),
        case("Dense", (8,), units=5, activation="gelu"),
        case("Dense", (200,), units=100, activation="relu", variant="large"),
        case("Dense", (8,), variant="float16", tolerance=5e-3, units=5, dtype="float16"),
        case(
            "Dense", (8,), variant="mixed_float16", tolerance=5e-3, units=5, dtype="mixed_float16"
        ),
        case("Dense", Given((8,), "float64"), variant="float64", units=5, dtype="float64"),
    ]


def _einsum_dense() -> list[Case]:
    def einsum(shape: tuple[int, ...], equation: str, output: object, bias: str | None = None):
        return case(
            "EinsumDense",
            shape,
            variant=equation,
            equation=equation,
            output_shape=output,
            bias_axes=bias,
        )

    return [
        einsum((8,), "ab,bc->ac", 5, "c"),
        einsum((6, 8), "abc,cd->abd", (None, 5), "d"),
        einsum((6, 8), "...x,xy->...y", 5, "y"),
        einsum((6, 8), "abc,cde->abde", (None, 2, 5), "de"),
        einsum((6, 2, 5), "abcd,cde->abe", (None, 7), "e"),
        einsum((6, 8), "abc,bd->adc", (5, 8), "d"),
        einsum((6, 8), "abc,bcd->ad", (5,), "d"),
        einsum((6, 8), "abc,bcd->abd", (6, 5), "d"),
        einsum((6, 8), "abc,c->abc", (None, 8)),
        einsum((4, 6, 8), "abcd,de->aecb", (5, 6, 4)),
    ]


def _embedding() -> list[Case]:
    return [
        case("Embedding", IDS, input_dim=11, output_dim=4),
        case(
            "Embedding",
            Given((7,), "float32", integers(11)),
            input_dim=11,
            output_dim=4,
            variant="float_ids",
        ),
        case(
            "Embedding",
            Given((7,), "int64", integers(11)),
            input_dim=11,
            output_dim=4,
            variant="int64_ids",
        ),
        case(
            "Embedding",
            Given((3, 5), "int32", integers(11)),
            input_dim=11,
            output_dim=4,
            variant="2d",
        ),
        case(
            "Embedding",
            Given((None,), "int32", integers(11), dynamic=(6,)),
            input_dim=11,
            output_dim=4,
            variant="dynamic_length",
        ),
        case(
            "Embedding",
            IDS,
            input_dim=11,
            output_dim=4,
            mask_zero=True,
            variant="mask_zero",
            call=lambda layer, ids: _average(layer(ids)),
        ),
        case(
            "Embedding",
            Given((7,), "int32", integers(2000)),
            input_dim=2000,
            output_dim=16,
            variant="large",
        ),
        case("ReversibleEmbedding", IDS, input_dim=11, output_dim=4),
        case(
            "ReversibleEmbedding",
            IDS,
            input_dim=11,
            output_dim=4,
            variant="tied",
            call=lambda layer, ids: layer(layer(ids), reverse=True),
        ),
        case(
            "ReversibleEmbedding",
            IDS,
            input_dim=11,
            output_dim=4,
            tie_weights=False,
            variant="untied",
            call=lambda layer, ids: layer(layer(ids), reverse=True),
        ),
        case(
            "ReversibleEmbedding",
            IDS,
            input_dim=11,
            output_dim=4,
            logit_soft_cap=2.0,
            variant="soft_cap",
            call=lambda layer, ids: layer(layer(ids), reverse=True),
        ),
    ]


def _other() -> list[Case]:
    return [
        case("Identity", (6, 8)),
        case("InputLayer", (6, 8), make=lambda keras: None, call=lambda _, x: x),
        case(
            "InputLayer",
            Given((6, 8), "int32", integers(5)),
            variant="int32",
            make=lambda keras: None,
            call=lambda _, x: x,
        ),
        case(
            "Lambda",
            (6, 8),
            variant="square",
            make=lambda keras: keras.layers.Lambda(lambda x: x * x + 1.0),
        ),
        case(
            "Lambda",
            (6, 8),
            variant="ops",
            make=lambda keras: keras.layers.Lambda(
                lambda x: keras.ops.concatenate([keras.ops.cumsum(x, axis=1), x], axis=-1)
            ),
        ),
        case("Layer", (6, 8), variant="subclass", make=_custom_layer),
        case("Layer", (6, 8), variant="branch", make=_branching_layer),
        case("Masking", (6, 4)),
        case("Masking", Given((6, 4), "float32", integers(2)), variant="zeros"),
        case(
            "Masking",
            Given((6, 4), "float32", integers(2)),
            variant="average",
            mask_value=1.0,
            call=lambda layer, x: _average(layer(x)),
        ),
        case("Wrapper", (8,), variant="subclass", make=_custom_wrapper),
    ]


def _average(x):  # type: ignore[no-untyped-def]
    """A consumer of the mask."""
    import keras

    return keras.layers.GlobalAveragePooling1D()(x)


def _custom_layer(keras):  # type: ignore[no-untyped-def]
    class Scale(keras.layers.Layer):
        def build(self, input_shape):  # type: ignore[no-untyped-def]
            self.scale = self.add_weight(shape=(input_shape[-1],), initializer="ones")

        def call(self, x):  # type: ignore[no-untyped-def]
            return keras.ops.log(1.0 + keras.ops.square(x * self.scale))

    return Scale()


def _branching_layer(keras):  # type: ignore[no-untyped-def]
    class Branch(keras.layers.Layer):
        def call(self, x):  # type: ignore[no-untyped-def]
            return keras.ops.cond(keras.ops.sum(x) > 0, lambda: x * 2.0, lambda: x - 1.0)

    return Branch()


def _custom_wrapper(keras):  # type: ignore[no-untyped-def]
    class Twice(keras.layers.Wrapper):
        def call(self, x):  # type: ignore[no-untyped-def]
            return self.layer(self.layer(x))

        def compute_output_shape(self, input_shape):  # type: ignore[no-untyped-def]
            return input_shape

    return Twice(keras.layers.Dense(8))
