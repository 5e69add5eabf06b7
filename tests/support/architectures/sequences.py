"""Models of text, sound, time series and video."""

from __future__ import annotations

from typing import Any

from architectures.case import Architecture, integers, padded


def _masked_lstm(keras: Any) -> Any:
    layers = keras.layers
    tokens = keras.Input((8,), dtype="int64", name="tokens")
    x = layers.Embedding(30, 8, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(6))(x)
    return keras.Model(tokens, layers.Dense(3, activation="softmax")(layers.Dense(10)(x)))


def _stacked_gru(keras: Any) -> Any:
    layers = keras.layers
    series = keras.Input((None, 4), name="series")
    x = layers.GRU(6)(layers.GRU(8, return_sequences=True)(series))
    return keras.Model(series, layers.Dense(2)(x))


def _simple_rnn(keras: Any) -> Any:
    layers = keras.layers
    series = keras.Input((7, 4), name="series")
    x = layers.TimeDistributed(layers.Dense(6, activation="relu"))(series)
    return keras.Model(series, layers.Dense(2)(layers.SimpleRNN(8)(x)))


def _encoder_decoder(keras: Any) -> Any:
    layers = keras.layers
    series = keras.Input((6, 3), name="series")
    x = layers.RepeatVector(4)(layers.LSTM(8)(series))
    x = layers.LSTM(8, return_sequences=True)(x)
    return keras.Model(series, layers.TimeDistributed(layers.Dense(2))(x))


def _dense_to_lstm(keras: Any) -> Any:
    layers = keras.layers
    x = code = keras.Input((5,), name="code")
    x = layers.Reshape((6, 4))(layers.Dense(24, activation="relu")(x))
    return keras.Model(code, layers.Dense(3)(layers.LSTM(7, return_sequences=True)(x)))


def _convolution_lstm(keras: Any) -> Any:
    layers = keras.layers
    video = keras.Input((3, 6, 6, 2), name="video")
    x = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=True)(video)
    x = layers.ConvLSTM2D(3, 3, padding="same")(x)
    return keras.Model(video, layers.Conv2D(1, 3, padding="same")(x))


def _temporal(keras: Any) -> Any:
    layers = keras.layers
    x = series = keras.Input((None, 4), name="series")
    for rate in (1, 2, 4):
        y = layers.Conv1D(8, 3, padding="causal", dilation_rate=rate, activation="relu")(x)
        x = layers.Add()([layers.Conv1D(8, 1)(x), layers.Conv1D(8, 1)(y)])
    return keras.Model(series, layers.Dense(2)(x))


def _gated_wave(keras: Any) -> Any:
    layers = keras.layers
    x = sound = keras.Input((16, 1), name="sound")
    skips = []
    for rate in (1, 2):
        both = layers.Conv1D(12, 2, padding="causal", dilation_rate=rate)(x)
        one, other = keras.ops.split(both, 2, axis=-1)
        y = layers.Multiply()([layers.Activation("tanh")(one), keras.ops.sigmoid(other)])
        skips.append(layers.Conv1D(8, 1)(y))
        x = layers.Add()([layers.Conv1D(8, 1)(x), skips[-1]])
    x = layers.ReLU()(layers.Add()(skips))
    return keras.Model(sound, layers.Conv1D(4, 1)(x))


def _keyword(keras: Any) -> Any:
    layers = keras.layers
    x = spectrum = keras.Input((12, 8, 1), name="spectrum")
    x = layers.Conv2D(6, (5, 3), activation="relu")(x)
    x = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = layers.Reshape((8, 36))(layers.Conv2D(6, 1)(x))
    return keras.Model(spectrum, layers.Dense(4)(layers.GRU(8)(x)))


def _speech(keras: Any) -> Any:
    layers = keras.layers
    x = spectrum = keras.Input((None, 8), name="spectrum")
    x = layers.Conv1D(10, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x)
    return keras.Model(spectrum, layers.Dense(9, activation="softmax")(x))


def _text_convolution(keras: Any) -> Any:
    layers = keras.layers
    tokens = keras.Input((10,), dtype="int64", name="tokens")
    x = layers.Embedding(40, 8)(tokens)
    parts = [
        layers.GlobalMaxPooling1D()(layers.Conv1D(6, size, activation="relu")(x)) for size in (2, 3)
    ]
    return keras.Model(tokens, layers.Dense(2)(layers.Concatenate()(parts)))


def _encoder(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    tokens = keras.Input((8,), dtype="int64", name="tokens")
    x = layers.Embedding(30, 12, mask_zero=True)(tokens)
    x = x + layers.Embedding(8, 12)(ops.arange(8))
    y = layers.MultiHeadAttention(2, 6)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Dense(12)(layers.Dense(20, activation="gelu")(x))
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    return keras.Model(tokens, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def _causal(keras: Any) -> Any:
    layers = keras.layers
    tokens = keras.Input((8,), dtype="int64", name="tokens")
    x = layers.Embedding(30, 12)(tokens)
    y = layers.MultiHeadAttention(3, 4)(x, x, use_causal_mask=True)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    x = layers.Add()([x, layers.Dense(12)(layers.Dense(18, activation="relu")(x))])
    return keras.Model(tokens, layers.Dense(30)(x))


def _hand_made_attention(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    series, mask = keras.Input((6, 8), name="series"), keras.Input((6,), name="mask")
    one, two, three = (layers.Dense(8)(series) for _ in range(3))
    scores = ops.matmul(one, ops.transpose(two, (0, 2, 1))) / 8**0.5
    scores = scores + ops.expand_dims(1 - mask, 1) * -1e9
    x = ops.matmul(ops.softmax(scores), three)
    return keras.Model([series, mask], layers.Dense(2)(layers.Dense(10, activation="relu")(x)))


def _attention_pooling(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    series = keras.Input((6, 5), name="series")
    x = layers.Dense(8, activation="tanh")(series)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
    return keras.Model(series, layers.Dense(2)(ops.sum(x * weights, axis=1)))


def _forecast(keras: Any) -> Any:
    layers = keras.layers
    x = series = keras.Input((12,), name="series")
    forecast = []
    for _ in range(2):
        y = layers.Dense(10, activation="relu")(layers.Dense(10, activation="relu")(x))
        x = layers.Subtract()([x, layers.Dense(12)(y)])
        forecast.append(layers.Dense(4)(y))
    return keras.Model(series, layers.Add()(forecast))


def _ones_of_mask(rng: Any, count: int) -> Any:
    return (rng.integers(1, 7, (count, 1)) > rng.permutation(6)).astype("float32")


ARCHITECTURES = (
    Architecture("masked LSTM", _masked_lstm, {"tokens": padded(30, 8)}),
    Architecture("stacked GRU", _stacked_gru),
    Architecture("RNN after Dense", _simple_rnn),
    Architecture("encoder and decoder", _encoder_decoder),
    Architecture("Dense in steps", _dense_to_lstm),
    Architecture("ConvLSTM", _convolution_lstm),
    Architecture("TCN", _temporal),
    Architecture("gated convolutions", _gated_wave),
    Architecture("keyword", _keyword),
    Architecture("speech", _speech),
    Architecture("text by convolution", _text_convolution, {"tokens": integers(40, 10)}),
    Architecture("encoder", _encoder, {"tokens": padded(30, 8)}),
    Architecture("causal transformer", _causal, {"tokens": integers(30, 8)}),
    Architecture("attention by hand", _hand_made_attention, {"mask": _ones_of_mask}),
    Architecture("attention pooling", _attention_pooling),
    Architecture("forecast", _forecast),
)
