"""Classifiers, detectors and what else looks at images."""

from __future__ import annotations

from typing import Any

from architectures.case import Architecture, ones


def _conv(keras: Any, x: Any, filters: int, size: int = 3, **options: Any) -> Any:
    layers = keras.layers
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _classifier(keras: Any) -> Any:
    image = keras.Input((12, 12, 3), name="image")
    x = keras.layers.MaxPooling2D()(_conv(keras, image, 8))
    x = keras.layers.Flatten()(_conv(keras, x, 12))
    x = keras.layers.Dense(16, activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(5, activation="softmax")(x))


def _residual(keras: Any) -> Any:
    image = keras.Input((12, 12, 3), name="image")
    x = _conv(keras, image, 8)
    for filters in (8, 12):
        short = x if filters == 8 else keras.layers.Conv2D(filters, 1)(x)
        y = keras.layers.Conv2D(filters, 3, padding="same")(_conv(keras, x, filters))
        x = keras.layers.ReLU()(keras.layers.Add()([short, y]))
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))


def _squeeze_and_excite(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = _conv(keras, image, 12)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu")(gate)
    gate = layers.Conv2D(12, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    return keras.Model(image, layers.Dense(4)(layers.GlobalMaxPooling2D()(x)))


def _squeeze_dense(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = _conv(keras, image, 12)
    gate = layers.Dense(3, activation="swish")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 12))(layers.Dense(12, activation="hard_sigmoid")(gate))
    return keras.Model(image, layers.Conv2D(2, 3)(layers.Multiply()([x, gate])))


def _mobile(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = _conv(keras, image, 8, strides=2)
    y = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same")(layers.Conv2D(16, 1)(x)))
    x = layers.Add()([x, layers.Conv2D(8, 1)(y)])
    return keras.Model(image, layers.Dense(4)(layers.Flatten()(x)))


def _dense_net(keras: Any) -> Any:
    image = keras.Input((12, 12, 3), name="image")
    x = _conv(keras, image, 6)
    for _ in range(2):
        x = keras.layers.Concatenate()([x, _conv(keras, x, 4)])
    return keras.Model(image, keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x)))


