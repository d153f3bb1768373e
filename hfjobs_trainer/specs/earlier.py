"""Words of earlier TRL in files and command lines, in those of today.

A word is translated where it means today just what it meant, and each translation is noted; what has no exact meaning
any more is left as it is, and refused where the spec is made. In Python, all of them are refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any, cast

from hfjobs_trainer.specs import names, trl_cli
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import group_of, keywords
from hfjobs_trainer.specs.notes import DEFAULTS, LEFT_OUT, Note

Values = dict[str, Any]
Translated = tuple[Values, list[Note]]

# What TRL's parser still knows under these names; trl_cli.py gives it to its owner.
_STILL_SAID = (
    "model_name_or_path",
    "dataset_name",
    "dataset_config",
    "dataset_train_split",
    "dataset_test_split",
    "use_peft",
    "lora_r",
    "lora_alpha",
    "reward_model_name_or_path",
)

# Values that had another name: field -> {then: now}. TRL 1.16: trainer/sft_config.py, trainer/dpo_config.py.
_VALUES: Mapping[str, Mapping[str, str]] = {
    "packing_strategy": {"ffd": "bfd", "bfd-requeue": "bfd_split"},
    "loss_type": {"aot_pair": "aot", "chunked_nll": "nll"},
}

# Other words for the same, which tell nothing about the version of TRL.
_SYNONYMS = {
    *("model_name", "model_id", "base_model", "train_dataset", "dataset_id", "gpu", "flavor", "epochs", "lr"),
    *("peft_config", "lora_config", "hub_model_revision", "wandb_project"),
    *("wandb_run_group", "teacher", "space_id", "tokenizer_name_or_path"),
    *("sequence_len", "cutoff_len", "num_epochs", "optimizer", "lr_scheduler", "sample_packing", "val_set_size"),
    *("val_size", "max_samples", "use_gradient_checkpointing", "flash_attention", "overwrite_cache", "plot_loss"),
}

# Refused in Python, but without an effect in any version of TRL's scripts: name -> with any value?
_IDLE = {"do_train": True, "disable_tqdm": True, "local_rank": True, "do_predict": False}

# Refused as well, and nothing as long as they are not set.
_UNSET = ("hub_token", "token", "parallelism_config")


def translate(spec: type[TrainSpec], values: Mapping[str, Any]) -> Translated:
    """The same in today's words, and a note of each that was translated or left out.

    Args:
        spec: Class of the spec.
        values: What a file or a command line says, by name, as it was typed.
    """
    found: Values = dict(values)
    notes: list[Note] = []
    for name, value in values.items():
        if name in spec.model_fields:
            notes += _value(found, name, value)
        elif name in _IDLE and (_IDLE[name] or _is_off(value)):
            notes.append(_left_out(found, name, names.REFUSED[name][0].removeprefix("remove it: ")))
        elif name in _UNSET and _is_off(value):
            notes.append(_left_out(found, name, "it says nothing"))
        elif name == "report_to" and value in ("all", ["all"]):
            notes.append(_left_out(found, name, "all that are installed, which is the one that the script brings"))
        elif name == "hub_model_id" and isinstance(value, str) and value and "/" not in value:
            notes.append(_repository(found, value))
    notes += _model_init(found)
    is_earlier = False
    for name, value in values.items():
        if name in spec.model_fields or name in _STILL_SAID or name not in found:
            continue
        today = names.renamed(spec.FORMER_NAMES, name)
        if today is not None:
            told = _SPECIAL.get(name, _word)(spec, found, name, value, today)
            is_earlier |= bool(told) and name not in _SYNONYMS
            notes += told
    return found, [*notes, *_defaults(spec, found)] if is_earlier else notes


def _word(spec: type[TrainSpec], found: Values, name: str, value: Any, today: names.Today) -> list[Note]:
    """A former name; unchanged where it has no exact meaning."""
    if _is_off(value) and (value is not False or not today.path or today.value is not None):
        return [_left_out(found, name, today.note or "it says nothing")]
    if not today.path:
        # on a command line, a number is text
        does_nothing = today.exact or value in today.idle or _number(value) in today.idle
        return [_left_out(found, name, today.note)] if does_nothing else []
    if today.path == "max_length" and not today.exact and not name.startswith("max_seq"):
        length = found.get("max_length", spec.model_fields["max_length"].default)
        return [_left_out(found, name, f"TRL cuts prompt and completion together, to max_length={length}")]
    if not today.exact or today.value is names.UNSAID:
        return []
    new = value if today.value is None else today.value
    return _set(found, name, today.path, new, f"{today.note}: " if today.note and not today.value else "")


def _warmup(_: type[TrainSpec], found: Values, name: str, value: Any, __: names.Today) -> list[Note]:
    """A share of all steps; a number of steps beside it won."""
    share, steps = _number(value), _number(found.get("warmup_steps", 0))
    if share is None or not 0 <= share < 1:
        return []
    if steps:
        return [_left_out(found, name, f"warmup_steps={steps:g} wins, as it always did")]
    found.pop("warmup_steps", None)
    return _set(found, name, "warmup_steps", value, "a number below 1 is a share")


def _rpo(_: type[TrainSpec], found: Values, name: str, value: Any, today: names.Today) -> list[Note]:
    """DPO's loss with the NLL of the better answer, times a weight."""
    weight = _number(value)
    if weight is None:
        return [_left_out(found, name, "it says nothing")] if _is_off(value) else []
    if found.get("loss_type") not in (None, "sigmoid", ["sigmoid"]) or "loss_weights" in found:
        return []
    del found[name]
    found |= {"loss_type": today.value, "loss_weights": [1.0, weight]}
    why = f"{name}: {weight:g}; the loss on the chosen answer, and its weight"
    return [Note("loss_type", today.value, why, name), Note("loss_weights", [1.0, weight], why, name)]


