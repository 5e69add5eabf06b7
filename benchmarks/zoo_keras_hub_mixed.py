"""keras-hub's models of several modalities, of sound and of other things.

See ``zoo_keras_hub.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from zoo_case import LONGEST, VOCABULARY, Part
from zoo_keras_hub_images import hub, mobilenet_v5, transformer, vae, vit_det
from zoo_keras_hub_text import BACKBONES as TEXTS
from zoo_keras_hub_text import ENCODER, LIMITED


def _layer(name: str, /, **arguments: Any) -> Part:
    return Part("keras_hub.layers", name, arguments)


def _places(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Different places in a sequence for the tokens of the images, in order."""
    return np.broadcast_to(np.arange(shape[1]), shape)


def _patches(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return random.integers(0, 4, shape)


WITH_IMAGES: dict[str, Any] = {
    "lengths": (10, 13),
    "shapes": {
        "images": (2, 16, 16, 3),
        "pixel_values": (2, 16, 48),
        "pixel_position_ids": (2, 16, 2),
        "vision_indices": (8,),
    },
    "draws": {"vision_indices": _places, "pixel_position_ids": _patches},
}
"""Two images of four tokens each."""


def _encoder(name: str, /, **changes: Any) -> Part:
    arguments = {"patch_size": 8, "hidden_dim": 16, "num_layers": 2, "num_heads": 2}
    arguments |= {"intermediate_dim": 32, "image_shape": (32, 32, 3), "name": "vision_encoder"}
    return hub(name, **(arguments | changes))


def _text(name: str, /, **changes: Any) -> Part:
    arguments = LIMITED | {"embedding_dim": 16, "name": "text_encoder"}
    return hub(name, **(arguments | changes))


def _pairs() -> dict[str, Part]:
    found = {}
    for name in ("CLIP", "MetaCLIP2", "SigLIP"):
        projection = {} if name == "SigLIP" else {"projection_dim": 16}
        vision, text = _encoder(f"{name}VisionEncoder"), _text(f"{name}TextEncoder")
        found[f"{name}VisionEncoder"] = vision
        found[f"{name}TextEncoder"] = text
        found[f"{name}Backbone"] = hub(
            f"{name}Backbone", vision_encoder=vision, text_encoder=text, **projection
        )
    return found


def _blip2() -> dict[str, Part]:
    vision = hub(
        "BLIP2VisionEncoder",
        image_size=32,
        patch_size=8,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        use_patch_bias=True,
        use_class_token=True,
        use_mha_bias=True,
        use_mlp_bias=True,
        dropout_rate=0.0,
        layer_norm_epsilon=1e-5,
        initializer_range=0.02,
    )
    former = hub(
        "BLIP2QFormer",
        num_query_tokens=4,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        vision_dim=16,
        cross_attention_frequency=2,
        dropout=0.0,
        layer_norm_epsilon=1e-5,
    )
    shared = {"num_query_tokens": 4, "qformer_hidden_dim": 16, "dropout": 0.0}
    opt = hub("BLIP2CustomOPT", **LIMITED, **shared, language_projection=None)
    flan = hub("BLIP2FlanT5", **ENCODER, **shared, key_value_dim=8)

    def backbone(language: Part) -> Part:
        return hub("BLIP2Backbone", vision_encoder=vision, qformer=former, language_model=language)

    return {
        "BLIP2VisionEncoder": vision,
        "BLIP2QFormer": former,
        "BLIP2CustomOPT": opt,
        "BLIP2FlanT5": flan,
        "BLIP2Backbone": backbone(opt),
        "BLIP2CausalLM": hub("BLIP2CausalLM", backbone=backbone(opt), preprocessor=None),
        "BLIP2Seq2SeqLM": hub("BLIP2Seq2SeqLM", backbone=backbone(flan), preprocessor=None),
    }


def _gemma_vision(version: int) -> Part:
    extra = {} if version == 3 else {"head_dim": 8, "num_key_value_heads": 2}
    return hub(
        f"Gemma{version}VisionEncoder",
        image_size=16,
        patch_size=4,
        pool_size=2,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        output_dim=16,
        **extra,
    )


def heard(encoder: Any) -> Any:
    """An encoder of sound as a model that knows its inputs."""
    import keras

    mel = keras.Input((None, 8), name="audio_mel")
    mask = keras.Input((None,), dtype="int32", name="audio_mel_mask")
    return keras.Model([mel, mask], encoder(mel, mask))


def _gemmas() -> dict[str, Part]:
    three = hub("Gemma3Backbone", **TEXTS["Gemma3"] | {"vision_encoder": _gemma_vision(3)})
    four = hub("Gemma4Backbone", **TEXTS["Gemma4"] | {"vision_encoder": _gemma_vision(4)})
    audio = hub(
        "Gemma4AudioEncoder",
        input_feat_size=8,
        hidden_size=16,
        num_heads=2,
        num_layers=1,
        output_dim=16,
    )
    return {
        "Gemma3VisionEncoder": _gemma_vision(3),
        "Gemma3Backbone with images": three,
        "Gemma3CausalLM with images": hub("Gemma3CausalLM", backbone=three, preprocessor=None),
        "Gemma4VisionEncoder": _gemma_vision(4),
        "Gemma4AudioEncoder": Part(__name__, "heard", {"encoder": audio}),
        "Gemma4Backbone with images": four,
        "Gemma4CausalLM with images": hub("Gemma4CausalLM", backbone=four, preprocessor=None),
    }


def _sam() -> dict[str, Part]:
    backbone = hub(
        "SAMBackbone",
        image_encoder=vit_det(
            image_shape=(64, 64, 3), patch_size=16, num_output_channels=16, window_size=2
        ),
        prompt_encoder=_layer(
            "SAMPromptEncoder",
            hidden_size=16,
            image_embedding_size=(4, 4),
            input_image_size=(64, 64),
            mask_in_channels=16,
        ),
        mask_decoder=_layer(
            "SAMMaskDecoder",
            num_layers=2,
            hidden_size=16,
            intermediate_dim=32,
            num_heads=2,
            embedding_dim=16,
            num_multimask_outputs=3,
            iou_head_depth=3,
            iou_head_hidden_dim=8,
        ),
    )
    return {
        "SAMBackbone": backbone,
        "SAMImageSegmenter": hub("SAMImageSegmenter", backbone=backbone),
    }


def _sam3() -> dict[str, Part]:
    small = {"num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32, "num_heads": 2}
    image = {"image_shape": (28, 28, 3), "patch_size": 14}
    backbone = hub(
        "SAM3PromptableConceptBackbone",
        vision_encoder=_layer(
            "SAM3VisionEncoder",
            **small,
            **image,
            fpn_hidden_dim=16,
            fpn_scale_factors=[4.0, 2.0, 1.0, 0.5],
            pretrain_image_shape=(42, 42, 3),
            window_size=2,
            global_attn_indexes=[1],
        ),
        text_encoder=_layer(
            "SAM3TextEncoder", **small, vocabulary_size=VOCABULARY, embedding_dim=16
        ),
        geometry_encoder=_layer("SAM3GeometryEncoder", **small, roi_size=7),
        detr_encoder=_layer("SAM3DetrEncoder", **small),
        detr_decoder=_layer("SAM3DetrDecoder", **small, **image, num_queries=8),
        mask_decoder=_layer("SAM3MaskDecoder", num_upsampling_stages=3, hidden_dim=16, num_heads=2),
    )
    segmenter = hub("SAM3PromptableConceptImageSegmenter", backbone=backbone, preprocessor=None)
    return {
        "SAM3PromptableConceptBackbone": backbone,
        "SAM3PromptableConceptImageSegmenter": segmenter,
    }


def _diffusion() -> dict[str, Part]:
    def clip(width: int, name: str) -> Part:
        changes = {"hidden_dim": width, "embedding_dim": width, "name": name}
        return _text("CLIPTextEncoder", **changes, intermediate_output_index=0)

    backbone = hub(
        "StableDiffusion3Backbone",
        mmdit_patch_size=2,
        mmdit_hidden_dim=16,
        mmdit_num_layers=2,
        mmdit_num_heads=2,
        mmdit_position_size=16,
        mmdit_qk_norm=None,
        mmdit_dual_attention_indices=None,
        vae=vae(
            encoder_num_filters=[32, 32, 32, 32],
            encoder_num_blocks=[1, 1, 1, 1],
            decoder_num_filters=[32, 32, 32, 32],
            decoder_num_blocks=[1, 1, 1, 1],
            name="vae",
        ),
        clip_l=clip(16, "clip_l"),
        clip_g=clip(32, "clip_g"),
        image_shape=(32, 32, 3),
    )
    flux = hub(
        "FluxBackbone",
        input_channels=16,
        hidden_size=32,
        mlp_ratio=2.0,
        num_heads=2,
        depth=1,
        depth_single_blocks=1,
        axes_dim=[4, 6, 6],
        theta=10_000,
        use_bias=True,
        guidance_embed=True,
        image_shape=(16, 16),
        text_shape=(8, 16),
        image_ids_shape=(16, 3),
        text_ids_shape=(8, 3),
        y_shape=(16,),
    )
    tasks = ("ImageToImage", "Inpaint", "TextToImage")
    return {
        "StableDiffusion3Backbone": backbone,
        **{
            f"StableDiffusion3{task}": hub(
                f"StableDiffusion3{task}", backbone=backbone, preprocessor=None
            )
            for task in tasks
        },
        "FluxBackbone": flux,
        "FluxTextToImage": hub("FluxTextToImage", backbone=flux, preprocessor=None),
    }


def _others() -> dict[str, Part]:
    moonshine = hub(
        "MoonshineBackbone",
        vocabulary_size=VOCABULARY,
        filter_dim=16,
        encoder_num_layers=2,
        decoder_num_layers=2,
        hidden_dim=16,
        intermediate_dim=32,
        encoder_num_heads=2,
        decoder_num_heads=2,
        partial_rotary_factor=0.62,
        max_position_embeddings=128,
    )
    parseq = hub(
        "PARSeqBackbone",
        image_encoder=transformer(
            "ViTBackbone",
            image_shape=(32, 64, 3),
            patch_size=(4, 8),
            mlp_dim=32,
            use_class_token=False,
            name="image_encoder",
        ),
        vocabulary_size=VOCABULARY,
        max_label_length=12,
        decoder_hidden_dim=16,
        num_decoder_layers=1,
        num_decoder_heads=2,
        decoder_mlp_dim=32,
    )
    pali = hub(
        "PaliGemmaBackbone",
        **TEXTS["Gemma"],
        image_size=16,
        vit_patch_size=4,
        vit_num_layers=2,
        vit_num_heads=2,
        vit_hidden_dim=16,
        vit_intermediate_dim=32,
    )
    return {
        "MoonshineBackbone": moonshine,
        "MoonshineAudioToText": hub("MoonshineAudioToText", backbone=moonshine),
        "PARSeqBackbone": parseq,
        "PARSeqCausalLM": hub("PARSeqCausalLM", backbone=parseq, preprocessor=None),
        "PaliGemmaBackbone": pali,
        "PaliGemmaCausalLM": hub("PaliGemmaCausalLM", backbone=pali, preprocessor=None),
        "RQVAEBackbone": Part(
            "keras_hub.src.models.rqvae.rqvae_backbone",
            "RQVAEBackbone",
            {
                "input_dim": 16,
                "encoder_layer_dims": [32, 16],
                "output_dim": 8,
                "decoder_layer_dims": [16, 32],
                "num_embeddings": 4,
                "num_quantizers": 2,
            },
        ),
        "WhisperBackbone": hub(
            "WhisperBackbone",
            **ENCODER,
            max_encoder_sequence_length=2 * LONGEST,
            max_decoder_sequence_length=LONGEST,
        ),
        "VideoPrismBackbone with text": hub(
            "VideoPrismBackbone",
            image_shape=(16, 16, 3),
            num_frames=4,
            patch_size=4,
            hidden_dim=16,
            intermediate_dim=32,
            num_heads=2,
            num_spatial_layers=1,
            num_temporal_layers=1,
            num_auxiliary_layers=1,
            vocabulary_size=VOCABULARY,
            num_text_layers=1,
        ),
        "MobileNetV5Backbone of several scales": mobilenet_v5(use_msfa=True),
    }


def _boxes(random: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Boxes of SAM 3: the row of the image, then a centre and a size as parts of it."""
    boxes = random.uniform(0.2, 0.6, shape)
    boxes[..., 0] = np.arange(shape[0])[:, None]
    return boxes


BOXES: dict[str, Any] = {
    "draws": {"boxes": _boxes, "box_labels": lambda random, shape: np.ones(shape)}
}

WHOLE_TEXT: dict[str, Any] = {"lengths": (LONGEST, LONGEST)}
"""SigLIP adds all of its positions to a text."""

PROMPTS: dict[str, Any] = {"lengths": (1, 2), "shapes": {"masks": (1, 16, 16, 1)}}
"""One mask as SAM wants it, four times the size of the embedding."""

SPECIAL: dict[str, dict[str, Any]] = {
    "Gemma4AudioEncoder": {"lengths": (32, 45)},
    "SigLIPTextEncoder": WHOLE_TEXT,
    "SigLIPBackbone": WHOLE_TEXT,
    "SAMBackbone": PROMPTS,
    "SAMImageSegmenter": PROMPTS,
    "SAM3PromptableConceptBackbone": BOXES,
    "SAM3PromptableConceptImageSegmenter": BOXES,
    "MoonshineBackbone": {"lengths": (1600, 2400)},
    "MoonshineAudioToText": {"lengths": (1600, 2400)},
}


def models() -> dict[str, tuple[Part, dict[str, Any]]]:
    """Models by name, and what their cases differ in."""
    parts = _pairs() | _blip2() | _gemmas() | _sam() | _sam3() | _diffusion() | _others()
    return {
        name: (part, SPECIAL.get(name, WITH_IMAGES if "with images" in name else {}))
        for name, part in parts.items()
    }