def _inception(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    parts = [_conv(keras, image, 4, 1), _conv(keras, image, 6, 5)]
    parts.append(_conv(keras, layers.AveragePooling2D(3, 1, "same")(image), 4, 1))
    x = layers.Concatenate()(parts)
    return keras.Model(image, layers.Dense(4)(layers.Flatten()(layers.MaxPooling2D(3)(x))))


def _u_net(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    one = _conv(keras, image, 6)
    two = _conv(keras, layers.MaxPooling2D()(one), 10)
    x = layers.Conv2DTranspose(6, 2, strides=2)(two)
    x = _conv(keras, layers.Concatenate()([one, x]), 6)
    return keras.Model(image, layers.Conv2D(2, 1, activation="softmax", name="mask")(x))


def _pyramid(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    fine = _conv(keras, image, 8, strides=2)
    coarse = _conv(keras, fine, 12, strides=2)
    up = layers.UpSampling2D(interpolation="nearest")(layers.Conv2D(8, 1)(coarse))
    return keras.Model(image, layers.Conv2D(3, 3)(layers.Add()([fine, up])))


def _detector(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((16, 16, 3), name="image")
    x = _conv(keras, image, 8, strides=2)
    boxes, classes = [], []
    for stage in range(2):
        x = _conv(keras, x, 10, strides=2)
        boxes.append(layers.Reshape((-1, 4))(layers.Conv2D(8, 3, padding="same")(x)))
        scores = layers.Conv2D(6, 3, padding="same", name=f"scores_{stage}")(x)
        classes.append(layers.Softmax()(layers.Reshape((-1, 3))(scores)))
    heads = [layers.Concatenate(axis=1, name="boxes")(boxes)]
    heads.append(layers.Concatenate(axis=1, name="classes")(classes))
    return keras.Model(image, heads)


def _grid_detector(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(14, 1)(_conv(keras, _conv(keras, image, 8, strides=4), 12))
    x = layers.Reshape((4, 4, 2, 7))(x)
    place, size, score = ops.split(x, [2, 4], axis=-1)
    grid = ops.reshape(ops.arange(4, dtype="float32"), (1, 4, 1, 1, 1))
    parts = [(ops.sigmoid(place) + grid) / 4, ops.exp(size), ops.sigmoid(score)]
    return keras.Model(image, ops.concatenate(parts, axis=-1))


def _keypoints(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    image = keras.Input((12, 12, 3), name="image")
    heat = layers.Conv2D(5, 1)(_conv(keras, image, 8))
    flat = layers.Softmax(axis=1)(layers.Reshape((144, 5))(heat))
    places = ops.reshape(ops.arange(144, dtype="float32") / 144, (1, 144, 1))
    return keras.Model(image, ops.sum(flat * places, axis=1))


def _siamese(keras: Any) -> Any:
    layers = keras.layers
    one, other = keras.Input((10, 10, 3), name="one"), keras.Input((10, 10, 3), name="other")
    image = keras.Input((10, 10, 3))
    x = layers.Flatten()(_conv(keras, image, 8, strides=2))
    tower = keras.Model(image, layers.UnitNormalization()(layers.Dense(12)(x)), name="tower")
    apart = keras.ops.abs(tower(one) - tower(other))
    return keras.Model([one, other], layers.Dense(1, activation="sigmoid")(apart))


def _channels_first(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((3, 10, 10), name="image")
    x = layers.Permute((2, 3, 1))(image)
    x = layers.Permute((3, 1, 2))(_conv(keras, x, 8))
    return keras.Model(image, layers.Dense(6, activation="relu")(layers.Dense(7)(x)))


def _vision_transformer(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Reshape((9, 16))(layers.Conv2D(16, 4, strides=4)(image))
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 8)(y, y)])
    y = layers.Dense(24, activation="gelu")(layers.LayerNormalization()(x))
    x = layers.Add()([x, layers.Dense(16)(y)])
    return keras.Model(image, layers.Dense(4)(layers.GlobalAveragePooling1D()(x)))


def _mixer(keras: Any) -> Any:
    layers = keras.layers
    x = patches = keras.Input((8, 12), name="patches")
    y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
    y = layers.Dense(8)(layers.Dense(10, activation="gelu")(y))
    x = layers.Add()([x, layers.Permute((2, 1))(y)])
    y = layers.Dense(12)(layers.Dense(20, activation="gelu")(layers.LayerNormalization()(x)))
    x = layers.Add()([x, y])
    return keras.Model(patches, layers.Dense(3)(layers.Flatten()(x)))


def _shuffled_groups(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    image = keras.Input((10, 10, 4), name="image")
    x = layers.Conv2D(8, 1, groups=2, activation="relu")(image)
    x = ops.transpose(ops.reshape(x, (-1, 10, 10, 2, 4)), (0, 1, 2, 4, 3))
    x = layers.Conv2D(8, 1, groups=2)(ops.reshape(x, (-1, 10, 10, 8)))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def _three_dimensional(keras: Any) -> Any:
    layers = keras.layers
    scan = keras.Input((6, 8, 8, 1), name="scan")
    x = layers.Conv3D(6, 3, activation="relu")(scan)
    x = layers.MaxPooling3D((2, 2, 2))(x)
    return keras.Model(scan, layers.Dense(2)(layers.Flatten()(layers.Conv3D(8, 1)(x))))


ARCHITECTURES = (
    Architecture("classifier", _classifier),
    Architecture("binarized digits", _classifier, {"image": ones(12, 12, 3)}),
    Architecture("residual", _residual),
    Architecture("squeeze and excite", _squeeze_and_excite),
    Architecture("squeeze by Dense", _squeeze_dense),
    Architecture("mobile", _mobile),
    Architecture("DenseNet", _dense_net),
    Architecture("inception", _inception),
    Architecture("U-Net", _u_net),
    Architecture("feature pyramid", _pyramid),
    Architecture("detector heads", _detector),
    Architecture("detector on a grid", _grid_detector),
    Architecture("keypoints", _keypoints),
    Architecture("siamese", _siamese),
    Architecture("channels first", _channels_first),
    Architecture("vision transformer", _vision_transformer),
    Architecture("mixer", _mixer),
    Architecture("shuffled groups", _shuffled_groups),
    Architecture("scan", _three_dimensional),
)
