"""What an error of a smoke test means: a problem with a code and a fix, where they are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.locations import TEMPLATES, is_local_path

CODES: dict[str, str] = {
    "SMOKE001": "The script ended with an error that no rule knows; the message has its end.",
    "SMOKE002": "A reward function, or another function of yours, raised an error, or returned what TRL does not take.",
    "SMOKE003": "A package is missing where the script runs.",
    "SMOKE004": "The loss, or the reward, is not a number.",
    "SMOKE005": "The smoke test took longer, or more memory, than it may.",
    "SMOKE006": "The smoke test could not be started, or said nothing of its result.",
}
"""Codes that only a smoke test gives: what they mean. The others are those of rules."""

# Characters of an error's message, and lines of a traceback, that a problem quotes.
QUOTED, LINES = 300, 8


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of the script, as the smoke test reports it.

    Attributes:
        type: Name of its class.
        message: Its text.
        stage: The stage in which it arose.
        user: The innermost lines of the user's own functions, as name and line.
        causes: Types and texts of the errors that it arose from.
        module: The module that could not be imported, if that is what went wrong.
        traceback: The end of the traceback.
    """

    type: str
    message: str
    stage: str = ""
    user: tuple[tuple[str, str], ...] = ()
    causes: tuple[tuple[str, str], ...] = ()
    module: str = ""
    traceback: str = ""

    @property
    def said(self) -> str:
        """The messages of the error and of those that it arose from."""
        return "\n".join([self.message, *(message for _, message in self.causes)])

    @property
    def types(self) -> tuple[str, ...]:
        """Names of the classes of the error and of those that it arose from."""
        return (self.type, *(name for name, _ in self.causes))

    @property
    def short(self) -> str:
        """The error in one line."""
        return f"{self.type}: {' '.join(self.message.split())[:QUOTED]}".removesuffix(": ")


def read_failure(found: Mapping[str, Any]) -> Failure:
    """Read an error from the event of a smoke test, of which anything may be missing."""

    def text(name: str, of: Mapping[str, Any] = found) -> str:
        return str(of.get(name) or "")

    def listed(name: str) -> list[Mapping[str, Any]]:
        items = found.get(name)
        return [cast("Mapping[str, Any]", item) for item in cast("list[Any]", items)] if isinstance(items, list) else []

    return Failure(
        type=text("type") or "error",
        message=text("message"),
        stage=text("stage"),
        user=tuple((text("name", item), text("line", item)) for item in listed("user")),
        causes=tuple((text("type", item), text("message", item)) for item in listed("causes")),
        module=text("module"),
        traceback=text("traceback"),
    )


def explain(failure: Failure, functions: Sequence[str] = (), installed: Sequence[str] = ()) -> Problem:
    """The problem that an error of the script shows.

    Args:
        failure: The error.
        functions: Names of the user's functions in the script.
        installed: Requirements that the spec asks for beside the tested ones.
    """
    own = next(((name, line) for name, line in reversed(failure.user) if name in functions), None)
    if (failure.module and "ImportError" in failure.types) or "ModuleNotFoundError" in failure.types:
        return _missing(failure, installed)
    if own is not None:
        return _own_function(failure, own)
    for known in KNOWN:
        found = known(failure)
        if found is not None:
            return found
    where = f" in the stage {failure.stage}" if failure.stage else ""
    tail = "\n".join(failure.traceback.rstrip().splitlines()[-LINES:])
    return Problem("SMOKE001", "", f"the script fails{where}: {failure.short}" + (f"\n{tail}" if tail else ""))


def _missing(failure: Failure, installed: Sequence[str]) -> Problem:
    package = failure.module.split(".")[0]
    if not package:
        return Problem("SMOKE003", "extra_dependencies", f"a package is missing: {failure.short}")
    why = f"the script needs the package {package}, which is not installed where it runs"
    return Problem("SMOKE003", "extra_dependencies", why, keywords({"extra_dependencies": [*installed, package]}))


def _own_function(failure: Failure, own: tuple[str, str]) -> Problem:
    name, line = own
    at = f" at `{line.strip()[:120]}`" if line.strip() else ""
    return Problem("SMOKE002", name, f"{name}{at} raises {failure.short}")


