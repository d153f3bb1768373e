"""What is read of a model: its class, its files, whose it is and who may read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gathering.repos import CARD, CONFIG, TOKEN, gathered, make_model, make_repo, spec
from hubsim import Hub

from hfjobs_trainer.gathering.config import read_config
from hfjobs_trainer.gathering.local_model import read_model

NOJOBS = "hf_alice_nojobs"


def names(*files: str) -> dict[str, str]:
    return {"config.json": json.dumps(CONFIG), **dict.fromkeys(files, "")}


@pytest.mark.parametrize(
    ("files", "weights", "library", "has_tokenizer"),
    [
        (("model.safetensors.index.json", "tokenizer.json"), "transformers", None, True),
        (("pytorch_model.bin", "vocab.txt"), "transformers", None, True),
        (("model-Q4_K_M.gguf", "README.md"), "GGUF", None, False),
        (("model_index.json", "unet.bin"), "other", "diffusers", False),
        (("consolidated.00.pth", "tokenizer.model"), "other", None, True),
        (("optimizer.pt", "training_args.bin"), "none", None, False),
        (("modules.json", "pytorch_model.bin", "tokenizer.json"), "transformers", "sentence-transformers", True),
    ],
)
def test_files(
    hub: Hub, tmp_path: Path, files: tuple[str, ...], weights: str, library: str | None, has_tokenizer: bool
) -> None:
    make_repo(hub, "models", "acme/llama", names(*files))
    for name, text in names(*files).items():
        (tmp_path / name).write_text(text)
    for facts in (gathered(hub, spec()).model, read_model(str(tmp_path))):
        assert (facts.weights, facts.library, facts.has_tokenizer) == (weights, library, has_tokenizer)


def test_what_a_page_says_it_was_made_from(hub: Hub) -> None:
    make_repo(hub, "models", "acme/llama", {"README.md": "---\nbase_model: acme/base\n---\n", "a.gguf": ""})
    assert gathered(hub, spec()).model.based_on == "acme/base"


@pytest.mark.parametrize(
    ("config", "architectures", "brought", "labels"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, ("LlamaForCausalLM",), (), None),
        ({"auto_map": {"AutoConfig": "c.C"}}, (), ("AutoConfig",), None),
        ({"architectures": ["LlamaForSequenceClassification"]}, ("LlamaForSequenceClassification",), (), 2),
        ({"id2label": {"0": "LABEL_0"}}, (), (), 1),
    ],
)
def test_the_class(config: dict[str, Any], architectures: Any, brought: Any, labels: int | None) -> None:
    facts = read_config(CONFIG | config)
    assert (facts.architectures, facts.auto_classes, facts.num_labels) == (architectures, brought, labels)
    assert read_config({}).architectures is None


@pytest.mark.parametrize(
    ("scaling", "kind", "factor"),
    [
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, "yarn", 4.0),
        ({"type": "linear", "factor": 2}, "linear", 2.0),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, "llama3", None),
        ({"rope_type": "default"}, None, None),
    ],
)
def test_stretched_positions(scaling: dict[str, Any], kind: str | None, factor: float | None) -> None:
    facts = read_config(CONFIG | {"max_position_embeddings": 32768, "rope_scaling": scaling})
    assert (facts.rope_type, facts.rope_factor) == (kind, factor)


def test_an_id_of_another_kind(hub: Hub) -> None:
    make_repo(hub, "datasets", "acme/rows", {"README.md": CARD})
    make_repo(hub, "spaces", "acme/demo", {"app.py": ""})
    make_model(hub, "acme/llama")
    facts = gathered(hub, spec("acme/rows", "acme/llama"))
    assert (facts.model.exists, facts.model.found_as) == (False, "dataset")
    assert (facts.dataset.exists, facts.dataset.found_as) == (False, "model")
    assert gathered(hub, spec("acme/demo")).model.found_as == "Space"
    assert gathered(hub, spec("acme/none")).model.found_as is None
    # where all is as it should be, nothing more is asked
    hub.journal.clear()
    gathered(hub, spec("acme/llama", "acme/rows"))
    assert not hub.requests("/api/(spaces/acme/rows|datasets/acme/llama|models/acme/rows)")


def test_a_revision_that_is_not_there_is_told_from_a_repository(hub: Hub) -> None:
    make_model(hub, "acme/llama")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    facts = gathered(hub, spec(model_revision="nope", dataset={"id": "acme/chat", "revision": "nope"}))
    for known in (facts.model, facts.dataset):
        assert (known.exists, known.lacks_revision, known.found_as) == (False, True, None)
    assert gathered(hub, spec("acme/none", model_revision="nope")).model.lacks_revision is False


@pytest.mark.parametrize(
    ("token", "allow", "granted"),
    [(TOKEN, [], True), ("hf_carol_write", [], False), ("hf_carol_write", ["carol"], True), (None, [], None)],
)
def test_who_may_read_what_is_gated(hub: Hub, token: str | None, allow: list[str], granted: bool | None) -> None:
    gate = {"gated": "manual", "allow": allow}
    make_model(hub, "acme/llama", gate)
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD}, gate)
    facts = gathered(hub, spec(), token=token)
    assert (facts.model.granted, facts.dataset.granted) == (granted, granted)
    # of a model its config.json says it
    assert not hub.requests("/api/models/acme/llama/auth-check")
    assert len(hub.requests("/api/datasets/acme/chat/auth-check")) == (token is not None)


def test_what_a_run_would_write_to(hub: Hub) -> None:
    make_model(hub, "alice/out")
    make_repo(hub, "spaces", "alice/trackio", {"README.md": "---\nsdk: gradio\ntags:\n- trackio\n---\n", "app.py": ""})
    facts = gathered(hub, spec(hub_model_id="alice/out"))
    assert facts.target is not None
    assert (facts.target.exists, facts.target.holds) == (True, ("model.safetensors",))
    assert facts.space is not None
    assert (facts.space.id, facts.space.sdk, facts.space.tags) == ("alice/trackio", "gradio", ("trackio",))
    new = gathered(hub, spec(hub_model_id="alice/new", report_to="none"))
    assert new.target is not None
    assert (new.target.id, new.target.exists) == ("alice/new", False)
    assert new.space is None
    named = gathered(hub, spec(push_to_hub=True, output_dir="runs/out")).target
    assert named is not None
    assert named.id == "alice/out"
    elsewhere = gathered(hub, spec(hub_model_id="alice/out"), backend="local")
    assert (elsewhere.target, elsewhere.space) == (None, None)


def test_what_a_token_may_do(hub: Hub) -> None:
    account = gathered(hub, spec(), token=NOJOBS).account
    assert account.token_role == "fineGrained"
    assert account.may("repo.write", "alice", ("model", "alice/x")) is True
    assert account.may("job.write", "alice") is False
    assert account.may("repo.write", "acme", ("model", "acme/x")) is False
    bob = gathered(hub, spec(), token="hf_bob_write").account
    assert (bob.may("job.write", "bob"), bob.may("job.write", "acme")) == (True, False)
    carol = gathered(hub, spec(), token="hf_carol_write").account
    assert carol.paying == {"carol": False}


def test_a_model_that_was_renamed(hub: Hub) -> None:
    make_model(hub, "acme/llama")
    hub.moved["models/acme/old"] = "acme/llama"
    facts = gathered(hub, spec("acme/old")).model
    assert (facts.exists, facts.current_id, facts.hidden_size) == (True, "acme/llama", 64)
    assert gathered(hub, spec()).model.current_id is None
