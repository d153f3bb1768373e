"""Whether the rows of a spec can be rendered, and with which tokenizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from hfjobs_trainer.facts import DatasetFacts, ModelFacts, TemplateFacts
from hfjobs_trainer.gathering import template, tokenizer_files
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.hub import Hub
from hfjobs_trainer.gathering.light_environment import is_possible
from hfjobs_trainer.gathering.local_files import absolute
from hfjobs_trainer.gathering.tokenizer_files import TokenizerFiles
from hfjobs_trainer.gathering.values import Json
from hfjobs_trainer.planning.rendered import field_of, rendered_with
from hfjobs_trainer.specs.locations import TEMPLATES, is_local_path
from hfjobs_trainer.specs.source import read_text

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

Find = Callable[[], TokenizerFiles | None]


def find_template(spec: TrainSpec) -> ModelFacts | None:
    """The file or folder of this machine that ``chat_template_path`` names; ``None`` if it names a model of the Hub."""
    path = field_of(spec, "chat_template_path")
    if not isinstance(path, str) or not (is_local_path(path) or path.endswith(TEMPLATES)):
        return None
    place = absolute(path)
    exists = attempt(place.is_file if path.endswith(TEMPLATES) else place.is_dir) or False
    return ModelFacts(path=str(place), exists=exists)


def rendered(
    spec: TrainSpec,
    hub: Hub | None,
    model: Callable[[], ModelFacts],
    dataset: Callable[[], DatasetFacts],
    rows: Sequence[Json],
) -> Callable[[], TemplateFacts | None]:
    """Rows of the training dataset as tokens; the returned function gives ``None`` if there are no rows.

    What it takes from the Hub is requested now; the process that renders is started now if that will take a while.

    Args:
        spec: What is to be trained.
        hub: The Hub, if it is asked.
        model: The model.
        dataset: The training dataset.
        rows: Filled by ``dataset`` with a sample of its rows.
    """
    asked = field_of(spec, "chat_template_path")
    path = asked if isinstance(asked, str) else ""
    how = rendered_with(spec)
    if not is_possible():
        return lambda: TemplateFacts(made_with=how, why_not=template.WITHOUT_LIBRARIES) if dataset() and rows else None
    own = _files(hub, *spec.tokenizer_source)
    is_file = path.endswith(TEMPLATES)
    cloned = _files(hub, path, None) if path and not is_file else None
    if hub is not None:
        template.start(offline=False)

    def answer() -> TemplateFacts | None:
        dataset()
        known = model()
        if not rows or known.exists is False:
            return None
        files, other = own(), cloned() if cloned else None
        text = attempt(lambda: read_text(absolute(path))) if is_file else None
        if files is None:
            return TemplateFacts(made_with=how, why_not=f"the tokenizer of {spec.tokenizer_source[0]}")
        if path and other is None and text is None:
            return TemplateFacts(made_with=how, why_not=f"the chat template of {path}")
        source = template.Source(files, other, text)
        # the other trainers load a tokenizer of a model that takes images too
        vision = bool(known.is_vision) and type(spec).TRAINING.reads_images
        return template.render(spec, rows, source, vision=vision, offline=hub is None)

    return answer


def _files(hub: Hub | None, name: str, revision: str | None) -> Find:
    if is_local_path(name):
        find: Find = lambda: tokenizer_files.of_folder(name)  # noqa: E731
    elif hub is not None:
        find = hub.ask_tokenizer_files(name, revision)
    else:
        find = lambda: tokenizer_files.of_cache(name, revision)  # noqa: E731
    return cache(lambda: attempt(find))
