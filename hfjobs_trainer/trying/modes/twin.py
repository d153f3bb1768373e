"""A tiny random model of the same architecture, with the real tokenizer: it is loaded as the real one is.

It runs beside the script, in the script's own environment, and imports nothing of this package. Only the configuration
and the files of the tokenizer or processor are read; no weights are. The vocabulary, the kinds of layers, the ratio of
heads and the way of tying stay.
"""

from __future__ import annotations

import copy
import inspect
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

HEADS, HEAD_DIM = 4, 16
HIDDEN = HEADS * HEAD_DIM
KINDS_OF_LAYERS = 8  # of more, the first are kept
MOST_PARAMETERS = 60_000_000  # nearly all of them the vocabulary's

# What a tokenizer or processor may consist of, and what generation goes by.
COPIED = (
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.tiktoken"),
    *("*.model", "spiece*", "chat_template*", "additional_chat_templates/*"),
    *("*processor_config.json", "generation_config.json"),
)
# Sizes, and the names that configurations have for what is of this size in a twin.
NAMES = {
    2 * HIDDEN: """intermediate_size ffn_dim n_inner encoder_ffn_dim block_ff_dim intermediate_size_mlp mlp_dim
        mamba_d_ssm mamba_intermediate_size""",
    HIDDEN: """hidden_size n_embd d_model dim embed_dim moe_intermediate_size shared_expert_intermediate_size
        shared_intermediate_size ffn_hidden_size moe_shared_expert_intermediate_size dense_intermediate_size
        prefix_dense_intermediate_size""",
    HEAD_DIM: """head_dim kv_channels global_head_dim v_head_dim attention_head_dim lightning_head_dim q_lora_rank
        kv_lora_rank embedding_size word_embed_proj_dim hidden_size_per_layer_input linear_key_head_dim
        linear_value_head_dim mamba_d_state state_size mamba_state_dim ssm_state_size mamba_d_head mamba_head_dim
        mamba_chunk_size chunk_size rotary_dim""",
    HEAD_DIM // 2: "qk_nope_head_dim qk_rope_head_dim laurel_rank mamba_n_heads mamba_num_heads",
    HEADS: """num_attention_heads n_head n_heads num_heads encoder_attention_heads linear_num_key_heads
        linear_num_value_heads mamba_dt_rank""",
    1: "n_group topk_group first_k_dense_replace mamba_n_groups n_groups",
}
SIZES = {name: size for size, names in NAMES.items() for name in names.split()}
KINDS = "layers_block_type"  # where no number says how many layers there are
# Layers of another kind that come again and again.
PERIODS = (("attn_layer_period", "attn_layer_offset"), ("expert_layer_period", "expert_layer_offset"))
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "depth", "encoder_layers")
KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads", "multi_query_group_num", "num_global_key_value_heads")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
EXPERTS_PER_TOKEN = (
    "num_experts_per_tok",
    "moe_topk",
    "moe_k",
    "experts_per_token",
    "num_experts_per_token",
    "top_k_experts",
)


class Twin(NamedTuple):
    """A tiny model that was made."""

    folder: Path
    architecture: str
    megabytes: float  # of weights, as saved
    stands_in: str | None = None  # the architecture that could not be scaled down, for which another stands in


def make_twin(
    model: str, revision: str | None, folder: Path, *, trust_remote_code: bool = False, all_layers: bool = False
) -> Twin:
    """Make a tiny random model of the architecture of `model`, to be loaded from `folder`.

    Args:
        model: A repo of the Hub or a local folder.
        revision: Of the repo.
        folder: Where to write it.
        trust_remote_code: Whether code of the repo may run.
        all_layers: Whether it has as many layers as the real one, for options that name layers by their number.

    Raises:
        ValueError: A model that sees or hears cannot be scaled down, so that nothing can stand in.
    """
    transformers: Any = import_module("transformers")

    folder.mkdir(parents=True, exist_ok=True)
    config = transformers.AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=trust_remote_code)
    copy_tokenizer(model, revision, folder, code=trust_remote_code)
    stands_in = None
    try:
        twin = build(shrink(config, all_layers), trust_remote_code)
    except Exception as error:
        stands_in = (config.architectures or [config.model_type])[0]
        if len(list(parts(config.to_dict()))) > 1:
            raise ValueError(f"{stands_in} cannot be scaled down: {type(error).__name__}: {error!s:.300}") from error
        twin = build(another_architecture(config), trust_remote_code)
    twin.save_pretrained(folder)
    _keep_code(config, folder)
    megabytes = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e6
    return Twin(folder, type(twin).__name__, megabytes, stands_in)


def make_adapter(adapter: str, options: dict[str, Any], base: Path, folder: Path) -> Path:
    """Make a random adapter, of the configuration of `adapter`, for the twin in `base`."""
    peft: Any = import_module("peft")
    transformers: Any = import_module("transformers")

    kept = {key: options[key] for key in ("revision", "subfolder") if options.get(key)}
    adapter_config = peft.PeftConfig.from_pretrained(adapter, **kept)
    adapter_config.base_model_name_or_path = str(base)
    adapter_config.inference_mode = False
    config = transformers.AutoConfig.from_pretrained(base)
    peft.get_peft_model(_class_of(config).from_pretrained(base), adapter_config).save_pretrained(str(folder))
    return folder


