"""Shows what a trainer makes of its rows, and trains nothing: what a preview is.

The script runs this file before anything else, since ``HFT_MODE_FILE`` names it; it imports nothing of this package.
``main`` runs up to the trainer, whose model is a tiny twin with the real tokenizer. What the trainer's own collator gives
for each prepared row alone is written to ``result.json``. The trainer is then built once more without a limit of
length, so that it can be told what was cut and what was dropped.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

MODELS = ("MODEL", "TEACHER", "REWARD_MODEL", "VALUE_MODEL", "ADAPTER")
NOT_HERE = (
    *("serve_on_last_node", "set_aside", "serve_model", "await_server", "require_gpus", "download"),
    *("join_nodes", "track", "relaunch"),
)
# A length that no row has, and that tokenizers take.
UNLIMITED = 1 << 20
IGNORED = -100
# Config arguments that need several processes, a GPU or an account, or that only concern what comes after the rows.
ARGUMENTS: dict[str, Any] = {
    "eval_strategy": "no",
    "eval_on_start": False,
    "load_best_model_at_end": False,
    "push_to_hub": False,
    "report_to": "none",
    "use_vllm": False,
    "precompute_ref_log_probs": False,
    "gradient_checkpointing": False,
    "dataset_num_proc": None,
    "deepspeed": None,
    "fsdp": None,
    "fsdp_config": None,
    "use_liger_kernel": False,
    "torch_compile": False,
    "bf16": False,
    "fp16": False,
    "use_cpu": True,
    "model_init_kwargs": None,
    "teacher_model_init_kwargs": None,
    "num_mini_batches": 1,
    "generation_batch_size": None,
    "steps_per_generation": None,
}
# Arguments of trainers that do not concern the rows; a model beside the trained one is its twin.
NOT_NEEDED = ("eval_dataset", "peft_config", "quantization_config", "callbacks")


class Part(NamedTuple):
    """A sequence of tokens of a row."""

    name: str
    ids: list[int]
    trained: list[bool]


class Row(NamedTuple):
    """What a row gives."""

    parts: list[Part]
    label: bool | None = None


class Captured(Exception):  # noqa: N818 - it ends a call whose rest is not wanted
    """The token ids that a trainer is about to use."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__()
        self.ids = ids


