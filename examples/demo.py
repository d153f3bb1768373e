"""Train two tiny models on this machine, SFT and then DPO, from the spec to the saved model.

Run with ``python -m examples.demo [folder]`` (``make demo``). It needs no GPU, no account and no network: the model is
random and tiny, and the datasets are generated. Everything that it writes is in the folder, by default ``demo-runs``.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hfjobs_trainer as hft
from examples import tiny

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

QUESTION = "What color is the sea?"

# One thread is the fastest for a model this small, whatever else the machine does.
ENV = {"OMP_NUM_THREADS": "1"}


def sft_spec(folder: Path) -> hft.SFT:
    """Teach the model its answers."""
    return hft.SFT(
        model=str(folder / "model"),
        dataset=str(tiny.write_dataset(folder / "conversations.jsonl", "messages", n=512)),
        eval_fraction=0.1,
        eval_strategy="steps",
        eval_on_start=True,
        eval_steps=100,
        max_steps=400,
        learning_rate=5e-3,
        lr_scheduler_type="cosine",
        assistant_only_loss=True,
        logging_steps=10,
        tracking=hft.Tracking(project="demo", name="sft"),
        env=ENV,
    )


def dpo_spec(folder: Path, model: str) -> hft.DPO:
    """Teach it to prefer the plain answer to the hesitant one."""
    return hft.DPO(
        model=model,
        dataset=str(tiny.write_dataset(folder / "preferences.jsonl", "preference_chat", n=256)),
        eval_fraction=0.1,
        eval_strategy="steps",
        eval_on_start=True,
        eval_steps=50,
        max_steps=100,
        learning_rate=5e-4,
        logging_steps=5,
        tracking=hft.Tracking(project="demo", name="dpo"),
        env=ENV,
    )


def train(spec: TrainSpec, backend: hft.LocalBackend) -> tuple[hft.Job, str]:
    """Plan, render, run and watch; return the job and the folder of the model."""
    plan = hft.plan(spec, backend="local")
    print(f"{plan}\n\nscript: {len(plan.script.splitlines())} lines; running it with this interpreter")
    job = hft.submit(plan, backend=backend)
    job.watch()
    result = job.result()
    assert result.model is not None
    return job, result.model


def losses(job: hft.Job) -> tuple[float, float]:
    """Loss on the held-out rows, before the first step and after the last."""
    values = [loss for event in job.events() if (loss := event.metrics.get("eval_loss")) is not None]
    return values[0], values[-1]


def answer(model: str | Path, question: str = QUESTION) -> str:
    """The model's answer to a question."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    network, tokenizer = AutoModelForCausalLM.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    tokens = network.generate(**asked, max_new_tokens=16, do_sample=False)[0, asked["input_ids"].shape[1] :]
    return repr(tokenizer.decode(tokens, skip_special_tokens=True))


def heading(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def report(job: hft.Job, model: str) -> None:
    """Print what the run changed, and where its files are."""
    before, after = losses(job)
    result = job.result()
    print(f"  loss     {before:.3f} before, {after:.3f} after {result.steps} steps")
    print(f"  model    {short(model)}")
    print(f"  script   {short(f'{result.folder}/script.py')}")
    print(f"  trackio  {short(f'{result.trackio}')}")


def short(path: str | Path) -> str:
    """The path, relative to the current folder where it is in it."""
    return str(path).removeprefix(f"{Path.cwd()}/")


HUB = """\
The same on Hugging Face Jobs, after `hf auth login`:
  import hfjobs_trainer as hft
  spec = hft.SFT(model="Qwen/Qwen2.5-0.5B-Instruct", dataset="trl-lib/Capybara", timeout="1h",
                 output=hft.Output(hub_model_id="<your name>/my-first-sft"))
  print(hft.plan(spec))               # hardware, price, every decision: nothing is sent
  hft.submit(spec).watch()            # the same kind of script, on a GPU of Hugging Face Jobs"""


def main() -> None:
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    started = time.monotonic()
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo-runs").absolute()
    # By default a script runs under `uv run`, in an environment of its own; this one has the same pins already.
    backend = hft.LocalBackend(root=folder / "runs", python="current")

    heading("A tiny random model with a real architecture, tokenizer and chat template")
    untrained = tiny.make_model(folder / "model", hidden_size=64)
    print(f"  {short(untrained)}")

    heading("SFT: teach it some answers")
    sft, taught = train(sft_spec(folder), backend)
    heading("DPO: teach it to prefer the plain answer")
    dpo, tuned = train(dpo_spec(folder, taught), backend)

    for title, job, model in (("SFT", sft, taught), ("DPO", dpo, tuned)):
        heading(title)
        report(job, model)
    heading(QUESTION)
    print(f"  before   {answer(untrained)}\n  SFT      {answer(taught)}\n  DPO      {answer(tuned)}")

    heading(f"Done in {time.monotonic() - started:.0f} s. What next?")
    trackio = short(Path(sys.prefix) / "bin" / "trackio")
    print(f"The curves:\n  TRACKIO_DIR={short(str(sft.result().trackio))} {trackio} show --project demo\n{HUB}")


if __name__ == "__main__":
    main()