def copy_tokenizer(model: str, revision: str | None, folder: Path, *, code: bool = False) -> None:
    """Copy the files of the tokenizer or processor, and those of code where it may run."""
    patterns = [*COPIED, *(["*.py"] if code else [])]
    source = Path(model).expanduser()
    if not source.is_dir():
        hub: Any = import_module("huggingface_hub")
        ignored = ["*.safetensors", "*.bin", "*.gguf", "*.onnx"]
        source = Path(hub.snapshot_download(model, revision=revision, allow_patterns=patterns, ignore_patterns=ignored))
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        if path.is_file() and any(fnmatch(name, pattern) for pattern in patterns):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def shrink(config: Any, all_layers: bool = False) -> Any:
    """Scale a configuration down: the sizes that hang together change together."""
    values: dict[str, Any] = config.to_dict()
    values.pop("quantization_config", None)
    for part in parts(values):
        _shrink_part(part, all_layers)
    _join(values)
    return config.__class__.from_dict(values)


def parts(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the configurations within one that have layers of their own, and the whole if it has."""
    if any(isinstance(values.get(name), int) for name in LAYERS) or values.get(KINDS):
        yield values
    for value in _dicts(values).values():
        yield from parts(value)


def _dicts(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: cast("dict[str, Any]", value) for name, value in values.items() if isinstance(value, dict)}


def _lists(values: Mapping[str, Any]) -> dict[str, list[Any]]:
    found = {name: cast("list[Any]", value) for name, value in values.items() if isinstance(value, (list, tuple))}
    return {name: list(value) for name, value in found.items()}


def _shrink_part(part: dict[str, Any], all_layers: bool) -> None:
    if not all_layers or "vocab_size" not in part:
        _cut_layers(part)
    _sizes(part)
    if part.get("qk_rope_head_dim"):  # multi-head latent attention shares one rotary key
        part.update({name: HEADS for name in ("num_key_value_heads",) if name in part})
        part["head_dim"] = part["qk_rope_head_dim"]
        if "qk_head_dim" in part:
            part["qk_head_dim"] = part["qk_nope_head_dim"] + part["qk_rope_head_dim"]
    if "state_size" in part and "expand" in part and "num_heads" in part:
        part["num_heads"] = HIDDEN * part["expand"] // HEAD_DIM
    for rope in _ropes(part):
        _shrink_rope(rope, part)


def _sizes(part: dict[str, Any]) -> dict[str, Any]:
    """Scale the sizes of a part, or of one layer, in place."""
    counted = ("num_attention_heads", "n_head", "num_heads")
    heads = next((part[name] for name in counted if isinstance(part.get(name), int)), HEADS)
    for name, value in part.items():
        if isinstance(value, bool) or value is None:
            continue
        if name in SIZES:
            part[name] = _like(value, SIZES[name])
        elif name in KEY_VALUE_HEADS:
            part[name] = HEADS if value == heads else 1 if value == 1 else HEADS // 2
        elif name in EXPERTS:
            part[name] = _like(value, 4)
        elif name in EXPERTS_PER_TOKEN:
            part[name] = _like(value, 2) if not isinstance(value, int) or value > 2 else value
    return part


def _like(value: Any, size: int) -> Any:
    """Give a size in the form that the configuration has it: one number, or one for each layer."""
    return [size] * len(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else size


def _cut_layers(part: dict[str, Any]) -> None:
    """Keep one layer of each kind, two at least, and of what is said of single layers what is said of these."""
    counted = next((name for name in LAYERS if isinstance(part.get(name), int)), None)
    count = part[counted] if counted else len(part[KINDS])
    lists = _lists(part)
    numbers = {name: value for name, value in lists.items() if _names_layers(name, value, count)}
    lists = {name: value for name, value in lists.items() if len(value) == count and name not in numbers}
    single = {int(layer): value for layer, value in _dicts(_dicts(part).get("per_layer_config", {})).items()}
    first_dense = part.get("first_k_dense_replace") or 0
    kinds: dict[str, int] = {}
    for layer in range(count):
        kind: list[Any] = [value[layer] for value in lists.values()]
        kind += [layer in value for value in numbers.values()]
        kinds.setdefault(repr([kind, single.get(layer), layer < first_dense, _by_period(part, layer)]), layer)
    kept = sorted(kinds.values())[:KINDS_OF_LAYERS]
    kept = sorted(kept + [layer for layer in range(count) if layer not in kept][: max(0, 2 - len(kept))])
    for name, value in lists.items():
        part[name] = [value[layer] for layer in kept]
    for name, value in numbers.items():
        part[name] = [new for new, layer in enumerate(kept) if layer in value]
    if single:
        part["per_layer_config"] = {
            new: _sizes(dict(single[layer])) for new, layer in enumerate(kept) if layer in single
        }
    for period, offset in PERIODS:
        if isinstance(part.get(period), int) and part[period] > 1:
            part[period], part[offset] = 2, min(part[offset], 1)
    if counted:
        part[counted] = len(kept)
    for name in ("max_window_layers", "num_kv_shared_layers", "num_nextn_predict_layers"):
        if isinstance(part.get(name), int):
            part[name] = min(part[name], len(kept) if name == "max_window_layers" else 0)


def _names_layers(name: str, value: list[Any], count: int) -> bool:
    """Tell whether a list holds numbers of layers."""
    if re.search(r"layer|idx|ind(ex|ices)", name) is None or not value:
        return False
    return all(type(number) is int and number < count for number in value) and value == sorted(set(value))


def _by_period(part: dict[str, Any], layer: int) -> list[bool]:
    return [layer % part[period] == part[offset] for period, offset in PERIODS if isinstance(part.get(period), int)]


def _ropes(part: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the parameters of rotary positions: one for all layers, or one for each kind of layer."""
    for name in ("rope_parameters", "rope_scaling"):
        if rope := _dicts(part).get(name):
            yield rope
            yield from _dicts(rope).values()


def _shrink_rope(rope: dict[str, Any], part: dict[str, Any]) -> None:
    partial = rope.get("partial_rotary_factor") or part.get("partial_rotary_factor") or 1.0
    pairs = int(part.get("qk_rope_head_dim") or HEAD_DIM * partial) // 2
    for name in ("short_factor", "long_factor"):
        if isinstance(rope.get(name), list):
            rope[name] = rope[name][:pairs]
    if section := rope.get("mrope_section"):
        whole = sum(section)
        others = [max(1, size * pairs // whole) for size in section[1:]]
        rope["mrope_section"] = [pairs - sum(others), *others]


def _join(values: dict[str, Any]) -> None:
    """What an encoder gives is as wide as what the text model takes."""
    if "text_config" not in _dicts(values):
        return
    for name, part in _dicts(values).items():
        if name == "text_config":
            continue
        for width in ("out_hidden_size", "output_dim", "projection_dim", "text_hidden_size", "llm_hidden_size"):
            if isinstance(part.get(width), int):
                part[width] = HIDDEN
        if part.get("deepstack_visual_indexes") == []:
            part["deepstack_visual_indexes"] = [0]


def another_architecture(config: Any) -> Any:
    """Give a tiny model of a plain architecture, for one that cannot be scaled down: same vocabulary, same head."""
    transformers: Any = import_module("transformers")
    known = (
        "vocab_size",
        "max_position_embeddings",
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "tie_word_embeddings",
        "num_labels",
    )
    sizes = {
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "head_dim": HEAD_DIM,
        "num_key_value_heads": HEADS // 2,
    }
    same = {name: getattr(config, name) for name in known if getattr(config, name, None) is not None}
    scores = "ForSequenceClassification" in (config.architectures or [""])[0]
    architecture = "Qwen3ForSequenceClassification" if scores else "Qwen3ForCausalLM"
    return transformers.Qwen3Config(
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=2,
        architectures=[architecture],
        dtype=config.dtype,
        **sizes,
        **same,
    )


def build(config: Any, trust_remote_code: bool = False) -> Any:
    """Make the model that a configuration describes, and see whether it computes."""
    torch: Any = import_module("torch")
    own_code = "auto_map" in config.to_dict() and trust_remote_code
    make, options = _class_of(config, own_code).from_config, {"trust_remote_code": True} if own_code else {}
    with torch.device("meta"):
        if (
            sum(parameter.numel() for parameter in make(copy.deepcopy(config), **options).parameters())
            > MOST_PARAMETERS
        ):
            raise ValueError("its configuration has sizes of its own, which stay large")
    model = make(config, **options)
    model.eval()
    ids = torch.randint(0, 100, (1, 8))
    takes = inspect.signature(model.forward).parameters
    with torch.no_grad():
        model(input_ids=ids, **({"attention_mask": torch.ones_like(ids)} if "attention_mask" in takes else {}))
    dtype = config.dtype if isinstance(config.dtype, torch.dtype) else getattr(torch, str(config.dtype or "float32"))
    return model.to(dtype if dtype.is_floating_point else torch.float32)


class _Exactly:
    """A class of transformers by its name, with what the automatic classes offer."""

    def __init__(self, name: str) -> None:
        transformers: Any = import_module("transformers")
        self.named = getattr(transformers, name)

    def from_config(self, config: Any) -> Any:
        return self.named._from_config(config)

    def from_pretrained(self, folder: Any) -> Any:
        return self.named.from_pretrained(folder)


def _class_of(config: Any, own_code: bool = False) -> Any:
    transformers: Any = import_module("transformers")
    name = (config.architectures or [""])[0]
    if own_code:
        return (
            transformers.AutoModelForSequenceClassification
            if "SequenceClassification" in name
            else transformers.AutoModelForCausalLM
        )
    if hasattr(transformers, name) and name:
        return _Exactly(name)
    if any(key.endswith(("vision_config", "audio_config")) for key in config.to_dict()):
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def _keep_code(config: Any, folder: Path) -> None:
    """The classes of a repo are found by its configuration."""
    if auto_map := config.to_dict().get("auto_map"):
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": auto_map}, indent=2))
