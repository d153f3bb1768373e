"""Spec -> Facts: what is true outside, read from this machine's disk and from the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hfjobs_trainer.answers import Answers
from hfjobs_trainer.display import without_widget_warning
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, HardwareFacts, ModelFacts, TargetFacts
from hfjobs_trainer.facts.backends import BackendTraits, traits_of
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.hub import Hub
from hfjobs_trainer.gathering.inspect_rows import inspect_rows
from hfjobs_trainer.gathering.lengths import Count, measure
from hfjobs_trainer.gathering.local_dataset import read_dataset, read_rows
from hfjobs_trainer.gathering.local_model import read_adapter, read_model
from hfjobs_trainer.gathering.mixture import mixed
from hfjobs_trainer.gathering.rendered import find_template, rendered
from hfjobs_trainer.gathering.rows import MAX_ROWS, MOST_ROWS, spread
from hfjobs_trainer.gathering.sample import decoded, filled, neither_text_nor_talk, sample
from hfjobs_trainer.gathering.texts import Formats, environments_named, prompts_are_messages
from hfjobs_trainer.gathering.tokenizer import Tokenizer, can_count, find_cached, find_tokenizer
from hfjobs_trainer.gathering.values import Json
from hfjobs_trainer.planning.arguments.trackers import SPACE_NAME, has_space
from hfjobs_trainer.planning.names import basename, default_output_dir
from hfjobs_trainer.specs.locations import is_local_path
from hfjobs_trainer.specs.splits import is_from_start

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.specs.groups import Dataset
    from hfjobs_trainer.specs.script import Script

__all__ = ["gather", "gather_hardware"]


def gather(
    spec: TrainSpec | Script,
    *,
    offline: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    backend: str | BackendTraits = "hub",
    answers: Answers | None = None,
) -> Facts:
    """Find out what a plan for ``spec`` needs to know; what stays unknown is ``None``.

    Local paths are read from disk, Hub ids are looked up on the Hub, in parallel and for 20 seconds at most; transient
    failures are retried twice in that time, and after 10 seconds a line on stderr says what is waited for. A broken
    file or an unreachable Hub raises nothing; ``Facts.gaps`` lists what the Hub did not answer for, refused or does not
    have, and ``Facts.unasked`` says why it was not asked. Up to 64 rows of the training dataset are rendered with the
    model's own tokenizer and chat template, in a process of its own and within 20 seconds; what was rendered once is
    known again from the cache of this package.

    Args:
        spec: What is to be trained.
        offline: Do not ask the Hub; ``HF_HUB_OFFLINE=1`` does the same.
        token: Access token; by default the one that ``hf auth login`` stored or ``HF_TOKEN`` holds.
        endpoint: Address of the Hub; by default ``HF_ENDPOINT``, else https://huggingface.co.
        backend: Where it would run; flavors and the account are looked up where an account pays, and local files are
            read whole where they travel with the job (``"hub"``).
        answers: What the Hub was asked lately, which it is not asked again; default: nothing. This machine's disk is
            always read anew.
    """
    from hfjobs_trainer.gathering.script import read_script
    from hfjobs_trainer.specs.extras import RewardedSpec, ScoredSpec, TaughtSpec
    from hfjobs_trainer.specs.referenced import ReferencedSpec
    from hfjobs_trainer.specs.script import Script

    token = (token or attempt(stored_token) or "").strip() or None
    unasked = "offline=True" if offline else "HF_HUB_OFFLINE is set" if client_is_offline() else ""
    hub = None if unasked else Hub(endpoint, token, answers=answers or Answers())
    remote = hub if traits_of(backend).uses_account else None
    # All requests start before the first answer is awaited, and the disk is read meanwhile.
    ships = traits_of(backend).ships_data
    hardware = remote.ask_hardware() if remote else None
    account = remote.ask_account() if remote else None
    # where a plan is only tried out, the token may be that of another machine
    owner = AccountFacts(has_token=True if token else None if unasked else False)
    asked_owner = remote.ask_owner() if remote else None
    space = _space(remote, spec, asked_owner) if remote and asked_owner else None
    if isinstance(spec, Script):
        script = read_script(spec, offline=bool(unasked), token=token, endpoint=endpoint)
        return Facts(
            script=script,
            hardware=hardware() if hardware else None,
            account=account() if account else owner,
            space=space() if space else None,
            gaps=tuple(hub.gaps) if hub else (),
            unasked=unasked,
            is_gathered=True,
        )
    target = _target(remote, spec, asked_owner) if remote and asked_owner else None
    model = cache(_model(hub, spec.model, spec.model_revision, ships))
    tokenizer = _tokenizer(hub, *spec.tokenizer_source)
    other = _model(hub, *spec.tokenizer_source, ships) if spec.processing_class else None
    formats = spec.dataset_formats()
    rows: list[Json] = []
    dataset = cache(_dataset(hub, spec.dataset, formats, tokenizer, ships, rows))
    eval_dataset = _dataset(hub, spec.eval_dataset, formats, tokenizer, ships) if spec.eval_dataset else None
    taught = spec if isinstance(spec, TaughtSpec) else None
    teacher = _model(hub, taught.teacher_model, taught.teacher_model_revision, ships) if taught else None
    compared = spec if isinstance(spec, ReferencedSpec) else None
    reference = (
        _model(hub, compared.ref_model, compared.ref_model_revision, ships) if compared and compared.ref_model else None
    )
    scored = spec if isinstance(spec, ScoredSpec) else None
    reward = _model(hub, scored.reward_model, scored.reward_model_revision, ships) if scored else None
    start = (scored.value_model, scored.value_model_revision) if scored else (None, None)
    value = _model(hub, start[0], start[1], ships) if start[0] else None
    judging = spec.reward_models if isinstance(spec, RewardedSpec) else ()
    judges = {judge: _model(hub, judge, None, ships) for judge in judging}
    lora = spec.lora
    adapter = _adapter(hub, lora.adapter, lora.adapter_revision, ships) if lora and lora.adapter else None
    template = rendered(spec, hub, model, dataset, rows)
    return Facts(
        model=model(),
        dataset=dataset(),
        eval_dataset=eval_dataset() if eval_dataset else None,
        teacher=teacher() if teacher else None,
        processing_class=other() if other else None,
        chat_template=find_template(spec),
        ref_model=reference() if reference else None,
        reward_model=reward() if reward else None,
        value_model=value() if value else None,
        reward_models=tuple(judges[judge]() for judge in judging),
        adapter=adapter() if adapter else None,
        hardware=hardware() if hardware else None,
        account=account() if account else owner,
        target=target() if target else None,
        space=space() if space else None,
        template=template(),
        gaps=tuple(hub.gaps) if hub else (),
        unasked=unasked,
        is_gathered=True,
    )


def gather_hardware(
    *, token: str | None = None, endpoint: str | None = None, answers: Answers | None = None
) -> HardwareFacts | None:
    """The flavors on offer now, with prices; ``None`` if the Hub does not answer within seconds, or is not to be asked.

    Args:
        token: Not needed: the list is public.
        endpoint: Address of the Hub; by default ``HF_ENDPOINT``, else https://huggingface.co.
        answers: As for ``gather``.
    """
    return None if client_is_offline() else Hub(endpoint, token, answers=answers or Answers()).ask_hardware()()


def _target(
    hub: Hub, spec: TrainSpec, asked_owner: Callable[[], str | None]
) -> Callable[[], TargetFacts | None] | None:
    """The repository that the model is pushed to: as the spec says, else named after the output folder."""
    repo = spec.output.hub_model_id or basename(spec.output_dir or default_output_dir(spec.model, type(spec).METHOD))
    if not spec.output.pushes:
        return None
    return hub.ask_target("models", lambda: _owned(repo, spec, asked_owner), repo, spec.namespace)


def _space(
    hub: Hub, spec: TrainSpec | Script, asked_owner: Callable[[], str | None]
) -> Callable[[], TargetFacts | None] | None:
    """The Space of the metrics: as the spec says, else the owner's."""
    if not has_space(spec.tracking.report_to):
        return None
    space = spec.tracking.space_id or SPACE_NAME
    return hub.ask_target("spaces", lambda: _owned(space, spec, asked_owner), space, spec.namespace)


