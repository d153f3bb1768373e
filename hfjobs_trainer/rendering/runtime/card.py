"""What the repository of a model tells of it: card, spec, curve of the loss."""

import hashlib
import json
import os
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.evaluations import compare_evaluations


def write_card(trainer: Any, folder: Path, repo: str) -> None:
    """Write a model's card, `hft_spec.json` and `loss.svg` into its folder."""
    args, history, script = trainer.args, trainer.state.log_history, Path(__file__)
    block = script.read_text("utf-8").rpartition("\n# /// hfjobs-trainer\n")[2]
    plan = tomllib.loads(re.sub("(?m)^# ?", "", block.partition("\n# ///")[0]))
    shown = plan | plan.get("published", {})
    spec = {"digest": shown["digest"], "spec": json.loads(shown["spec"])}
    hours = history[-1].get("seconds", 0) / 3600 if history else 0
    library = "peft" if (folder / "adapter_config.json").exists() else "transformers"
    known = {"repo": repo, library: repo, "hours": f"{hours:.2f}"}
    known["script"] = hashlib.sha256(script.read_bytes()).hexdigest()
    if job := os.environ.get("JOB_ID"):
        known |= {"job": job, "usd": f"{hours * plan.get('usd_per_hour', 0):.2f}"}
    _, before, after = compare_evaluations(args, trainer.state)
    was = {name: f"{value:.4g} -> " for name, value in before.items()}
    found = (f"{name} {was.get(name, '')}{after[name]:.4g}" for name in after)
    known["evaluation"] = ", ".join(found)
    # A line about something that is not known here, such as a job, is left out.
    names = re.compile(r"%\((\w+)")
    lines = [x for x in plan["card"].split("\n") if {*names.findall(x)} <= {*known}]
    told = "## How it was made\n![Loss](loss.svg)\n\n" + "\n".join(lines) % known
    told += f"\n```json\n{json.dumps(spec, indent=2)}\n```\n\n"
    trainer.create_model_card(repo.split("/")[-1], tags=["hfjobs-trainer"])
    text = Path(args.output_dir, "README.md").read_text("utf-8")
    for old, new in plan.get("replaces", {}).items():
        text = re.sub(old, new, text)
    text = text.replace(f'"{trainer.hub_model_id}"', f'"{repo}"')
    card: Any = import_module("huggingface_hub").ModelCard(text)
    card.data.__dict__.update(plan["metadata"], library_name=library, licence=None)
    heading = "## Training procedure"
    card.text = card.text.replace(heading, told + heading, 1)
    card.save(folder / "README.md")
    (folder / "hft_spec.json").write_text(json.dumps(spec, indent=2), "utf-8")
    (folder / "loss.svg").write_text(draw_loss(history), "utf-8")


def draw_loss(history: list[dict[str, Any]]) -> str:
    """Draw the loss of training over the steps, as SVG."""
    curve = [(e["step"], e["loss"]) for e in history if abs(e.get("loss", 1e30)) < 1e30]
    steps, losses = list(zip(*curve, strict=True)) or [(0,), (0.0,)]
    low, high, end = min(losses), max(losses), steps[-1]
    across, down = 600 / (end or 1), 280 / (high - low or 1)
    points = " ".join(f"{across * x:.1f},{down * (high - y):.1f}" for x, y in curve)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -25 640 320">'
        f'<polyline fill="none" stroke="#2563eb" points="{points}"/>'
        f'<text y="-8">loss: {high:.4g} to {low:.4g}, {end} steps</text></svg>\n'
    )
