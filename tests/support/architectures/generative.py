"""Models that make images, or bring them to another form."""

from __future__ import annotations

from typing import Any

from architectures.case import Architecture, ones


def _autoencoder(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Dense(6, name="code")(layers.Flatten()(x))
    x = layers.Reshape((4, 4, 8))(layers.Dense(4 * 4 * 8, activation="relu")(x))
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(image, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def _dense_autoencoder(keras: Any) -> Any:
    layers = keras.layers
    x = image = keras.Input((8, 8), name="image")
    x = layers.Dense(24, activation="relu")(layers.Flatten()(x))
    x = layers.Dense(24, activation="relu")(layers.Dense(5)(x))
    return keras.Model(image, layers.Reshape((8, 8))(layers.Dense(64)(x)))


def _variational(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Dense(12, activation="relu")(layers.Flatten()(x))
    return keras.Model(image, [layers.Dense(3, name="mean")(x), layers.Dense(3, name="log")(x)])


def _decoder(keras: Any) -> Any:
    layers = keras.layers
    x = code = keras.Input((2,), name="code")
    x = layers.Reshape((4, 4, 8))(layers.Dense(4 * 4 * 8, activation="relu")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    return keras.Model(code, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x))


def _generator(keras: Any) -> Any:
    layers = keras.layers
    x = noise = keras.Input((10,), name="noise")
    x = layers.Dense(3 * 3 * 12, use_bias=False)(x)
    x = layers.Reshape((3, 3, 12))(layers.LeakyReLU()(layers.BatchNormalization()(x)))
    for filters, strides in ((8, 1), (6, 2)):
        x = layers.Conv2DTranspose(filters, 5, strides, "same", use_bias=False)(x)
        x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2DTranspose(1, 5, 2, "same", use_bias=False, activation="tanh")(x)
    return keras.Model(noise, x)


def _upsampling_generator(keras: Any) -> Any:
    layers = keras.layers
    x = noise = keras.Input((10,), name="noise")
    x = layers.Reshape((4, 4, 6))(layers.Dense(4 * 4 * 6, activation="relu")(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.UpSampling2D()(x))
    return keras.Model(noise, layers.Conv2D(3, 3, padding="same", activation="tanh")(x))


def _conditional_generator(keras: Any) -> Any:
    layers = keras.layers
    noise, label = keras.Input((6,), name="noise"), keras.Input((4,), name="label")
    x = layers.Dense(4 * 4 * 6)(layers.Concatenate()([noise, label]))
    x = layers.Reshape((4, 4, 6))(layers.LeakyReLU()(x))
    plane = layers.Reshape((4, 4, 1))(layers.Dense(16)(label))
    x = layers.Concatenate()([x, plane])
    x = layers.Conv2DTranspose(6, 4, 2, "same", activation="relu")(x)
    return keras.Model([noise, label], layers.Conv2D(1, 3, padding="same")(x))


def _discriminator(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((12, 12, 1), name="image")
    x = layers.LeakyReLU()(layers.Conv2D(8, 5, strides=2, padding="same")(image))
    x = layers.Dropout(0.3)(x)
    x = layers.LeakyReLU()(layers.Conv2D(12, 5, strides=2, padding="same")(x))
    return keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))


def _pixel_shuffle(order: str) -> Any:
    def build(keras: Any) -> Any:
        layers, ops = keras.layers, keras.ops
        image = keras.Input((6, 6, 3), name="image")
        x = layers.Conv2D(12, 3, padding="same", activation="relu")(image)
        x = layers.Conv2D(16, 3, padding="same")(x)
        if order == "depth first":
            x = ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 2, 4)), (0, 1, 3, 2, 4, 5))
        else:
            x = ops.transpose(ops.reshape(x, (-1, 6, 6, 4, 2, 2)), (0, 1, 4, 2, 5, 3))
        x = ops.reshape(x, (-1, 12, 12, 4))
        return keras.Model(image, layers.Conv2D(1, 3, padding="same")(x))

    return build


def _space_to_depth(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    x = ops.transpose(ops.reshape(x, (-1, 4, 2, 4, 2, 6)), (0, 1, 3, 2, 4, 5))
    x = ops.reshape(x, (-1, 4, 4, 24))
    return keras.Model(image, layers.Dense(3)(layers.Conv2D(8, 3)(x)))


def _denoiser(keras: Any) -> Any:
    layers = keras.layers
    image, time = keras.Input((8, 8, 2), name="image"), keras.Input((1,), name="time")
    x = layers.Conv2D(8, 3, padding="same", activation="swish")(image)
    shift = layers.Dense(8)(layers.Dense(12, activation="swish")(time))
    x = layers.Add()([x, layers.Reshape((1, 1, 8))(shift)])
    x = layers.GroupNormalization(groups=2)(x)
    return keras.Model([image, time], layers.Conv2D(2, 3, padding="same")(x))


def _style(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    image, style = keras.Input((8, 8, 3), name="image"), keras.Input((5,), name="style")
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    mean = ops.mean(x, axis=(1, 2), keepdims=True)
    spread = ops.sqrt(ops.mean(ops.square(x - mean), axis=(1, 2), keepdims=True) + 1e-5)
    gain = layers.Reshape((1, 1, 6))(layers.Dense(6)(style))
    bias = layers.Reshape((1, 1, 6))(layers.Dense(6)(style))
    x = (x - mean) / spread * gain + bias
    return keras.Model([image, style], layers.Conv2D(3, 3, padding="same")(x))


ARCHITECTURES = (
    Architecture("autoencoder", _autoencoder),
    Architecture("autoencoder of Dense", _dense_autoencoder),
    Architecture("VAE encoder", _variational),
    Architecture("VAE decoder", _decoder),
    Architecture("DCGAN generator", _generator),
    Architecture("upsampling generator", _upsampling_generator),
    Architecture("conditional generator", _conditional_generator, {"label": ones(4)}),
    Architecture("DCGAN discriminator", _discriminator),
    Architecture("pixel shuffle, depth first", _pixel_shuffle("depth first")),
    Architecture("pixel shuffle, channels first", _pixel_shuffle("channels first")),
    Architecture("space to depth", _space_to_depth),
    Architecture("denoiser", _denoiser),
    Architecture("style", _style),
)