def _owned(name: str, spec: TrainSpec | Script, asked_owner: Callable[[], str | None]) -> str | None:
    """The id of a repository, in the namespace of the job if the name has none."""
    if "/" in name:
        return name
    owner = spec.namespace or asked_owner()
    return f"{owner}/{name}" if owner else None


def _model(hub: Hub | None, model: str, revision: str | None, ships: bool) -> Callable[[], ModelFacts]:
    if is_local_path(model):
        return lambda: read_model(model, ships=ships)
    return hub.ask_model(model, revision) if hub else ModelFacts


def _adapter(hub: Hub | None, adapter: str, revision: str | None, ships: bool) -> Callable[[], ModelFacts]:
    if is_local_path(adapter):
        return lambda: read_adapter(adapter, ships=ships)
    return hub.ask_adapter(adapter, revision) if hub else ModelFacts


def _tokenizer(hub: Hub | None, model: str, revision: str | None) -> Callable[[], Count | None]:
    if not can_count():
        return lambda: None
    find = (
        (lambda: find_tokenizer(model))
        if is_local_path(model)
        else hub.ask_tokenizer(model, revision)
        if hub
        else (lambda: find_cached(model, revision))
    )

    @cache
    def load() -> Count | None:
        path = attempt(find)
        return attempt(lambda: Tokenizer(path)) if path else None

    return load


