"""keras-hub's models of text, see ``zoo_keras_hub.py``."""

from __future__ import annotations

from typing import Any

from zoo_case import LONGEST, VOCABULARY, Part

ENCODER: dict[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
LIMITED = ENCODER | {"max_sequence_length": LONGEST}
DECODER: dict[str, Any] = {
    "vocabulary_size": VOCABULARY,
    "num_layers": 2,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
    "hidden_dim": 16,
    "intermediate_dim": 32,
}
EXPERTS = {"num_experts": 4, "top_k": 2, "moe_intermediate_dim": 16}
LINEAR_ATTENTION: dict[str, Any] = {
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
    "num_layers": 3,
    "head_dim": 8,
    "partial_rotary_factor": 0.25,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "linear_conv_kernel_dim": 4,
}
T5_GEMMA: dict[str, Any] = {
    f"{side}_{name}": value
    for side in ("encoder", "decoder")
    for name, value in {
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "num_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "layer_types": ["sliding_attention", "full_attention"],
    }.items()
} | {
    "vocabulary_size": VOCABULARY,
    "sliding_window": 4,
    "cross_attention_hidden_size": 16,
    "attn_logit_softcapping": 50.0,
    "query_pre_attn_scalar": 4.0,
}

BACKBONES: dict[str, dict[str, Any]] = {
    "Albert": LIMITED | {"embedding_dim": 8, "num_groups": 1, "num_inner_repetitions": 1},
    "Bert": LIMITED,
    "DebertaV3": LIMITED | {"bucket_size": 8},
    "DistilBert": LIMITED,
    "Electra": {
        **{k: v for k, v in LIMITED.items() if k != "vocabulary_size"},
        "vocab_size": VOCABULARY,
        "embedding_dim": 8,
    },
    "ESM": ENCODER,
    "FNet": {k: v for k, v in LIMITED.items() if k != "num_heads"},
    "Roberta": LIMITED,
    "RoformerV2": ENCODER | {"head_size": 8},
    "XLMRoberta": LIMITED,
    "XLNet": ENCODER,
    "Bart": LIMITED,
    "T5": ENCODER,
    "T5Gemma": T5_GEMMA,
    "T5Gemma2": T5_GEMMA,
    "EdRec": {
        "vocab_size": VOCABULARY,
        "num_layers_enc": 2,
        "num_layers_dec": 2,
        "num_heads": 2,
        "hidden_dim": 16,
        "intermediate_dim": 32,
    },
    "Bloom": ENCODER,
    "Falcon": {
        **{k: v for k, v in ENCODER.items() if k != "num_heads"},
        "num_attention_heads": 4,
    },
    "Gemma": DECODER
    | {
        "head_dim": 4,
        "sliding_window_size": 4,
        "use_sliding_window_attention": True,
        "attention_logit_soft_cap": 50,
        "final_logit_soft_cap": 30,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
    },
    "Gemma3": DECODER
    | {
        "head_dim": 4,
        "image_size": 16,
        "use_sliding_window_attention": True,
        "sliding_window_size": 4,
        "use_post_ffw_norm": True,
        "use_post_attention_norm": True,
    },
    "Gemma3n": {
        "text_vocab_size": VOCABULARY,
        "text_hidden_size": 16,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "intermediate_size": [32, 32],
        "hidden_activation": "gelu_approximate",
        "layer_types": ["sliding_attention", "full_attention"],
        "sliding_window": 4,
        "rope_theta": 10000.0,
        "max_position_embeddings": LONGEST,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 4,
        "altup_num_inputs": 2,
        "laurel_rank": 2,
    },
    "Gemma4": DECODER | {"head_dim": 4, "image_size": 16, "sliding_window_size": 4},
    "GPT2": LIMITED,
    "GPTNeoX": LIMITED,
    "GptOss": DECODER | {"num_experts": 4, "top_k": 2, "sliding_window": 4},
    "Llama": DECODER,
    "Llama3": DECODER,
    "Mistral": DECODER | {"sliding_window": 4},
    "Mixtral": DECODER | {"num_experts": 4, "top_k": 2, "sliding_window": 4},
    "OPT": LIMITED,
    "Phi3": DECODER,
    "Qwen": DECODER,
    "Qwen2": DECODER,
    "Qwen3": DECODER | {"head_dim": 4},
    "Qwen3Moe": DECODER | EXPERTS | {"head_dim": 4},
    "QwenMoe": DECODER | EXPERTS | {"shared_expert_intermediate_dim": 32},
    "Qwen3_5": DECODER | LINEAR_ATTENTION,
    "Qwen3_5Moe": {
        **{k: v for k, v in DECODER.items() if k != "intermediate_dim"},
        **LINEAR_ATTENTION,
        **EXPERTS,
        "shared_expert_intermediate_size": 16,
    },
    "RWKV7": {
        "vocabulary_size": VOCABULARY,
        "hidden_size": 16,
        "num_layers": 2,
        "head_size": 4,
        "intermediate_dim": 32,
        "gate_lora": 8,
        "mv_lora": 4,
        "aaa_lora": 4,
        "decay_lora": 4,
    },
    "SmolLM3": {
        "vocabulary_size": VOCABULARY,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "num_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "rope_layer_enabled_list": [True, False],
        "layer_types": ["attention", "attention"],
        "mlp_bias": False,
        "layer_norm_epsilon": 1e-5,
        "max_position_embeddings": 128,
        "rope_theta": 10000.0,
        "partial_rotary_factor": 1.0,
    },
}

TASKS: dict[str, str] = {
    "CausalLM": (
        "Bloom Falcon Gemma Gemma3n GPT2 GPTNeoX GptOss Llama Llama3 Mistral Mixtral OPT "
        "Phi3 Qwen Qwen2 Qwen3 Qwen3Moe QwenMoe Qwen3_5 Qwen3_5Moe RWKV7 SmolLM3 "
        "Gemma3 Gemma4"
    ),
    "MaskedLM": "Albert Bert DebertaV3 DistilBert FNet Roberta RoformerV2 XLMRoberta",
    "MaskedPLM": "ESM",
    "ProteinClassifier": "ESM",
    "Seq2SeqLM": "Bart T5 T5Gemma T5Gemma2 EdRec",
    "TextClassifier": "Albert Bert DebertaV3 DistilBert FNet Roberta RoformerV2 XLMRoberta",
    "TextEmbedder": "Bert Gemma3 Qwen3 XLMRoberta",
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "TextClassifier": {"num_classes": 3},
    "ProteinClassifier": {"num_classes": 3},
}


def backbone(name: str) -> Part:
    """The backbone of this family."""
    return Part("keras_hub.models", f"{name}Backbone", BACKBONES[name])


def models() -> dict[str, tuple[Part, dict[str, Any]]]:
    """Backbones and tasks by name, and what their cases differ in."""
    found: dict[str, tuple[Part, dict[str, Any]]] = {}
    for name in BACKBONES:
        found[f"{name}Backbone"] = (backbone(name), {})
    for task, families in TASKS.items():
        for name in families.split():
            arguments: dict[str, Any] = {"backbone": backbone(name)}
            arguments |= {"preprocessor": None} | ARGUMENTS.get(task, {})
            found[f"{name}{task}"] = (Part("keras_hub.models", f"{name}{task}", arguments), {})
    return found
