"""The spec that lies beside a model's weights on the Hub."""

from __future__ import annotations

from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, NotAsked
from hfjobs_trainer.gathering import client_is_offline, stored_token
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.hub import Hub
from hfjobs_trainer.specs.load import STORED


def fetch_spec(repo_id: str, revision: str | None, *, token: str | None = None, endpoint: str | None = None) -> str:
    """The text of a model's ``hft_spec.json``; the Hub is asked anew each time.

    Args:
        repo_id: The model's repository.
        revision: Branch, tag or commit; default: the main branch.
        token: As for ``gather``.
        endpoint: As for ``gather``.

    Raises:
        AuthError: The token may not read it.
        HubUnavailable: The Hub did not answer, or is not to be asked.
        BackendError: There is no such model, revision or file.
    """
    if client_is_offline():
        raise NotAsked(f"the Hub was not asked for the spec of {repo_id}: HF_HUB_OFFLINE is set")
    hub = Hub(endpoint, (token or attempt(stored_token) or "").strip() or None)
    answer = hub.ask_text(repo_id, STORED, revision)()
    if answer.value is not None:
        return answer.value
    if answer.refused is None:
        raise HubUnavailable(f"the Hub did not answer for the spec of {repo_id}: {answer.failure}")
    if answer.gated:
        raise AuthError(f"{repo_id} is gated: accept its terms at https://huggingface.co/{repo_id}")
    if answer.refused == 403:
        raise AuthError(f"your token may not read {repo_id}: take one that may, as HF_TOKEN or with hf auth login")
    if answer.lacks_revision:
        raise BackendError(f"{repo_id} is on the Hub, but not its revision {revision}")
    if not hub.has_page("models", repo_id)():
        why = "or it is private and your token may not see it" if hub.token else "or it is private: set HF_TOKEN"
        raise BackendError(f"there is no model {repo_id} on the Hub, {why}")
    others = 'load the file or the script from which it was trained: hft.load("spec.yaml"), hft.load("script.py")'
    raise BackendError(f"{repo_id} has no {STORED}, which this package leaves beside what it trains; {others}")
