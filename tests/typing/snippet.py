# pyright: strict
"""What an editor and a type checker know of the public names; only the lines marked `wrong` are."""

from __future__ import annotations

from datetime import timedelta

import hfjobs_trainer as hft


def reward(completions: list[str], **kwargs: object) -> list[float]:
    return [float(len(text)) for text in completions]


class Frame:
    """As pandas, polars and datasets have them."""

    @property
    def shape(self) -> tuple[int, int]:
        return (1, 1)

    def __len__(self) -> int:
        return 1


frame = Frame()
spec = hft.DPO(
    model="org/model",
    dataset=hft.Dataset(id="org/dataset", columns={"good": "chosen"}),
    lora=hft.LoRA(r=8),
    tracking={"project": "x"},
    timeout=timedelta(hours=1),
    hardware="a10g-large",
    loss_type="sigmoid",
    report_to="none",
    beta=0.2,
)
betas: float = spec.beta
again: hft.DPO = spec.replace(beta=0.3)
plan: hft.Plan = hft.plan(spec, offline=True)
seconds: int | None = plan.timeout_seconds
text: str = hft.render({"method": "sft", "model": "a/b", "dataset": "c/d"}, offline=True)
why: tuple[str, ...] = tuple(problem.fix for problem in hft.check(spec).problems)
job: hft.Job = hft.submit_dpo(model="org/model", dataset="org/dataset", beta=0.1)
weekly: hft.ScheduledJob = hft.submit_dpo(model="org/model", dataset="org/dataset", schedule="@weekly")
daily: hft.ScheduledJob = hft.submit(spec, schedule="@daily")
planned: hft.Plan = hft.submit(spec, schedule="@daily", dry_run=True)
reused: hft.Job = hft.submit(spec, reuse=True, max_resumes=1)
dry: hft.Plan = hft.submit_sft(model="org/model", dataset="org/dataset", dry_run=True)
hft.GRPO(model="org/model", dataset="org/dataset", reward_funcs=[reward, "accuracy_reward"])

rows: list[dict[str, str]] = [{"text": "a"}]
hft.SFT(model="org/model", dataset=rows, eval_dataset=["org/dataset", rows])
hft.SFT(model="org/model", dataset=frame)
hft.submit_sft(model="org/model", dataset=[frame, hft.Dataset(id=rows, num_samples=1)], dry_run=True)

hft.DPO(model="org/model", dataset="org/dataset", betta=0.1)  # wrong
hft.submit_dpo(model="org/model", dataset="org/dataset", betta=0.1)  # wrong
hft.SFT(model="org/model")  # wrong
hft.SFT(model="org/model", dataset="org/dataset", eval_strategy="sometimes")  # wrong
hft.SFT(model="org/model", dataset="org/dataset", beta=0.1)  # wrong
hft.SFT(model="org/model", dataset=1)  # wrong
