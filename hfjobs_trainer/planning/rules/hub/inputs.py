"""Rules about what is read from the Hub, and what is kept there."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.planning.arguments.trackers import has_space
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.names import basename, file_name
from hfjobs_trainer.planning.rules.sec import ACCOUNT
from hfjobs_trainer.planning.shipping import missing, shipped_inputs
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change, keywords, shell
from hfjobs_trainer.specs.groups import LoRA
from hfjobs_trainer.specs.inputs import DataInput, Input, inputs
from hfjobs_trainer.specs.locations import data_suffix, is_local_path, is_valid_repo_id
from hfjobs_trainer.tokens import masked


def _owner(context: Context[TrainSpec]) -> str | None:
    return context.spec.namespace or context.facts.account.name


@rule("HUB001", scope="remote", first=True)
def inputs_are_on_the_hub(context: Context[TrainSpec]) -> Iterator[Found]:
    """A job can read its model and its data.

    What it does:
        Refuses local paths that lead nowhere, local models and datasets that cannot travel with the job (a folder
        without files that would be read, a file above 50 GB, a backend that mounts nothing), and local chat templates.

    Why:
        The machine that trains cannot see this one's files.

    Example:
        ```python
        hft.submit_sft(model="Qwen/Qwen2.5-0.5B", dataset="./photos.zip", timeout="1h")
        ```

    Use instead:
        ```sh
        hf upload username/photos ./photos.zip --repo-type dataset --private
        ```
        ```python
        hft.submit_sft(model="Qwen/Qwen2.5-0.5B", dataset="username/photos", timeout="1h")
        ```
    """
    shipped = {item.path for item in shipped_inputs(context.spec, context.facts, context.backend)}
    for item in inputs(context.spec, context.facts):
        if item.is_local and item.exists is False:
            yield missing(item)
        elif isinstance(item, DataInput) and item.facts.num_rows == 0:
            # DATA012's: pushed, it would have no rows either
            continue
        elif item.is_local and item.path not in shipped:
            why = f"{item.id} is on this machine, where a job cannot read it: push it, and give its id"
            yield Found(item.id_path, why, _push(item, _owner(context)))
    path = "chat_template_path"
    text = context.field(path, str)
    if text is not None and (is_local_path(text) or text.endswith(".jinja")):
        why = f"{text} is on this machine, where a job cannot read it: the id of a model stands for its template"
        yield Found(path, why)


def _repo(path: str) -> str:
    name = basename(path).removesuffix(".gz")
    return file_name(name.removesuffix(data_suffix(name) or "")) or "my-data"


def _push(item: Input, owner: str | None) -> str:
    """The command that pushes it; without an owner, the client takes that of the token."""
    repo = f"{owner}/{_repo(item.id)}" if owner else _repo(item.id)
    path, digest = split_pin(item.id)
    source = item.place or path if digest else path
    if item.kind == "model":
        return shell("hf", "upload", repo, source, "--private")
    if data_suffix(path) is None and not (isinstance(item, DataInput) and item.facts.saved is False):
        load = f"load_from_disk({json.dumps(source, ensure_ascii=False)})"
        return shell("python", "-c", f'from datasets import *; {load}.push_to_hub("{repo}", private=True)')
    return shell("hf", "upload", repo, source, "--repo-type", "dataset", "--private")


@rule("HUB002", scope="remote", first=True)
def inputs_exist_on_the_hub(context: Context[TrainSpec]) -> Iterator[Found]:
    """Models and datasets exist on the Hub.

    What it does:
        Refuses ids that the Hub does not know, or does not show to your token, an id of a dataset or Space as `model`
        and the reverse, and revisions that are not there.

    Why:
        A typo would cost the start of a job.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5", dataset="trl-lib/Capybara")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara")
        ```
    """
    spec = context.spec
    remote = [item for item in inputs(spec, context.facts) if not item.is_local and is_valid_repo_id(item.id)]
    for item in remote:
        if item.lacks_revision:
            why = f"{item.id} is on the Hub, but not its revision {item.revision}"
            yield Found(item.revision_path, why, change(spec, {item.revision_path: REMOVE}))
        elif item.exists is False and item.found_as:
            path = item.id_path
            yield Found(path, f"{item.id} is a {item.found_as} on the Hub, and no {item.kind} is there of that name")
        elif item.exists is False:
            hidden = f"or does not show it to your token; a folder here is written ./{item.id}"
            yield Found(item.id_path, f"the Hub has no {item.kind} {item.id}, {hidden}")
    for item in remote:
        need(item.exists, f"whether the Hub has {item.id}", item.path)


@rule("HUB003", first=True)
def repository_names_are_valid(context: Context[TrainSpec]) -> Iterator[Found]:
    """Names of repositories are of a form that the Hub accepts.

    What it does:
        Checks the form of `model`, `dataset` and `eval_dataset` where they are no paths, of `output.hub_model_id`
        (which needs its namespace), of `tracking.space_id` and of `tracking.bucket_id`.

    Why:
        The Hub takes letters, digits, `-`, `_` and `.`, at most one `/`, and 96 characters on each side. A model id
        without a namespace lands in the account of whichever token the job has.

    Example:
        ```python
        hft.Output(hub_model_id="my model")
        ```

    Use instead:
        ```python
        hft.Output(hub_model_id="username/my-model")
        ```
    """
    spec = context.spec
    for item in inputs(spec, context.facts):
        if not item.is_local and not is_valid_repo_id(item.id):
            why = f'"{item.id}" is not a repository id, which is namespace/name; a path here begins with ./'
            yield Found(item.id_path, why)
    for path, repo, form in (
        ("output.hub_model_id", spec.output.hub_model_id, "namespace/name"),
        ("tracking.space_id", spec.tracking.space_id, "name or namespace/name"),
        ("tracking.bucket_id", spec.tracking.bucket_id, "name or namespace/name"),
    ):
        if repo is None or (is_valid_repo_id(repo) and ("/" in repo or form != "namespace/name")):
            continue
        owner, _, name = masked(repo).rpartition("/")
        namespace = file_name(owner) or _owner(context)
        good = f"{namespace}/{file_name(name)}" if namespace else file_name(name)
        usable = file_name(name) and (namespace or form != "namespace/name")
        fix = change(spec, {path: good}) if usable and good else ""
        yield Found(path, f'"{repo}" is not of the form {form}', fix)


@rule("HUB004", scope="remote")
def namespaces_are_yours(context: Context[TrainSpec]) -> Iterator[Found]:
    """Namespaces are your own, or an organization's of which you are a member.

    What it does:
        Checks `namespace` and the namespaces in `output.hub_model_id`, `tracking.space_id` and `tracking.bucket_id`
        against the account.

    Why:
        The Hub refuses to run, or to create a repository, in another's name; a misspelt model id is found out only
        when the trained model is pushed.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., namespace="me/team")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., namespace="team")
        ```
    """
    spec, account = context.spec, context.facts.account
    if spec.namespace is not None and ("/" in spec.namespace or not is_valid_repo_id(spec.namespace)):
        why = f'"{spec.namespace}" is not the name of a user or organization'
        plain = file_name(masked(spec.namespace).split("/")[0])
        yield Found("namespace", why, change(spec, {"namespace": plain}) if plain else "")
    used, in_space = [("namespace", spec.namespace)], has_space(spec.tracking.report_to)
    named = (
        ("output.hub_model_id", spec.output.hub_model_id if spec.output.pushes else None),
        ("tracking.space_id", spec.tracking.space_id if in_space else None),
        ("tracking.bucket_id", spec.tracking.bucket_id if in_space else None),
    )
    for path, repo in named:
        used.append((path, repo.split("/")[0] if repo and "/" in repo and is_valid_repo_id(repo) else None))
    asked = [(path, name) for path, name in used if name is not None and "/" not in name]
    if not asked:
        return
    name = need(account.name, "the owner of the token", ACCOUNT)
    organizations = need(account.organizations, "the organizations of the token's owner", ACCOUNT)
    yours = {own.lower(): own for own in (name, *organizations)}
    for path, namespace in asked:
        if namespace.lower() not in yours and is_valid_repo_id(namespace):
            teams = (
                f"one of your organizations ({', '.join(organizations)})"
                if organizations
                else "an organization of yours"
            )
            meant = yours[(difflib.get_close_matches(namespace.lower(), yours, 1) or [name.lower()])[0]]
            why = f"{namespace} is neither {name}, the owner of the token, nor {teams}"
            repo = dict(named).get(path)
            good = f"{meant}/{repo.split('/')[1]}" if repo else meant
            yield Found(path, why, change(spec, {path: good}))


@rule("HUB005", scope="remote")
def something_durable_is_kept(context: Context[TrainSpec]) -> Iterator[Found]:
    """The model goes to where it outlives the job.

    What it does:
        Refuses a run on Hugging Face Jobs that does not push its model to the Hub.

    Why:
        The machine's disk is gone when the job ends, and the trained model with it.

    Example:
        ```python
        hft.submit_sft(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", timeout="3h")
        ```

    Use instead:
        ```python
        hft.submit_sft(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", timeout="3h",
                       output=hft.Output(hub_model_id="username/model"))
        ```
    """
    spec = context.spec
    if not spec.output.pushes:
        owner, name = _owner(context), file_name(basename(spec.model)) or "model"
        goes: dict[str, Any] = {"output.push_to_hub": True} if spec.output.hub_model_id or not owner else {}
        if owner and not spec.output.hub_model_id:
            goes["output.hub_model_id"] = f"{owner}/{name}-{type(spec).METHOD.lineage[-1]}"
            goes |= {"output.push_to_hub": REMOVE} if spec.output.push_to_hub is not None else {}
        why = "the model is not pushed, and the machine's disk is gone when the job ends"
        yield Found("output", why, change(spec, goes))


@rule("HUB006", first=True)
def model_is_no_adapter(context: Context[TrainSpec]) -> Iterator[Found]:
    """`model` is a model, not an adapter.

    What it does:
        Refuses a repository or folder that has an `adapter_config.json` and no `config.json` as `model`.

    Why:
        transformers has no model to load there ("Unrecognized model"). Training continues an adapter on the model that
        it was trained on.

    Example:
        ```python
        hft.SFT(model="username/sft-adapter", dataset=...)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., lora=hft.LoRA(adapter="username/sft-adapter"))
        ```
    """
    spec, base = context.spec, context.facts.model.adapts
    if base is None:
        return
    why = f"{spec.model} is an adapter" + (f" of {base}" if base else "")
    goes: dict[str, Any] = {"model": base, "lora": LoRA(adapter=spec.model)}
    if spec.model_revision is not None:
        goes |= {"model_revision": None, "lora": LoRA(adapter=spec.model, adapter_revision=spec.model_revision)}
    usable = base and not type(spec).METHOD.loads_models
    yield Found("model", why, keywords(goes) if usable else "")
