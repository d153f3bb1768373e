"""What the model will see, and what the user's own code does, before it is paid for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.client.planner import Planner

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.trying.preview import Preview
    from hfjobs_trainer.trying.reward_trial import RewardTrial
    from hfjobs_trainer.trying.rewards import Completions


@dataclass(frozen=True, repr=False)
class Trials(Planner):
    """The functions of a client that run the script up to its trainer, each in a process of its own."""

    def preview(
        self,
        spec: TrainSpec | Plan | Mapping[str, Any],
        *,
        rows: int = 5,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> Preview:
        """Show what the model will see: text, tokens, what is trained and what is cut, with totals over a sample.

        The rendered script itself is run up to its trainer, in a process of its own on this machine's processor: with a
        tiny random twin of the model and the real tokenizer, on the first 512 rows of the dataset (32 with images).
        ``.rows`` are the first of the trainer's ``train_dataset``, in its order, as its own collator gives each alone.
        Nothing is trained, and rewards are not called; an environment's ``reset`` is, since it adds to the prompt.

        It takes some 10 to 20 seconds, most of them to import TRL, after the tokenizer and the rows were downloaded. It
        runs with the current interpreter where that has the versions that the script pins, as ``pip install
        "hfjobs-trainer[local]"`` gives it, else with an environment that uv makes, whose first time takes minutes. No
        token is needed, unless the model or the dataset is private or gated.

        Args:
            spec: A spec, a mapping with the key ``method``, or a plan.
            rows: Rows to show; the totals are of all in the sample.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub: the model's tokenizer and the dataset must be on this machine.
            backend: Whose script is run: ``"hub"`` or ``"local"``; default: the client's.

        Raises:
            SpecError: The script itself would be wrong, or ``spec`` is an ``hft.Script``, whose rows nobody knows.
            HFTError: The script ended with an error, whose traceback is told, or nothing here can run it.
            ValueError: ``rows`` is less than 1.
        """
        from hfjobs_trainer.planning.plan import Plan
        from hfjobs_trainer.trying.preview import preview_plan

        token, endpoint, _ = self._account()
        why = "which rows a script trains on is unknown, so there is no preview"
        if rows < 1:
            raise ValueError(f"rows={rows}: must be at least 1")
        given = spec if isinstance(spec, Plan) else None
        parsed = self._trained(cast("TrainSpec", spec if given is None else given.spec), why)
        # paths differ between backends, so a plan for another one is made again
        plan = given if given is not None and backend in (None, given.backend) else None
        traits = (plan.traits if plan is not None else None) or self._traits(plan.backend if plan else backend)
        known = facts or self._gather(self._named(parsed), offline, traits)
        plan = plan or self.plan(parsed, facts=known, offline=offline, backend=backend)
        return preview_plan(plan, rows=rows, facts=known, token=token, endpoint=endpoint, offline=offline)

    def try_rewards(
        self,
        spec: TrainSpec | Plan | Mapping[str, Any],
        completions: Completions | None = None,
        *,
        rows: int = 16,
        seconds: float = 180.0,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> RewardTrial:
        r"""Call the reward functions on real rows, exactly as TRL will: what they give, how long it takes, what fails.

        The rendered script itself is run up to its trainer, in a process of its own on this machine's processor, as for
        a preview; the trainer's own step then calls the functions with these completions in place of generated ones:
        all completions of all rows in one call, texts where prompts are texts and messages where they are messages,
        with their token ids and all columns of the dataset. If that is quick, they are called a second time. A function
        that fails is called with each completion alone. Reward models are not called. Nothing is trained.

        Without ``completions``, each row gets probes: the reference answer, the same in ``\boxed{}`` and in
        ``<answer>`` tags behind ``<think>`` tags, nothing, the prompt again, and a very long text that is cut as TRL
        would cut it. The reference is the row's ``solution``, ``answer``, ``ground_truth`` or a column of a similar
        name; of a worked solution, the end result is what is boxed.

        Variables that the spec names in ``secrets`` are passed on where they are set here, as the job would have them;
        in the result their values are masked. A reward that asks a service that costs money does so here as well. What
        functions write to their working directory is removed.

        Args:
            spec: A spec, a mapping with the key ``method``, or a plan.
            completions: For each row a completion, or a list of completions of the same prompt: a text, or a list of
                messages. In either form, it reaches the functions in the form of the prompts. Fewer than there are rows
                try as many rows.
            rows: Rows to try, the first prepared ones; ignored where there are ``completions``.
            seconds: How long it may take, beyond which it is stopped, and the function that was running is named.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub: the model's tokenizer and the dataset must be on this machine.
            backend: Whose script is run: ``"hub"`` or ``"local"``; default: the client's.

        Returns:
            ``.ok``, ``.problems`` with codes, ``.rewards`` with values, failures and seconds, ``.rows`` with the
            weighted totals, ``.without_variance``.

        Raises:
            SpecError: The method has no reward functions, or the script itself would be wrong.
            HFTError: The script ended with an error before its rewards were called, or nothing here can run it.
            ValueError: ``rows`` is less than 1, or a completion is neither a text nor messages.
        """
        from hfjobs_trainer.planning.plan import Plan
        from hfjobs_trainer.trying.rewards import listed_completions, sources_of, try_plan_rewards

        if rows < 1:
            raise ValueError(f"rows={rows}: must be at least 1")
        listed_completions(completions)
        given = spec if isinstance(spec, Plan) else None
        why = "which rewards a script calls is unknown, so they cannot be tried"
        parsed = self._trained(cast("TrainSpec", spec if given is None else given.spec), why)
        sources_of(parsed)
        # paths differ between backends, so a plan for another one is made again
        plan = given if given is not None and backend in (None, given.backend) else None
        traits = (plan.traits if plan is not None else None) or self._traits(plan.backend if plan else backend)
        known = facts or self._gather(self._named(parsed), offline, traits)
        plan = plan or self.plan(parsed, facts=known, offline=offline, backend=backend)
        token, endpoint, _ = self._account()
        return try_plan_rewards(
            plan,
            completions,
            rows=rows,
            seconds=seconds,
            facts=known,
            token=token,
            endpoint=endpoint,
            offline=offline,
        )
