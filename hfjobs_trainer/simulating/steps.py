"""The loss of one micro-batch, with the trainer's own sequence of calls."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812

from hfjobs_trainer.simulating.fused import fused_loss
from hfjobs_trainer.simulating.model import Models
from hfjobs_trainer.simulating.request import Request

Mark = Callable[[str], None]

# Positions of one part of litgpt's logits (litgpt: finetune/full.py, lm_head_chunk_size).
LITGPT_PART = 128


def autocast_forward(model: Any, precision: str | None) -> None:
    """Compute the model's forward pass under autocast and hand its outputs back in float32, as accelerate does.

    ``Accelerator.prepare_model`` of accelerate 1.15.
    """
    from accelerate.utils import convert_outputs_to_fp32

    if precision is None:
        return
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    inner = model.forward

    def forward(self: object, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", dtype=dtype):
            return inner(*args, **kwargs)

    model.forward = MethodType(convert_outputs_to_fp32(forward), model)


def make_batch(request: Request) -> dict[str, torch.Tensor]:
    """A full batch without padding: ids, mask and labels of 8 bytes a token."""
    pairs = request.step in ("preference", "scores")
    shape = (request.per_device_train_batch_size * (2 if pairs else 1), request.sequence_length)
    return {name: torch.zeros(shape, dtype=torch.int64) for name in ("input_ids", "attention_mask", "labels")}


def compute_loss(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    """The loss as TRL 1.16's trainer of this step computes it; ``mark`` is called when another model is used."""
    return STEPS[request.step](request, models, batch, mark)


def _next_token(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    ids, labels = batch["input_ids"], batch["labels"]
    mask = _mask(request, batch)
    if request.logits == "fused":
        outputs = models.trained(**mask, input_ids=ids, labels=labels, use_cache=False, fused_lm_head=True)
        return (-outputs.log_probs).sum() / outputs.label_mask.sum().clamp(min=1)
    if request.logits == "now":
        return models.trained(**mask, input_ids=ids, labels=labels, use_cache=False).loss
    if request.logits == "recast":
        return _recast_loss(request, models.trained, mask, ids, labels)
    if request.logits == "parts":
        return _loss_of_parts(models.trained, mask, ids, labels)
    if request.logits == "liger":
        return _fused_loss(request, models.trained, mask, ids)
    outputs = models.trained(**mask, input_ids=ids, use_cache=False)
    return _older_loss(models.trained, outputs.logits, labels, request)


def _older_loss(model: Any, logits: torch.Tensor, labels: torch.Tensor, request: Request) -> torch.Tensor:
    """The loss of causal models before transformers 4.48, on a shifted copy of the logits."""
    if request.logits == "copied":
        logits = logits.float()
        # the loop keeps the outputs until after the backward pass (AnswerDotAI/fsdp_qlora: train.py)
        model.kept_logits = logits
    shifted = logits[..., :-1, :].contiguous()
    flat = shifted.view(-1, shifted.shape[-1])
    if request.logits == "shifted":
        # as autocast does
        flat = flat.float()
    return F.cross_entropy(flat, labels[..., 1:].reshape(-1))


def _loss_of_parts(model: Any, mask: dict[str, torch.Tensor], ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Litgpt's chunked loss: 128 positions at a time, in the logits' precision (litgpt: utils.py)."""
    hidden, head = _hidden(model, mask, ids), _head(model)
    parts = [head(part).flatten(0, 1) for part in hidden.split(LITGPT_PART, dim=1)]
    wanted = [part.flatten() for part in labels.split(LITGPT_PART, dim=1)]
    losses = [F.cross_entropy(part, each, reduction="none") for part, each in zip(parts, wanted, strict=True)]
    # the loop keeps them until after the backward pass
    model.kept_logits = parts
    return torch.cat(losses).sum() / labels.numel()


def _hidden(model: Any, mask: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """What the head is given."""
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return base.base_model(**mask, input_ids=ids, use_cache=False).last_hidden_state


def _autocast(request: Request) -> contextlib.AbstractContextManager[Any]:
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(request.mixed_precision or "")
    return torch.autocast("cpu", dtype=dtype) if dtype else contextlib.nullcontext()


def _head(model: Any) -> Any:
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    return base.get_output_embeddings()


def _fused_loss(request: Request, model: Any, mask: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Liger's loss of a causal model, which replaces the model's forward pass."""
    with _autocast(request):
        return fused_loss(_hidden(model, mask, ids), _head(model).weight)


def _recast_loss(
    request: Request, model: Any, mask: dict[str, torch.Tensor], ids: torch.Tensor, labels: torch.Tensor
) -> torch.Tensor:
    """The loss of transformers 4.46 to 4.49, which the model computes itself (loss/loss_utils.py)."""
    with _autocast(request):
        logits = _head(model)(_hidden(model, mask, ids))
        shifted = logits.float()[..., :-1, :].contiguous()
        return F.cross_entropy(shifted.view(-1, shifted.shape[-1]), labels[..., 1:].reshape(-1))


def _mask(request: Request, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The mask as transformers treats it: one that is true everywhere is dropped."""
    return {"attention_mask": batch["attention_mask"]} if request.padded else {}


def _log_probs(request: Request, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    ids, labels = batch["input_ids"], batch["labels"]
    mask = _mask(request, batch)
    return model(**mask, input_ids=ids, labels=labels, use_cache=False, fused_lm_head=True).log_probs


def _reference_log_probs(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    """Log probabilities of the frozen copy, or of the model without its adapter."""
    from trl.models.utils import disable_gradient_checkpointing

    mark("reference")
    trained: Any = models.trained
    asked = models.reference if models.reference is not None else models.trained
    alone = contextlib.nullcontext() if models.reference is not None else trained.disable_adapter()
    with torch.no_grad(), disable_gradient_checkpointing(trained, {"use_reentrant": False}), alone:
        return _log_probs(request, asked, batch).sum(-1)


def _preference(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    own = _log_probs(request, models.trained, batch).sum(-1)
    chosen, rejected = (own - _reference_log_probs(request, models, batch, mark)).chunk(2)
    return -F.logsigmoid(0.1 * (chosen - rejected)).mean()


def _unpaired(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    # completions of other prompts, for the KL divergence
    mark("reference")
    with torch.no_grad():
        apart = _log_probs(request, models.trained, batch).sum(-1)
    mark("forward")
    own = _log_probs(request, models.trained, batch).sum(-1)
    apart_before = _reference_log_probs(request, models, batch, mark)
    ratios = own - _reference_log_probs(request, models, batch, mark)
    divergence = (apart - apart_before).mean().clamp(min=0)
    return (1 - F.sigmoid(0.1 * (ratios - divergence))).mean()


def _scores(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    outputs = models.trained(**_mask(request, batch), input_ids=batch["input_ids"], use_cache=False)
    chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
    return -F.logsigmoid(chosen - rejected).mean()


def _policy_gradient(request: Request, models: Models, batch: dict[str, torch.Tensor], mark: Mark) -> torch.Tensor:
    """GRPO and RLOO, which use the reference and the old policy while completions are generated."""
    own = _log_probs(request, models.trained, batch)
    ratio = torch.exp(own - own.detach())
    clipped = torch.clamp(ratio, 0.8, 1.2)
    return -torch.min(ratio, clipped).sum() / own.numel()


STEPS = {
    "next_token": _next_token,
    "preference": _preference,
    "unpaired": _unpaired,
    "scores": _scores,
    "policy_gradient": _policy_gradient,
}
"""Training steps by the key that a method names in ``TRAINING``."""