def _dataset(
    hub: Hub | None,
    dataset: Dataset,
    formats: Formats,
    tokenizer: Callable[[], Count | None],
    ships: bool,
    seen: list[Json] | None = None,
) -> Callable[[], DatasetFacts]:
    """Facts about a dataset; its sample of rows, as TRL gets them, is added to ``seen``."""
    answers = [_one_dataset(hub, part, formats, tokenizer, ships, seen) for part in dataset.parts]
    fractions, samples = zip(*((part.fraction, part.num_samples) for part in dataset.parts), strict=True)
    return lambda: mixed([answer() for answer in answers], fractions, samples)


def _one_dataset(
    hub: Hub | None,
    dataset: Dataset,
    formats: Formats,
    tokenizer: Callable[[], Count | None],
    ships: bool,
    seen: list[Json] | None = None,
) -> Callable[[], DatasetFacts]:
    asked = hub.ask_dataset(dataset) if hub and not is_local_path(dataset.id) else None

    def answer() -> DatasetFacts:
        if asked:
            facts, read = asked()
            raw = decoded(read)
        elif is_local_path(dataset.id):
            facts = read_dataset(dataset.id, dataset.split, ships=ships)
            place, first = Path(facts.path or dataset.id), _first(dataset, facts)
            raw = filled(read_rows(place, dataset.split, first=first, most=MOST_ROWS)) if facts.exists else []
        else:
            return DatasetFacts()
        # a slice of which other rows of its split were read
        exact = is_from_start(dataset.split) or (not asked and facts.num_rows == len(raw))
        sampled = sample(raw, dataset, formats)
        if seen is not None:
            seen.extend(sampled.rows)
        # their lengths do not change for a few more
        lengths = measure(spread(sampled.rows, MAX_ROWS), formats, tokenizer() if sampled.rows else None)
        return replace(
            facts,
            shape=sampled.shape,
            lengths=lengths,
            values=inspect_rows(sampled.rows, formats, compares=exact),
            conversational=prompts_are_messages(sampled.rows),
            environments=environments_named(sampled.rows),
            neither_text_nor_talk=neither_text_nor_talk(sampled.rows),
        )

    return answer


def _first(dataset: Dataset, facts: DatasetFacts) -> int | None:
    """How many rows from the first on are used; ``None`` for all."""
    sliced = facts.num_rows if "[" in dataset.split else None
    bounds = [bound for bound in (dataset.num_samples, sliced) if bound is not None]
    return min(bounds, default=None)


def stored_token() -> str | None:
    """The token that ``hf auth login`` stored or ``HF_TOKEN`` holds."""
    from huggingface_hub import get_token

    return get_token()


def client_is_offline() -> bool:
    """Whether the Hub is not to be asked, by ``HF_HUB_OFFLINE``."""
    with without_widget_warning():  # the client's bars, which threads would import otherwise
        import huggingface_hub.utils.tqdm as _  # noqa: F401
        from huggingface_hub import is_offline_mode

    # The client reads the variable when it is imported; here one that was set later counts too.
    return is_offline_mode() or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
