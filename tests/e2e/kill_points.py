"""Where runs are killed, and what is trained meanwhile: six steps, with a checkpoint after each second one."""

from __future__ import annotations

from typing import Any

from tests.e2e.killed import STOPPED, Case, Place, Point

# The files of a checkpoint, in the order in which they are written.
SAVED = "*/out/checkpoint-4/"
KEPT = "*/bucket/*/checkpoint-4/"
MANIFEST = "*hft_manifest*"


def _file(what: str, name: str, when: str, nth: int = 1) -> dict[str, Any]:
    return {"file": what, "name": name, "when": when, "nth": nth}


IN_STEP_5 = Point("in step 5", {"moment": "backward", "step": 5}, (4,))

ANYWHERE = [
    Point("in step 1", {"moment": "backward", "step": 1}, (0,)),
    IN_STEP_5,
    Point("in step 6", {"moment": "backward", "step": 6}, (4,)),
    Point("step 4 taken, not saved", {"moment": "optimizer", "step": 4}, (2,)),
    Point("weights half written", _file("write", SAVED + "*model.safetensors", "half"), (2,)),
    Point("weights, no optimizer", _file("write", SAVED + "optimizer.pt", "before"), (2,)),
    Point("optimizer half written", _file("write", SAVED + "optimizer.pt", "half"), (2,)),
    Point("random states half written", _file("write", SAVED + "rng_state*", "half"), (2,)),
    Point("trainer's state missing", _file("write", SAVED + "trainer_state.json", "before"), (2,)),
    Point("trainer's state half written", _file("write", SAVED + "trainer_state.json", "half"), (2,)),
    Point("saved, no manifest", {"moment": "saved", "step": 4}, (2, 4)),
    Point("manifest not begun", _file("write", SAVED + MANIFEST, "before"), (2,)),
    Point("manifest half written", _file("write", SAVED + MANIFEST, "half"), (2,)),
    Point("manifest not renamed", _file("rename", SAVED + MANIFEST, "before"), (2,)),
    Point("stopped after step 3", {"moment": "asked", "step": 3}, (3, 4), status=STOPPED),
    Point("trained, model not saved", {"moment": "train end", "step": 6}, (4, 6)),
    Point("model half saved", _file("write", "*/out/[am]*.safetensors", "half"), (4, 6)),
    Point("model saved, not told", {"moment": "end", "step": 6}, (4, 6)),
    *(
        Point(f"after {seconds:g} s", {"moment": "seconds", "seconds": seconds, "hurries": True}, (0, 2, 4, 6))
        for seconds in (0.03, 0.06, 0.1, 0.15, 0.2)
    ),
]
"""Those of any run."""

ON_DISK = [Point("manifest renamed", _file("rename", SAVED + MANIFEST, "after"), (4,))]
"""Those of a run whose checkpoints stay on its disk."""

ON_MOUNT = [
    Point("first file not copied", _file("write", KEPT + "*", "before"), (2,)),
    Point("first file half copied", _file("write", KEPT + "*", "half"), (2,)),
    Point("third file half copied", _file("write", KEPT + "*", "half", 3), (2,)),
    Point("seventh file half copied", _file("write", KEPT + "*", "half", 7), (2,)),
    Point("copied, no manifest", _file("write", KEPT + MANIFEST, "before"), (2,)),
    Point("copied manifest half written", _file("write", KEPT + MANIFEST, "half"), (2,)),
    Point("copied, not read back", _file("read", KEPT + "*", "before"), (4,)),
    Point("old copy not removed", _file("remove", "*/bucket/*/checkpoint-2", "before"), (6,)),
    Point("old copy half removed", _file("remove", "*/bucket/*/checkpoint-2", "half"), (6,)),
    Point("the last write is lost", {"moment": "backward", "step": 5}, (2,), lose=1),
    Point("the last 3 writes are lost", {"moment": "backward", "step": 5}, (2,), lose=3),
    Point("the last 8 writes are lost", {"moment": "backward", "step": 5}, (2,), lose=8),
    Point("all writes are lost", {"moment": "backward", "step": 5}, (0,), lose=1000),
]
"""Those of a run whose checkpoints are copied to a mount."""

IN_EVALUATION = Point("in the evaluation of step 3", {"moment": "evaluation", "step": 3}, (2,))

