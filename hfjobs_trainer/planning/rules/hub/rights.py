"""Rules about what the account may read, start, write and pay."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.facts.gap import SPACE, TARGET
from hfjobs_trainer.planning.bucket import BUCKET
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.gaps import lacks_answer
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.inputs import inputs

_SETTINGS = "https://huggingface.co/settings/tokens"
_LOGIN = "hf auth login"


@rule("HUB007", scope="remote", first=True)
def gated_inputs_are_granted(context: Context[TrainSpec]) -> Iterator[Found]:
    """Your account has access to what is gated.

    What it does:
        Refuses gated models and datasets whose files the Hub does not give to your token.

    Why:
        The job reads them with your token, and would end with a 403. Access is asked for on the repository's page, and
        is granted at once or by its authors; a fine-grained token must also be allowed to read gated repositories.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.2-1B", dataset=...)  # of whose license nothing was accepted yet
        ```

    Use instead:
        ```sh
        python -m webbrowser https://huggingface.co/meta-llama/Llama-3.2-1B  # accept the terms, and submit again
        ```
    """
    account = context.facts.account
    for item in inputs(context.spec, context.facts):
        if item.is_local or item.known.granted is not False:
            continue
        if account.reads_gated is False:
            why = f"{item.id} is gated, and your fine-grained token may not read gated repositories: {_SETTINGS}"
            yield Found(item.id_path, f"{why} has the switch, else log in with another one", _LOGIN)
        else:
            page = f"https://huggingface.co/{'datasets/' if item.kind == 'dataset' else ''}{item.id}"
            who = f"{account.name}, the owner of your token," if account.name else "the owner of your token"
            why = f"{item.id} is gated, and {who} has no access to it: accept its terms on {page}"
            yield Found(item.id_path, why, f"python -m webbrowser {page}")


@rule("HUB008", scope="remote", scripts=True)
def token_may_start_jobs(context: Context[JobSpec]) -> Iterator[Found]:
    """The token may start jobs in the namespace.

    What it does:
        Refuses a fine-grained token without the permission `job.write` for the namespace in which the job would run,
        and a namespace in which your role is to read.

    Why:
        The Hub refuses the job: "missing permissions: job.write". A permission for your own account does not cover your
        organizations.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., namespace="team")  # with a token for your own account alone
        ```

    Use instead:
        ```sh
        hf auth login  # with a token that has "Start and manage Jobs" for the organization
        ```
    """
    account = context.facts.account
    namespace = context.spec.namespace or account.name
    if namespace is None or not _is_known(context, namespace):
        return
    if account.token_role != "read" and account.may("job.write", namespace) is False:
        path = "namespace" if context.spec.namespace else "secrets"
        own = path == "namespace" and account.name is not None and account.may("job.write", account.name)
        if account.token_role == "fineGrained" and _writes(context, namespace):
            why = f'your token may not start jobs as {namespace}: {_SETTINGS} gives it "job.write" there'
            yield Found(path, why, _LOGIN)
        else:
            why = f"your role in {namespace} is to read, so you cannot start jobs there"
            yield Found(path, why, change(context.spec, {"namespace": None}) if own else "")


def _is_known(context: Context[JobSpec], namespace: str) -> bool:
    """Whether the namespace is one of the account's; that it is not is HUB004's."""
    account = context.facts.account
    return namespace.lower() in [name.lower() for name in (account.name, *(account.organizations or ())) if name]


def _writes(context: Context[JobSpec], namespace: str) -> bool:
    """Whether the owner's role in the namespace is more than to read."""
    roles = {name.lower(): role for name, role in (context.facts.account.roles or {}).items()}
    return roles.get(namespace.lower()) not in ("read", "no_access")


@rule("HUB009", scope="remote")
def token_may_write_the_model(context: Context[TrainSpec]) -> Iterator[Found]:
    """The token may write to the model's repository.

    What it does:
        Refuses `output.hub_model_id` in a namespace, or a repository, to which a fine-grained token or your role in the
        organization does not let you write.

    Why:
        The push comes after hours of training, and fails then.

    Example:
        ```python
        hft.Output(hub_model_id="team/model")  # with a token for your own account alone
        ```

    Use instead:
        ```sh
        hf auth login  # with a token that has "Write access to contents" for the organization
        ```
    """
    spec, account = context.spec, context.facts.account
    target = context.facts.target
    repo = spec.output.hub_model_id or (target.id if target else None)
    if not spec.output.pushes or repo is None or "/" not in repo or account.token_role in (None, "read"):
        return
    namespace = repo.split("/")[0]
    if not _is_known(context, namespace) or account.may("repo.write", namespace, ("model", repo)) is not False:
        return
    if _writes(context, namespace):
        why = f'your token may not write to {repo}: {_SETTINGS} gives it "repo.write" there'
        yield Found("output.hub_model_id", why, _LOGIN)
    else:
        own = f"{account.name}/{repo.split('/')[1]}"
        usable = account.name is not None and account.may("repo.write", account.name, ("model", own))
        fix = change(spec, {"output.hub_model_id": own}) if usable else ""
        yield Found("output.hub_model_id", f"your role in {namespace} is to read, so nothing can be pushed there", fix)


