"""What a smoke test takes from a run, so that a CPU does in seconds what GPUs would do in hours.

Each thing that is left out or made smaller is noted by name: a smoke test says what it cannot see. This file runs
beside the script, and imports nothing of this package.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

# Logits of one row, numbers: 40 MB of them.
LOGITS = 10_000_000
FEWEST_TOKENS = 64
ANSWER_TOKENS = 16
# Of a text prompt, for each token of a row.
CHARACTERS = 16
# Rows that are trained on and evaluated, of those that were prepared.
KEPT_ROWS, KEPT_FOR_EVALUATION = 16, 4
# Optimizers that need a GPU or a package for one, by a part of their names.
GPU_OPTIMIZERS = ("8bit", "4bit", "paged", "bnb", "apex", "npu", "xla", "_fp8", "torchao", "anyprecision", "deepspeed")
# Column of packed rows: how long the examples in them are.
PACKED = "seq_lengths"
PLAIN_ATTENTION = ("eager", "sdpa", "flex_attention")


def neutralize(scratch: Path, smaller: dict[str, None]) -> None:
    """Take from the libraries what needs a GPU or the Hub: precision, kernels, quantization, sharding, pushing."""
    transformers: Any = import_module("transformers")
    arguments = transformers.TrainingArguments
    check = arguments.__post_init__

    def prepare(args: Any) -> None:
        args.output_dir = str(scratch / Path(args.output_dir or "output").name)
        for name, instead in (("bf16", False), ("fp16", False), ("bf16_full_eval", False), ("fp16_full_eval", False)):
            if getattr(args, name, None):
                setattr(args, name, instead)
                smaller["bf16 or fp16 arithmetic: it was done in float32"] = None
        for name in ("tf32", "deepspeed", "fsdp", "fsdp_config", "parallelism_config"):
            if getattr(args, name, None):
                setattr(args, name, None)
        for name in ("torch_compile", "use_liger_kernel"):
            if getattr(args, name, False):
                setattr(args, name, False)
                smaller[f"{name}, which was off"] = None
        if any(part in str(args.optim) for part in GPU_OPTIMIZERS):
            smaller[f"the optimizer {getattr(args.optim, 'value', args.optim)}: adamw_torch took its place"] = None
            args.optim = "adamw_torch"
            args.optim_args = None
        check(args)

    arguments.__post_init__ = prepare

    def quantize(**_: Any) -> None:
        smaller["quantization, which was off"] = None

    transformers.BitsAndBytesConfig = quantize
    pretrained = transformers.PreTrainedModel
    load = pretrained.from_pretrained.__func__

    def from_pretrained(cls: Any, *positional: Any, **options: Any) -> Any:
        return load(cls, *positional, **plain_options(options, smaller))

    pretrained.from_pretrained = classmethod(from_pretrained)

    def init_hf_repo(trainer: Any, *_: Any, **__: Any) -> None:
        trainer.hub_model_id = trainer.args.hub_model_id or Path(trainer.args.output_dir).name
        trainer.push_in_progress = None

    transformers.Trainer.init_hf_repo = init_hf_repo
    transformers.Trainer._push_from_checkpoint = transformers.Trainer.push_to_hub = nothing


def nothing(*_: Any, **__: Any) -> None:
    """What stands for an upload."""


def plain_options(options: dict[str, Any], smaller: dict[str, None]) -> dict[str, Any]:
    """Options of ``from_pretrained`` without kernels, quantization and GPUs."""
    plain = {name: value for name, value in options.items() if name not in ("device_map", "quantization_config")}
    attention = plain.get("attn_implementation")
    if attention is not None and attention not in PLAIN_ATTENTION:
        smaller[f"the attention kernel {attention}: plain attention took its place"] = None
        del plain["attn_implementation"]
    if str(plain.get("dtype")).removeprefix("torch.") in ("float16", "half"):
        plain["dtype"] = "float32"
        smaller["weights in fp16: they were loaded in float32"] = None
    if plain.pop("use_kernels", None):
        smaller["kernels of the Hub"] = None
    return plain


def take_few_rows(count: int, stage: Callable[[], AbstractContextManager[None]], *, exact: bool = False) -> None:
    """Have ``datasets`` load the first rows alone, without downloading the others.

    Args:
        count: Rows of each dataset.
        stage: Measures the loading.
        exact: Whether they must be the first of the split even where it begins at a share of the rows: all is then
            loaded.
    """
    datasets: Any = import_module("datasets")
    load, load_saved = datasets.load_dataset, datasets.load_from_disk

    def load_dataset(*arguments: Any, **options: Any) -> Any:
        with stage():
            if options.get("streaming"):
                return load(*arguments, **options).take(count)
            split, first_row, stop, is_plain = read_split(str(options.get("split") or "train"))
            if exact and not is_plain:
                return first(load(*arguments, **options), count)
            try:
                rows: Any = load(*arguments, **{**options, "split": split, "streaming": True})
                features = rows.features or rows._resolve_features().features
                few: list[dict[str, Any]] = list(itertools.islice(rows.skip(first_row), min(count, stop - first_row)))
            except Exception:  # not all formats can be streamed, and what is wrong is told below
                return first(load(*arguments, **options), count)
            return datasets.Dataset.from_list(few, features=features)

    def load_from_disk(*arguments: Any, **options: Any) -> Any:
        with stage():
            loaded = load_saved(*arguments, **options)
            if isinstance(loaded, datasets.DatasetDict):
                return datasets.DatasetDict({name: first(split, count) for name, split in loaded.items()})
            return first(loaded, count)

    datasets.load_dataset, datasets.load_from_disk = load_dataset, load_from_disk


def read_split(text: str) -> tuple[str, int, int, bool]:
    """The split that a text such as ``"train[100:200]"`` names, its first row, its end, and whether that is all."""
    found = re.match(r"([^\[+]+)(?:\[(\d*):(\d*)\]$|\[(\d+):|$)?", text)
    if found is None:
        return text, 0, sys.maxsize, False
    start, end = int(found[2] or found[4] or 0), int(found[3] or sys.maxsize)
    return found[1].strip(), start, max(start, end), found.end() == len(text) and not found[4]


def first(dataset: Any, count: int) -> Any:
    """The first rows of a dataset."""
    return dataset.select(range(min(count, len(dataset))))


def shorten_run(args: Any, steps: int, scratch: Path, smaller: dict[str, None]) -> None:
    """Give a trainer's arguments few steps, small batches and short answers; the rest stays as it is."""
    told: dict[str, Any] = args.__dict__
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    evaluates, saves = (str(getattr(told[name], "value", told[name])) for name in ("eval_strategy", "save_strategy"))
    args.max_steps, args.logging_strategy, args.logging_steps = steps, "steps", 1
    args.logging_nan_inf_filter = False
    if evaluates != "no":
        args.eval_strategy = "steps"
        args.eval_steps = 1 if args.load_best_model_at_end else steps
        args.eval_delay = 0
    if saves != "no":
        args.save_strategy, args.save_steps, args.save_total_limit = "steps", 1, None
    args.dataloader_num_workers, args.dataloader_prefetch_factor, args.dataloader_persistent_workers = 0, None, False
    args.dataloader_pin_memory, args.auto_find_batch_size = False, False
    args.per_device_train_batch_size = min(args.per_device_train_batch_size, 2)
    args.per_device_eval_batch_size = min(args.per_device_eval_batch_size, 2)
    args.gradient_accumulation_steps = 1
    for name in ("max_completion_length", "max_new_tokens", "response_length"):
        if (told.get(name) or 0) > ANSWER_TOKENS:
            setattr(args, name, ANSWER_TOKENS)
            smaller[f"answers of more than {ANSWER_TOKENS} tokens"] = None
    if told.get("use_vllm"):
        args.use_vllm = False
        smaller["vLLM: transformers generated the answers"] = None
    if "generation_batch_size" in told:
        answers = min(args.num_generations, 4)
        args.num_generations = args.per_device_train_batch_size = args.per_device_eval_batch_size = answers
        if told.get("num_generations_eval"):
            args.num_generations_eval = answers
        args.gradient_accumulation_steps = args.steps_per_generation = 1
        args.generation_batch_size = answers * processes
    if "total_episodes" in told:
        episodes = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes
        args.total_episodes, args.num_mini_batches = steps * episodes, 1
        args.num_ppo_epochs, args.num_sample_generations = min(args.num_ppo_epochs, 2), 0
        args.local_rollout_forward_batch_size = min(args.local_rollout_forward_batch_size, 2)
    if isinstance(told.get("model_init_kwargs"), dict):
        args.model_init_kwargs = plain_options(args.model_init_kwargs, smaller)