class Preview:
    """One preview of the script that is ``__main__``."""

    def __init__(self, script: Any, folder: Path) -> None:
        self.script = script
        self.settings: dict[str, Any] = json.loads((folder / "preview.json").read_text("utf-8"))
        self.scratch = Path(os.environ["HFT_MODE_SCRATCH"])
        sys.path.insert(0, str(folder))
        self.twins: Any = import_module("twin")
        self.cpu: Any = import_module("cpu")
        sys.path.remove(str(folder))

    def install(self) -> None:
        """Have the script run its ``main`` up to its trainer."""
        script = self.script
        for name in NOT_HERE:
            if hasattr(script, name):
                setattr(script, name, lambda *_, **__: None)
        if hasattr(script, "sharding"):
            script.sharding = lambda *_, **__: {}
        if hasattr(script, "accumulation_steps"):
            script.accumulation_steps = lambda **_: 1
        find_machine = script.find_machine
        script.find_machine = lambda **_: find_machine(use_cpu=True)
        original = script.main
        script.main = lambda: self.run(original)

    def run(self, original: Callable[[], None]) -> None:
        """Run the script's own ``main``, which ends with its trainer."""
        logging: Any = import_module("transformers.utils.logging")
        datasets: Any = import_module("datasets")
        logging.disable_progress_bar()
        datasets.disable_progress_bars()
        datasets.disable_caching()  # nothing is left beside the user's files
        module = import_module(self.settings["module"])
        self.cpu.neutralize(self.scratch, {})
        self.stand_in()
        measured: Callable[[], AbstractContextManager[None]] = nullcontext
        self.cpu.take_few_rows(self.settings["sample"], measured)
        self.wrap_config(getattr(module, self.settings["config"]))
        self.wrap_trainer(getattr(module, self.settings["trainer"]))
        original()
        sys.exit("The script made no trainer.")

    def stand_in(self) -> None:
        """Let one tiny twin of the model stand for all models."""
        place = self.script.MODEL
        if "@sha256:" in place:
            place = self.script.find_data(place)
        told = self.settings["model"]
        folder = self.scratch / "twin"
        self.twins.make_twin(
            place, told["revision"], folder, trust_remote_code=told["trust_remote_code"], all_layers=False
        )
        twin = str(folder)
        for name in MODELS:
            if hasattr(self.script, name):
                setattr(self.script, name, twin)
        if hasattr(self.script, "find_data"):
            find_data = self.script.find_data
            self.script.find_data = lambda name: name if name == twin else find_data(name)
        transformers: Any = import_module("transformers")
        for name in ("AutoModelForSequenceClassification", "AutoModelForCausalLM", "AutoModelForImageTextToText"):
            redirect(getattr(transformers, name), twin)
        if hasattr(self.script, "ADAPTER"):
            peft: Any = import_module("peft")
            peft.PeftModel.from_pretrained = staticmethod(without_adapter)

    def wrap_config(self, config: Any) -> None:
        """Take what a preview does not have from the arguments as they are given, before they are checked."""
        original, fields = config.__init__, config.__dataclass_fields__

        def __init__(args: Any, *positional: Any, **given: Any) -> None:
            plain = {name: value for name, value in ARGUMENTS.items() if name in given}
            given |= plain
            batch = given.get("per_device_train_batch_size", fields["per_device_train_batch_size"].default)
            if "num_generations" in fields:  # batches are of whole groups, which several processes may share
                answers = given.get("num_generations") or fields["num_generations"].default
                given |= {"per_device_train_batch_size": answers, "gradient_accumulation_steps": 1}
            original(args, *positional, **{**given, "output_dir": str(self.scratch / "output")})
            self.settings["batch"] = batch

        config.__init__ = __init__

    def wrap_trainer(self, trainer: Any) -> None:
        """Have the trainer be the end of the script."""
        original = trainer.__init__

        def __init__(made: Any, *positional: Any, **given: Any) -> None:
            for name in NOT_NEEDED:
                given.pop(name, None)
            args = given["args"]
            other = copy.copy(args)
            original(made, *positional, **given)
            rows = list(self.rows_of(made))
            found = self.describe(made, rows)
            whole = rows
            if getattr(other, "max_length", None) is not None or found["packed"]:
                if found["packed"]:
                    other.packing = other.padding_free = False
                if getattr(other, "max_length", None) is not None:
                    other.max_length = UNLIMITED
                unlimited = trainer.__new__(trainer)
                original(unlimited, *positional, **{**given, "args": other})
                whole = list(self.rows_of(unlimited))
            found["whole"] = [[len(part.ids) for part in row.parts] for row in whole]
            found["pairs"] = [None] * len(rows) if found["packed"] else align(rows, whole)
            source = given["train_dataset"]
            found["source_rows"] = len(source) if hasattr(source, "__len__") else len(whole)
            # a trainer may leave out rows of which nothing is trained, cut or not
            lost = [] if found["packed"] else [row for at, row in enumerate(whole) if at not in {*found["pairs"]}]
            untrained = sum(not all(any(part.trained[: args.max_length]) for part in row.parts) for row in lost)
            found["untrained_dropped"] = found["source_rows"] - len(whole) + untrained
            if found["packed"]:
                cut = cut_rows(whole, args.max_length) if count(rows) < count(whole) else set[tuple[int, ...]]()
                found["cut_packs"] = [tuple(row.parts[0].ids) in cut for row in rows]
            self.give(found)

        trainer.__init__ = __init__

    def rows_of(self, trainer: Any) -> Iterator[Row]:
        """What the trainer's own collator makes of each prepared row alone."""
        datasets: Any = import_module("datasets")
        data, collate = trainer.train_dataset, trainer.data_collator
        if isinstance(data, datasets.Dataset):
            if hasattr(trainer, "_signature_columns"):  # PPO's own loader keeps all
                data = trainer._remove_unused_columns(data, description="training")
        else:
            collate = trainer._get_collator_with_removed_columns(collate, description="training")
        for example in itertools.islice(data, self.settings["sample"]):
            yield row_of(trainer, collate([example]))

    def describe(self, trainer: Any, rows: list[Row]) -> dict[str, Any]:
        """The first rows, and the lengths of all."""
        args = trainer.args
        tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        shown = [
            {
                "label": row.label,
                "parts": [{**part._asdict(), **write(tokenizer, part)} for part in row.parts],
            }
            for row in rows[: self.settings["rows"]]
        ]
        lengths = [[len(part.ids) for part in row.parts] for row in rows]
        return {
            "rows": shown,
            "lengths": lengths,
            "trained": [[sum(part.trained) for part in row.parts] for row in rows],
            "packed": bool(getattr(args, "packing", False)),
            "padding_free": bool(getattr(trainer, "padding_free", False)),
            "packs": hasattr(args, "packing"),
            "strategy": getattr(args, "packing_strategy", None),
            "max_length": getattr(args, "max_length", None),
            "batch": self.settings["batch"],
            "multiple": getattr(args, "pad_to_multiple_of", None),
            "order": order_of(trainer, len(rows)),
        }

    def give(self, found: Mapping[str, Any]) -> None:
        """Write what was found, and end the script."""
        (self.scratch / "result.json").write_text(json.dumps(found), "utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # tidying up what was imported takes seconds


def redirect(auto_class: Any, twin: str) -> None:
    """Have an automatic class load the twin, whatever it is asked for."""
    original = auto_class.from_pretrained

    def from_pretrained(name: Any, *_: Any, **options: Any) -> Any:
        kept = {key: value for key, value in options.items() if key in ("num_labels", "trust_remote_code")}
        return original(twin, **kept)

    auto_class.from_pretrained = staticmethod(from_pretrained)


def without_adapter(base: Any, *_: Any, **__: Any) -> Any:
    """Give the model alone: an adapter changes no rows."""
    base.merge_and_unload = lambda: base
    return base


def row_of(trainer: Any, batch: Any) -> Row:
    """The sequences in a batch of one row, by what the batch has."""
    if isinstance(batch, list) or not any(name.endswith("input_ids") for name in batch):
        ids = prompt_ids(trainer, batch)
        return Row([Part("prompt", ids, [False] * len(ids))])
    if "chosen_input_ids" in batch:
        return Row([labelled(batch, 0, f"{side}_", side) for side in ("chosen", "rejected")])
    if len(batch["input_ids"]) == 2:
        return Row([labelled(batch, number, "", side) for number, side in enumerate(("chosen", "rejected"))])
    if "label" in batch:
        label = bool(batch["label"][0])
        return Row([labelled(batch, 0, "", "completion")], label)
    trains = "labels" in batch or "completion_mask" in batch
    part = labelled(batch, 0, "", "text" if trains else "prompt")
    return Row([part if trains else part._replace(trained=[False] * len(part.ids))])


def labelled(batch: Any, number: int, prefix: str, name: str) -> Part:
    """One sequence of a batch, without padding."""
    ids = numbers(batch[f"{prefix}input_ids"][number])
    real = [True] * len(ids)
    if f"{prefix}attention_mask" in batch:
        real = [value != 0 for value in numbers(batch[f"{prefix}attention_mask"][number])]
    trained = [True] * len(ids)
    if f"{prefix}labels" in batch:
        trained = [value != IGNORED for value in numbers(batch[f"{prefix}labels"][number])]
    elif f"{prefix}completion_mask" in batch:
        trained = [value != 0 for value in numbers(batch[f"{prefix}completion_mask"][number])]
    kept = [index for index, there in enumerate(real) if there]
    return Part(name, [ids[index] for index in kept], [trained[index] for index in kept])


def prompt_ids(trainer: Any, batch: Any) -> list[int]:
    """The tokens of a prompt that a trainer would have answered, from its own step up to the answer."""
    if hasattr(trainer, "_tokenize_prompts"):
        tokenize = trainer._tokenize_prompts

        def capture(prompts: Any) -> Any:
            raise Captured(tokenize(prompts)[0][0])

        trainer._tokenize_prompts = capture
        step, arguments = trainer._generate_and_score_completions, (batch,)
    else:
        trainer.processing_class = Recorder(getattr(trainer.processing_class, "recorded", trainer.processing_class))
        step, arguments = trainer.training_step, (trainer.model, batch)
    try:
        step(*arguments)
    except Captured as captured:
        return numbers(captured.ids)
    finally:
        vars(trainer).pop("_tokenize_prompts", None)
    raise RuntimeError("the trainer answered a prompt without tokenizing it")


class Recorder:
    """A tokenizer or processor whose first call ends the step that makes it."""

    def __init__(self, recorded: Any) -> None:
        self.recorded = recorded

    def __getattr__(self, name: str) -> Any:
        return getattr(self.recorded, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        tokens = self.recorded(*arguments, **options)
        kept = zip(numbers(tokens["input_ids"][0]), numbers(tokens["attention_mask"][0]), strict=True)
        raise Captured([token for token, there in kept if there])


def numbers(values: Any) -> list[int]:
    """A list of numbers, of a tensor too."""
    return [int(value) for value in (values.tolist() if hasattr(values, "tolist") else values)]


def write(tokenizer: Any, part: Part) -> dict[str, Any]:
    """The text of a sequence, exactly as its tokens decode, and where in it those begin and end that are trained."""

    def decode(ids: list[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    text = decode(part.ids)
    spans: list[list[int]] = []
    place = 0
    for is_trained, group in itertools.groupby(range(len(part.ids)), key=lambda index: part.trained[index]):
        before, place = place, common(decode(part.ids[: max(group) + 1]), text)
        if is_trained:
            spans.append([before, place])
    return {"text": text, "spans": spans}


def common(start: str, text: str) -> int:
    """How many characters a text has in common with what its first tokens alone decode to: half a character is none."""
    return next((index for index, (a, b) in enumerate(zip(start, text, strict=False)) if a != b), min(len(start), len(text)))


def order_of(trainer: Any, count: int) -> list[int]:
    """The order in which the trainer would draw its rows."""
    try:
        drawn = [index for index in trainer._get_train_sampler(trainer.train_dataset) if index < count]
        return drawn if sorted(drawn) == list(range(count)) else list(range(count))
    except Exception:  # noqa: BLE001 - a stream has none, and PPO has its own
        return list(range(count))


def align(rows: list[Row], whole: list[Row]) -> list[int | None]:
    """For each row the number of the uncut one that it is of: the others were dropped, and the order is the same."""
    if len(rows) == len(whole):
        return list(range(len(rows)))
    found: list[int | None] = []
    later: Iterable[int] = iter(range(len(whole)))
    for row in rows:
        found.append(next((index for index in later if is_of(row, whole[index])), None))
    return found


def count(rows: list[Row]) -> int:
    """Tokens of some rows."""
    return sum(len(part.ids) for row in rows for part in row.parts)


def cut_rows(whole: list[Row], limit: int) -> set[tuple[int, ...]]:
    """What is left of the rows that are longer than a pack, which then has nothing else."""
    return {tuple(row.parts[0].ids[:limit]) for row in whole if len(row.parts[0].ids) > limit}


def is_of(row: Row, whole: Row) -> bool:
    """Whether each sequence of a row is the beginning or the end of that of another."""
    for part, uncut in zip(row.parts, whole.parts, strict=True):
        count = len(part.ids)
        if part.ids not in (uncut.ids[:count], uncut.ids[len(uncut.ids) - count :]):
            return False
    return True


if __name__ == "<run_path>":
    Preview(sys.modules["__main__"], Path(__file__).parent).install()
