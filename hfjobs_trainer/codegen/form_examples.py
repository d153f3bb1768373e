"""A bad and a good example of each problem in the form of a spec or its file, which has no rule: for rules.md.

A test evaluates them: the bad one has a problem of its code, the good one none. ``FILES`` has the files that they name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """An expression with the problem, and one without it."""

    bad: str
    good: str


_RUN = 'model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara"'
_TRL = "trl sft --model_name_or_path Qwen/Qwen2.5-0.5B --dataset_name trl-lib/Capybara"

EXAMPLES: dict[str, Example] = {
    "SPEC001": Example(
        'hft.check({"model": "Qwen/Qwen2.5-0.5B", "dataset": "trl-lib/Capybara"})',
        'hft.check({"method": "sft", "model": "Qwen/Qwen2.5-0.5B", "dataset": "trl-lib/Capybara"})',
    ),
    "SPEC002": Example('hft.SFT(model="Qwen/Qwen2.5-0.5B")', f"hft.SFT({_RUN})"),
    "SPEC003": Example(f'hft.SFT({_RUN}, eval_strategy="step")', f'hft.SFT({_RUN}, eval_strategy="steps")'),
    "SPEC004": Example(f"hft.SFT({_RUN}, learnin_rate=2e-5)", f"hft.SFT({_RUN}, learning_rate=2e-5)"),
    "SPEC005": Example(f"hft.SFT({_RUN}, max_seq_length=2048)", f"hft.SFT({_RUN}, max_length=2048)"),
    "SPEC006": Example(
        f'hft.SFT({_RUN}, hub_token="...")', f"hft.SFT({_RUN})  # with HF_TOKEN set, or after `hf auth login`"
    ),
    "SPEC007": Example(
        f'hft.SFT({_RUN}, run_name="first", tracking=hft.Tracking(name="second"))',
        f'hft.SFT({_RUN}, tracking=hft.Tracking(name="second"))',
    ),
    "LOAD001": Example('hft.load("stf.yaml")  # a typo: there is no such file', 'hft.load("sft.yaml")'),
    "LOAD002": Example('hft.load("train.py")  # a script that was not rendered', 'hft.load("sft.yaml")'),
    "LOAD003": Example('hft.load("trl vllm-serve --model Qwen/Qwen2.5-0.5B")', f'hft.load("{_TRL}")'),
    "LOAD004": Example(
        'hft.load("my.yaml")  # written for `trl`, and neither the file nor its name says for which method',
        'hft.load("my.yaml", method="sft")',
    ),
    "LOAD005": Example(f'hft.load("{_TRL} --lora_r 32")', f'hft.load("{_TRL} --use_peft --lora_r 32")'),
    "LOAD006": Example(
        'hft.load("copied.json")  # made on another machine, whose rows.jsonl is not here',
        'hft.load("sft.yaml")  # its dataset is on the Hub',
    ),
    "LOAD007": Example(
        f'hft.load("{_TRL} --lr 2e-5", strict=True)', f'hft.load("{_TRL} --learning_rate 2e-5", strict=True)'
    ),
    "SCHED001": Example(
        f'hft.submit_sft({_RUN}, schedule="every monday")', f'hft.submit_sft({_RUN}, schedule="0 3 * * 1")'
    ),
    "SCHED002": Example(
        f'hft.submit_sft({_RUN}, schedule="@weekly", hardware=hft.Hardware(ssh=True))',
        f'hft.submit_sft({_RUN}, schedule="@weekly")',
    ),
}
"""Examples by code."""

FILES: dict[str, str] = {
    "sft.yaml": "method: sft\nmodel: Qwen/Qwen2.5-0.5B\ndataset: trl-lib/Capybara\n",
    "my.yaml": "model_name_or_path: Qwen/Qwen2.5-0.5B\ndataset_name: trl-lib/Capybara\n",
    "train.py": "print('training')\n",
    "copied.json": f'{{"method": "sft", "model": "Qwen/Qwen2.5-0.5B", "dataset": "rows.jsonl@sha256:{"0" * 64}"}}',
}
"""Texts of the files by name."""
