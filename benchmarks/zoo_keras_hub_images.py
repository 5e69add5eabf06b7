"""keras-hub's models of images, see ``zoo_keras_hub.py``."""

from __future__ import annotations

from typing import Any

from zoo_case import Part


def hub(name: str, /, **arguments: Any) -> Part:
    """A class of ``keras_hub.models``."""
    return Part("keras_hub.models", name, arguments)


def _layer(name: str, /, **arguments: Any) -> Part:
    return Part("keras_hub.layers", name, arguments)


def resnet(**changes: Any) -> Part:
    """A ResNet of four stages."""
    return hub(
        "ResNetBackbone",
        **{
            "input_conv_filters": [64],
            "input_conv_kernel_sizes": [7],
            "stackwise_num_filters": [64, 16, 16, 16],
            "stackwise_num_blocks": [1, 1, 1, 1],
            "stackwise_num_strides": [1, 2, 2, 2],
            "block_type": "basic_block",
            **changes,
        },
    )


def hgnet(**changes: Any) -> Part:
    """An HGNetV2 of two stages."""
    return hub(
        "HGNetV2Backbone",
        **{
            "stem_channels": [3, 8, 8],
            "stackwise_stage_filters": [[8, 8, 16, 1, 1, 3], [16, 8, 32, 1, 1, 3]],
            "apply_downsample": [False, True],
            "use_lightweight_conv_block": [False, True],
            "depths": [1, 1],
            "hidden_sizes": [16, 32],
            "embedding_size": 8,
            "use_learnable_affine_block": True,
            "hidden_act": "relu",
            "image_shape": (None, None, 3),
            **changes,
        },
    )


def transformer(name: str, /, **changes: Any) -> Part:
    """A vision transformer over 32 pixels."""
    arguments = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "image_shape": (32, 32, 3)}
    return hub(name, **(arguments | changes))


