"""What the Hub's answers say of a model, a dataset, the hardware and an account."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from hfjobs_trainer.facts import AccountFacts, DatasetFacts, HardwareFacts, ModelFacts, Scope, TargetFacts
from hfjobs_trainer.gathering import viewer
from hfjobs_trainer.gathering.answer import Answer
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.config import has_template, main_dtype, read_config, reads_answers, template_digest
from hfjobs_trainer.gathering.local_model import ADAPTER_CONFIG
from hfjobs_trainer.gathering.model_files import read_names, weight_names
from hfjobs_trainer.gathering.values import Json, as_int, as_json, as_list, as_text
from hfjobs_trainer.planning.hardware.catalogue import parse_live
from hfjobs_trainer.specs.splits import count_rows, split_names

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, ModelInfo, SpaceInfo

_TEMPLATE_FILES = {"chat_template.jinja", "chat_template.json"}


def model_facts(repo_id: str, info: Answer[ModelInfo], config: Answer[Json], tokenizer: Answer[Json]) -> ModelFacts:
    """Facts about a model, from its page, its ``config.json`` and its ``tokenizer_config.json``."""
    if info.refused == 404:
        return ModelFacts(exists=False, lacks_revision=info.lacks_revision)
    facts = read_config(config.value or {})
    gated = True if info.gated or config.gated else None
    if info.value is None:
        known = gated or config.value is not None or None
        return replace(facts, exists=known, gated=gated, has_chat_template=has_template(tokenizer.value or {}) or None)
    weights, summary = info.value.safetensors, as_json(getattr(info.value, "config", None))
    return replace(
        facts,
        exists=True,
        private=info.value.private,
        gated=gated if info.value.gated is None else bool(info.value.gated),
        sha=info.value.sha,
        model_type=facts.model_type or as_text(summary.get("model_type")),
        num_parameters=as_int(weights.total) if weights else None,
        dtype=(main_dtype(weights.parameters.items()) if weights else None) or facts.dtype,
        has_chat_template=_has_chat_template(info.value, tokenizer),
        template_digest=_template_digest(info.value, tokenizer),
        reads_answers=None if tokenizer.value is None else reads_answers(tokenizer.value),
        current_id=None if info.value.id == repo_id else info.value.id,
        based_on=_based_on(info.value),
        license=as_text(info.value.card_data.get("license")) if info.value.card_data else None,
        **read_names(sibling.rfilename for sibling in info.value.siblings or ()),
    )


def _based_on(info: ModelInfo) -> str | None:
    """The model from which it was made, where the page names one alone."""
    named = info.card_data.get("base_model") if info.card_data else None
    names = as_list(named) or [named]
    return as_text(names[0]) if len(names) == 1 else None


def is_adapter(info: Answer[ModelInfo]) -> bool:
    """Whether the repository has an adapter, and no model."""
    files = {sibling.rfilename for sibling in info.value.siblings or ()} if info.value else set[str]()
    return ADAPTER_CONFIG in files and "config.json" not in files


def _has_chat_template(info: ModelInfo, tokenizer: Answer[Json]) -> bool | None:
    summary = as_json(getattr(info, "config", None))
    files = {sibling.rfilename for sibling in info.siblings or ()}
    if files & _TEMPLATE_FILES or has_template(as_json(summary.get("tokenizer_config"))):
        return True
    if tokenizer.value is not None:
        return has_template(tokenizer.value)
    return False if tokenizer.refused == 404 else None


def _template_digest(info: ModelInfo, tokenizer: Answer[Json]) -> str | None:
    summary = as_json(getattr(info, "config", None))
    # a file of its own wins, of which the Hub may show the text
    if {sibling.rfilename for sibling in info.siblings or ()} & _TEMPLATE_FILES:
        return template_digest(summary.get("chat_template_jinja"))
    written = as_json(summary.get("tokenizer_config")) if tokenizer.value is None else tokenizer.value
    return template_digest(written.get("chat_template"))


def dataset_facts(
    info: Answer[DatasetInfo], size: Json, first_rows: Json, config: str | None, split: str, *, has_configs: bool = True
) -> DatasetFacts:
    """Facts about a dataset, from its page and from what the dataset viewer says of sizes and first rows."""
    if info.refused == 404:
        return DatasetFacts(exists=False, lacks_revision=info.lacks_revision)
    if info.value is None:
        return DatasetFacts(exists=info.gated or None, gated=info.gated or None)
    card, sizes = read_card(info), viewer.read_sizes(size)
    described = _described(card, config)
    features = as_list(described.get("features"))
    columns = tuple(name for entry in features if (name := as_text(as_json(entry).get("name"))))
    rows: dict[str, int | None] = {
        name: as_int(as_json(entry).get("num_examples"))
        for entry in as_list(described.get("splits"))
        if (name := as_text(as_json(entry).get("name")))
    }
    rows = rows or sizes.get(choose_config(card, sizes, config) or "", {})
    # the viewer may have failed for some, or not be through yet
    viewed = {} if size.get("failed") or size.get("pending") else sizes
    configs = tuple(_declared(card) or viewed) if has_configs else ()
    has_split = not rows or set(split_names(split)) <= set(rows)
    return DatasetFacts(
        exists=True,
        private=info.value.private,
        gated=None if info.value.gated is None else bool(info.value.gated),
        sha=info.value.sha,
        columns=(columns or viewer.read_columns(first_rows)) if has_split else None,
        num_rows=count_rows(split, rows),
        splits=tuple(rows) or None,
        configs=configs or None,
        loading_script=_loading_script(info.value),
        needs_config=len(configs) > 1 and choose_config(card, sizes, config) is None,
    )


def _loading_script(info: DatasetInfo) -> str | None:
    """The file that ``datasets`` looks for before all others, and no longer runs (datasets 5.2: load.py)."""
    name = f"{info.id.rpartition('/')[2]}.py"
    return name if any(file.rfilename == name for file in info.siblings or ()) else None


def read_card(info: Answer[DatasetInfo]) -> Json:
    """The metadata of a dataset's card; empty without one."""
    card = info.value.card_data if info.value else None
    return as_json(card.to_dict()) if card else {}


