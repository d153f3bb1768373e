"""Proximal policy optimization."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.extras import ScoredSpec
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Answers, Passes, SideModel, Training
from hfjobs_trainer.specs.trl_args.ppo import PPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.planning.context import Context
    from hfjobs_trainer.submitters import PPOFields

# Fewest answers whose rewards PPOTrainer of TRL 1.12 scales to unit variance.
WHITENED = 8


def _passes(spec: PPO) -> Passes:
    return Passes(trained=float(spec.num_ppo_epochs), frozen=2.0, mini_batches=spec.num_mini_batches)


def _answers(spec: PPO) -> Answers:
    return Answers("response_length", spec.response_length, total=spec.total_episodes, keeps_logits=True)


def _side_models(spec: PPO) -> tuple[SideModel, ...]:
    revision = spec.reward_model_revision
    reward = SideModel("reward model", "reward_model", spec.reward_model, "reward_model", revision)
    # three passes for the training of each epoch, and one that predicts the scores
    value = SideModel(
        "value model",
        "value_model",
        spec.value_model,
        "value_model" if spec.value_model else "reward_model",
        spec.value_model_revision if spec.value_model else revision,
        passes=1.0 + 3 * spec.num_ppo_epochs,
        held="trained",
    )
    return reward, value


@method(
    "ppo",
    label="PPO",
    trainer="PPOTrainer",
    config="PPOConfig",
    module="trl.experimental.ppo",
    family="ppo",
    loads_models=True,
)
class PPO(PPOArgs, ScoredSpec):
    """Proximal policy optimization with ``PPOTrainer`` of TRL 1.12.0, the last that has it.

    Four models take part: the policy that is trained, a frozen copy of it as the reference, a reward model that scores
    its completions, and a value model that learns to predict the score. They need the same tokenizer.
    """

    TRAINING: ClassVar[Training] = Training(
        sequences=1,
        head="full",
        reference="kept",
        passes=_passes,
        answers=_answers,
        side_models=_side_models,
        free_batch=False,
        least_per_device=1,
        recomputes=False,
        resumes=False,
        evaluates_loss=False,
        evaluates_at_start=False,
        packs=False,
        long_rows=None,
        refuses_streams=False,
        bf16_adapter=False,
        reads_images=False,
        renders="prompts",
        simulated_step=None,
        recipe=None,
    )

    FORMER_NAMES: ClassVar[names.Former] = {
        "sft_model_path": "model",
        "reward_funcs": names.Today("reward_model", "and hft.GRPO takes functions"),
        **dict.fromkeys(
            ("max_seq_length", "max_seq_len", "sequence_len", "cutoff_len"),
            names.gone("TRL does not truncate prompts; filter the dataset instead"),
        ),
        "max_length": "response_length",
        "reward_model_name_or_path": "reward_model",
        "ref_model": names.gone("the reference is the model that the policy starts from"),
        "value_model_path": "value_model",
        "max_new_tokens": "response_length",
        "max_completion_length": "response_length",
        "beta": "kl_coef",
        "epsilon": "cliprange",
        "num_iterations": "num_ppo_epochs",
        "ppo_epochs": "num_ppo_epochs",
        "mini_batch_size": "num_mini_batches",
        "init_kl_coef": "kl_coef",
        **dict.fromkeys(
            ("local_batch_size", "local_mini_batch_size", "micro_batch_size", "num_total_batches", "world_size"),
            names.gone("the trainer computes it"),
        ),
        **dict.fromkeys(("model_adapter_name", "ref_adapter_name"), names.gone("the script creates the adapter")),
    }

    method: Literal["ppo"] = "ppo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[PPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",), ("input_ids",))


@rule("PPO001", methods=["ppo"])
def length_is_in_episodes(context: Context[PPO]) -> Iterator[Found]:
    """A PPO run is as long as its episodes.

    What it does:
        Refuses `max_steps`.

    Why:
        `PPOTrainer` ignores it. It counts answers: `total_episodes`, or the rows of the dataset times
        `num_train_epochs`.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., max_steps=100)
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., total_episodes=800)
        ```
    """
    spec = context.spec
    if spec.max_steps > 0:
        episodes = spec.max_steps * spec.per_device_train_batch_size * spec.gradient_accumulation_steps
        why = "PPOTrainer ignores it: it counts the answers of all GPUs (here of one)"
        yield Found("max_steps", why, f"total_episodes={episodes}, max_steps=None")


@rule("PPO002", methods=["ppo"])
def trainer_can_do_it(context: Context[PPO]) -> Iterator[Found]:
    """PPO's trainer has a loop of its own.

    What it does:
        Refuses `resume_from_checkpoint`, `load_best_model_at_end`, `save_strategy="best"`, `auto_find_batch_size`,
        `eval_on_start` and a streamed dataset.

    Why:
        `PPOTrainer` of TRL 1.12 does not use the loop of transformers: it neither resumes, nor compares checkpoints,
        nor tries smaller batches, and it needs to know the number of rows. All but the last it ignores in silence.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., load_best_model_at_end=True)
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., save_steps=50)
        ```
    """
    spec = context.spec
    if spec.resume_from_checkpoint is not None:
        why = "PPOTrainer cannot resume; a checkpoint's folder can be the model of another run"
        yield Found("resume_from_checkpoint", why, "resume_from_checkpoint=None")
    for name, given in (
        ("load_best_model_at_end", spec.load_best_model_at_end),
        ("auto_find_batch_size", spec.auto_find_batch_size),
        ("eval_on_start", spec.eval_on_start),
    ):
        if given:
            yield Found(name, "PPOTrainer's own training loop ignores it", f"{name}=False")
    if spec.save_strategy == "best":
        yield Found("save_strategy", "PPOTrainer does not compare checkpoints", 'save_strategy="steps"')
    if spec.dataset.streaming:
        path = "dataset.streaming"
        yield Found(path, "PPOTrainer needs to know the number of rows", change(spec, {path: REMOVE}))


@rule("PPO003", stage="run", methods=["ppo"])
def batch_divides_into_minibatches(context: Context[PPO]) -> Iterator[Found]:
    """The batch of a GPU divides into minibatches.

    What it does:
        Refuses a per-device batch x accumulation that is not a multiple of `num_mini_batches`, and, with
        `whiten_rewards`, minibatches of fewer than 8 answers.

    Why:
        `PPOTrainer` raises a `ValueError` or an `AssertionError` once four models are loaded.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., per_device_train_batch_size=4, num_mini_batches=3)
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., per_device_train_batch_size=4, num_mini_batches=2)
        ```
    """
    spec, batch = context.spec, _batch(context)
    if batch % spec.num_mini_batches:
        good = max(number for number in range(1, spec.num_mini_batches) if batch % number == 0)
        yield Found("num_mini_batches", f"{batch} answers are generated at once", f"num_mini_batches={good}")
    elif spec.whiten_rewards and batch // spec.num_mini_batches < WHITENED:
        why = f"needs minibatches of at least {WHITENED} answers; they have {batch // spec.num_mini_batches}"
        fix = f"gradient_accumulation_steps={-(-WHITENED * spec.num_mini_batches // spec.per_device_train_batch_size)}"
        yield Found("whiten_rewards", why, fix)


@rule("PPO004", stage="run", methods=["ppo"])
def rows_fill_a_batch(context: Context[PPO]) -> Iterator[Found]:
    """The dataset fills a batch.

    What it does:
        Refuses a dataset with fewer rows than are answered at once: per-device batch x accumulation x GPUs.

    Why:
        `PPOTrainer` leaves out what does not fill a batch and starts over at the end of the dataset, so that it would
        look for a first batch for ever. The script ends instead, once its models are loaded.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=hft.Dataset(id="trl-lib/tldr", num_samples=4),
                per_device_train_batch_size=8)
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=hft.Dataset(id="trl-lib/tldr", num_samples=400),
                per_device_train_batch_size=8)
        ```
    """
    spec = context.spec
    rows = need(context.facts.dataset.num_rows, f"the number of rows of {spec.dataset.id}", "dataset")
    rows = min(rows, spec.dataset.num_samples or rows)
    rows -= spec.held_out(rows)
    batch = _batch(context) * context.num_gpus
    if rows < batch:
        why = f"{rows} rows do not fill a batch of {batch}"
        each = batch // _per_device(context)
        smaller = [size for size in range(1, rows // each + 1) if size * each % spec.num_mini_batches == 0]
        yield Found("dataset", why, f"per_device_train_batch_size={max(smaller)}" if smaller else "")


@rule("PPO005", methods=["ppo"])
def one_token_ends_an_answer(context: Context[PPO]) -> Iterator[Found]:
    """One token ends an answer.

    What it does:
        Refuses `stop_token` together with `stop_token_id`.

    Why:
        They say the same thing; `PPOTrainer` raises a `ValueError`.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., stop_token="eos", stop_token_id=2)
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., stop_token="eos")
        ```
    """
    if context.spec.stop_token is not None and context.spec.stop_token_id is not None:
        yield Found("stop_token_id", "stop_token is also given", "stop_token_id=None")


@rule("PPO006", methods=["ppo"])
def options_are_keywords(context: Context[PPO]) -> Iterator[Found]:
    """The options of the model are names of keyword arguments.

    What it does:
        Refuses keys of `model_init_kwargs` that no keyword argument can have.

    Why:
        PPO's script loads the models itself, and writes the options as keyword arguments of `from_pretrained`.

    Example:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., model_init_kwargs={"low-cpu-mem-usage": True})
        ```

    Use instead:
        ```python
        hft.PPO(model=..., reward_model=..., dataset=..., model_init_kwargs={"low_cpu_mem_usage": True})
        ```
    """
    path, given = "model_init_kwargs", context.spec.model_init_kwargs or {}
    good = {_name(name): value for name, value in given.items()}
    fix = change(context.spec, {path: good}) if all(map(_is_argument, good)) else ""
    for name in given:
        if not _is_argument(name):
            yield Found(path, f"{name!r:.60} is not an argument name", fix)


def _is_argument(name: str) -> bool:
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _name(name: str) -> str:
    return name if _is_argument(name) else name.strip().replace("-", "_")


def _per_device(context: Context[PPO]) -> int:
    return context.argument("per_device_train_batch_size", context.spec.per_device_train_batch_size)


def _batch(context: Context[PPO]) -> int:
    """Answers that one GPU generates at once."""
    spec = context.spec
    return _per_device(context) * context.argument("gradient_accumulation_steps", spec.gradient_accumulation_steps)