def mit(pixels: int | None = 32) -> Part:
    """A mixed transformer of two stages."""
    return hub(
        "MiTBackbone",
        layerwise_depths=[1, 2],
        image_shape=(pixels, pixels, 3),
        hidden_dims=[8, 16],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[4, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
    )


def dino(**changes: Any) -> Part:
    """A DINOv2 that keeps every stage."""
    return hub(
        "DINOV2Backbone",
        **{
            "patch_size": 14,
            "num_layers": 4,
            "hidden_dim": 16,
            "num_heads": 2,
            "intermediate_dim": 32,
            "image_shape": (70, 70, 3),
            "position_embedding_shape": (98, 98, 3),
            **changes,
        },
    )


def vit_det(**changes: Any) -> Part:
    """A windowed vision transformer."""
    return hub(
        "ViTDetBackbone",
        **{
            "image_shape": (32, 32, 3),
            "patch_size": 4,
            "hidden_size": 16,
            "num_layers": 2,
            "global_attention_layer_indices": [1],
            "intermediate_dim": 32,
            "num_heads": 2,
            "num_output_channels": 8,
            "window_size": 3,
            **changes,
        },
    )


def mobilenet() -> Part:
    """A MobileNetV3 of two stages."""
    return hub(
        "MobileNetBackbone",
        stackwise_expansion=[[16, 24], [24, 32]],
        stackwise_num_blocks=[2, 2],
        stackwise_num_filters=[[8, 8], [16, 16]],
        stackwise_kernel_size=[[3, 3], [5, 5]],
        stackwise_num_strides=[[2, 1], [2, 1]],
        stackwise_se_ratio=[[None, None], [0.25, 0.25]],
        stackwise_activation=[["relu", "relu"], ["hard_swish", "hard_swish"]],
        stackwise_padding=[[1, 1], [2, 2]],
        output_num_filters=32,
        input_activation="hard_swish",
        output_activation="hard_swish",
        input_num_filters=8,
        image_shape=(None, None, 3),
        depthwise_filters=8,
        depthwise_stride=2,
        depthwise_residual=False,
        squeeze_and_excite=0.5,
        last_layer_filter=32,
    )


def mobilenet_v5(**changes: Any) -> Part:
    """A MobileNetV5 with edge residual, inverted and attention blocks."""
    rows = {
        "block_types": (["er"], ["uir", "mqa"]),
        "num_filters": ([8], [16, 16]),
        "strides": ([2], [2, 1]),
        "act_layers": (["relu"], ["relu", "relu"]),
        "exp_ratios": ([2.0], [2.0, 2.0]),
        "se_ratios": ([0.0], [0.0, 0.0]),
        "dw_kernel_sizes": ([0], [5, 3]),
        "dw_start_kernel_sizes": ([0], [3, 0]),
        "dw_end_kernel_sizes": ([0], [0, 0]),
        "exp_kernel_sizes": ([3], [0, 0]),
        "pw_kernel_sizes": ([1], [0, 0]),
        "num_heads": ([0], [0, 2]),
        "key_dims": ([0], [0, 8]),
        "value_dims": ([0], [0, 8]),
        "kv_strides": ([0], [0, 2]),
        "use_cpe": ([False], [False, False]),
    }
    arguments: dict[str, Any] = {f"stackwise_{name}": list(row) for name, row in rows.items()}
    arguments |= {"stackwise_num_blocks": [1, 2], "image_shape": (32, 32, 3), "stem_size": 8}
    return hub("MobileNetV5Backbone", **(arguments | {"use_msfa": False} | changes))


def vae(**changes: Any) -> Part:
    """An autoencoder of two stages that takes the mode of what it samples from."""
    arguments: dict[str, Any] = {
        f"{side}_{name}": value
        for side in ("encoder", "decoder")
        for name, value in {"num_filters": [32, 32], "num_blocks": [1, 1]}.items()
    }
    module = "keras_hub.src.models.vae.vae_backbone"
    return Part(module, "VAEBackbone", arguments | {"sampler_method": "mode"} | changes)


BACKBONES: dict[str, Part] = {
    "BASNet": hub(
        "BASNetBackbone",
        image_encoder=resnet(),
        image_shape=(64, 64, 3),
        num_classes=1,
    ),
    "CSPNet": hub(
        "CSPNetBackbone",
        stem_filters=8,
        stem_kernel_size=3,
        stem_strides=1,
        stackwise_strides=2,
        stackwise_depth=[1, 2],
        stackwise_num_filters=[8, 16],
        down_growth=True,
        bottle_ratio=(0.5, 1.0),
        block_ratio=(1.0, 0.5),
        expand_ratio=(2.0, 1.0),
        block_type="dark_block",
        stage_type="csp",
        stem_padding="same",
    ),
    "DeepLabV3": hub(
        "DeepLabV3Backbone",
        image_encoder=resnet(),
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P4",
        dilation_rates=[2, 3],
        upsampling_size=4,
        image_shape=(96, 96, 3),
    ),
    "DeiT": transformer("DeiTBackbone", patch_size=8, intermediate_dim=32),
    "DenseNet": hub(
        "DenseNetBackbone", stackwise_num_repeats=[2, 2, 2], compression_ratio=0.5, growth_rate=4
    ),
    "DepthAnything": hub(
        "DepthAnythingBackbone",
        image_encoder=dino(apply_layernorm=True, image_shape=(126, 126, 3)),
        reassemble_factors=[4, 2, 1, 0.5],
        neck_hidden_dims=[8, 8, 16, 16],
        fusion_hidden_dim=16,
        head_hidden_dim=8,
        head_in_index=-1,
        feature_keys=["stage1", "stage2", "stage3", "stage4"],
    ),
    "DINOV2": dino(num_register_tokens=2, use_swiglu_ffn=True),
    "DINOV3": transformer("DINOV3Backbone", patch_size=8, intermediate_dim=32),
    "EfficientNet": hub(
        "EfficientNetBackbone",
        stackwise_kernel_sizes=[3, 3, 5],
        stackwise_num_repeats=[1, 1, 2],
        stackwise_input_filters=[16, 8, 16],
        stackwise_output_filters=[8, 16, 24],
        stackwise_expansion_ratios=[1, 4, 4],
        stackwise_squeeze_and_excite_ratios=[0.0, 0.25, 0.25],
        stackwise_strides=[1, 2, 2],
        stackwise_block_types=["fused", "unfused", "v1"],
        stackwise_force_input_filters=[0, 0, 0],
        stackwise_nores_option=[False, False, False],
        stackwise_width_coefficients=[1.0] * 3,
        stackwise_depth_coefficients=[1.0] * 3,
        num_features=32,
    ),
    "HGNetV2": hgnet(out_features=["stem", "stage1", "stage2"]),
    "MiT": mit(),
    "MobileNet": mobilenet(),
    "MobileNetV5": mobilenet_v5(),
    "ResNet": resnet(),
    "RetinaNet": hub(
        "RetinaNetBackbone", image_encoder=resnet(), min_level=3, max_level=6, use_p5=False
    ),
    "SegFormer": hub("SegFormerBackbone", image_encoder=mit(), projection_filters=16),
    "SwinTransformer": hub(
        "SwinTransformerBackbone",
        image_shape=(32, 32, 3),
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 4),
        window_size=4,
    ),
    "VAE": vae(),
    "VGG": hub("VGGBackbone", stackwise_num_repeats=[1, 2], stackwise_num_filters=[8, 16]),
    "ViT": transformer("ViTBackbone", patch_size=(8, 8), mlp_dim=32),
    "ViTDet": vit_det(),
    "VideoPrism": hub(
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
    ),
    "Xception": hub(
        "XceptionBackbone",
        stackwise_conv_filters=[[8, 16], [24, 24], [32, 32]],
        stackwise_pooling=[False, True, False],
    ),
}

