"""Functions of a client that ask and plan: nothing is submitted, nothing costs money."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.client.account import Account, parse_spec
from hfjobs_trainer.facts.backends import HUB, traits_of

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.facts.backends import BackendTraits
    from hfjobs_trainer.planning.estimate import Estimate, FlavorChoice, FlavorComparison
    from hfjobs_trainer.planning.hardware.table import HardwareTable
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.planning.recommend import Recommendation
    from hfjobs_trainer.problems import Report
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.specs.script import Script


# what is only estimated sends nothing: local files need not be read whole
_ESTIMATED = replace(HUB, ships_data=False)


@dataclass(frozen=True, repr=False)
class Planner(Account):
    """What can be known of a run before it is submitted."""

    def gather(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        offline: bool = False,
        backend: str | None = None,
        fresh: bool = False,
    ) -> Facts:
        """Read the facts about model, dataset, hardware and account; what is unavailable is ``None``.

        The Hub is given 20 seconds for all of it; ``.gaps`` lists what it did not answer, refused or does not have.
        What it answered is used again for 5 minutes, by this client and in this process. Files on this machine are read
        anew each time, and so is what the Hub refused, did not have or did not answer.

        Args:
            spec: A spec, or a mapping with the key ``method``.
            offline: Do not contact the Hub.
            backend: ``"hub"`` or ``"local"``; default: the client's.
            fresh: Forget all that the Hub has answered, and ask again. A new ``Client`` knows nothing either.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec.
        """
        if fresh:
            self._answers.clear()
        return self._gather(parse_spec(spec), offline, self._traits(backend))

    def load(
        self,
        source: str | os.PathLike[str] | Sequence[str],
        *,
        method: str | None = None,
        strict: bool = False,
        flags: Sequence[str] = (),
        **fields: Any,
    ) -> TrainSpec | Script:
        """Read a spec from a file, the command line of a training, or beside a model on the Hub.

        A ``.yaml``, ``.yml`` or ``.json`` file has the fields of a spec, or TRL's names as for ``trl --config``, or
        both. A rendered ``.py`` script carries its spec. In YAML and on a command line, text is converted to the type
        of its field, since YAML reads ``2e-5`` as text. Words of earlier TRL, and of recipes that lean on it, are
        translated where they mean today just what they meant; ``.notes`` of the spec lists them, and its plan shows
        them. A fine-tuning job of OpenAI is read too, as its API returns it; its rows lie beside it, under their ids.
        Beside what was trained lies the spec, ``hft_spec.json``: of a model on the Hub, ``"me/my-model"``, or in a
        folder. That of a public model is without what concerns its owner alone, such as ``env`` and ``tracking``.

        Args:
            source: A path, the id or address of a model on the Hub, or a command line: text, or a list of words:
                ``hft.load("trl sft --config sft.yaml --learning_rate 1e-5")``. Its arguments take precedence over those
                of the file. The training may be started with ``accelerate launch``, ``torchrun``, ``deepspeed``,
                ``python``, ``uv`` or ``hf jobs uv run``.
            method: Training method, if the file does not have it; default: from the file's name, as in
                ``sft_config.yaml``, or from its folder's.
            strict: Whether anything that would be a note is refused.
            flags: Options that take precedence over a file, as a shell has them: ``["--learning_rate", "1e-5",
                "--lora.r", "32"]``; fields of a spec, or TRL's own.
            **fields: Fields of the spec, which take precedence; ``None`` leaves out what the source says under this
                name.

        Raises:
            SpecError: The source cannot be read or is not a valid spec, or local data that it names by their content
                are not on this machine; ``.problems`` has all problems.
            BackendError: There is no such model, or no spec beside it.
            AuthError: The token may not read it.
            HubUnavailable: The Hub did not answer.
        """
        from hfjobs_trainer.specs.load import load, load_stored, repository_in

        found = repository_in(source)
        if found is None:
            return load(source, method=method, strict=strict, flags=flags, **fields)
        from hfjobs_trainer.gathering.stored_spec import fetch_spec

        token, endpoint, _ = self._account()
        text = fetch_spec(*found, token=token, endpoint=endpoint)
        return load_stored(found[0], text, strict=strict, flags=flags, **fields)

    def check(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> Report:
        """Report every problem of a spec, or of a mapping with the key ``method``. It never raises for what a spec is.

        The arguments are those of ``plan``. The report also lists the rules that could not be checked. Should checking
        itself fail, that is a problem of its own, ``SPEC008``.

        Raises:
            ValueError: There is no backend of this name.
        """
        from hfjobs_trainer.problems import Report
        from hfjobs_trainer.specs.parse import defect

        traits = self._traits(backend)
        try:
            return self._check(spec, facts, offline, traits)
        except Exception as error:
            return Report((defect(error),))

    def _check(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        facts: Facts | None,
        offline: bool,
        traits: BackendTraits,
    ) -> Report:
        from hfjobs_trainer.planning.assemble import draft
        from hfjobs_trainer.planning.script import check_script
        from hfjobs_trainer.problems import Report
        from hfjobs_trainer.specs.parse import parse
        from hfjobs_trainer.specs.script import Script

        parsed, problems, subject = parse(spec, backend=traits)
        if parsed is None:
            return Report(tuple(problems), (), subject)
        parsed = self._named(parsed)
        known = facts or self._gather(parsed, offline, traits)
        if isinstance(parsed, Script):
            return Report(*check_script(parsed, known, backend=traits), subject)
        found = draft(parsed, known, backend=traits)
        return Report(found.problems, found.unchecked, subject)

    def plan(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
        simulate: bool = False,
    ) -> Plan:
        """Plan a run: what ``submit`` would send, with each decision and its reason. Nothing is submitted.

        Args:
            spec: A spec, or a mapping with the key ``method``.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; rules that need its answers are then listed as unchecked.
            backend: ``"hub"`` or ``"local"``; default: the client's.
            simulate: Estimate memory by a simulated training step of the real model class on this machine's CPU, in a
                separate process: some 4 seconds of one core, no weights, no GPU. It is worth them for full training,
                for FSDP2 with its reference model, and for models that the closed form does not know well; for which
                runs by how much: ``references/hardware_guide.md``. Needs ``pip install "hfjobs-trainer[local]"``.

        Raises:
            SpecError: The script itself would be wrong. Problems of a run on Jobs alone are in ``plan.problems``.
            HFTError: The libraries for ``simulate`` are not installed.
        """
        from hfjobs_trainer.planning.assemble import assemble
        from hfjobs_trainer.planning.script import assemble_script
        from hfjobs_trainer.specs.script import Script

        parsed = self._named(parse_spec(spec))
        traits = self._traits(backend)
        if isinstance(parsed, Script):
            return assemble_script(parsed, facts or self._gather(parsed, offline, traits), backend=traits)
        if simulate:
            from hfjobs_trainer.gathering.simulation import Simulator, simulate_for

            with Simulator() as simulator:
                # it imports torch while the Hub answers
                simulator.start()
                known = facts or self._gather(parsed, offline, traits)
                known = simulate_for(parsed, known, backend=traits, simulator=simulator)
        else:
            known = facts or self._gather(parsed, offline, traits)
        return assemble(parsed, known, backend=traits)

    def recommend(
        self,
        spec: TrainSpec | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> Recommendation:
        """Starting values for a run, from published recipes: learning rate, batch, epochs, schedule, adapter, lengths.

        ``.rows`` has each field with its value now, the recommended one, the sources' range, the reason and the source;
        ``.spec`` is a copy in which what was unset is filled in. What you set is never changed. The figures, with their
        sources, are in ``data/recipes.json``: by method, for all weights or LoRA, and by the size of the model.
        ``max_length`` follows from the lengths of your rows. Nothing is submitted.

        Args:
            spec: A spec, or a mapping with the key ``method``.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; what depends on the model's size or on the rows is then left out.
            backend: ``"hub"`` or ``"local"``; default: the client's.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec, or an ``hft.Script``, which has no such fields.
        """
        from hfjobs_trainer.planning.recommend import recommend

        why = "which values a script trains with is unknown, so none are recommended"
        parsed = self._trained(spec, why)
        traits = self._traits(backend)
        return recommend(parsed, facts or self._gather(self._named(parsed), offline, traits), backend=traits)

    def render(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> str:
        """Render the script that would run: ``plan(spec).script``.

        Raises:
            SpecError: As for ``plan``.
        """
        return self.plan(spec, facts=facts, offline=offline, backend=backend).script

    def pick_flavor(
        self,
        spec: TrainSpec | Script | Mapping[str, Any],
        *,
        facts: Facts | None = None,
        offline: bool = False,
        backend: str | None = None,
    ) -> FlavorChoice:
        """Choose the flavor that ``hardware.prefer`` asks for, with alternatives and the reason against each other one.

        ``.flavor`` is ``None`` if nothing fits, or if the model's size is unknown. If the duration cannot be estimated,
        it is the flavor with the lowest price per hour on which the run fits.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec.
        """
        from hfjobs_trainer.planning.choose import choose
        from hfjobs_trainer.planning.hardware.catalogue import snapshot
        from hfjobs_trainer.planning.script import choose_for_script
        from hfjobs_trainer.planning.understand import understand
        from hfjobs_trainer.specs.script import Script

        parsed = self._named(parse_spec(spec))
        known = facts or self._gather(parsed, offline, _ESTIMATED if backend is None else traits_of(backend))
        if isinstance(parsed, Script):
            return choose_for_script(parsed, known)
        return choose(understand(parsed, known), known.hardware or snapshot())

    def compare_flavors(
        self, spec: TrainSpec | Mapping[str, Any], *, facts: Facts | None = None, offline: bool = False
    ) -> FlavorComparison:
        """Estimate the run on every flavor: whether it fits, and what would make it fit, memory, batch, hours, dollars.

        Args:
            spec: A spec, or a mapping with the key ``method``; the flavor that it names is ignored.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub; prices are then those of the dated snapshot.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec, or an ``hft.Script``, which has no estimate.
        """
        from hfjobs_trainer.planning.compare import compare

        parsed = self._named(self._trained(spec))
        return compare(parsed, facts or self._gather(parsed, offline, _ESTIMATED))

    def estimate(
        self,
        spec: TrainSpec | Mapping[str, Any],
        *,
        gpu: str | None = None,
        num_gpus: int | None = None,
        facts: Facts | None = None,
        offline: bool = False,
    ) -> Estimate:
        """Estimate the memory, the time and, on Hugging Face Jobs, the dollars that a run needs.

        Args:
            spec: A spec, or a mapping with the key ``method``.
            gpu: A GPU of your own, such as ``"RTX 4090"``, ``"A100-40"`` or ``"2x H100"``; default: the flavor that the
                spec names, else the one that would be chosen.
            num_gpus: Number of these GPUs; default: the count in ``gpu``, else 1.
            facts: Facts about model, dataset, hardware and account; default: gathered now.
            offline: Do not contact the Hub.

        Raises:
            SpecError: ``spec`` is a mapping that is not a valid spec, or an ``hft.Script``, which has no estimate;
                ``gpu`` is unknown, or ``num_gpus`` contradicts the count in ``gpu``.
        """
        from hfjobs_trainer.planning.assemble import draft
        from hfjobs_trainer.planning.own_gpu import estimate_on, own_machine

        machine = None if gpu is None else own_machine(gpu, num_gpus)
        parsed = self._named(self._trained(spec))
        known = facts or self._gather(parsed, offline, _ESTIMATED)
        if machine is None:
            return draft(parsed, known, backend=HUB).estimate
        return estimate_on(parsed, known, machine)

    def hardware_table(self, *, offline: bool = False) -> HardwareTable:
        """The table of flavors (GPU, memory, disk, price), to be printed or shown; prices are live if the Hub answers.

        Args:
            offline: Do not contact the Hub; prices are then those of the dated snapshot.
        """
        from hfjobs_trainer.gathering import gather_hardware
        from hfjobs_trainer.planning.hardware.catalogue import snapshot
        from hfjobs_trainer.planning.hardware.table import hardware_table

        token, endpoint, _ = self._account()
        live = None if offline else gather_hardware(token=token, endpoint=endpoint, answers=self._answers)
        return hardware_table(live or snapshot())
