"""What is true outside: records of the model, the dataset, the hardware on offer and the account.

Every field is optional. ``None`` means that nobody could find out; the rules that needed it are then listed as
unchecked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hfjobs_trainer.facts.account import AccountFacts
from hfjobs_trainer.facts.dataset import DatasetFacts, LengthFacts
from hfjobs_trainer.facts.hardware import Flavor, HardwareFacts
from hfjobs_trainer.facts.model import ModelFacts
from hfjobs_trainer.facts.script import ScriptFacts
from hfjobs_trainer.facts.simulation import SimulatedPeak, SimulationFacts

__all__ = [
    "AccountFacts",
    "DatasetFacts",
    "Facts",
    "Flavor",
    "HardwareFacts",
    "LengthFacts",
    "ModelFacts",
    "ScriptFacts",
    "SimulatedPeak",
    "SimulationFacts",
]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found out about a spec; the planner reads nothing else.

    Attributes:
        model: The base model.
        dataset: The training dataset.
        eval_dataset: The evaluation dataset, when the spec names one.
        teacher: The model to learn from, when the method has one.
        reward_model, value_model: The models that score answers and foresee the scores, when the method has them.
        reward_models: The models in ``reward_funcs``, in their order; empty where nobody looked.
        adapter: The adapter to start from, when the spec names one.
        script: The script, when the spec is ``hft.Script``.
        hardware: Flavors on offer and their prices; ``None`` means the snapshot shipped with the package.
        account: Whose token it is.
        simulation: Training steps that were simulated; ``None`` if none was.
        unanswered: What the Hub was asked about and did not answer, account or repository, and why, such as
            ``"your token (HTTP status 503)"``.
    """

    model: ModelFacts = field(default_factory=ModelFacts)
    dataset: DatasetFacts = field(default_factory=DatasetFacts)
    eval_dataset: DatasetFacts | None = None
    teacher: ModelFacts | None = None
    reward_model: ModelFacts | None = None
    value_model: ModelFacts | None = None
    reward_models: tuple[ModelFacts, ...] = ()
    adapter: ModelFacts | None = None
    script: ScriptFacts | None = None
    hardware: HardwareFacts | None = None
    account: AccountFacts = field(default_factory=AccountFacts)
    simulation: SimulationFacts | None = None
    unanswered: tuple[str, ...] = ()
