"""What finds a run that would fail: the spec alone, the facts, the values of the rows, the template, or a smoke test.

Run with ``python -m benchmarks.detection [--smoke]``. Each case is a good run with one thing wrong, of kinds that users
reported: its tiny model, rows and functions are made on the spot, and nothing is asked of the Hub. A case is found by
what tells a problem that the good run does not have; with ``--smoke``, what no rule finds is smoke-tested.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hfjobs_trainer as hft
from examples.tiny import FORMATS, Format, dataset_rows, make_model

Row = dict[str, Any]

# By the letters of a rule's code: what it had to read.
_READERS = {"DATA": "rows", "TMPL": "template", "TOK": "template", "MODEL": "facts", "HUB": "facts", "JOB": "facts"}
ROWS = 48


@dataclass(frozen=True, slots=True)
class Case:
    """A run with one thing wrong.

    Attributes:
        id: Its name.
        group: Where the fault lies: spec, dataset, tokenizer, model or function.
        method: The training method.
        rows: The format of its rows.
        spoil: Makes the fault in the rows, in place or by returning others.
        fields: Fields of the spec that differ from the good run's.
        model: Changes the files of the model's folder.
        repaired: Whether the plan puts it right by itself, so that no problem is right as well.
    """

    id: str
    group: str
    method: str = "sft"
    rows: Format = "messages"
    spoil: Callable[[list[Row]], list[Row] | None] | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model: Callable[[Path], None] | None = None
    repaired: bool = False


def _edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        change(values)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")

    return apply


def _drop(*names: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        for name in names:
            (folder / name).unlink(missing_ok=True)

    return apply


def _template(text: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")

    return apply


def _each(change: Callable[[Row], Any], every: int = 1) -> Callable[[list[Row]], None]:
    def apply(rows: list[Row]) -> None:
        for row in rows[every - 1 :: every]:
            change(row)

    return apply


def _set(column: str, value: Callable[[Row], Any], every: int = 1) -> Callable[[list[Row]], None]:
    return _each(lambda row: row.__setitem__(column, value(row)), every)


def _sharegpt(row: Row) -> Row:
    names = {"user": "human", "assistant": "gpt"}
    return {"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in row["messages"]]}


def _alpaca(row: Row) -> Row:
    return {"instruction": row["prompt"], "input": "", "output": row["completion"]}


def _say(role: str, text: str | None) -> Row:
    return {"role": role, "content": text}


def _answer(text: str | None, every: int = 1) -> Callable[[list[Row]], None]:
    return _set("messages", lambda row: [row["messages"][0], _say("assistant", text)], every)


_NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
_SWALLOWS = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>user\n{{ m['content'] }}<|im_end|>\n"
    "{% endif %}{% endfor %}"
)
_THINKS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'].split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}"
)
_PLAIN = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def reward_of_messages(completions: list[Any], **kwargs: Any) -> list[float]:
    """A reward that takes completions for messages."""
    return [float(len(completion[0]["content"])) for completion in completions]


def reward_that_returns_none(completions: list[Any], **kwargs: Any) -> None:
    """A reward that scores nothing."""
    print(len(completions))


def reward_for_the_batch(completions: list[Any], **kwargs: Any) -> float:
    """A reward that returns one number."""
    return 1.0


CASES: tuple[Case, ...] = (
    # the spec alone
    Case("eval_strategy without an evaluation set", "spec", fields={"eval_strategy": "steps"}),
    Case("fp16 and bf16", "spec", fields={"fp16": True, "bf16": True}),
    Case("best model without evaluation", "spec", fields={"load_best_model_at_end": True}),
    Case("an evaluation fraction that nothing uses", "spec", fields={"eval_fraction": 0.2, "eval_steps": 5}),
    Case("packing without max_length", "spec", fields={"packing": True, "max_length": None}),
    Case("groups that do not divide the batch", "spec", "grpo", "prompt_only", fields={"num_generations": 7}),
    Case("LoRA on lm_head", "spec", fields={"lora": {"target_modules": ["lm_head"]}}),
    Case("streaming without max_steps", "spec", fields={"dataset.streaming": True, "max_steps": -1}),
    # the dataset
    Case("ShareGPT", "dataset", spoil=lambda rows: [_sharegpt(row) for row in rows], repaired=True),
    Case("alpaca", "dataset", "sft", "prompt_completion", lambda rows: [_alpaca(row) for row in rows], repaired=True),
    Case("messages as JSON", "dataset", spoil=_set("messages", lambda row: json.dumps(row["messages"])), repaired=True),
    Case("conversations of roles", "dataset", spoil=lambda rows: [{"conversations": r["messages"]} for r in rows],
         repaired=True),
    Case("a null text", "dataset", spoil=_answer(None, 7)),
    Case("an empty answer", "dataset", spoil=_answer("", 7)),
    Case("no messages", "dataset", spoil=_set("messages", lambda row: [], 9)),
    Case("one message in place of a list", "dataset", spoil=_set("messages", lambda row: row["messages"][0])),
    Case("messages without an answer", "dataset", spoil=_set("messages", lambda row: row["messages"][:1])),
    Case("content parts on a text model", "dataset", spoil=_set("messages", lambda row: [
        {**m, "content": [{"type": "text", "text": m["content"]}]} for m in row["messages"]]), repaired=True),
    Case("prompt a list, completion a text", "dataset", "sft", "prompt_completion",
         _set("prompt", lambda row: [_say("user", row["prompt"])]), repaired=True),
    Case("a null completion", "dataset", "sft", "prompt_completion", _set("completion", lambda row: None, 5)),
    Case("numbers in place of text", "dataset", "sft", "text", _set("text", lambda row: 7)),
    Case("a prompt of text beside messages", "dataset", "dpo", "preference_implicit_chat",
         _set("prompt", lambda row: row["chosen"][0]["content"]), repaired=True),
    Case("chosen equal to rejected", "dataset", "dpo", "preference", _set("rejected", lambda row: row["chosen"])),
    Case("a chosen message in place of a list", "dataset", "dpo", "preference_chat",
         _set("chosen", lambda row: row["chosen"][0]), repaired=True),
    Case("answers that repeat the prompt", "dataset", "dpo", "preference", _each(
        lambda row: row.update(chosen=row["prompt"] + row["chosen"], rejected=row["prompt"] + row["rejected"])),
         repaired=True),
    Case("labels as words", "dataset", "kto", "unpaired", _set("label", lambda row: "good" if row["label"] else "bad")),
    Case("one label only", "dataset", "kto", "unpaired", _set("label", lambda row: True)),
    Case("a column named completions", "dataset", "grpo", "prompt_only", _set("completions", lambda row: "x")),
    Case("every row the same", "dataset", spoil=lambda rows: [rows[0]] * 128),
    Case("no rows", "dataset", spoil=lambda rows: []),
    Case("columns of another method", "dataset", "dpo", "messages"),
    # the tokenizer and its template
    Case("no chat template", "tokenizer", model=_drop("chat_template.jinja")),
    Case("a template without the system role", "tokenizer", model=_template(_NO_SYSTEM),
         spoil=_set("messages", lambda row: [_say("system", "Be brief."), *row["messages"]])),
    Case("a template that swallows answers", "tokenizer", model=_template(_SWALLOWS)),
    Case("a template that drops thoughts", "tokenizer", model=_template(_THINKS),
         spoil=_answer("<think>I see it.</think>It is red.")),
    Case("assistant_only_loss without markers", "tokenizer", model=_template(_PLAIN),
         fields={"assistant_only_loss": True}),
    Case("rows without an assistant under assistant_only_loss", "tokenizer", fields={"assistant_only_loss": True},
         spoil=_set("messages", lambda row: row["messages"][:1], 6)),
    Case("an EOS that ends no turn", "tokenizer", model=lambda folder: _another_end(folder)),
    Case("eos_token not in the vocabulary", "tokenizer", fields={"eos_token": "<|eot|>"}),
    Case("pad_token not in the vocabulary", "tokenizer", fields={"pad_token": "<|pad|>"}),
    Case("max_length below every prompt", "tokenizer", "dpo", "preference", fields={"max_length": 4}),
    Case("max_length that cuts most rows", "tokenizer", fields={"max_length": 12}),
    # the model
    Case("an unknown architecture", "model", model=_edit("config.json", lambda c: c.update(model_type="newllm"))),
    Case("remote code", "model", model=_edit(
        "config.json", lambda c: c.update(model_type="newllm", auto_map={"AutoConfig": "configuration.NewConfig"}))),
    Case("no weights", "model", model=_drop("model.safetensors")),
    Case("no tokenizer", "model", model=_drop("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")),
    Case("a reward model as policy", "model",
         model=_edit("config.json", lambda c: c.update(architectures=["Qwen2ForSequenceClassification"]))),
    Case("rows and max_length above the positions", "model", spoil=_answer("It is red. " * 400),
         fields={"max_length": 4096}),
    Case("a router's loss on a dense model", "model", fields={"model_init_kwargs": {"output_router_logits": True}}),
    Case("an adapter as model", "model", model=lambda folder: _adapter(folder)),
    Case("an embedding smaller than the vocabulary", "model",
         model=_edit("config.json", lambda c: c.update(vocab_size=128))),
    # functions
    Case("a reward for messages on texts", "function", "grpo", "prompt_only",
         fields={"reward_funcs": reward_of_messages}),
    Case("a reward that returns None", "function", "grpo", "prompt_only",
         fields={"reward_funcs": reward_that_returns_none}),
    Case("a reward for the whole batch", "function", "grpo", "prompt_only",
         fields={"reward_funcs": reward_for_the_batch}),
)  # fmt: skip


def _another_end(folder: Path) -> None:
    _edit("tokenizer_config.json", lambda c: c.update(eos_token="<|endoftext|>"))(folder)
    for name in ("config.json", "generation_config.json"):
        _edit(name, lambda c: c.update(eos_token_id=0))(folder)


def _adapter(folder: Path) -> None:
    _drop("config.json", "model.safetensors")(folder)
    config = {"peft_type": "LORA", "base_model_name_or_path": "me/base", "task_type": "CAUSAL_LM", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")


def good_reward(completions: list[Any], **kwargs: Any) -> list[float]:
    """Longer answers are better; texts and messages are taken."""
    return [float(len(str(completion))) for completion in completions]


def spec_of(case: Case, root: Path, model: Path) -> Any:
    """The spec of a case, whose files are written into ``root``."""
    rows = dataset_rows(case.rows, ROWS)
    rows = [{**row, "id": index} for index, row in enumerate(rows)] if case.spoil is None else rows
    changed = case.spoil(rows) if case.spoil else None
    root.mkdir(parents=True)
    data = root / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in (rows if changed is None else changed)), encoding="utf-8")
    folder = model
    if case.model is not None:
        folder = root / "model"
        folder.mkdir()
        for file in model.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        case.model(folder)
    fields: dict[str, Any] = {"method": case.method, "model": str(folder), "dataset": {"id": str(data)}, "max_steps": 2}
    if case.method in {"grpo", "rloo"}:
        fields["reward_funcs"] = good_reward
    for name, value in case.fields.items():
        owner, _, part = name.rpartition(".")
        (fields[owner] if owner else fields)[part] = value
    return fields


def told(fields: Mapping[str, Any]) -> dict[str, str]:
    """Codes of what ``check`` tells of, each with its severity."""
    report = hft.check(fields, offline=True, backend="local")
    return {problem.code: problem.severity for problem in report.problems}


def reader(code: str) -> str:
    """What had to be read for a rule of this code."""
    return _READERS.get(code.rstrip("0123456789"), "spec")


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per case and the share found per group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="smoke-test what no rule finds")
    parser.add_argument("-k", default="", help="only cases whose name holds this")
    options = parser.parse_args(argv)
    found, total = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        model = make_model(root / "base")
        usual: dict[str, dict[str, str]] = {}
        for case in (case for case in CASES if options.k in case.id):
            if case.method not in usual:
                good = Case("good", "spec", case.method, _GOOD[case.method])
                usual[case.method] = told(spec_of(good, root / f"good-{case.method}", model))
            fields = spec_of(case, root / f"case-{sum(total.values())}", model)
            start = time.perf_counter()
            codes = {code: severity for code, severity in told(fields).items() if code not in usual[case.method]}
            how = ", ".join(f"{code} ({severity}, by {reader(code)})" for code, severity in codes.items())
            if not how and case.repaired:
                how = _repaired(fields)
            if not how and options.smoke:
                how = _smoked(fields)
            total[case.group] += 1
            found[case.group] += bool(how)
            print(f"{case.group:10} {case.id:58} {how or 'NOT FOUND'}  {time.perf_counter() - start:.1f} s", flush=True)
        print()
        for group in total:
            print(f"{group:10} {found[group]} of {total[group]}")
        alarms = _false_alarms(root, model)
        print(f"false alarms on good runs: {len(alarms)}", *alarms, sep="\n  ")
    return 0


def _repaired(fields: Mapping[str, Any]) -> str:
    try:
        plan = hft.plan(fields, offline=True, backend="local")
    except hft.SpecError:
        return ""
    made = [decision for decision in plan.decisions if decision.path.startswith("dataset")]
    return f"put right: {made[0].why}" if made else ""


def _smoked(fields: Mapping[str, Any]) -> str:
    smoke = hft.smoke_test(fields, offline=True)
    return "" if smoke.ok else "smoke test: " + ", ".join(problem.code for problem in smoke.problems)


# A format that each method takes.
_GOOD: Mapping[str, Format] = {"sft": "messages", "dpo": "preference", "kto": "unpaired", "grpo": "prompt_only"}


def _false_alarms(root: Path, model: Path) -> list[str]:
    """What is told of good rows in each format that no spec would explain."""
    alarms: list[str] = []
    for format in FORMATS:
        method = next((method for method, name in _GOOD.items() if format.startswith(name)), "sft")
        codes = told(spec_of(Case(format, "good", method, format), root / f"format-{format}", model))
        alarms += [f"{format}: {code}" for code in codes if reader(code) in {"rows", "template"}]
    return alarms


if __name__ == "__main__":
    sys.exit(main())
