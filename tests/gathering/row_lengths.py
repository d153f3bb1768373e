"""Lengths of the rows of a spec's dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gathering.repos import TOKEN
from gathering.test_local_dataset import lines
from hubsim import Hub

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, LengthFacts
from hfjobs_trainer.gathering import gather
from hfjobs_trainer.specs.base import TrainSpec

NO_MODEL = "acme/no-model"


def found(spec: TrainSpec, hub: Hub | None = None) -> DatasetFacts:
    endpoint = hub.endpoint if hub else None
    return gather(spec, offline=hub is None, token=TOKEN, endpoint=endpoint, backend="local").dataset


def of_dataset(dataset: Any, hub: Hub | None = None, model: str = NO_MODEL, **fields: Any) -> LengthFacts:
    lengths = found(hft.SFT(model=model, dataset=dataset, **fields), hub).lengths
    assert lengths is not None
    return lengths


def known(spec: TrainSpec) -> tuple[str, int, float, float | None]:
    lengths = found(spec).lengths
    assert lengths is not None
    return lengths.unit, lengths.sampled, lengths.mean, lengths.prompt_mean


def write_lines(path: Path, texts: Sequence[str]) -> str:
    path.write_text(lines([{"text": text} for text in texts]))
    return str(path)