D_FINE = hub(
    "DFineBackbone",
    backbone=hgnet(out_features=["stage1", "stage2"]),
    decoder_in_channels=[16, 16],
    encoder_hidden_dim=16,
    num_denoising=10,
    num_labels=4,
    hidden_dim=16,
    learn_initial_query=False,
    num_queries=10,
    anchor_image_size=(32, 32),
    feat_strides=[4, 8],
    num_feature_levels=2,
    encoder_in_channels=[16, 32],
    encode_proj_layers=[1],
    num_attention_heads=2,
    encoder_ffn_dim=32,
    num_encoder_layers=1,
    hidden_expansion=0.5,
    depth_multiplier=0.5,
    eval_idx=-1,
    num_decoder_layers=2,
    decoder_attention_heads=2,
    decoder_ffn_dim=32,
    decoder_n_points=[2, 2],
    lqe_hidden_dim=16,
    num_lqe_layers=2,
    out_features=["stage1", "stage2"],
    image_shape=(None, None, 3),
    seed=0,
)

ONE_SIZE: dict[str, Any] = {"pixels": (32, 32)}
"""D-FINE's anchors are those of one image size."""


def models() -> dict[str, tuple[Part, dict[str, Any]]]:
    """Backbones and tasks by name, and what their cases differ in."""
    found: dict[str, tuple[Part, dict[str, Any]]] = {
        f"{name}Backbone": (part, {}) for name, part in BACKBONES.items()
    }
    classifiers = (
        "CSPNet DeiT DenseNet EfficientNet HGNetV2 MiT MobileNet ResNet SwinTransformer VGG "
        "ViT Xception"
    )
    for name in classifiers.split():
        task = f"{name}ImageClassifier"
        found[task] = (hub(task, backbone=BACKBONES[name], preprocessor=None, num_classes=3), {})
    v5 = hub("MobileNetV5ImageClassifier", backbone=mobilenet_v5(), num_classes=3)
    segmenters = {"DeepLabV3": {"num_classes": 2}, "SegFormer": {"num_classes": 2}, "BASNet": {}}
    for name, arguments in segmenters.items():
        task = f"{name}ImageSegmenter"
        found[task] = (hub(task, backbone=BACKBONES[name], **arguments), {})
    return found | {
        "MobileNetV5ImageClassifier": (v5, {}),
        "DepthAnythingDepthEstimator": (
            hub(
                "DepthAnythingDepthEstimator",
                backbone=BACKBONES["DepthAnything"],
                depth_estimation_type="metric",
                max_depth=10.0,
            ),
            {},
        ),
        "DFineBackbone": (D_FINE, ONE_SIZE),
        "DFineObjectDetector": (
            hub("DFineObjectDetector", backbone=D_FINE, num_classes=4),
            ONE_SIZE,
        ),
        "RetinaNetObjectDetector": (_retinanet(), {"pixels": (128, 128)}),
    }


def _retinanet() -> Part:
    anchors = _layer(
        "AnchorGenerator",
        bounding_box_format="yxyx",
        min_level=3,
        max_level=4,
        num_scales=3,
        aspect_ratios=[0.5, 1.0, 2.0],
        anchor_size=4,
    )
    pyramid = hub(
        "RetinaNetBackbone", image_encoder=resnet(), min_level=3, max_level=4, use_p5=False
    )
    return hub(
        "RetinaNetObjectDetector",
        backbone=pyramid,
        num_classes=4,
        bounding_box_format="yxyx",
        anchor_generator=anchors,
    )
