"""Numbers of known models, as their config.json and safetensors headers have them."""

from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import ModelFacts

QWEN_05B = ModelFacts(
    model_type="qwen2",
    num_parameters=494_032_768,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    vocab_size=151_936,
    tie_word_embeddings=True,
)
QWEN_14B = ModelFacts(
    model_type="qwen2",
    num_parameters=14_770_033_664,
    hidden_size=5120,
    intermediate_size=13_824,
    num_hidden_layers=48,
    num_attention_heads=40,
    num_key_value_heads=8,
    vocab_size=152_064,
    tie_word_embeddings=False,
)
QWEN_7B = ModelFacts(
    model_type="qwen2",
    num_parameters=7_615_616_512,
    hidden_size=3584,
    intermediate_size=18_944,
    num_hidden_layers=28,
    num_attention_heads=28,
    num_key_value_heads=4,
    vocab_size=152_064,
    tie_word_embeddings=False,
)
LLAMA_8B = ModelFacts(
    model_type="llama",
    num_parameters=8_030_261_248,
    hidden_size=4096,
    intermediate_size=14_336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    vocab_size=128_256,
    tie_word_embeddings=False,
)
LLAMA_3B = ModelFacts(
    model_type="llama",
    hidden_size=3072,
    intermediate_size=8192,
    num_hidden_layers=28,
    num_attention_heads=24,
    num_key_value_heads=8,
    head_dim=128,
    vocab_size=128_256,
    tie_word_embeddings=True,
)
QWEN_1 = ModelFacts(
    model_type="qwen",
    hidden_size=4096,
    intermediate_size=11_008,
    num_hidden_layers=32,
    num_attention_heads=32,
    vocab_size=151_936,
    tie_word_embeddings=False,
)
LLAMA_70B = replace(
    LLAMA_8B,
    num_parameters=70_553_706_496,
    hidden_size=8192,
    intermediate_size=28_672,
    num_hidden_layers=80,
    num_attention_heads=64,
)
QWEN_MOE = ModelFacts(
    model_type="qwen3_moe",
    hidden_size=2048,
    intermediate_size=6144,
    num_hidden_layers=48,
    num_attention_heads=32,
    num_key_value_heads=4,
    head_dim=128,
    vocab_size=151_936,
    tie_word_embeddings=False,
    num_experts=128,
    num_experts_per_tok=8,
    moe_intermediate_size=768,
)
GPT_OSS = ModelFacts(
    model_type="gpt_oss",
    hidden_size=2880,
    intermediate_size=2880,
    num_hidden_layers=24,
    num_attention_heads=64,
    num_key_value_heads=8,
    head_dim=64,
    vocab_size=201_088,
    tie_word_embeddings=False,
    num_experts=32,
    num_experts_per_tok=4,
    moe_intermediate_size=2880,
)
