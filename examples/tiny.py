"""Models and datasets small enough to train on a laptop's CPU in seconds, generated without a network.

The models are random, but their architecture, tokenizer and chat template are real: what trains them would train a
large one. The rows ask for the colours of a few things, so that the loss of a model that learns them falls.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Format = Literal[
    "text",
    "messages",
    "prompt_completion",
    "prompt_completion_chat",
    "preference",
    "preference_chat",
    "preference_implicit",
    "preference_implicit_chat",
    "unpaired",
    "unpaired_chat",
    "prompt_only",
    "prompt_only_chat",
]
"""Shapes of a row, in TRL's terms: for SFT the first four, for DPO the next four, for KTO then two, for GRPO the last.

GKD takes ``messages``; Reward, ORPO and CPO what DPO takes; RLOO, Distillation, OnlineDPO and PPO what GRPO takes.
"""

FORMATS: tuple[Format, ...] = get_args(Format)

COLORS = ("red", "blue", "green", "yellow", "black", "white", "brown", "pink")
THINGS = ("rose", "sea", "grass", "sun", "night", "snow", "tree", "pig")

# ChatML; the generation markers tell TRL which tokens are the assistant's (`assistant_only_loss`).
CHAT_TEMPLATE = """\
{%- for message in messages %}
{%- if message['role'] == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}{% generation %}{{- message['content'] + '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}
{%- else %}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


IMAGE_TOKEN, IMAGE_SIZE = "<image>", 16

# ChatML whose contents are texts, or lists of texts and images.
VISION_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['content'] is string %}
{{- message['content'] }}
{%- else %}
{%- for part in message['content'] %}
{{- '<image>' if part['type'] == 'image' else part['text'] }}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""


def dataset_rows(format: Format, n: int = 32) -> list[dict[str, Any]]:
    """The first ``n`` rows in the given format, always the same."""
    return [_row(format, index) for index in range(n)]


def write_dataset(path: Path | str, format: Format, n: int = 32) -> Path:
    """Write ``n`` rows as JSON lines to ``path``, whose folder is made when missing; return the path."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in dataset_rows(format, n)), encoding="utf-8")
    return path


def make_model(
    path: Path | str,
    *,
    arch: Literal["llama", "qwen2", "qwen3_moe", "smollm3"] = "qwen2",
    chat_template: bool = True,
    reward: bool = False,
    hidden_size: int = 32,
    seed: int = 0,
) -> Path:
    """Write a random model with its tokenizer into the folder ``path``; return the path.

    Args:
        path: Folder to write, made when missing.
        arch: Architecture, by its name in Transformers.
        chat_template: Whether the tokenizer has a chat template, as an instruct model has.
        reward: Whether the model gives a score (one label) in place of next tokens, as a reward model does.
        hidden_size: Width, a multiple of 8; 32 makes about 30,000 parameters, 64 about 90,000.
        seed: Equal seeds give equal weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    path = Path(path)
    tokenizer = _train_tokenizer()
    if chat_template:
        tokenizer.chat_template = CHAT_TEMPLATE
    config = AutoConfig.for_model(
        arch,
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=2 * hidden_size,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **({"num_labels": 1} if reward else {}),
        **({"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16} if arch == "qwen3_moe" else {}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (AutoModelForSequenceClassification if reward else AutoModelForCausalLM).from_config(config)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_vlm(path: Path | str, *, seed: int = 0) -> Path:
    """Write a random vision-language model with its processor into the folder ``path``; return the path.

    It is a LLaVA of about 55,000 parameters: a CLIP of two layers, whose images are 16 pixels wide, before a Qwen2.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    path = Path(path)
    tokenizer = _train_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = AutoConfig.for_model(
        "llava",
        vision_config={"model_type": "clip_vision_model", "image_size": IMAGE_SIZE, "patch_size": 8, **layers},
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            **layers,
            **ends,
        },
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        tie_word_embeddings=True,
        **ends,
    )
    # the one that needs pillow alone, not torchvision
    images = CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE}, crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    )
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=VISION_TEMPLATE,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def write_image_dataset(path: Path | str, format: Format, n: int = 32) -> Path:
    """Save ``n`` rows of a chat format, each with an image of its colour, as a dataset folder; return the path.

    The column is ``images``, a list of one.
    """
    from datasets import Dataset, Features, Image, List
    from PIL import Image as Pillow

    path = Path(path)
    rows = dataset_rows(format, n)
    pictures = [[Pillow.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), COLORS[i % len(COLORS)])] for i in range(n)]
    texts = Dataset.from_list(rows)
    images = Dataset.from_dict({"images": pictures}, features=Features({"images": List(Image())}))
    texts.add_column("images", images.data["images"], feature=images.features["images"]).save_to_disk(path)
    return path


def _row(format: Format, index: int) -> dict[str, Any]:
    thing, right = THINGS[index % len(THINGS)], COLORS[index % len(COLORS)]
    wrong = COLORS[(index + 3) % len(COLORS)]
    question, good, bad = f"What color is the {thing}?", f"The {thing} is {right}.", f"I think the {thing} is {wrong}."
    asked = [{"role": "user", "content": question}]
    answered = [{"role": "assistant", "content": good}]
    refused = [{"role": "assistant", "content": bad}]
    match format:
        case "text":
            return {"text": f"{question} {good}"}
        case "messages":
            return {"messages": asked + answered}
        case "prompt_completion":
            return {"prompt": f"{question} ", "completion": good}
        case "prompt_completion_chat":
            return {"prompt": asked, "completion": answered}
        case "preference":
            return {"prompt": f"{question} ", "chosen": good, "rejected": bad}
        case "preference_chat":
            return {"prompt": asked, "chosen": answered, "rejected": refused}
        case "preference_implicit":
            return {"chosen": f"{question} {good}", "rejected": f"{question} {bad}"}
        case "preference_implicit_chat":
            return {"chosen": asked + answered, "rejected": asked + refused}
        case "unpaired":
            return {"prompt": f"{question} ", "completion": good if index % 2 else bad, "label": bool(index % 2)}
        case "unpaired_chat":
            return {"prompt": asked, "completion": answered if index % 2 else refused, "label": bool(index % 2)}
        case "prompt_only":
            return {"prompt": f"{question} ", "solution": good}
        case "prompt_only_chat":
            return {"prompt": asked, "solution": good}


def _train_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on the very rows above; it can write any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],  # Qwen2's own: it adds those that are missing
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    corpus = [text for row in dataset_rows("preference", len(THINGS)) for text in row.values()]
    tokenizer.train_from_iterator([*corpus, "system user assistant"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=512, pad_token="<|endoftext|>", eos_token="<|im_end|>"
    )