def _count(failure: Failure) -> Problem | None:
    if found := re.search(r"(\w+)'? returned (\d+) rewards?(?:, but| for) (\d+) ", failure.message):
        name, given, wanted = found.groups()
        why = f"{name} returns {given} for {wanted} completions: return a list with a number for each completion"
        return Problem("SMOKE002", name, why)
    return None


def _rows(failure: Failure) -> Problem | None:
    found = re.match(r"(\w+) (?:returned a \w+, not a row|dropped all \d+ rows)", failure.message)
    return Problem("SMOKE002", found[1], failure.message[:QUOTED]) if found else None


def _number(failure: Failure) -> Problem | None:
    if failure.type != "FloatingPointError":
        return None
    why = f"{failure.message}, in float32 and with random weights"
    why += ": rows have no token to train on, or a reward is not a number"
    return Problem("SMOKE004", "reward_funcs" if "the reward" in failure.message else "dataset", why)


def _template(failure: Failure) -> Problem | None:
    if any(
        name in ("TemplateError", "UndefinedError", "TemplateSyntaxError", "TemplateRuntimeError")
        for name in failure.types
    ):
        return Problem("TMPL001", "dataset", f"the chat template does not take the conversations: {failure.short}")
    if "chat_template is not set" in failure.said:
        return Problem("TMPL002", "model", "the tokenizer has no chat template, which rows of messages need")
    return None


def _tokens(failure: Failure) -> Problem | None:
    if "does not have a padding token" in failure.said or ("pad_token" in failure.said and "None" in failure.said):
        return Problem("TOK002", "model", f"the tokenizer has no token that pads: {failure.short}")
    if found := re.search(r"(eos_token|pad_token)\b.* is not (?:found )?in the vocabulary", failure.said):
        return Problem("TOK001", found[1], failure.short)
    if failure.type == "IndexError" and "index out of range in self" in failure.said:
        return Problem("TOK004", "model", "the tokenizer gives tokens for which the model has no embedding")
    return None


def _columns(failure: Failure) -> Problem | None:
    patterns = (
        r"Column (?:name )?'?\[?'?([\w.-]+)'?\]?.* (?:not in|doesn't exist|does not exist)",
        r"column names? \['?([\w.-]+)'?\]",
        r"[Mm]issing (?:required )?column:? '?([\w.-]+)'?",
    )
    for pattern in patterns:
        if found := re.search(pattern, failure.said):
            return Problem("DATA004", "dataset", f"there is no column {found[1]}: {failure.short}")
    key = failure.message.strip("'\"")
    if failure.type == "KeyError" and re.fullmatch(r"\w+", key) and failure.stage in ("rows", "trainer", "training"):
        return Problem("DATA004", "dataset", f"the rows have no {key}, which the trainer reads")
    return None


def _files(failure: Failure) -> Problem | None:
    patterns = (
        r"Repo id must be in the form .*?: '([^']+)'",
        r"(?:^|\s)(\S+) is not a local folder and is not a valid model identifier",
    )
    found = next((found[1] for pattern in patterns if (found := re.search(pattern, failure.said))), None)
    if found is None or not (is_local_path(found) or found.endswith(TEMPLATES)):
        return None
    path = "chat_template_path" if found.endswith(TEMPLATES) else ""
    return Problem("DATA006", path, f"{found} does not exist where the script runs")


def _adapter(failure: Failure) -> Problem | None:
    if "arget modules" in failure.said and "not found in the base model" in failure.said:
        return Problem("LORA002", "lora.target_modules", failure.short)
    return None


def _hub(failure: Failure) -> Problem | None:
    if "GatedRepoError" in failure.types:
        return Problem(
            "HUB007", "model", f"the token has no access to a gated repository: {failure.short}", scope="remote"
        )
    if "RepositoryNotFoundError" in failure.types:
        return Problem("HUB002", "", f"a repository is not there, or the token may not see it: {failure.short}")
    if failure.stage == "push" and failure.type == "PermissionError":
        code = "HUB004" if "is no member of" in failure.message else "HUB009"
        return Problem(code, "output.hub_model_id", failure.message, scope="remote")
    return None


KNOWN: tuple[Callable[[Failure], Problem | None], ...] = (
    _count,
    _rows,
    _number,
    _template,
    _tokens,
    _hub,
    _files,
    _adapter,
    _columns,
)
"""What is known of errors, the first that knows one tells it."""