def _liger(_: type[TrainSpec], found: Values, name: str, value: Any, __: names.Today) -> list[Note]:
    """Liger's kernels for the model, which another argument switches on today."""
    return _set(found, name, "use_liger_kernel", value, "")


def _tokenizer(spec: type[TrainSpec], found: Values, name: str, value: Any, today: names.Today) -> list[Note]:
    """A tokenizer, which is the model's own unless it is another's."""
    if value == found.get("model_name_or_path", found.get("model")):
        return [_left_out(found, name, "the tokenizer is loaded with the model")]
    return _word(spec, found, name, value, today)


def _policy(spec: type[TrainSpec], found: Values, name: str, value: Any, today: names.Today) -> list[Note]:
    """The model that is trained, beside which ``model_name_or_path`` only told its tokenizer."""
    found.pop("model_name_or_path", None)
    return _word(spec, found, name, value, today)


_SPECIAL: Mapping[str, Callable[[type[TrainSpec], Values, str, Any, names.Today], list[Note]]] = {
    "warmup_ratio": _warmup,
    "rpo_alpha": _rpo,
    "sft_model_path": _policy,
    "use_liger": _liger,
    "tokenizer_name_or_path": _tokenizer,
}


def _value(found: Values, name: str, value: Any) -> list[Note]:
    """A value that had another name."""
    if name == "reward_clip_range" and (bound := _number(value)) is not None:
        found[name] = [-bound, bound]
        return [Note(name, found[name], f"{name}: {_written(value)}; the bound on both sides", name)]
    then = _VALUES.get(name, {})
    items = cast("list[Any]", value if isinstance(value, list) else [value])
    if not any(isinstance(item, str) and item in then for item in items):
        return []
    new = [then.get(item, item) if isinstance(item, str) else item for item in items]
    found[name] = new if isinstance(value, list) else new[0]
    return [Note(name, found[name], f"it was called {_written(value)}", name)]


