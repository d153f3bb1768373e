"""Facts that the Hub knows: models, datasets, the hardware on offer, the account.

Every request runs in a thread of its own, and the answers are awaited until one common deadline: a slow or unreachable
Hub costs a few seconds, never the plan. Transient failures are retried until then, and what the Hub refuses is asked
again without the token. Answers are shared and kept for some minutes, by endpoint, token and question; refusals,
absences and failures are not kept.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, HardwareFacts, ModelFacts, TargetFacts
from hfjobs_trainer.facts.gap import PRICES, SPACE, TARGET, TOKEN, Gap
from hfjobs_trainer.gathering import tokenizer_files, viewer
from hfjobs_trainer.gathering.answer import Answer, ask
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.gaps import Gaps, subject
from hfjobs_trainer.gathering.hub_answers import (
    account_facts,
    choose_config,
    dataset_facts,
    found_target,
    hardware_facts,
    is_adapter,
    model_facts,
    owned_account,
    read_card,
    read_entries,
)
from hfjobs_trainer.gathering.local_model import ADAPTER_CONFIG
from hfjobs_trainer.gathering.notice import Notice
from hfjobs_trainer.gathering.tokenizer import download
from hfjobs_trainer.gathering.tokenizer_files import TokenizerFiles
from hfjobs_trainer.gathering.values import Json, as_json, as_text
from hfjobs_trainer.planning.model.shape import count_parameters
from hfjobs_trainer.specs.locations import is_valid_repo_id
from hfjobs_trainer.specs.splits import split_names

if TYPE_CHECKING:
    from httpx2 import Response
    from huggingface_hub import HfApi

    from hfjobs_trainer.specs.groups import Dataset

T = TypeVar("T")
Token = str | Literal[False]

CALL_SECONDS = 6.0
"""Longest wait for a connection, and for each piece of an answer: three of them, with pauses, are within the total."""
TOTAL_SECONDS = 20.0
"""Longest wait for all answers together."""
NOTICE_SECONDS = 10.0
"""After so long a wait the user is told what is waited for."""

_NOTHING: Json = {}


@dataclass(frozen=True, slots=True)
class Hub:
    """A Hub, who asks it, and the deadline for its answers.

    Attributes:
        endpoint: Address of the Hub; ``None`` for the client's default.
        token: Token of the one who asks; ``None`` to ask anonymously.
        deadline: Time of ``time.monotonic`` after which an answer counts as missing, seconds.
        gaps: Filled with what the Hub did not say, and why.
        answers: What was asked lately.
        notice: Tells once of a long wait.
    """

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    deadline: float = field(default_factory=lambda: time.monotonic() + TOTAL_SECONDS)
    gaps: Gaps = field(default_factory=Gaps, repr=False, compare=False)
    answers: Answers = field(default_factory=Answers, repr=False, compare=False)
    notice: Notice = field(default_factory=lambda: Notice(NOTICE_SECONDS), repr=False, compare=False)

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
            files, written = config(), tokenizer()
            if page.refused != 404:
                if not is_adapter(page):
                    self._noted(repo_id, files, "config.json")
                self._noted(repo_id, written, "tokenizer_config.json", is_needed=False)
            facts = model_facts(repo_id, page, files, written)
            if page.value is not None and facts.num_parameters is None and not count_parameters(facts):
                self.gaps.note(Gap(repo_id, "absent", "", "number of parameters (safetensors metadata)", False))
            if page.refused == 404 and not page.lacks_revision:
                is_dataset, is_space = self.has_page("datasets", repo_id), self.has_page("spaces", repo_id)
                return replace(facts, found_as="dataset" if is_dataset() else "Space" if is_space() else None)
            if facts.gated:
                facts = replace(facts, granted=self._is_granted("models", repo_id, files))
            return replace(facts, adapts=self._base(repo_id, revision)) if is_adapter(page) else facts

        return answer

    def has_page(self, kind: Literal["models", "datasets", "spaces"], repo_id: str) -> Callable[[], bool]:
        """Request whether there is a repository of this kind."""
        answer = self._ask(lambda token: as_json(self._get(f"/api/{kind}/{repo_id}", token)), ("page", kind, repo_id))
        return lambda: answer().value is not None

    def _is_granted(self, kind: str, repo_id: str, files: Answer[Json] | None = None) -> bool | None:
        """Whether this token may read the files of a gated repository; ``None`` where it is not known, or is nobody's.

        Args:
            kind: ``"models"`` or ``"datasets"``.
            repo_id: The repository.
            files: What was answered for one of them, which may say it.
        """
        if not self.token:
            return None
        if files is None or not (files.value is not None or files.gated):
            check = self._ask(lambda token: self._check_access(kind, repo_id, token), ("auth", kind, repo_id))()
            return check.value or (False if check.gated else None)
        return files.value is not None

    def _check_access(self, kind: str, repo_id: str, token: Token) -> bool:
        # as HfApi.auth_check does, which has no timeout; the status is the answer
        self._request(f"/api/{kind}/{repo_id}/auth-check", token)
        return True

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

    def ask_tokenizer_files(self, repo_id: str, revision: str | None) -> Callable[[], TokenizerFiles | None]:
        """Request a tokenizer with its settings; the returned function asks for the rest of them."""
        vocabulary = self.ask_tokenizer(repo_id, revision)
        if not is_valid_repo_id(repo_id):
            return lambda: None
        info = self._ask(
            lambda token: self._api(token).model_info(repo_id, revision=revision, timeout=self._seconds()),
            ("model", repo_id, revision),
        )
        configs = {name: self._ask_file(repo_id, name, revision) for name in tokenizer_files.CONFIGS}

        def answer() -> TokenizerFiles | None:
            model = info().value
            there = {sibling.rfilename for sibling in model.siblings or ()} if model else set[str]()
            further = {
                name: self.ask_text(repo_id, name, revision) for name in tokenizer_files.FURTHER if name in there
            }
            texts = {name: json.dumps(found) for name, asked in configs.items() if (found := asked().value)}
            texts |= {name: found for name, asked in further.items() if (found := asked().value) is not None}
            # without one of them the tokenizer would be another
            is_whole = bool(model) and not (there & {*tokenizer_files.CONFIGS, *further}) - texts.keys()
            return tokenizer_files.of_answers(texts, vocabulary()) if is_whole else None

        return answer

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
            page, sizes, viewed = self._noted(repo_id, info()), size(), rows()
            first = viewed.value or {}
            if page.refused != 404:
                if not is_shown:
                    why = "the dataset viewer shows the main branch alone, and the files that the card declares"
                    self.gaps.note(Gap(repo_id, "absent", why, "rows in the dataset viewer", is_needed=False))
                self._noted(repo_id, viewed, "rows in the dataset viewer", is_needed=False)
                self._noted(repo_id, sizes, "rows in the dataset viewer", is_needed=False)
            facts = dataset_facts(
                page,
                sizes.value or {},
                first,
                dataset.config,
                dataset.split,
                # files of its own make another configuration
                has_configs=dataset.data_dir is None and dataset.data_files is None,
            )
            if facts.exists is False and not facts.lacks_revision:
                is_model, is_space = self.has_page("models", repo_id), self.has_page("spaces", repo_id)
                facts = replace(facts, found_as="model" if is_model() else "Space" if is_space() else None)
            if facts.gated:
                facts = replace(facts, granted=self._is_granted("datasets", repo_id))
            return facts, viewer.read_first_rows(first)[: dataset.num_samples]

        return answer

    def ask_hardware(self) -> Callable[[], HardwareFacts | None]:
        """Request the flavors; the returned function gives ``None`` if they stay unknown."""
        answer = self._ask(lambda _: hardware_facts(self._get("/api/jobs/hardware", False)), ("hardware",))
        return lambda: self._noted(PRICES, answer(), is_needed=False).value

    def ask_target(
        self, kind: Literal["models", "spaces"], find: Callable[[], str | None], *about: str | None
    ) -> Callable[[], TargetFacts | None]:
        """Request a repository that a run would write to; the returned function gives ``None`` if it stays unknown.

        That it is not there is an answer too, so it is kept as one.

        Args:
            kind: Of the repository.
            find: Its id, which may depend on other answers; ``None`` if there is none.
            about: What it depends on.
        """
        if not self.token:
            return lambda: None

        def look(token: Token) -> TargetFacts | None:
            repo_id = find()
            if repo_id is None or not is_valid_repo_id(repo_id):
                return None
            api = self._api(token)
            read = api.model_info if kind == "models" else api.space_info
            return found_target(repo_id, lambda: read(repo_id, timeout=self._seconds()))

        answer = self._ask(look, ("target", kind, *about))
        return lambda: self._noted(TARGET if kind == "models" else SPACE, answer(), is_needed=False).value

    def ask_account(self) -> Callable[[], AccountFacts]:
        """Request the owner of the token; without a token, nothing is requested."""
        token = self.token
        if not token:
            return lambda: AccountFacts(has_token=False)
        answer = self._ask_owner(token)
        return lambda: account_facts(self._noted(TOKEN, answer()))

    def ask_owner(self) -> Callable[[], str | None]:
        """Request the name of the token's owner, as ``ask_account`` does, which says what went wrong."""
        token = self.token
        if not token:
            return lambda: None
        answer = self._ask_owner(token)
        return lambda: as_text((answer().value or {}).get("name"))

    def _ask_owner(self, token: str) -> Callable[[], Answer[Json]]:
        return self._ask(lambda _: owned_account(as_json(self._get("/api/whoami-v2", token))), ("account",))

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
        self.notice.expect(subject(question), future)

        def wait() -> Answer[T]:
            self.notice.wait(future, self.deadline)
            in_time = attempt(lambda: future.result(timeout=self._left()))
            return in_time or Answer(failure=f"no answer within {TOTAL_SECONDS:g} s")

        return wait

    def _noted(self, about: str, answer: Answer[T], part: str = "", *, is_needed: bool = True) -> Answer[T]:
        self.gaps.note_answer(about, answer, part, is_needed=is_needed, has_token=bool(self.token))
        return answer

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _seconds(self) -> float:
        return min(CALL_SECONDS, self._left())

    def _api(self, token: Token) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=token)

    def _get(self, path: str, token: Token) -> object:
        return self._request(path, token).json()

    def _request(self, path: str, token: Token) -> Response:
        # Through the client's session rather than HfApi.whoami and list_jobs_hardware, which have no timeout.
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # pyright: ignore[reportUnknownVariableType]

        url = path if "://" in path else self._api(False).endpoint.rstrip("/") + path
        response = get_session().get(url, headers=build_hf_headers(token=token), timeout=self._seconds())
        hf_raise_for_status(response)
        return response

    def _view(self, path: str, token: Token, **query: str) -> Json:
        return as_json(self._get(viewer.viewer_url(self._api(False).endpoint, path, **query), token))

    def _ask_file(self, repo_id: str, name: str, revision: str | None) -> Callable[[], Answer[Json]]:
        return self._ask(
            lambda token: self._read_file(repo_id, name, revision, token), ("file", repo_id, name, revision)
        )

    def ask_text(self, repo_id: str, name: str, revision: str | None) -> Callable[[], Answer[str]]:
        """Request a small file of a model's repository."""

        def read(token: Token) -> str:
            from huggingface_hub import hf_hub_url

            return self._request(hf_hub_url(repo_id, name, revision=revision, endpoint=self.endpoint), token).text

        return self._ask(read, ("text", repo_id, name, revision))

    def _read_file(self, repo_id: str, name: str, revision: str | None, token: Token) -> Json:
        from huggingface_hub import hf_hub_url

        return as_json(self._get(hf_hub_url(repo_id, name, revision=revision, endpoint=self.endpoint), token))
