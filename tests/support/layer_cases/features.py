"""Preprocessing of features, text and sound."""

from __future__ import annotations

from typing import Any

from layer_cases.case import Case, Given, Refusal, case, integers, refused, uniform, words

TOKENS = Given((5,), "int64", integers(6))
ONE_TOKEN = Given((1,), "int64", integers(6))
WORDS = Given((5,), "string", words("earth", "wind", "and", "fire", "water"))
ONE_WORD = Given((1,), "string", words("earth", "wind", "and", "fire", "water"))
NUMBERS = Given((5,), "int64", integers(60))
TEXT = Given((1,), "string", words("Earth, wind and FIRE!", "water and  wind", "", "fire fire"))
WORD = Given((), "string", words("earth", "wind", "and", "fire", "water"))
VOCABULARY = ["earth", "wind", "and", "fire"]
SIGNAL = Given((600,), "float32", uniform(-1, 1))


def cases() -> list[Case]:
    return [
        *_encoding(),
        *_hashing(),
        *_integer_lookup(),
        *_string_lookup(),
        *_text(),
        *_sound(),
    ]


def _encoding() -> list[Case]:
    values = Given((5,), "float32", uniform(-2, 4))
    one = Given((1,), "float32", uniform(-2, 4))
    bins = [-1.0, 0.5, 2.0]
    weights = Given((5,), "float32", uniform(0, 2))
    return [
        case("CategoryEncoding", ONE_TOKEN, num_tokens=6, output_mode="one_hot"),
        case("CategoryEncoding", TOKENS, num_tokens=6, output_mode="one_hot", variant="one_hot_2d"),
        case("CategoryEncoding", TOKENS, num_tokens=6, output_mode="multi_hot"),
        case("CategoryEncoding", TOKENS, num_tokens=6, output_mode="count"),
        case(
            "CategoryEncoding",
            TOKENS,
            weights,
            num_tokens=6,
            output_mode="count",
            variant="weighted",
            call=lambda layer, x, w: layer(x, count_weights=w),
        ),
        case("Discretization", values, bin_boundaries=bins),
        case("Discretization", one, bin_boundaries=bins, output_mode="one_hot"),
        case("Discretization", values, bin_boundaries=bins, output_mode="multi_hot"),
        case("Discretization", values, bin_boundaries=bins, output_mode="count"),
        case(
            "Discretization",
            Given((5,), "int32", integers(4, -2)),
            bin_boundaries=bins,
            variant="int32",
        ),
    ]


def _hashing() -> list[Case]:
    fast = Refusal("StringToHashBucketFast", "the characters of a string cannot be read")
    strong = Refusal("StringToHashBucketStrong", "the characters of a string cannot be read")
    crossed = Refusal("SparseCross", "it hashes the strings that it crosses")
    return [
        case("Hashing", WORDS, num_bins=5, refused=fast),
        case("Hashing", WORDS, num_bins=5, salt=[133, 137], refused=strong),
        case("Hashing", NUMBERS, num_bins=5, variant="integers"),
        case("Hashing", WORDS, num_bins=5, mask_value="and", refused=fast),
        case("HashedCrossing", ONE_WORD, ONE_WORD, num_bins=5, refused=crossed),
        case(
            "HashedCrossing", ONE_WORD, ONE_WORD, num_bins=5, output_mode="one_hot", refused=crossed
        ),
    ]


def _integer_lookup() -> list[Case]:
    vocabulary = [12, 36, 41, 7]
    draw = Given((5,), "int64", _among(12, 36, 41, 7, 99))
    one = Given((1,), "int64", _among(12, 36, 41, 7, 99))
    modes = [
        case(
            "IntegerLookup",
            one if mode == "one_hot" else draw,
            vocabulary=vocabulary,
            output_mode=mode,
            variant=mode,
        )
        for mode in ("int", "one_hot", "multi_hot", "count")
    ]
    return [
        *modes,
        case(
            "IntegerLookup",
            draw,
            vocabulary=vocabulary,
            output_mode="tf_idf",
            idf_weights=[0.5, 1.0, 1.5, 2.0],
            variant="tf_idf",
        ),
        case("IntegerLookup", draw, vocabulary=vocabulary, num_oov_indices=2, variant="two_oov"),
        case("IntegerLookup", draw, vocabulary=vocabulary, mask_token=0, variant="mask_token"),
        case(
            "IntegerLookup",
            Given((5,), "int64", integers(5)),
            vocabulary=vocabulary,
            invert=True,
            variant="invert",
        ),
        case(
            "IntegerLookup",
            Given((5,), "int32", _among(12, 36, 41, 7, 99)),
            vocabulary=vocabulary,
            variant="int32",
        ),
        case(
            "IntegerLookup",
            Given((5,), "int64", _among(12, 36, 41, 7)),
            vocabulary=vocabulary,
            num_oov_indices=0,
            variant="no_oov",
        ),
    ]


