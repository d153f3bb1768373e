"""Calls the reward functions of a run as its trainer would, and trains nothing: what ``try_rewards`` is.

The script runs this file before anything else, since ``HFT_MODE_FILE`` names it; it imports nothing of this package.
``main`` runs up to the trainer, as in a preview. Then the trainer's own step is taken, with given completions in place
of generated ones, as far as its rewards: so the functions get exactly what TRL gives them.
"""

from __future__ import annotations

import copy
import faulthandler
import itertools
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, cast

# Columns that hold a reference answer where a dataset has them, the likeliest first.
REFERENCES = (
    *("solution", "answer", "ground_truth", "reference_answer", "final_answer", "gold", "reference", "target"),
    *("expected_answer", "completion", "response", "output"),
)
# Of a completion that is very long, tokens at most; of a text that is shown, characters.
LONGEST, SHOWN = 2048, 400
# A reference answer that is longer is a worked solution: characters.
SHORT = 80
# Functions are called a second time if the first took no longer, seconds.
QUICK = 5.0
# What functions have in any case before they are too late, seconds.
FEWEST_SECONDS = 2.0

Completion = str | list[dict[str, Any]]


class Asked(BaseException):
    """The rewards were asked for: the step ends here."""


class Rewards:
    """One trial of the rewards of the script that is ``__main__``."""

    def __init__(self, script: Any, folder: Path) -> None:
        self.started = time.monotonic()
        self.source = str(getattr(script, "__file__", ""))
        sys.path.insert(0, str(folder))
        preview: Any = import_module("preview")
        self.calls_module: Any = import_module("reward_calls")
        sys.path.remove(str(folder))
        self.preview: Any = preview.Preview(script, folder, "rewards", self.read)
        self.settings: dict[str, Any] = self.preview.settings
        self.trainer: Any = None
        self.calls: Any = None

    def read(self, trainer: Any) -> Mapping[str, Any]:
        """Call the functions of a trainer."""
        self.trainer = trainer
        secrets = [value for name in self.settings["secrets"] if len(value := os.environ.get(name, "")) > 3]
        self.calls = self.calls_module.Calls(self.preview.scratch / "result.json", self.source, secrets)
        self.wrap_functions()
        found = self.calls.found
        if not found["functions"]:
            return {**found, "done": True, "rows": [], "names": [], "called": ""}
        rows = self.rows()
        names, completions = self.completions(rows)
        rows = rows[: len(completions)]
        told = [self.tokens(each) for each in completions]
        found["names"], found["group"] = names, self.group_size()
        found["rows"] = [
            {
                "prompt": text_of(row.get("prompt"))[:SHOWN],
                "completions": [text_of(each)[:SHOWN] for each in given],
            }
            for row, given in zip(rows, completions, strict=True)
        ]
        left = self.settings["seconds"] - (time.monotonic() - self.started)
        # it tells where the functions are then, even where they let nothing else run
        faulthandler.dump_traceback_later(max(FEWEST_SECONDS, left), exit=True, file=2)
        ask = self.ask_pairs if hasattr(trainer, "_calculate_rewards_from_functions") else self.ask_groups
        with suppress(Asked):
            ask(rows, completions, told)
        faulthandler.cancel_dump_traceback_later()
        return {**found, "done": True}

    def wrap_functions(self) -> None:
        """Keep what each function gives, and leave out models, which would have to be the real ones."""
        trainer = self.trainer
        torch: Any = import_module("torch")
        utils: Any = import_module("trl.trainer.utils")
        awaits = not hasattr(trainer, "_calculate_rewards_from_functions")
        functions: list[Any] = trainer.reward_funcs
        called = [index for index, each in enumerate(functions) if not isinstance(each, torch.nn.Module)]
        names: list[str] = list(trainer.reward_func_names)
        weights: list[float] = trainer.reward_weights.tolist()
        trainer.reward_funcs = [
            self.calls.wrap(
                names[index], functions[index], awaited=awaits and utils.is_async_callable(functions[index])
            )
            for index in called
        ]
        for entry, index in zip(self.calls.found["functions"], called, strict=True):
            entry["weight"] = weights[index]
        trainer.reward_func_names = [names[index] for index in called]
        trainer.reward_processing_classes = [trainer.reward_processing_classes[index] for index in called]
        trainer.reward_weights = trainer.reward_weights[called]

    def rows(self) -> list[dict[str, Any]]:
        """The first prepared rows, with the columns that the trainer keeps."""
        datasets: Any = import_module("datasets")
        trainer = self.trainer
        data = trainer.train_dataset
        if isinstance(data, datasets.Dataset):
            data = trainer._remove_unused_columns(data, description="training")
        rows: list[dict[str, Any]] = list(itertools.islice(data, self.settings["rows"]))
        if not rows:
            sys.exit("There are no rows to try the rewards on.")
        return rows

    def group_size(self) -> int:
        """How many completions a prompt gets at once."""
        return int(getattr(self.trainer.args, "num_generations", None) or 2)

    def completions(self, rows: list[dict[str, Any]]) -> tuple[list[str], list[list[Completion]]]:
        """Names of the completions of a row, and the completions of each row: the given ones, else probes."""
        given: list[list[Completion]] | None = self.settings["completions"]
        if given is not None:
            most = max(map(len, given))
            return [f"completion {number}" for number in range(1, most + 1)], given[: len(rows)]
        references = [reference_of(row) for row in rows]
        probes = [probes_of(row, answer) for row, answer in zip(rows, references, strict=True)]
        # a row without an answer has none in any row
        common = [name for name in probes[0] if all(name in each for each in probes)]
        return common, [[each[name] for name in common] for each in probes]

    def tokens(self, completions: list[Completion]) -> list[list[int]]:
        """Token ids of completions as the model would have written them, with the token that ends them."""
        tokenizer: Any = getattr(self.trainer.processing_class, "tokenizer", self.trainer.processing_class)
        args = self.trainer.args
        most = getattr(args, "max_completion_length", None) or getattr(args, "max_new_tokens", None) or LONGEST
        end: list[int] = [tokenizer.eos_token_id]
        found: list[list[int]] = []
        for completion in completions:
            if completion is LONG:
                length = min(most, LONGEST)
                found.append(tokenizer(LONG * length, add_special_tokens=False)["input_ids"][:length])
            else:
                found.append(tokenizer(text_of(completion), add_special_tokens=False)["input_ids"] + end)
        return found

    def begin(self, layout: list[tuple[int, int]], completions: list[list[Completion]]) -> None:
        """Tell which completion of which row each of the batch is."""
        self.calls.begin(layout, [len(each) for each in completions])
        self.calls.write()

    def ask_groups(
        self, rows: list[dict[str, Any]], completions: list[list[Completion]], ids: list[list[list[int]]]
    ) -> None:
        """Take the step of a trainer that samples groups, as far as its rewards."""
        trainer, size = self.trainer, self.group_size()
        layout = [(row, slot) for row, given in enumerate(completions) for slot in range(-(-len(given) // size) * size)]
        self.begin(layout, completions)
        flat = [ids[row][slot % len(ids[row])] for row, slot in layout]
        whole = [whole_conversation(completions[row][slot % len(completions[row])]) for row, slot in layout]
        waiting = [flat]

        def generate(prompts: list[Any], *_: Any, **__: Any) -> Any:
            end = [trainer._tokenizer.eos_token_id]  # to what follows the call of a tool
            answers = waiting.pop() if waiting else [end for _ in prompts]
            return (answers, None) if hasattr(trainer, "_tool_call_loop") else answers

        calculate = trainer._calculate_rewards

        def ask(inputs: Any, prompts: Any, answers: list[Any], tokens: Any) -> Any:
            answers = [own or answer for own, answer in zip(whole, answers, strict=True)]
            self.call_twice(calculate, (inputs, prompts, answers, tokens), {})
            raise Asked

        trainer._generate_single_turn = generate
        trainer._calculate_rewards = ask
        trainer._get_per_token_logps_and_entropies = no_numbers
        trainer.model.train()
        trainer._generate_and_score_completions([dict(rows[row]) for row, _ in layout])

    def ask_pairs(
        self, rows: list[dict[str, Any]], completions: list[list[Completion]], ids: list[list[list[int]]]
    ) -> None:
        """Take the step of a trainer that samples two answers to each prompt of a batch, as far as its rewards."""
        torch: Any = import_module("torch")
        trainer = self.trainer
        pairs = [(row, slot) for row, given in enumerate(completions) for slot in range(0, len(given), 2)]
        layout = [*pairs, *((row, slot + 1) for row, slot in pairs)]
        self.begin(layout, completions)
        flat = [ids[row][slot % len(ids[row])] for row, slot in layout]
        whole = [whole_conversation(completions[row][slot % len(completions[row])]) for row, slot in layout]
        longest, pad = max(map(len, flat)), trainer._tokenizer.pad_token_id
        answers = torch.tensor([[*each, *[pad] * (longest - len(each))] for each in flat])
        mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in flat])

        def generate(*_: Any, **__: Any) -> Any:
            return torch.zeros(len(flat), 1, dtype=torch.long), torch.ones(len(flat), 1), answers, mask, None

        calculate = trainer._calculate_rewards_from_functions

        def ask(*, completions: list[Any], **given: Any) -> Any:
            told = [own or answer for own, answer in zip(whole, completions, strict=True)]
            self.call_twice(calculate, (), {"completions": told, **given})
            raise Asked

        trainer._generate = generate
        trainer._forward = lambda *_, **__: torch.zeros(len(flat), longest)  # pyright: ignore[reportUnknownLambdaType]
        trainer._calculate_rewards_from_functions = ask
        trainer.training_step(trainer.model, trainer.data_collator([dict(rows[row]) for row, _ in pairs]))

    def call_twice(self, calculate: Callable[..., Any], given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Have the trainer call the functions, and once more if that was quick, to see whether they give the same."""
        again = copy.deepcopy((given, named))  # functions may change what they are given
        started = time.perf_counter()
        calculate(*given, **named)
        if time.perf_counter() - started < QUICK:
            self.calls.second = True
            calculate(*again[0], **again[1])


# A completion that is cut at the trainer's limit, without an end.
LONG: Any = "on and on "


def probes_of(row: Mapping[str, Any], answer: str) -> dict[str, Completion]:
    """Completions that tell rewards apart, by their names."""
    final = final_answer(answer)
    thought = "<think>\nLet me think step by step.\n</think>\n"
    probes: dict[str, Completion] = {}
    if answer:
        probes["reference"] = answer
        probes["boxed"] = f"{thought}The answer is \\boxed{{{final or answer}}}."
    probes["tags"] = f"{thought}<answer>\n{final or answer or '...'}\n</answer>"
    probes["empty"] = ""
    if prompt := text_of(row.get("prompt")):
        probes["prompt"] = prompt
    probes["long"] = LONG
    return probes


def reference_of(row: Mapping[str, Any]) -> str:
    """The reference answer of a row, as text; empty if it has none that is known by its name."""
    for name in REFERENCES:
        value = row.get(name)
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get("ground_truth")
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float | str) and str(value).strip():
            return str(value)
        if isinstance(value, list) and (text := text_of(cast("Any", value))):
            return text
    return ""


def final_answer(answer: str) -> str:
    """The end result of a worked solution, or the answer itself if it is short; empty if it cannot be told."""
    if "####" in answer:
        return answer.rpartition("####")[2].strip()
    if found := re.findall(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}", answer):
        return str(found[-1]).strip()
    text = answer.strip().strip("$")
    return text if text and len(text) <= SHORT and "\n" not in text else ""


def text_of(value: Any) -> str:
    """The text of a completion or a prompt: of messages that of the last one."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        return ""
    last: Any = cast("list[Any]", value)[-1]
    content = cast("dict[str, Any]", last).get("content") if isinstance(last, dict) else last
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        texts = [cast("dict[str, Any]", part).get("text") or "" for part in parts if isinstance(part, dict)]
        return " ".join(map(str, texts)).strip()
    return content if isinstance(content, str) else ""


def whole_conversation(completion: Completion) -> list[dict[str, Any]] | None:
    """A given completion of several messages, or with more than a text in one, which is passed as it is."""
    if isinstance(completion, str):
        return None
    is_plain = len(completion) == 1 and completion[0].keys() <= {"role", "content"}
    return None if is_plain and isinstance(completion[0].get("content"), str) else completion


def no_numbers(*_: Any, **__: Any) -> tuple[Any, None, None]:
    """Give zeros for log-probabilities: they change no reward."""
    torch: Any = import_module("torch")
    return torch.zeros(()), None, None


if __name__ == "<run_path>":
    Rewards(sys.modules["__main__"], Path(__file__).parent).preview.install()
