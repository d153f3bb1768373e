"""Bytes of an optimizer: its states, and its temporary memory during a step."""

from __future__ import annotations

# Optimizer states per parameter, for libraries that always keep them in float32.
_FLOAT32_STATES = {
    **dict.fromkeys(("lion_32bit", "paged_lion_32bit", "rmsprop_bnb", "rmsprop_bnb_32bit"), 1),
    **dict.fromkeys(("ademamix", "paged_ademamix_32bit"), 3),
    "paged_adamw_32bit": 2,
}
# Bytes of state per parameter of bitsandbytes' 8-bit optimizers; 2 for those not listed.
_EIGHT_BIT_STATES = {
    **dict.fromkeys(("lion_8bit", "paged_lion_8bit", "rmsprop_bnb_8bit"), 1),
    **dict.fromkeys(("ademamix_8bit", "paged_ademamix_8bit"), 3),
}
# torch optimizers that, unfused, hold temporary values of each trained parameter during the step.
_FOREACH = frozenset({"adamw_torch", "adagrad", "rmsprop"})


def state_bytes(optim: str, *, trained: float, gradients: float, embedding: float) -> float:
    """Bytes of an optimizer's states.

    Args:
        optim: Its name, as ``TrainingArguments.optim``.
        trained: Parameters that are trained.
        gradients: Bytes of all gradients: states in the dtype of the weights take as much per moment.
        embedding: Parameters of the embedding, if it is trained; 0 otherwise.
    """
    if optim == "adafactor":
        # a row and a column instead of a matrix; transformers gives it no momentum
        return 0.02 * trained
    if optim in ("sgd", "lomo"):
        return 0.0
    if "8bit" in optim:
        # the Trainer makes bitsandbytes keep the embedding's states in float32
        whole = 0.0 if "torch" in optim else embedding
        return _EIGHT_BIT_STATES.get(optim, 2) * (trained + 3 * whole)
    if "4bit" in optim:
        return 1.0 * trained
    if optim in _FLOAT32_STATES:
        return 4.0 * _FLOAT32_STATES[optim] * trained
    return (1 if optim in ("adagrad", "rmsprop") else 2) * gradients


def is_bitsandbytes(optim: str) -> bool:
    """Whether an optimizer is bitsandbytes' (transformers 5.23: ``trainer_optimizer.py``), or GaLore's on top of it."""
    ours = optim.startswith(("paged_", "lion_", "ademamix")) or "bnb" in optim
    return ours or ("8bit" in optim and "torch" not in optim)


def is_adam(optim: str) -> bool:
    """Whether each step is divided by the gradients' second moment, so that a weight moves by the learning rate.

    All variants of Adam and AdamW, among them AdEMAMix, RAdam and GrokAdamW.
    """
    return "adam" in optim or "ademamix" in optim


def is_paged(optim: str) -> bool:
    """Whether bitsandbytes pages the states: the driver moves them to the host when the GPU is full."""
    return optim.startswith("paged_")


def runs_unfused(optim: str) -> bool:
    """Whether it computes one operation at a time over all values, and holds temporary ones meanwhile."""
    return optim in _FOREACH


def step_bytes(optim: str, *, gradients: float, embedding: float, copies: int = 1) -> float:
    """Bytes of temporary memory during an optimizer's step.

    Args:
        optim: Its name.
        gradients: Bytes of all gradients.
        embedding: Parameters of the embedding, if it is trained; 0 otherwise.
        copies: Values per trained parameter that unfused AdamW holds.
    """
    if runs_unfused(optim):
        return copies * gradients
    # of the largest matrix: its update and its square, in float32
    return 8.0 * embedding if optim == "adafactor" else 0.0
