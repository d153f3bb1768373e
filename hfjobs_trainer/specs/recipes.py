"""Words of recipes that lean on TRL, the alignment handbook's and open-r1's among them, in those of a spec.

Each is taken where a spec can say just the same, and noted; else it is answered with what to type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import open_r1
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.notes import LEFT_OUT, Note
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS

Values = dict[str, Any]

# Words that say how the rows of a recipe's own dataset are made, and those that say which dataset that is.
_ROWS = ("dataset_prompt_column", "system_prompt")
_MIXTURES = ("dataset_id_or_path", "dataset_mixture", "dataset_mixer", "dataset_splits", "dataset_configs")
_OF_TRL = (
    *("dataset", "dataset_name", "datasets", "dataset_config", "dataset_train_split", "dataset_test_split"),
    *("dataset_streaming", "streaming", "test_split_size"),
)

# Rewards of open-r1 under the name in its table, src/open_r1/rewards.py, and the one of TRL that came from it.
_REWARDS = {"accuracy": "accuracy_reward"}
_LIKE = {"format": "think_format_reward", "tag_count": "think_format_reward"}
_ITS_OWN = {
    *("cosine", "repetition_penalty", "length", "code", "binary_code", "ioi_code", "cf_code", "code_format"),
    "soft_overlong_punishment",
}

# Options of open-r1's own rewards, and where it runs code; src/open_r1/configs.py.
_REWARD_OPTIONS = (
    "code_",
    "cosine_",
    "repetition_",
    "ioi_",
    "e2b_",
    "morph_",
    "parallel_code_",
    "max_completion_len",
    "soft_punish_cache",
)

_AS_ROWS = "it makes the rows, which a spec takes as they are: put it into the column prompt of the dataset"


def without_dataset(values: Mapping[str, Any], *, whole: bool) -> tuple[Values, list[Note]]:
    """A recipe without its own dataset, for which another one is named; a note of what made that one's rows.

    Args:
        values: What its file says, by name.
        whole: Whether config and splits are another dataset's too, which they are not where ``trl`` is told a name.
    """
    replaced = (*_MIXTURES, *_ROWS, *(_OF_TRL if whole else ()))
    why = "it makes the rows of the recipe's own dataset; those of another are taken as they are"
    notes = [Note(name, LEFT_OUT, f"{name}: {why}", name) for name in _ROWS if name in values]
    return {name: value for name, value in values.items() if name not in replaced}, notes


def take(spec: type[TrainSpec], values: Mapping[str, Any]) -> tuple[Values, list[Note], list[Problem]]:
    """The same in words of a spec or of TRL, what was taken for what, and what cannot be said.

    Args:
        spec: Class of the spec.
        values: What a file or a command line says, by name.
    """
    found: Values = dict(values)
    notes: list[Note] = []
    problems: list[Problem] = []
    for name, says in (("dataset_mixture", _mixture), ("dataset_mixer", _mixer)):
        if isinstance(found.get(name), Mapping):
            notes += says(found, problems)
    if (flag := found.pop("use_flash_attention_2", None)) is not None:
        notes += _attention(found, flag)
    if isinstance(id := found.get("dataset_id_or_path"), str):
        found["dataset_name"] = found.pop("dataset_id_or_path")
        notes.append(Note("dataset.id", id, "dataset_id_or_path is TRL's dataset_name", "dataset_id_or_path"))
    for word in [word for word in ("preprocessing_num_workers", "dataset_num_proc") if word in found]:
        if word not in spec.model_fields:
            notes.append(_processes(spec, found, word))
    if isinstance(entity := found.get("wandb_entity"), str):
        env = found.get("env")
        found["env"] = {**cast("Mapping[str, Any]", env if isinstance(env, Mapping) else {}), "WANDB_ENTITY": entity}
        del found["wandb_entity"]
        notes.append(Note("env.WANDB_ENTITY", entity, "wandb_entity is read from the environment", "wandb_entity"))
    if "reward_funcs" in spec.model_fields:
        notes += _rewards(found, problems)
    for name in [name for name in found if name not in spec.model_fields]:
        answer = _answer(spec, found, name)
        if isinstance(answer, Problem):
            problems.append(answer)
        elif answer is not None:
            notes.append(Note(name, LEFT_OUT, answer, name))
        if answer is not None:
            del found[name]
    return found, notes, problems


def _answer(spec: type[TrainSpec], found: Values, name: str) -> Problem | str | None:
    """Why a word is left out, or a problem that says what to type; ``None`` if it is none of these words."""
    value = found[name]
    without = keywords({name: None})
    match name:
        case "callbacks" | "benchmarks" if not value:
            return f"{name}: []; there are none"
        case "callbacks" if value in ("push_to_hub_revision", ["push_to_hub_revision"]):
            return f"{name}: the script pushes the model, to hub_revision if that is set"
        case "callbacks":
            why = "names of another tool's callbacks; the script saves, evaluates, tracks and pushes without them"
        case "benchmarks":
            why = "the script evaluates on eval_dataset, and runs no benchmarks: run them on the model that it pushes"
        case "system_prompt":
            why = f"TRL adds no system prompt: {_AS_ROWS}, as the first message, with the role system"
        case "dataset_prompt_column":
            why = f"{_AS_ROWS}, as messages: [{{role: user, content: ...}}]"
        case _ if name.startswith(_REWARD_OPTIONS) and "reward_funcs" in spec.model_fields:
            return f"{name}: an option of open-r1's own rewards, which TRL does not have"
        case _:
            return None
    return Problem("SPEC005", name, why, without)


def _processes(spec: type[TrainSpec], found: Values, word: str) -> Note:
    """Processes that prepare the rows, which not every trainer does beforehand."""
    count, name = found.pop(word), "dataset_num_proc"
    if name not in spec.model_fields or name in found:
        return Note(word, LEFT_OUT, f"{word}: {count}; {spec.METHOD.label} prepares no rows beforehand", word)
    found[name] = count
    return Note(name, count, f"{word}: {count}", word)


def _attention(found: Values, flag: Any) -> Iterator[Note]:
    word, name = "use_flash_attention_2", "flash_attention_2"
    if flag in (True, "true", "True") and "attn_implementation" not in found:
        found["attn_implementation"] = name
        yield Note("attn_implementation", name, f"{word}: True", word)
    else:
        yield Note(word, LEFT_OUT, f"{word}: {flag}; attn_implementation decides", word)


def _rewards(found: Values, problems: list[Problem]) -> Iterator[Note]:
    given = found.get("reward_funcs")
    items = cast("list[Any]", given if isinstance(given, list) else [given])
    known = [item for item in items if isinstance(item, str) and (item in _REWARDS or item in open_r1.FUNCTIONS)]
    if known:
        found["reward_funcs"] = [_taken(item) if item in known else item for item in items]
        names = [_REWARDS.get(item) or open_r1.FUNCTIONS[item]["name"] for item in known]
        why = f"open-r1's {', '.join(known)}: TRL's where it has it, else a function that scores the same"
        yield Note("reward_funcs", names, why, "reward_funcs")
    own = [item for item in items if isinstance(item, str) and item in _ITS_OWN]
    if own:
        like = [_REWARDS.get(item) or _LIKE.get(item, item) for item in items if isinstance(item, str)]
        usable = list(dict.fromkeys(item for item in like if item in BUILTIN_REWARDS)) or ["think_format_reward"]
        more = {"reward_weights": None} if found.get("reward_weights") and len(usable) != len(items) else {}
        whose = f"{'a reward' if len(own) == 1 else 'rewards'} of open-r1, which TRL does not have"
        why = f"{', '.join(own)}: {whose}: give functions of yours in Python, or TRL's"
        problems.append(Problem("SPEC005", "reward_funcs", why, keywords({"reward_funcs": usable, **more})))
        found["reward_funcs"] = usable


def _taken(reward: str) -> Any:
    return _REWARDS.get(reward) or dict(open_r1.FUNCTIONS[reward])


def _mixer(found: Values, problems: list[Problem]) -> Iterator[Note]:
    """``{id: share of its rows}``, with the names of the splits; as the alignment handbook had it at first."""
    shares = dict(cast("Mapping[str, Any]", found.pop("dataset_mixer")))
    said = found.pop("dataset_splits", None)
    splits = [str(name) for name in cast("list[Any]", said)] if isinstance(said, list) else ["train", "test"]
    configs = found.pop("dataset_configs", None)
    names = cast("list[Any]", configs) if isinstance(configs, list) else [None] * len(shares)
    train, test = ([name for name in splits if kind in name] for kind in ("train", "test"))
    known = len(train) + len(test) == len(splits) and len(train) == 1 and len(test) <= 1 and len(names) == len(shares)
    if not known:
        why = "split names with one train and one test are needed, and a config for each dataset: name the datasets"
        problems.append(_no_data(found, "dataset_mixer", why))
        return
    evaluates = found.get("eval_strategy") not in (None, "no", False) and not found.keys() & {"eval_dataset"}
    parts = [_part(id, config, train[0], share) for (id, share), config in zip(shares.items(), names, strict=True)]
    found["dataset"] = parts
    if evaluates and test:
        found["eval_dataset"] = [_part(id, config, test[0], 1) for id, config in zip(shares, names, strict=True)]
    yield Note("dataset", ", ".join(shares), f"dataset_mixer, of the split {train[0]}", "dataset_mixer")


def _mixture(found: Values, problems: list[Problem]) -> Iterator[Note]:
    """A list of datasets with config, split, columns and weight, as the alignment handbook and open-r1 have it."""
    given = dict(cast("Mapping[str, Any]", found.pop("dataset_mixture")))
    size, items = given.get("test_split_size"), given.get("datasets")
    parts: list[Values] = []
    for item in cast("list[Any]", items if isinstance(items, list) else []):
        part = dict(cast("Mapping[str, Any]", item)) if isinstance(item, Mapping) else dict[str, Any]()
        if isinstance(part.get("id"), str):
            split = part.get("split") or "train"
            parts.append(_part(part["id"], part.get("config"), split, part.get("weight"), part.get("columns")))
    if not parts:
        problems.append(_no_data(found, "dataset_mixture", "it lists no datasets with an id"))
        return
    found["dataset"] = parts
    if isinstance(size, int | float) and size and "eval_dataset" not in found:
        found.setdefault("eval_fraction", size)
    ids = ", ".join(dict.fromkeys(part["id"] for part in parts))
    cut = "; of a weight below 1 the first rows" if any("[" in part.get("split", "") for part in parts) else ""
    yield Note("dataset", ids, f"dataset_mixture{cut}", "dataset_mixture")


def _no_data(found: Values, name: str, why: str) -> Problem:
    example = found["dataset"] = "trl-lib/Capybara"  # of a missing dataset, nothing more is told
    return Problem("SPEC005", name, why, keywords({"dataset": example}))


def _part(id: str, config: Any, split: str, share: Any, columns: Any = None) -> Values:
    """One dataset; a share below 1 are its first rows."""
    if isinstance(share, int | float) and 0 < share < 1 and "[" not in split:
        split = f"{split}[:{round(share * 100)}%]"
    named = {"config": config, "keep_columns": columns}
    return {"id": id, "split": split, **{key: value for key, value in named.items() if value is not None}}