def _described(card: Json, config: str | None) -> Json:
    """The entry of a dataset card's ``dataset_info`` on the configuration that ``datasets`` would load; else empty."""
    by_name = read_entries(card)
    name = choose_config(card, by_name, config)
    return by_name.get(name, {}) if name is not None else {}


def read_entries(card: Json) -> dict[str, Json]:
    """The entries of a card's ``dataset_info``, by configuration."""
    info = card.get("dataset_info")
    entries = [as_json(entry) for entry in as_list(info) or [info]]
    return {as_text(entry.get("config_name")) or "default": entry for entry in entries if entry}


def _declared(card: Json) -> dict[str, Json]:
    """The entries of a card's ``configs``, by name."""
    return {str(as_json(entry).get("config_name")): as_json(entry) for entry in as_list(card.get("configs"))}


def choose_config(card: Json, others: Iterable[str], config: str | None) -> str | None:
    """The configuration that ``datasets`` would load, of those in the card's ``configs``, else of ``others``."""
    configs = _declared(card)
    names = list(configs or others)
    if config is not None:
        return config
    marked = [name for name, entry in configs.items() if entry.get("default") is True]
    return marked[0] if marked else "default" if "default" in names else names[0] if len(names) == 1 else None


def hardware_facts(listed: object) -> HardwareFacts:
    """The flavors of a list of machines; one that cannot be read is left out.

    Raises:
        KeyError: None can: the answer is broken.
    """
    from huggingface_hub import JobHardwareInfo

    machines = [attempt(lambda entry=entry: JobHardwareInfo(**as_json(entry))) for entry in as_list(listed)]
    facts = parse_live(machine for machine in machines if machine)
    if not facts.flavors:
        raise KeyError("flavors")
    return facts


def owned_account(account: Json) -> Json:
    """The account, once it is known to have a name.

    Raises:
        KeyError: It has none: the answer is broken.
    """
    if as_text(account.get("name")) is None:
        raise KeyError("name")
    return account


def account_facts(answer: Answer[Json]) -> AccountFacts:
    """Facts about the owner of a token."""
    if answer.value is None:
        problem = "the Hub does not accept this token" if answer.refused == 401 else None
        return AccountFacts(has_token=True, problem=problem)
    access = as_json(as_json(answer.value.get("auth")).get("accessToken"))
    orgs = {
        name: entry for entry in map(as_json, as_list(answer.value.get("orgs"))) if (name := as_text(entry.get("name")))
    }
    roles = {name: role for name, org in orgs.items() if (role := as_text(org.get("roleInOrg")))}
    owner = as_text(answer.value.get("name"))
    accounts = orgs | ({owner: answer.value} if owner else {})
    pays = {name: pays for name, account in accounts.items() if isinstance(pays := account.get("canPay"), bool)}
    fine = as_json(access.get("fineGrained"))
    reads_gated = fine.get("canReadGatedRepos")
    return AccountFacts(
        has_token=True,
        name=owner,
        organizations=tuple(orgs),
        token_role=as_text(access.get("role")),
        roles=roles,
        paying=pays,
        scopes=tuple(map(_scope, as_list(fine["scoped"]))) if "scoped" in fine else None,
        reads_gated=reads_gated if isinstance(reads_gated, bool) else None,
    )


def _scope(entry: object) -> Scope:
    place = as_json(as_json(entry).get("entity"))
    granted = (as_text(name) for name in as_list(as_json(entry).get("permissions")))
    return Scope(
        as_text(place.get("type")) or "", as_text(place.get("name")) or "", frozenset(name for name in granted if name)
    )


def found_target(repo_id: str, read: Callable[[], ModelInfo | SpaceInfo]) -> TargetFacts:
    """Facts about a repository that a run would write to, be it there or not; raises what ``read`` raises otherwise."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return target_facts(read())
    except RepositoryNotFoundError as error:
        # whose token is not accepted is not told either
        if error.response.status_code != 404:
            raise
        return TargetFacts(repo_id, exists=False)


def target_facts(info: ModelInfo | SpaceInfo) -> TargetFacts:
    """Facts about a repository that a run would write to, from its page."""
    names = [sibling.rfilename for sibling in info.siblings or ()]
    sdk = as_text(getattr(info, "sdk", None))
    held = weight_names(names) if sdk is None else tuple(sorted(names))
    return TargetFacts(info.id, True, held, sdk, tuple(info.tags or ()), info.private)
