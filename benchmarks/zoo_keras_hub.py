"""keras-hub: every backbone and task of ``keras_hub.models``, from a small configuration.

Presets need the network, so weights are random. Tasks have no preprocessor: it is no part of the
graph that is exported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import zoo_keras_hub_images
import zoo_keras_hub_mixed
import zoo_keras_hub_text
from zoo_case import Case, Part

PACKAGES = ("keras-hub",)
MODELS = "keras_hub.models"

ABSTRACT = (
    "Backbone CausalLM Classifier DepthEstimator FeaturePyramidBackbone ImageClassifier "
    "ImageObjectDetector ImageSegmenter ImageToImage Inpaint MaskedLM ObjectDetector Seq2SeqLM "
    "Task TextClassifier TextEmbedder TextToImage AudioToText Gemma4AssistantCausalLM"
)
"""Classes that are the base of others, and one that cannot be called by itself."""

OTHER_NAMES = (
    "AlbertClassifier BertClassifier DebertaV3Classifier DistilBertClassifier FNetClassifier "
    "RobertaClassifier XLMRobertaClassifier ESM2Backbone ESM2MaskedPLM "
    "SmolLMBackbone SmolLMCausalLM"
)
"""Second names of classes."""


def warm_up() -> None:
    """Import what every case needs."""
    import keras_hub  # noqa: F401


def cases() -> Iterator[Case]:
    """Every case, by kind."""
    for family in (zoo_keras_hub_text, zoo_keras_hub_images, zoo_keras_hub_mixed):
        for name, (build, details) in family.models().items():
            yield Case(name, build.build, **details)


def missing() -> list[str]:
    """Models of keras-hub that no case has."""
    import keras_hub

    found: set[str] = set()
    for case in cases():
        found |= set(_classes(getattr(case.build, "__self__", None)))
    known = found | set(ABSTRACT.split()) | set(OTHER_NAMES.split())
    return [name for name in _public_models(keras_hub.models) if name not in known]


def _public_models(module: Any) -> list[str]:
    import keras

    public = {name: value for name, value in vars(module).items() if isinstance(value, type)}
    return sorted(name for name, value in public.items() if issubclass(value, keras.Model))


def _classes(part: Any) -> Iterator[str]:
    if isinstance(part, Part):
        yield part.name
        for value in part.arguments.values():
            yield from _classes(value)
