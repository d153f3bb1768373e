"""Shows what a trainer makes of its rows, and trains nothing: what a preview is.

The script runs this file before anything else, since ``HFT_MODE_FILE`` names it; it imports nothing of this package.
``main`` runs up to the trainer, whose model is a tiny twin with the real tokenizer. What the trainer's own collator
gives for each prepared row alone is written to ``result.json``. The trainer is then built once more without a limit of
length, so that it can be told what was cut and what was dropped.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

MODELS = ("MODEL", "TEACHER", "REWARD_MODEL", "VALUE_MODEL", "ADAPTER")
NOT_HERE = (
    *("serve_on_last_node", "set_aside", "serve_model", "await_server", "require_gpus", "download"),
    *("join_nodes", "track", "relaunch"),
)
# A length that no row has, and that tokenizers take.
UNLIMITED = 1 << 20
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


class Preview:
    """One preview of the script that is ``__main__``."""

    def __init__(self, script: Any, folder: Path) -> None:
        self.script = script
        self.settings: dict[str, Any] = json.loads((folder / "preview.json").read_text("utf-8"))
        self.scratch = Path(os.environ["HFT_MODE_SCRATCH"])
        sys.path.insert(0, str(folder))
        self.twins: Any = import_module("twin")
        self.cpu: Any = import_module("cpu")
        self.batches: Any = import_module("batches")
        sys.path.remove(str(folder))

    def install(self) -> None:
        """Have the script run its ``main`` up to its trainer."""
        script = self.script
        replaced = dict.fromkeys(NOT_HERE, nothing) | {"sharding": no_sharding, "accumulation_steps": one}
        for name, instead in replaced.items():
            if hasattr(script, name):
                setattr(script, name, instead)
        find_machine = script.find_machine
        original = script.main

        def find_processor(**_: Any) -> Any:
            return find_machine(use_cpu=True)

        script.find_machine = find_processor
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
        self.cpu.take_few_rows(self.settings["sample"], measured, exact=True)
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

            def find_others(name: str) -> str:
                return name if name == twin else find_data(name)

            self.script.find_data = find_others
        transformers: Any = import_module("transformers")
        for name in ("AutoModelForSequenceClassification", "AutoModelForCausalLM", "AutoModelForImageTextToText"):
            redirect(getattr(transformers, name), twin)
        if hasattr(self.script, "ADAPTER"):
            peft: Any = import_module("peft")
            peft.PeftModel.from_pretrained = staticmethod(without_adapter)

    def wrap_config(self, config: Any) -> None:
        """Take what a preview does not have from the arguments as they are given, before they are checked."""
        original, fields = config.__init__, config.__dataclass_fields__

        def configure(args: Any, *positional: Any, **given: Any) -> None:
            plain = {name: value for name, value in ARGUMENTS.items() if name in given}
            given |= plain
            batch = given.get("per_device_train_batch_size", fields["per_device_train_batch_size"].default)
            if "num_generations" in fields:  # batches are of whole groups, which several processes may share
                answers = given.get("num_generations") or fields["num_generations"].default
                given |= {"per_device_train_batch_size": answers, "gradient_accumulation_steps": 1}
            original(args, *positional, **{**given, "output_dir": str(self.scratch / "output")})
            self.settings["batch"] = batch

        config.__init__ = configure

    def wrap_trainer(self, trainer: Any) -> None:
        """Have the trainer be the end of the script."""
        original = trainer.__init__

        def prepare(made: Any, *positional: Any, **given: Any) -> None:
            for name in NOT_NEEDED:
                given.pop(name, None)
            other = copy.copy(given["args"])  # as it was given: a trainer may change its own
            original(made, *positional, **given)
            rows = whole = list(self.rows_of(made))
            if getattr(other, "packing", False):
                other.packing = other.padding_free = False
            if getattr(other, "max_length", None) is not None:
                other.max_length = UNLIMITED
                unlimited = trainer.__new__(trainer)
                original(unlimited, *positional, **{**given, "args": other})
                whole = list(self.rows_of(unlimited))
            self.give({**self.describe(made, rows), **self.compare(made.args, rows, whole, given["train_dataset"])})

        trainer.__init__ = prepare

    def rows_of(self, trainer: Any) -> Iterator[Any]:
        """What the trainer's own collator makes of each prepared row alone."""
        datasets: Any = import_module("datasets")
        data, collate = trainer.train_dataset, trainer.data_collator
        if isinstance(data, datasets.Dataset):
            if hasattr(trainer, "_signature_columns"):  # PPO's own loader keeps all
                data = trainer._remove_unused_columns(data, description="training")
        else:
            collate = trainer._get_collator_with_removed_columns(collate, description="training")
        for example in itertools.islice(data, self.settings["sample"]):
            yield self.batches.row_of(trainer, collate([example]))

    def describe(self, trainer: Any, rows: list[Any]) -> dict[str, Any]:
        """The first rows, and the lengths of all."""
        args = trainer.args
        tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
        shown = [
            {
                "label": row.label,
                "parts": [{**part._asdict(), **self.batches.write(tokenizer, part)} for part in row.parts],
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
            "order": self.batches.order_of(trainer, len(rows)),
        }

    def compare(self, args: Any, rows: list[Any], whole: list[Any], source: Any) -> dict[str, Any]:
        """Each row beside the uncut one that it is of, and what was left out."""
        given = len(source) if hasattr(source, "__len__") else len(whole)
        found = {"whole": [[len(part.ids) for part in row.parts] for row in whole], "source_rows": given}
        if getattr(args, "packing", False):
            cut = self.batches.cut_packs(rows, whole, args.max_length)
            return {**found, "pairs": [None] * len(rows), "cut_packs": cut, "untrained_dropped": given - len(whole)}
        pairs = self.batches.align(rows, whole)
        lost = [row for at, row in enumerate(whole) if at not in {*pairs}]
        limit = getattr(args, "max_length", None)
        untrained = sum(not all(any(part.trained[:limit]) for part in row.parts) for row in lost)
        # those of which nothing would be trained even uncut are not among the uncut ones
        return {**found, "pairs": pairs, "untrained_dropped": given - len(whole) + untrained}

    def give(self, found: Mapping[str, Any]) -> None:
        """Write what was found, and end the script."""
        (self.scratch / "result.json").write_text(json.dumps(found), "utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # tidying up what was imported takes seconds


def nothing(*_: Any, **__: Any) -> None:
    """What stands for servers, trackers and other processes."""


def no_sharding(*_: Any, **__: Any) -> dict[str, Any]:
    """Give no arguments: one process holds all."""
    return {}


def one(**_: Any) -> int:
    """Give the steps over which gradients would be accumulated: none are."""
    return 1


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


if __name__ == "<run_path>":
    Preview(sys.modules["__main__"], Path(__file__).parent).install()