@rule("HUB013", stage="run", scope="remote")
def token_may_write_checkpoints(context: Context[TrainSpec]) -> Iterator[Found]:
    """The token may write to the bucket of the checkpoints.

    What it does:
        Refuses a fine-grained token without the permission `repo.write` for the namespace in which the job would run,
        where its checkpoints would go to the bucket `hft-checkpoints` there.

    Why:
        The bucket is created, and mounted in the job, by whoever submits; the job itself needs no token for it.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., namespace="team")  # with a token that may only start jobs there
        ```

    Use instead:
        ```sh
        hf auth login  # with a token that has "Write access to contents" for the organization
        ```
    """
    account = context.facts.account
    namespace = context.spec.namespace or account.name
    if not context.kept.mounts or namespace is None or not _is_known(context, namespace):
        return
    bucket = f"{namespace}/{BUCKET}"
    # a token that may not even start jobs there is HUB008's
    starts = account.may("job.write", namespace) is not False
    if starts and account.may("repo.write", namespace, ("bucket", bucket)) is False:
        why = f'your token may not create {bucket}, which is to hold the checkpoints: {_SETTINGS} gives it "repo.write"'
        yield Found("output.checkpoints", why, _LOGIN)


@rule("HUB010", scope="remote", severity="warning")
def nothing_is_overwritten(context: Context[TrainSpec]) -> Iterator[Found]:
    """The model's repository is new.

    What it does:
        Warns where the repository that the model is pushed to holds weights already.

    Why:
        The push replaces them. They stay in the repository's history, but whoever loads the model gets the new one.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., hub_model_id="me/chat")  # for the second time
        ```

    Use instead:
        ```python
        hft.submit_sft(model=..., dataset=..., hub_model_id="me/chat-2")
        ```
    """
    target, spec = context.facts.target, context.spec
    if target is None and spec.output.pushes and lacks_answer(context.facts, TARGET):
        need(None, f"whether {TARGET} has a model already", "output.hub_model_id")
    if target is None or not target.holds or not spec.output.pushes:
        return
    stem, _, number = target.id.rpartition("-")
    other = f"{stem}-{int(number) + 1}" if stem and number.isdecimal() else f"{target.id}-2"
    why = f"{target.id} has a model already ({target.holds[0]}), which the push replaces"
    yield Found("output.hub_model_id", why, change(spec, {"output.hub_model_id": other}))


@rule("HUB011", scope="remote", severity="warning", scripts=True)
def the_space_is_a_dashboard(context: Context[JobSpec]) -> Iterator[Found]:
    """The Space of the metrics is one of trackio.

    What it does:
        Warns where the Space is there already, and is none that trackio made: of another kind, without its files, or
        frozen (`static`).

    Why:
        trackio puts its dashboard into Spaces that it creates, and leaves those that it finds as they are: nothing
        would receive the metrics, and a frozen one refuses them.

    Example:
        ```python
        hft.Tracking(space_id="me/demo")
        ```

    Use instead:
        ```python
        hft.Tracking(space_id="me/trackio-runs")
        ```
    """
    space = context.facts.space
    if space is None and lacks_answer(context.facts, SPACE):
        need(None, f"whether {SPACE} is a dashboard", "tracking.space_id")
    if space is None or not space.exists:
        return
    if space.sdk == "static":
        what = "is static, a frozen dashboard that takes no metrics"
    elif space.sdk not in (None, "gradio"):
        what = f"is a {space.sdk} Space, not a dashboard of trackio"
    elif "app.py" not in (space.holds or ()):
        what = "has no app.py, so there is no dashboard in it, and trackio adds none to a Space that is there"
    elif "trackio" not in space.tags:
        what = "is an application of its own, not a dashboard of trackio"
    else:
        return
    owner, _, name = space.id.partition("/")
    other = "trackio" if "trackio" not in name else f"{name}-2"
    fix = change(context.spec, {"tracking.space_id": f"{owner}/{other}"})
    yield Found("tracking.space_id", f"{space.id} {what}", fix)


@rule("HUB012", scope="remote", severity="warning", scripts=True)
def someone_pays(context: Context[JobSpec]) -> Iterator[Found]:
    """The namespace can pay.

    What it does:
        Warns where the Hub says of the namespace in which the job would run that it cannot pay (`canPay`).

    Why:
        Jobs are billed to the namespace, and without a positive balance of credits the Hub refuses them (status 402).
        How much there is it does not say.

    Example:
        ```python
        hft.submit_sft(model=..., dataset=..., namespace="team-without-billing")
        ```

    Use instead:
        ```python
        hft.submit_sft(model=..., dataset=..., namespace="team")
        ```
    """
    account = context.facts.account
    namespace = context.spec.namespace or account.name
    pays = {name.lower(): pays for name, pays in (account.paying or {}).items()}
    if namespace is None or pays.get(namespace.lower()) is not False:
        return
    own = namespace == account.name
    page = "https://huggingface.co/settings/billing"
    page = page if own else f"https://huggingface.co/organizations/{namespace}/settings/billing"
    why = f"the Hub says that {namespace} cannot pay, and a job needs credits: {page}"
    others = [name for name, pays in (account.paying or {}).items() if pays and account.may("job.write", name)]
    yield Found("namespace", why, change(context.spec, {"namespace": others[0]}) if others else "")