ON_PUSH = [
    Point("before the push", {"moment": "push", "step": 6}, (4, 6)),
    Point("pushed, not audited", {"moment": "pushed", "step": 6}, (6,)),
    Point("pushed, checkpoints not removed", {"moment": "told", "step": 6}, (6,)),
]
"""Those of a run whose model goes to the Hub."""

LORA: dict[str, Any] = {"lora": {"r": 4, "lora_dropout": 0.2}}
EVALUATED: dict[str, Any] = {"eval_fraction": 0.25, "eval_strategy": "steps", "eval_steps": 3}
DROPOUT: dict[str, Any] = {"disable_dropout": False}
SYNCED: dict[str, Any] = {"sync_ref_model": True, "ref_model_sync_steps": 2, "ref_model_mixup_alpha": 0.5}

CASES = [
    Case("sft", "sft"),
    Case("sft accumulating", "sft", {"gradient_accumulation_steps": 3}),
    Case("sft packed", "sft", {"packing": True, "max_length": 64, "per_device_train_batch_size": 1}),
    Case("sft evaluated", "sft", EVALUATED),
    Case("sft best", "sft", {**EVALUATED, "eval_steps": 2, "load_best_model_at_end": True}),
    Case("sft lora", "sft", LORA),
    Case("sft lora and all else", "sft", {**LORA, **EVALUATED, "gradient_accumulation_steps": 2, "packing": True}),
    Case("sft on 2 processes", "sft", processes=2),
    Case("sft on 2 processes and the second dies", "sft", processes=2, rank=1),
    Case("dpo", "dpo", DROPOUT),
    Case("dpo lora", "dpo", {**LORA, **DROPOUT, **EVALUATED}),
    Case("dpo synced", "dpo", SYNCED),
    Case("dpo precomputed", "dpo", {**DROPOUT, "precompute_ref_log_probs": True}),
    Case("kto", "kto", {**DROPOUT, "per_device_train_batch_size": 8}),
    Case("kto lora", "kto", {**LORA, **DROPOUT}),
    Case("reward", "reward", DROPOUT),
    Case("reward lora", "reward", {**LORA, **DROPOUT, **EVALUATED}),
    Case("grpo", "grpo"),
    Case("grpo iterating", "grpo", {"num_iterations": 2}),
    Case("grpo lora and beta", "grpo", {**LORA, **EVALUATED, "beta": 0.1}),
    Case("grpo synced", "grpo", {**SYNCED, "beta": 0.1}),
    Case("grpo on 2 processes", "grpo", processes=2),
    Case("rloo", "rloo"),
    Case("rloo iterating", "rloo", {"num_iterations": 2}),
    Case("rloo lora", "rloo", LORA),
    Case("rloo synced", "rloo", SYNCED),
    Case("orpo", "orpo", DROPOUT),
    Case("orpo lora", "orpo", {**LORA, **DROPOUT}),
    Case("cpo", "cpo", DROPOUT),
    Case("cpo lora", "cpo", {**LORA, **DROPOUT}),
    Case("online_dpo", "online_dpo", EVALUATED),
    Case("online_dpo lora", "online_dpo", LORA),
    Case("distillation", "distillation"),
    Case("distillation lora", "distillation", LORA),
    Case("gkd", "gkd", {"lmbda": 0.5}),
    Case("gkd lora", "gkd", {**LORA, "lmbda": 1.0}),
]
"""What the benchmark trains; a stream of rows, which needs its dataset's path, is added by ``cases``."""


def cases(stream: str) -> list[Case]:
    """All cases; ``stream`` is a file of chats."""
    return [*CASES, Case("sft streamed", "sft", {"dataset": {"id": stream, "streaming": True}})]


PUSHED = Case("sft pushed", "sft", {"output": {"hub_model_id": "alice/killed", "checkpoints": "bucket"}})
"""What needs a Hub."""


def points_of(case: Case, place: Place) -> list[Point]:
    """Where a case can be killed."""
    if case is PUSHED:
        return ON_PUSH
    if case.rank:  # the first process writes the files
        return [point for point in ANYWHERE if "moment" in point.kill]
    evaluated = [IN_EVALUATION] if case.fields.get("eval_steps") == 3 else []
    return [*ANYWHERE, *(ON_MOUNT if place == "mount" else ON_DISK), *evaluated]
