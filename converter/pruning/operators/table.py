"""Which rule belongs to which operator. An operator that is not here closes what it sees."""

from __future__ import annotations

from collections.abc import Mapping

from converter.pruning.operators import elementwise, linear, reductions, reshaping, selection
from converter.pruning.operators.recurrent import recurrent
from converter.pruning.operators.rule import Rule

_UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip"),
    *("Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish"),
    *("Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal"),
    *("Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus"),
    *("Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
)
_BROADCAST = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
    *("Mean", "Min", "Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
)
_REDUCE = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
    *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
)
_POOL = (
    *("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"),
)

CHANNEL_AXIS: Mapping[str, int] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "DepthToSpace", "SpaceToDepth", *_POOL), 1),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), 1),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), 2),
}
"""Of operators that work on samples, places or steps: the one axis of their data for channels."""

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_UNARY, elementwise.unary),
    **dict.fromkeys(_BROADCAST, elementwise.broadcast),
    "PRelu": elementwise.parametric_relu,
    "BatchNormalization": elementwise.normalization,
    "InstanceNormalization": elementwise.normalization,
    "LayerNormalization": elementwise.layer_normalization,
    "Conv": linear.conv,
    "ConvTranspose": linear.conv_transpose,
    "Gemm": linear.gemm,
    "MatMul": linear.matmul,
    **dict.fromkeys(_REDUCE, reductions.reduce),
    **dict.fromkeys(_POOL, reductions.pool),
    **dict.fromkeys(
        ("Softmax", "LogSoftmax", "Hardmax", "CumSum", "LpNormalization"), reductions.over_axis
    ),
    "Transpose": reshaping.transpose,
    "Squeeze": reshaping.squeeze,
    "Unsqueeze": reshaping.unsqueeze,
    "Reshape": reshaping.reshape,
    "Flatten": reshaping.flatten,
    "DepthToSpace": reshaping.depth_to_space,
    "SpaceToDepth": reshaping.space_to_depth,
    "Concat": selection.concat,
    "Split": selection.split,
    "Slice": selection.slice_,
    "Gather": selection.gather,
    "Pad": selection.pad,
    "Tile": selection.tile,
    "Expand": selection.expand,
    "Resize": selection.resize,
    "Shape": selection.shape,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
}