def _string_lookup() -> list[Case]:
    modes = [
        case(
            "StringLookup",
            ONE_WORD if mode == "one_hot" else WORDS,
            vocabulary=VOCABULARY,
            output_mode=mode,
            variant=mode,
        )
        for mode in ("int", "one_hot", "multi_hot", "count")
    ]
    return [
        *modes,
        case(
            "StringLookup",
            WORDS,
            vocabulary=VOCABULARY,
            output_mode="tf_idf",
            idf_weights=[0.5, 1.0, 1.5, 2.0],
            variant="tf_idf",
        ),
        case(
            "StringLookup",
            WORDS,
            vocabulary=VOCABULARY,
            num_oov_indices=2,
            variant="two_oov",
            refused=Refusal("StringToHashBucketFast", "what is unknown is hashed into two"),
        ),
        case(
            "StringLookup",
            WORDS,
            vocabulary=["earth", "wind", "fire"],
            mask_token="and",
            variant="mask_token",
        ),
        case(
            "StringLookup",
            Given((5,), "int64", integers(5)),
            vocabulary=VOCABULARY,
            invert=True,
            variant="invert",
        ),
        case(
            "StringLookup", WORDS, vocabulary=VOCABULARY, variant="into_embedding", call=_embedded
        ),
        case(
            "StringLookup",
            Given((5,), "string", words(*VOCABULARY)),
            vocabulary=VOCABULARY,
            num_oov_indices=0,
            variant="no_oov",
        ),
    ]


def _text() -> list[Case]:
    def text(variant: str, given: Given = TEXT, **arguments: Any) -> Case:
        return case("TextVectorization", given, vocabulary=VOCABULARY, variant=variant, **arguments)

    regex = Refusal("StaticRegexReplace", "ONNX replaces no patterns in strings")
    split = Refusal("StringSplitV2", "how many words a text has is ragged, and ONNX is not")
    return [
        text("whole", WORD, standardize=None, split=None),
        *refused(
            [
                text("int"),
                text("padded", output_sequence_length=4),
                text("multi_hot", output_mode="multi_hot"),
                text("count", output_mode="count"),
                text("tf_idf", output_mode="tf_idf", idf_weights=[0.5, 1.0, 1.5, 2.0]),
                text("character", split="character", output_sequence_length=4),
                text("ngrams", ngrams=2, output_sequence_length=4),
            ],
            regex,
        ),
        *refused(
            [
                text("lower", standardize="lower", output_sequence_length=4),
                text("split", standardize=None, output_sequence_length=4),
            ],
            split,
        ),
    ]


def _sound() -> list[Case]:
    small = {"fft_length": 64, "sequence_stride": 32, "num_mel_bins": 8}
    found = [
        case("MelSpectrogram", SIGNAL, **small),
        case("MelSpectrogram", SIGNAL, **small, sequence_length=48),
        case("MelSpectrogram", SIGNAL, **small, power_to_db=False, mag_exp=1.0),
        case("MelSpectrogram", SIGNAL, **small, window="hamming", min_freq=100.0, max_freq=4000.0),
        case("MelSpectrogram", SIGNAL, **small, window=None),
        case(
            "MelSpectrogram",
            Given((None,), draw=uniform(-1, 1), dynamic=(500,)),
            **small,
            variant="dynamic",
        ),
        case("MelSpectrogram", Given((2, 600), draw=uniform(-1, 1)), **small, variant="channels"),
    ]
    signal = Given((600, 1), "float32", uniform(-1, 1))
    frame = {"frame_length": 64, "frame_step": 32}
    found += [
        case("STFTSpectrogram", signal, mode=mode, **frame)
        for mode in ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
    ]
    return [
        *found,
        case("STFTSpectrogram", signal, **frame, padding="same", expand_dims=True),
        case("STFTSpectrogram", signal, **frame, fft_length=128, scaling="spectrum", periodic=True),
        case(
            "STFTSpectrogram", Given((600, 2), draw=uniform(-1, 1)), **frame, variant="two_channels"
        ),
        case(
            "STFTSpectrogram",
            Given((2, 600), draw=uniform(-1, 1)),
            **frame,
            data_format="channels_first",
        ),
    ]


def _among(*values: int):  # type: ignore[no-untyped-def]
    return lambda rng, shape: rng.choice(values, shape)


def _embedded(layer, x):  # type: ignore[no-untyped-def]
    import keras

    return keras.layers.Embedding(5, 3)(layer(x))
