"""Rules about tokens and other secrets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from hfjobs_trainer.facts import DatasetFacts, ModelFacts
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change, keywords
from hfjobs_trainer.specs.group import Group
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.tokens import name_of_secret, names_a_secret, token_kind

_TOKEN = "HF_TOKEN"
ACCOUNT = "secrets"
"""The field of which a problem is told where there is no account."""


@rule("SEC001", scripts=True)
def no_secrets_in_env(context: Context[TrainSpec]) -> Iterator[Found]:
    """Secrets go into `secrets`, not into `env`.

    What it does:
        Refuses a value in `env` that looks like a token or key, or whose name says that it is one (`..._TOKEN`,
        `..._KEY`, `..._SECRET`, `..._PASSWORD`).

    Why:
        Everyone who can see the job can read `env`, and it stands in the script. Secrets are passed by name; their
        values are read from your environment when you submit, and the Hub does not show them.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., env={"WANDB_API_KEY": "0123456789abcdef"})
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., secrets=["WANDB_API_KEY"])  # after: export WANDB_API_KEY=...
        ```
    """
    spec = context.spec
    kinds = {name: token_kind(value) for name, value in spec.env.items()}
    secret = [name for name, value in spec.env.items() if kinds[name] or names_a_secret(name, value)]
    plain = {name: value for name, value in spec.env.items() if name not in secret}
    names = [*dict.fromkeys([*(name_of_secret(entry) for entry in spec.secrets), *secret])]
    for name in secret:
        what = f"the value of {name} is {kinds[name]}" if kinds[name] else f"{name} looks like a secret"
        why = f"{what}, and everyone who can see the job can read env: set it where you submit"
        yield Found("env", why, keywords({"env": plain, "secrets": names}))


@rule("SEC002", scripts=True)
def no_tokens_in_the_spec(context: Context[TrainSpec | Script]) -> Iterator[Found]:
    """No token stands anywhere in a spec or a script.

    What it does:
        Searches every text of the spec, sources of reward functions included, and the text of a script that exists
        already, for tokens and keys of well-known forms and for URLs with a password.

    Why:
        The spec is written into the script, and the script is kept: a token in it is public sooner or later, and the
        Hub refuses a commit that contains one.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., model_init_kwargs={"token": "hf_..."})
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., secrets=["HF_TOKEN"])
        ```
    """
    fields = {name: value for name, value in context.spec.to_dict().items() if name != "env"}
    seen: set[tuple[str, str]] = set()
    for path, text in _texts(fields, ""):
        kind = token_kind(text)
        if kind is not None and (path, kind) not in seen:
            seen.add((path, kind))
            why = f"contains {kind}, which would be written into the script: revoke it, and pass a new one in secrets"
            yield Found(path, why, _without(context.spec, path))
    if isinstance(context.spec, Script):
        kind = token_kind(need(context.facts.script, "the script").text or "")
        if kind is not None:
            read = "everyone who can see the job can read it: revoke it, and read a new one from the environment"
            yield Found("script", f"the script contains {kind}, and {read}")


def _without(spec: JobSpec, path: str) -> str:
    """The fix that takes out what is at this place of a list, a mapping or a group; empty for any other place."""
    field, *inside = path.split(".")
    if field == "secrets":
        named = [name_of_secret(entry) for entry in spec.secrets]
        return keywords({field: [name for name in named if token_kind(name) is None]})
    value = getattr(spec, field)
    if len(inside) != 1 or (isinstance(value, Group) and type(value).model_fields[inside[0]].is_required()):
        return ""
    return change(spec, {path: REMOVE})


def _texts(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Every text below ``value`` and its path; of a key, the path of the mapping, since the key may be the secret."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            inner = f"{path}.{key}" if path else key
            if path:
                yield path, key
            yield from _texts(item, path if path and token_kind(key) else inner)
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            yield from _texts(item, f"{path}.{index}")


@rule("SEC003", stage="run", scope="remote", severity="warning")
def token_is_needed(context: Context[TrainSpec]) -> Iterator[Found]:
    """HF_TOKEN is handed only to a run that needs it.

    What it does:
        Warns where `secrets` names HF_TOKEN although the run pushes nothing, logs to no Space, and reads nothing that
        is private or gated.

    Why:
        A job runs the code of many packages, all of which can read its secrets. Where a token is needed it is added by
        itself.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., secrets=["HF_TOKEN"], report_to="none")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., report_to="none")
        ```
    """
    if _TOKEN not in context.spec.secrets or context.needs_token:
        return
    facts = context.facts
    subjects: list[tuple[str, str, ModelFacts | DatasetFacts]] = [
        ("model", context.spec.model, facts.model),
        ("dataset", context.spec.dataset.id, facts.dataset),
    ]
    if context.spec.eval_dataset is not None and facts.eval_dataset is not None:
        subjects.append(("eval_dataset", context.spec.eval_dataset.id, facts.eval_dataset))
    for path, name, subject in subjects:
        if subject.path is None:
            private = subject.private if subject.private is not None else subject.gated
            need(private, f"whether {name} is private", path)
    why = "nothing in this run needs HF_TOKEN, and every package in the job could read it"
    rest = [entry for entry in context.spec.secrets if entry != _TOKEN]
    yield Found("secrets", why, keywords({"secrets": rest}))


@rule("SEC004", first=True, stage="run", scope="remote", scripts=True)
def token_is_there_and_works(context: Context[JobSpec]) -> Iterator[Found]:
    """There is a token that the Hub accepts, with the right to write.

    What it does:
        Refuses to plan a run on the Hub as ready where no token was found, the Hub refuses it, or it can only read.
        Where the Hub does not say whose it is, that is unchecked.

    Why:
        Starting a job takes a token; a push without the right to write fails after hours of training.

    Example:
        ```sh
        HF_TOKEN= python submit.py
        ```

    Use instead:
        ```sh
        hf auth login  # with a token with write permission, from https://huggingface.co/settings/tokens
        ```
    """
    account = context.facts.account
    reasons = " and ".join(context.needs_token)
    for_what = f"starting the job needs one{f', and so does the script: {reasons}' if reasons else ''}"
    login = "hf auth login"
    if account.has_token is False:
        yield Found("secrets", f"there is no Hub token; {for_what}", login)
    elif account.problem is not None:
        yield Found("secrets", f"{account.problem}; {for_what}", login)
    elif account.token_role == "read":
        why = "your Hub token can only read (https://huggingface.co/settings/tokens makes one that can write)"
        yield Found("secrets", f"{why}; {for_what}", login)
    elif need(account.has_token, "whether there is a Hub token", ACCOUNT):
        need(account.name, "the owner of the token", ACCOUNT)


@rule("SEC005", stage="run", scope="remote", severity="warning")
def foreign_code_sees_no_token(context: Context[TrainSpec]) -> Iterator[Found]:
    """Code from a model repository does not run beside your token.

    What it does:
        Warns where `trust_remote_code=True` and the job gets HF_TOKEN.

    Why:
        The repository's code runs in the job and can read the token; with a token that may do everything, it can do
        everything in your name.

    Example:
        ```python
        hft.SFT(model="someone/custom-model", dataset=..., trust_remote_code=True, hub_model_id="username/model")
        ```

    Use instead:
        ```python
        # with HF_TOKEN a fine-grained token that may write to username/model only
        hft.SFT(model="someone/custom-model", model_revision="<commit you have read>", dataset=...,
                trust_remote_code=True, hub_model_id="username/model")
        ```
    """
    spec = context.spec
    trusts = spec.trust_remote_code or bool((spec.model_init_kwargs or {}).get("trust_remote_code"))
    if trusts and (_TOKEN in spec.secrets or context.needs_token):
        why = f"code from {spec.model} would run with your HF_TOKEN in its environment"
        advice = (
            "take a token that can write to one repository only, and the commit that you have read as model_revision"
        )
        yield Found("trust_remote_code", f"{why}: {advice}")


@rule("SEC006", scripts=True)
def secrets_are_names(context: Context[TrainSpec | Script]) -> Iterator[Found]:
    """An entry of `secrets` is a name, without a value.

    What it does:
        Refuses entries of `secrets` with `=` in them.

    Why:
        The names stand in the script and in the job's record, and so would the value. It is read from your environment
        when you submit.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., secrets=["WANDB_API_KEY=0123456789abcdef"])
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., secrets=["WANDB_API_KEY"])  # after: export WANDB_API_KEY=...
        ```
    """
    for entry in context.spec.secrets:
        if "=" in entry:
            name = name_of_secret(entry) or "NAME"
            why = f"{name} is given with its value, which would be written into the script: set it where you submit"
            names = [name_of_secret(other) or "NAME" for other in context.spec.secrets]
            yield Found("secrets", why, keywords({"secrets": names}))
