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
    args, history, source = trainer.args, trainer.state.log_history, Path(__file__)
    block = source.read_text("utf-8").rpartition("\n# /// hfjobs-trainer\n")[2]
    plan = tomllib.loads("\n".join(line[2:] for line in block.split("\n")[:-2]))
    shown = plan | plan.get("published", {})
    spec = {"digest": shown["digest"], "spec": json.loads(shown["spec"])}
    hours = history[-1]["seconds"] / 3600 if history else 0.0
    library = "peft" if (folder / "adapter_config.json").exists() else "transformers"
    known = {"repo": repo, library: repo, "hours": f"{hours:.2f}"}
    known["script"] = hashlib.sha256(source.read_bytes()).hexdigest()
    known["spec"] = json.dumps(spec, indent=2).replace("\n", "\n    ")
    if "JOB_ID" in os.environ:
        known["job"], price = os.environ["JOB_ID"], plan.get("usd_per_hour", 0)
        known["usd"] = f"{hours * price:.2f}"
    _, before, after = compare_evaluations(args, trainer.state)
    was = {key: f"{value:.4g} -> " for key, value in before.items()}
    rows = (f"| {key} | {was.get(key, '')}{after[key]:.4g} |" for key in after)
    known["evaluation"] = "\n".join(rows)
    # A line about something that is not known here, such as a job, is left out.
    keys = re.compile(r"%\((\w+)")
    lines = [each for each in plan["card"] if {*keys.findall(each)} <= {*known}]
    trainer.create_model_card(repo.split("/")[-1], tags=["hfjobs-trainer"])
    text = Path(args.output_dir, "README.md").read_text("utf-8")
    for old, new in plan.get("replaces", {}).items():
        text = re.sub(old, new, text)
    card: Any = import_module("huggingface_hub").ModelCard(text)
    vars(card.data).update(plan["metadata"], library_name=library, licence=None)
    text = card.text.replace(f'"{trainer.hub_model_id}"', f'"{repo}"')
    top, heading, rest = text.partition("## Training procedure")
    card.text = top + "\n".join(lines) % known + "\n\n" + heading + rest
    card.save(folder / "README.md")
    (folder / "hft_spec.json").write_text(json.dumps(spec, indent=2), "utf-8")
    (folder / "loss.svg").write_text(draw_loss(history), "utf-8")


def draw_loss(history: list[dict[str, Any]]) -> str:
    """Draw the loss of training over the steps, as SVG."""
    some = [each for each in history if each.get("loss", 1e30) < 1e30]
    curve = [(each["step"], each["loss"]) for each in some] or [(0, 0.0)]
    low, high, end = min(y for _, y in curve), max(y for _, y in curve), curve[-1][0]
    across, down = 600 / (end or 1), 280 / (high - low or 1)
    points = " ".join(f"{across * x:.1f},{down * (high - y):.1f}" for x, y in curve)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -25 640 320">'
        f'<polyline fill="none" stroke="#2563eb" points="{points}"/>'
        f'<text y="-8">loss: {high:.4g} to {low:.4g}, {end} steps</text></svg>\n'
    )
