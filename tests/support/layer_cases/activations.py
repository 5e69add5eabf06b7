"""Activation functions and activation layers."""

from __future__ import annotations

from layer_cases.case import Case, Given, case, masks

# The functions of keras.activations that have a layer or an alias of their own are here as well:
# the test compares this with what Keras has.
FUNCTIONS = (
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
)
# Their defaults raise, or need arguments that a name alone does not give.
_ARGUMENTS = {"threshold": {"threshold": 0.3, "default_value": -1.0}}


def cases() -> list[Case]:
    functions = [
        case("Activation", (6, 8), variant=name, make=_activation(name)) for name in FUNCTIONS
    ]
    return [
        *functions,
        case(
            "Activation",
            (6, 8),
            variant="gelu_tanh",
            make=lambda keras: keras.layers.Activation(
                lambda x: keras.activations.gelu(x, approximate=True)
            ),
        ),
        case(
            "Activation",
            (6, 5, 4),
            variant="softmax_axis_1",
            make=lambda keras: keras.layers.Activation(
                lambda x: keras.activations.softmax(x, axis=1)
            ),
        ),
        case("ReLU", (6, 8)),
        case("ReLU", (6, 8), max_value=1.0),
        case("ReLU", (6, 8), negative_slope=0.2),
        case("ReLU", (6, 8), threshold=0.5),
        case("ReLU", (6, 8), max_value=1.0, negative_slope=0.1, threshold=0.5),
        case("LeakyReLU", (6, 8)),
        case("LeakyReLU", (6, 8), negative_slope=0.05),
        case("ELU", (6, 8)),
        case("ELU", (6, 8), alpha=0.5),
        case("PReLU", (6, 8)),
        case("PReLU", (6, 5, 4), shared_axes=[1, 2]),
        case(
            "PReLU", Given((None, None, 4), dynamic=(5, 6)), shared_axes=[1, 2], variant="dynamic"
        ),
        case("Softmax", (6, 8)),
        case("Softmax", (6, 5, 4), axis=1),
        case("Softmax", (6, 5, 4), axis=[1, 2]),
        case(
            "Softmax",
            (6, 8),
            Given((6, 8), "bool", masks),
            variant="mask",
            call=lambda layer, x, mask: layer(x, mask=mask),
        ),
    ]


def _activation(name):  # type: ignore[no-untyped-def]
    def make(keras):  # type: ignore[no-untyped-def]
        arguments = _ARGUMENTS.get(name)
        if arguments is None:
            return keras.layers.Activation(name)
        return keras.layers.Activation(lambda x: getattr(keras.activations, name)(x, **arguments))

    return make