def shorten_rows(holder: dict[str, Any], model: str, smaller: dict[str, None]) -> None:
    """Keep the shortest of the prepared rows: what a row of a long context costs on a CPU tells nothing."""
    transformers: Any = import_module("transformers")
    vocabulary = transformers.AutoConfig.from_pretrained(model).get_text_config().vocab_size
    most = max(FEWEST_TOKENS, LOGITS // vocabulary)
    for name, count in (("train_dataset", KEPT_ROWS), ("eval_dataset", KEPT_FOR_EVALUATION)):
        dataset: Any = holder.get(name)
        if isinstance(dataset, dict):
            several = cast("dict[str, Any]", dataset)
            holder[name] = {key: shortest(value, count, most, smaller) for key, value in several.items()}
        elif dataset is not None:
            holder[name] = shortest(dataset, count, most, smaller)


def shortest(dataset: Any, count: int, most: int, smaller: dict[str, None]) -> Any:
    """The shortest rows that train anything, in their order; what is still too long loses its beginning."""
    columns: list[str] = list(getattr(dataset, "column_names", None) or [])
    if not hasattr(dataset, "select") or not len(dataset):
        return dataset
    tokens = [name for name in columns if name != PACKED and is_list_of_numbers(dataset.features[name])]
    measured = tokens or [name for name in columns if name in ("prompt", "messages", "text")]
    if not measured:
        return first(dataset, count)
    values: list[list[Any]] = [list(dataset[name][:]) for name in measured]
    lengths = [max(size(value) for value in row) for row in zip(*values, strict=True)]
    trains = [True] * len(lengths)
    for name in set(tokens) & {"labels", "completion_mask", "assistant_masks"}:
        told: list[list[int]] = list(dataset[name][:])
        trains = [
            known and any(value not in (0, -100) for value in row[-most:])
            for known, row in zip(trains, told, strict=True)
        ]
    order = sorted(range(len(lengths)), key=lambda row: (not trains[row], lengths[row]))
    kept = sorted(order[:count])
    few = dataset.select(kept)
    if tokens and max(lengths[row] for row in kept) > most:
        smaller[f"tokens before the last {most} of a row, whose logits would take too long"] = None

        def cut(row: dict[str, Any]) -> dict[str, Any]:
            left = min(most, row[PACKED][-1]) if PACKED in row else most
            shorter: dict[str, Any] = {name: row[name][-left:] for name in tokens if row[name]}
            return shorter | ({PACKED: [left]} if PACKED in row else {})

        few = few.map(cut)
    longest = CHARACTERS * most
    if not tokens and any(isinstance(prompt, str) and len(prompt) > longest for prompt in list(few[measured[0]][:])):
        smaller[f"characters before the last {longest} of a {measured[0]}"] = None

        def cut_text(row: dict[str, Any]) -> dict[str, Any]:
            return {measured[0]: row[measured[0]][-longest:]}

        few = few.map(cut_text)
    return few


def is_list_of_numbers(feature: Any) -> bool:
    """Tell whether a column has lists of numbers, as token ids are."""
    inner = getattr(feature, "feature", None)
    return str(getattr(inner, "dtype", "")).startswith(("int", "uint", "bool"))


def size(value: Any) -> int:
    """Length of token ids; of anything else, that of its text."""
    if not isinstance(value, list):
        return len(str(value))
    items = cast("list[Any]", value)
    return len(items) if items and type(items[0]) is int else len(str(items))


def ask_for_repo(repo: str) -> None:
    """Raise an error if the token may not write to the repository; one that is not there is looked for by its owner."""
    hub: Any = import_module("huggingface_hub")
    token = hub.get_token()
    if token is None:
        raise PermissionError(f"there is no HF_TOKEN, without which nothing is pushed to {repo}")
    api = hub.HfApi(token=token)
    try:
        api.auth_check(repo, write=True)
    except hub.errors.RepositoryNotFoundError:
        me = api.whoami()
        names = [me["name"], *(organization["name"] for organization in me.get("orgs", []))]
        owner = repo.split("/")[0] if "/" in repo else me["name"]
        if owner not in names:
            raise PermissionError(
                f"the token's owner, {me['name']}, is no member of {owner}: {repo} cannot be created"
            ) from None
    except Exception as error:
        raise PermissionError(f"the token may not write to {repo}: {error!s:.300}") from error
