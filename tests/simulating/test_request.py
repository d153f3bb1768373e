"""What the child is sent is checked before anything is built from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from simulating.tiny import MODEL

from hfjobs_trainer.simulating.__main__ import answer
from hfjobs_trainer.simulating.request import BadRequestError, parse_request


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sequence_length": 0}, "sequence_length: must be a whole number"),
        ({"sequence_length": True}, "sequence_length: must be a whole number"),
        ({"per_device_train_batch_size": 10**30}, "per_device_train_batch_size: must be a whole number"),
        ({"lora_dropout": float("nan")}, "lora_dropout: must be in"),
        ({"step": "__import__('os')"}, "step: must be one of"),
        ({"dtype": "Tensor"}, "dtype: must be one of"),
        ({"padded": "yes"}, "padded: must be true or false"),
        ({"shell": "rm"}, "shell: unknown field"),
        ({"model": MODEL | {"hidden_size": -1}}, "model.hidden_size: must be a whole number"),
        ({"model": MODEL | {"auto_map": {"AutoConfig": "evil.Config"}}}, "model.auto_map: must be a number"),
        ({"num_parameters": "many"}, "num_parameters: must be a whole number"),
        ({"optim": ["adamw"]}, "optim: must be a string"),
        ({"model": []}, "an object under 'model'"),
    ],
)
def test_a_request_that_is_none_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse_request({"model": MODEL} | fields)
    assert said in str(caught.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadRequestError, match=r"dtype.*lora_r"):
        parse_request({"model": MODEL, "dtype": "int3", "lora_r": -1})


@pytest.mark.torch
@pytest.mark.parametrize("line", ["", "null", "[1", '"text"', "[" * 100_000])
def test_any_line_has_an_answer(line: str) -> None:
    assert set(answer(line)) == {"unsupported"}


@pytest.mark.torch
def test_a_model_type_with_a_path_loads_nothing() -> None:
    said = answer(json.dumps({"model": MODEL | {"model_type": "../../etc/passwd", "_name_or_path": "evil/repo"}}))
    # an unknown type is taken for a Llama of these numbers
    assert "peaks" in said
