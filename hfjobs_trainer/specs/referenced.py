"""Another reference model than the model that is trained."""

from __future__ import annotations

from pydantic import Field

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.training import SideModel


class ReferencedSpec(TrainSpec):
    """Base of the methods that may be given another reference model than the model that is trained."""

    ref_model: str | None = Field(
        default=None, min_length=1, description="Reference, if not the model as it starts: Hub id or local folder."
    )
    ref_model_revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of the reference."
    )


def own_reference(spec: ReferencedSpec, passes: float) -> tuple[SideModel, ...]:
    """The reference as a side model, if the spec names one.

    Args:
        spec: The spec.
        passes: Its forward passes of each sequence.
    """
    if spec.ref_model is None:
        return ()
    return (
        SideModel(
            "reference model",
            "ref_model",
            spec.ref_model,
            "ref_model",
            spec.ref_model_revision,
            passes=passes,
            held="model",
            head=True,
            is_reference=True,
        ),
    )
