"""Facts that the Hub knows: models, datasets, the hardware on offer, the account.

Every request runs in a thread of its own, and the answers are awaited until one common deadline: a slow or unreachable
Hub costs a few seconds, never the plan. Transient failures are retried until then, and what the Hub refuses is asked
again without the token. Answers are shared and kept for some minutes, by endpoint, token and question; refusals,
absences and failures are not kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, HardwareFacts, ModelFacts
from hfjobs_trainer.gathering import viewer
from hfjobs_trainer.gathering.answer import Answer, ask
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.hub_answers import (
    account_facts,
    choose_config,
    dataset_facts,
    hardware_facts,
    is_adapter,
    model_facts,
    owned_account,
    read_card,
    read_entries,
)
from hfjobs_trainer.gathering.local_model import ADAPTER_CONFIG
from hfjobs_trainer.gathering.tokenizer import download
from hfjobs_trainer.gathering.values import Json, as_json, as_text
from hfjobs_trainer.specs.locations import is_valid_repo_id
from hfjobs_trainer.specs.splits import split_names

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from hfjobs_trainer.specs.groups import Dataset

T = TypeVar("T")
Token = str | Literal[False]

CALL_SECONDS = 5.0
"""Longest wait for a connection, and for each piece of an answer."""
TOTAL_SECONDS = 8.0
"""Longest wait for all answers together."""

_NOTHING: Json = {}


@dataclass(frozen=True, slots=True)
class Hub:
    """A Hub, who asks it, and the deadline for its answers.

    Attributes:
        endpoint: Address of the Hub; ``None`` for the client's default.
        token: Token of the one who asks; ``None`` to ask anonymously.
        deadline: Time of ``time.monotonic`` after which an answer counts as missing, seconds.
        unanswered: Filled with what the Hub did not answer for, and why: the account, and repositories.
        answers: What was asked lately.
    """

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    deadline: float = field(default_factory=lambda: time.monotonic() + TOTAL_SECONDS)
    unanswered: list[str] = field(default_factory=list[str], repr=False, compare=False)
    answers: Answers = field(default_factory=Answers, repr=False, compare=False)

    def ask_model(self, repo_id: str, revision: str | None) -> Callable[[], ModelFacts]:
        """Request a model; the returned function waits for the answers and combines them."""
        if not is_valid_repo_id(repo_id):
            return lambda: ModelFacts(exists=False)
        info = self._ask(
            lambda token: self._api(token).model_info(repo_id, revision=revision, timeout=self._seconds()),
            ("model", repo_id, revision),
        )
        config = self._ask_file(repo_id, "config.json", revision)
        tokenizer = self._ask_file(repo_id, "tokenizer_config.json", revision)

        def answer() -> ModelFacts:
            page = self._noted(repo_id, info())
            facts = model_facts(page, self._noted(repo_id, config()), tokenizer())
            return replace(facts, adapts=self._base(repo_id, revision)) if is_adapter(page) else facts

        return answer

    def _base(self, repo_id: str, revision: str | None) -> str:
        """The model on which an adapter was trained; empty if it does not say."""
        config = self._ask_file(repo_id, ADAPTER_CONFIG, revision)
        return as_text((config().value or {}).get("base_model_name_or_path")) or ""

    def ask_adapter(self, repo_id: str, revision: str | None) -> Callable[[], ModelFacts]:
        """Request an adapter; the returned function waits for the answers and combines them."""
        if not is_valid_repo_id(repo_id):
            return lambda: ModelFacts(exists=False)
        model = self.ask_model(repo_id, revision)
        config = self._ask_file(repo_id, ADAPTER_CONFIG, revision)
        return lambda: replace(model(), task_type=as_text((config().value or {}).get("task_type")), adapts=None)

    def ask_tokenizer(self, repo_id: str, revision: str | None) -> Callable[[], Path | None]:
        """Get a model's ``tokenizer.json`` into the client's cache; the returned function waits for it.

        It is downloaded if it is not there yet and is small enough, and stays there for the next time.
        """
        if not is_valid_repo_id(repo_id):
            return lambda: None
        answer = self._ask(
            lambda token: download(repo_id, revision, token, self.endpoint, self._seconds()),
            ("tokenizer", repo_id, revision),
            is_usable=lambda kept: kept.value is not None and kept.value.exists(),
        )
        return lambda: answer().value

    def ask_dataset(self, dataset: Dataset) -> Callable[[], tuple[DatasetFacts, list[Json]]]:
        """Request a dataset; the returned function waits for the answers.

        Its second value are the first rows of the (first) split, up to 100 of them, without the values that are cut
        off; none where the dataset viewer does not show what the spec asks for.
        """
        repo_id, revision = dataset.id, dataset.revision
        if not is_valid_repo_id(repo_id):
            return lambda: (DatasetFacts(exists=False), [])
        info = self._ask(
            lambda token: self._api(token).dataset_info(repo_id, revision=revision, timeout=self._seconds()),
            ("dataset", repo_id, revision),
        )
        # the viewer shows only the main branch, and files as the card declares them
        is_shown = revision in (None, "main") and dataset.data_dir is None and dataset.data_files is None
        size = self._ask(
            lambda token: self._view("/size", token, dataset=repo_id) if is_shown else _NOTHING,
            ("size", repo_id, is_shown),
        )
        split = next(iter(split_names(dataset.split)), None)

        def view_rows(token: Token) -> Json:
            card = read_card(info())
            config = choose_config(card, viewer.read_sizes(size().value or {}) or read_entries(card), dataset.config)
            if not is_shown or config is None or split is None:
                return _NOTHING
            return self._view("/first-rows", token, dataset=repo_id, config=config, split=split)

        rows = self._ask(view_rows, ("rows", repo_id, is_shown, dataset.config, split))

        def answer() -> tuple[DatasetFacts, list[Json]]:
            first = rows().value or {}
            facts = dataset_facts(
                self._noted(repo_id, info()),
                size().value or {},
                first,
                dataset.config,
                dataset.split,
                # files of its own make another configuration
                has_configs=dataset.data_dir is None and dataset.data_files is None,
            )
            return facts, viewer.read_first_rows(first)[: dataset.num_samples]

        return answer

    def ask_hardware(self) -> Callable[[], HardwareFacts | None]:
        """Request the flavors; the returned function gives ``None`` if they stay unknown."""
        answer = self._ask(lambda _: hardware_facts(self._get("/api/jobs/hardware", False)), ("hardware",))
        return lambda: answer().value

    def ask_account(self) -> Callable[[], AccountFacts]:
        """Request the owner of the token; without a token, nothing is requested."""
        token = self.token
        if not token:
            return lambda: AccountFacts(has_token=False)
        answer = self._ask(lambda _: owned_account(as_json(self._get("/api/whoami-v2", token))), ("account",))
        return lambda: account_facts(self._noted("your token", answer()))

    def _ask(
        self,
        call: Callable[[Token], T],
        question: tuple[object, ...],
        *,
        is_usable: Callable[[Answer[T]], bool] | None = None,
    ) -> Callable[[], Answer[T]]:
        key = (self.endpoint, fingerprint(self.token), *question)
        future, is_new = self.answers.join(key, self.deadline, is_usable)

        def run() -> None:
            answer = ask(lambda: call(self.token or False), self.deadline)
            # an empty answer is taken for a missing one
            keep = bool(answer.value)
            if answer.refused == 401 and self.token and not answer.gated:
                # A token that has expired also bars the way to what is public.
                anonymous = ask(lambda: call(False), self.deadline)
                answer = answer if anonymous.refused else anonymous
            self.answers.settle(key, future, answer, keep=keep)

        if is_new:
            # Not a pool: leaving the interpreter would wait for its threads.
            threading.Thread(target=run, name="hfjobs-trainer-gather", daemon=True).start()

        def wait() -> Answer[T]:
            in_time = attempt(lambda: future.result(timeout=self._left()))
            return in_time or Answer(failure="no answer in time")

        return wait

    def _noted(self, what: str, answer: Answer[T]) -> Answer[T]:
        note = f"{what} ({answer.failure})"
        if answer.failure is not None and note not in self.unanswered:
            self.unanswered.append(note)
        return answer

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _seconds(self) -> float:
        return min(CALL_SECONDS, self._left())

    def _api(self, token: Token) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=token)

    def _get(self, path: str, token: Token) -> object:
        # Through the client's session rather than HfApi.whoami and list_jobs_hardware, which have no timeout.
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # pyright: ignore[reportUnknownVariableType]

        url = path if "://" in path else self._api(False).endpoint.rstrip("/") + path
        response = get_session().get(url, headers=build_hf_headers(token=token), timeout=self._seconds())
        hf_raise_for_status(response)
        return response.json()

    def _view(self, path: str, token: Token, **query: str) -> Json:
        return as_json(self._get(viewer.viewer_url(self._api(False).endpoint, path, **query), token))

    def _ask_file(self, repo_id: str, name: str, revision: str | None) -> Callable[[], Answer[Json]]:
        return self._ask(
            lambda token: self._read_file(repo_id, name, revision, token), ("file", repo_id, name, revision)
        )

    def _read_file(self, repo_id: str, name: str, revision: str | None, token: Token) -> Json:
        from huggingface_hub import hf_hub_url

        return as_json(self._get(hf_hub_url(repo_id, name, revision=revision, endpoint=self.endpoint), token))
