"""Rules that DPO and KTO share, in TRL's same words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.dpo import DPO


@rule("DPO004", fields=["precompute_ref_log_probs"])
def precomputing_needs_all_rows(context: Context[DPO]) -> Iterator[Found]:
    """Log probabilities cannot be precomputed for a stream.

    What it does:
        Refuses `precompute_ref_log_probs=True` where a dataset is streamed.

    Why:
        They are computed for every row before training, and a stream has no end.

    Example:
        ```python
        hft.DPO(model=..., dataset=hft.Dataset(id="me/pairs", streaming=True), max_steps=100,
                precompute_ref_log_probs=True)
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset="me/pairs", max_steps=100, precompute_ref_log_probs=True)
        ```
    """
    spec = context.spec
    streamed = spec.dataset.streaming or (spec.eval_dataset is not None and spec.eval_dataset.streaming)
    if spec.precompute_ref_log_probs and streamed:
        why = "needs all rows before training, and the length of a streamed dataset is unknown"
        yield Found("precompute_ref_log_probs", why, "precompute_ref_log_probs=False")


@rule("DPO005", fields=["precompute_ref_log_probs", "sync_ref_model"])
def synced_reference_is_a_model(context: Context[DPO]) -> Iterator[Found]:
    """Only a reference model of its own can follow the policy.

    What it does:
        Refuses `sync_ref_model=True` with `lora`, and with `precompute_ref_log_probs=True`.

    Why:
        With an adapter the reference is the base under it, and precomputed log probabilities are those of a reference
        that stays; TRL refuses both once the model is loaded.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., sync_ref_model=True, lora=hft.LoRA())
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., sync_ref_model=True)
        ```
    """
    spec = context.spec
    if not spec.sync_ref_model:
        return
    if spec.lora is not None:
        why = "with lora there is no reference model of its own to follow the policy"
        yield Found("sync_ref_model", why, "sync_ref_model=False")
    if spec.precompute_ref_log_probs:
        why = "with precompute_ref_log_probs the reference model cannot change"
        yield Found("sync_ref_model", why, "sync_ref_model=False")
