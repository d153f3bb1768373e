"""Facts from outside the spec: records of the model, the dataset, the hardware on offer and the account.

Every field is optional. ``None`` means unknown; the rules that need it are then listed as unchecked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hfjobs_trainer.facts.account import AccountFacts, Scope
from hfjobs_trainer.facts.dataset import DatasetFacts, LengthFacts
from hfjobs_trainer.facts.gap import PRICES, Gap, needed_answers
from hfjobs_trainer.facts.hardware import Flavor, HardwareFacts
from hfjobs_trainer.facts.model import ModelFacts
from hfjobs_trainer.facts.script import ScriptFacts
from hfjobs_trainer.facts.simulation import SimulatedPeak, SimulationFacts
from hfjobs_trainer.facts.target import TargetFacts
from hfjobs_trainer.facts.template import RenderedWith, RowFinding, SequenceTokens, TemplateFacts

__all__ = [
    "PRICES",
    "AccountFacts",
    "DatasetFacts",
    "Facts",
    "Flavor",
    "Gap",
    "HardwareFacts",
    "LengthFacts",
    "ModelFacts",
    "RenderedWith",
    "RowFinding",
    "Scope",
    "ScriptFacts",
    "SequenceTokens",
    "SimulatedPeak",
    "SimulationFacts",
    "TargetFacts",
    "TemplateFacts",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that planning knows about the world outside the spec; what is unknown is ``None``.

    Attributes:
        model: The base model.
        dataset: The training dataset.
        eval_dataset: The evaluation dataset, if the spec names one.
        teacher: The teacher model, if the method has one.
        processing_class: The tokenizer, if the spec names another than the model's own.
        chat_template: What ``chat_template_path`` names, if that is on this machine: its path, and whether it exists.
        ref_model: The reference model, if the spec names one.
        reward_model, value_model: The reward model and the value model, if the method has them.
        reward_models: The models in ``reward_funcs``, in order; empty if they were not looked up.
        adapter: The adapter to continue, if the spec names one.
        script: The script, if the spec is an ``hft.Script``.
        hardware: Flavors on offer and their prices; ``None`` means the snapshot of this package.
        account: The account of the token.
        target: The repository that the trained model is pushed to; ``None`` if none is, or it was not looked up.
        space: The Space of the metrics; likewise.
        simulation: Simulated training steps; ``None`` if there are none.
        template: Rows of the training dataset, rendered with the model's chat template; ``None`` if none were.
        gaps: What the Hub was asked for and did not say: not answered, refused, or absent.
        unasked: Why the Hub was not asked at all, such as ``"offline=True"``; empty if it was. No fact itself: facts
            are equal without it.
        is_gathered: Whether they were looked up, by ``gather``, rather than given. No fact itself either.
    """

    model: ModelFacts = field(default_factory=ModelFacts)
    dataset: DatasetFacts = field(default_factory=DatasetFacts)
    eval_dataset: DatasetFacts | None = None
    teacher: ModelFacts | None = None
    processing_class: ModelFacts | None = None
    chat_template: ModelFacts | None = None
    ref_model: ModelFacts | None = None
    reward_model: ModelFacts | None = None
    value_model: ModelFacts | None = None
    reward_models: tuple[ModelFacts, ...] = ()
    adapter: ModelFacts | None = None
    script: ScriptFacts | None = None
    hardware: HardwareFacts | None = None
    account: AccountFacts = field(default_factory=AccountFacts)
    target: TargetFacts | None = None
    space: TargetFacts | None = None
    simulation: SimulationFacts | None = None
    template: TemplateFacts | None = None
    gaps: tuple[Gap, ...] = ()
    unasked: str = field(default="", compare=False)
    is_gathered: bool = field(default=False, compare=False)

    @property
    def unanswered(self) -> tuple[str, ...]:
        """What the Hub did not answer for (account, repository or prices), and why.

        Such as ``"your token (HTTP status 503, asked 3 times)"``. What a run can do without is left out, but for the
        prices.
        """
        return tuple(str(gap) for gap in needed_answers(self.gaps))