def _model_init(found: Values) -> list[Note]:
    """The precision among the arguments of ``from_pretrained``, which knows it by another name today."""
    given, name = trl_cli.parse_json(found.get("model_init_kwargs")), "torch_dtype"
    if not isinstance(given, Mapping) or name not in given or {"dtype", name} & {*found, *given} != {name}:
        return []
    rest = dict(cast("Mapping[str, Any]", given))
    found["dtype"] = rest.pop(name)
    if rest:
        found["model_init_kwargs"] = rest
    else:
        del found["model_init_kwargs"]
    why = f"model_init_kwargs.{name}: {_written(found['dtype'])}"
    return [Note("dtype", found["dtype"], why, "model_init_kwargs")]


def _repository(found: Values, name: str) -> Note:
    """A repository without a namespace: that of the account, which is not known yet."""
    why = f"hub_model_id: {name} has no namespace: the repository is the account's, named after output_dir"
    del found["hub_model_id"]
    found.setdefault("push_to_hub", True)
    folder = str(found.get("output_dir") or "").rstrip("/")
    if posixpath.basename(folder) != name:
        folder = posixpath.join(posixpath.dirname(folder), name)
    found["output_dir"] = folder
    return Note("output_dir", folder, why, "hub_model_id")


def _defaults(spec: type[TrainSpec], found: Values) -> list[Note]:
    """What a file for an earlier TRL left open, and what had another default then."""
    given = {*found, *(("bf16",) if "fp16" in found else ())}
    given |= {name for name, switch in names.ONLY_WITH.items() if _is_off(found.get(switch))}
    changed = [
        f"{name} ({then!r} before TRL {version}, now {spec.model_fields[name].default!r})"
        for name, (then, version) in {**names.FORMER_DEFAULTS, **spec.FORMER_DEFAULTS}.items()
        if name in spec.model_fields and name not in given
    ]
    why = f"written for an earlier TRL, it leaves open what had another default: {', '.join(changed)}"
    return [Note(DEFAULTS, f"TRL {spec.TRL_VERSION}'s", why, DEFAULTS)] if changed else []


def _left_out(found: Values, name: str, why: str) -> Note:
    return Note(name, LEFT_OUT, f"{name}: {_written(found.pop(name))}; {why}", name)


def _set(found: Values, name: str, path: str, value: Any, why: str) -> list[Note]:
    """Set a field, or a field of a group, in place of a word; nothing where it is set already, to something else."""
    first, *rest = _flat(path)
    current: Any = found.get(first)
    if rest and isinstance(current, str):
        group = group_of(field.annotation) if (field := TrainSpec.model_fields.get(first)) else None
        current = {group.SHORTHAND: current} if group and group.SHORTHAND else current
    group_now: Values = dict(cast("Mapping[str, Any]", current)) if isinstance(current, Mapping) else {}
    holder = group_now if rest else found
    key = rest[-1] if rest else first
    if len(rest) > 1 or (rest and current is not None and not isinstance(current, Mapping)):
        return []
    if key in holder and holder[key] != value:
        return []
    said = f"{name}: {_written(found.pop(name))}{f'; {why}' if why else ''}".removesuffix(": ")
    holder[key] = value
    if rest:
        found[first] = holder
    return [Note(path, value, said, name)]


def _flat(path: str) -> list[str]:
    """The parts of a path, of which a name that TRL gives flat is one."""
    flat = {f"{group}.{key}": name for name, (group, key) in names.FOLDED.items()}
    for owner, name in flat.items():
        if path == owner or path.startswith(f"{owner}."):
            return [name, *path[len(owner) + 1 :].split(".")] if path != owner else [name]
    return path.split(".")


def _is_off(value: Any) -> bool:
    return value in (None, "", "none", "None", "null") or value is False or value in ([], {}, "false", "False")


def _number(value: Any) -> float | None:
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def _written(value: Any) -> str:
    text = keywords({"_": value}).removeprefix("_=") or "..."
    return text if len(text) <= 60 else f"{text[:57]}..."
