"""What rendered rows tell is what TRL does with them: it refuses what is refused, and the fixes train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gathering.families import assistant, system, template_of, user, write_rows

import hfjobs_trainer as hft
from examples import tiny

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*os.fork.*"),
]

CHAT = {"messages": [user("What colour is the sea?"), assistant("Blue.")]}
OWN = "{% for m in messages %}{{ m.role + m.content }}<|im_end|>{% endfor %}"


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the tiny model with another template and other special tokens."""

    def copy(template: str | None = None, **tokens: str | None) -> Path:
        if tokens.get("eos_token", "") is None:
            # that of Qwen2 has tokens of its own, whatever its files say
            folder = tiny.make_model(tmp_path / "llama", arch="llama")
        else:
            folder = Path(shutil.copytree(tiny_model, tmp_path / "model", dirs_exist_ok=True))
        config = json.loads((folder / "tokenizer_config.json").read_text())
        config = {name: value for name, value in (config | tokens).items() if value is not None}
        config.pop("chat_template", None)
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        end = {"<|endoftext|>": 0, "<|im_end|>": 2}.get(config.get("eos_token", ""))
        for name in ("config.json", "generation_config.json"):
            text = json.loads((folder / name).read_text()) | {"eos_token_id": end}
            (folder / name).write_text(json.dumps(text))
        place = folder / "chat_template.jinja"
        place.unlink(missing_ok=True)
        if template is not None:
            place.write_text(template)
        return folder

    return copy


def codes(path: Path, rows: list[dict[str, Any]], tmp_path: Path, **fields: Any) -> list[str]:
    data = write_rows(tmp_path / "rows.jsonl", rows)
    report = hft.check(hft.SFT(model=str(path), dataset=str(data), **fields), offline=True, backend="local")
    return [problem.code for problem in report.problems if problem.code.startswith(("TMPL", "TOK"))]


def trainer(path: Path, rows: list[dict[str, Any]], tmp_path: Path, **arguments: Any) -> Any:
    import datasets
    import trl

    args = trl.SFTConfig(
        use_cpu=True,
        bf16=False,
        report_to="none",
        max_steps=1,
        per_device_train_batch_size=1,
        output_dir=str(tmp_path / "out"),
        **arguments,
    )
    return trl.SFTTrainer(str(path), args=args, train_dataset=datasets.Dataset.from_list(rows))


@pytest.mark.parametrize(
    ("code", "template", "tokens", "rows", "fields", "error"),
    [
        ("TMPL001", "gemma", {}, [CHAT, {"messages": [system("Hi"), *CHAT["messages"]]}], {}, "System role not supp"),
        ("TMPL002", None, {}, [CHAT], {}, "chat_template is not set"),
        ("TMPL004", OWN, {}, [CHAT], {"assistant_only_loss": True}, "patching is not supported"),
        ("TMPL005", "qwen2_5", {}, [CHAT, {"messages": [user("?")]}], {"assistant_only_loss": True}, "no assistant"),
        ("TOK001", "qwen2_5", {}, [CHAT], {"eos_token": "<|x|>"}, "not found in the vocabulary"),
        ("TOK001", "qwen2_5", {}, [CHAT], {"pad_token": "<|x|>"}, "not found in the vocabulary"),
        ("TOK002", OWN, {"eos_token": None, "pad_token": None}, [CHAT], {}, "not found in the vocabulary"),
        ("TOK002", None, {"eos_token": None}, [{"text": "Hi"}], {}, "NoneType|endswith"),
    ],
)
def test_trl_refuses_it_too(
    code: str,
    template: str | None,
    tokens: dict[str, str | None],
    rows: list[dict[str, Any]],
    fields: dict[str, Any],
    error: str,
    model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    path = model(template if template in (None, OWN) else template_of(template), **tokens)
    assert codes(path, rows, tmp_path, **fields) == [code]
    with pytest.raises(Exception, match=error):
        trainer(path, rows, tmp_path, **fields)


def test_rows_without_a_message_are_trained_in_silence(model: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "interviewer", "content": "Hi"}, {"role": "guest", "content": "Hello"}]}]
    path = model(template_of("qwen2_5"))
    assert codes(path, rows, tmp_path) == ["TMPL003"]
    made = trainer(path, rows, tmp_path)
    text = made.processing_class.decode(made.train_dataset[0]["input_ids"])
    assert "Hello" not in text
    assert "You are Qwen" in text


def test_the_end_of_a_base_model(model: Callable[..., Path], tmp_path: Path) -> None:
    path = model(template_of("qwen2_5"), eos_token="<|endoftext|>")
    assert codes(path, [CHAT], tmp_path) == ["TOK003"]
    for fields, stops in (({}, False), ({"eos_token": "<|im_end|>"}, True)):
        made = trainer(path, [CHAT], tmp_path, **fields)
        made.train()
        made.save_model()
        labels = {label for row in made.train_dataset for label in row["labels"]}
        saved = json.loads((tmp_path / "out" / "generation_config.json").read_text())["eos_token_id"]
        ends = {saved} if isinstance(saved, int) else set(saved)
        assert bool(ends & labels) is stops
        assert (made.processing_class.eos_token_id in labels) is stops
    assert codes(path, [CHAT], tmp_path, eos_token="<|im_end|>") == []


def test_nothing_is_left_of_a_prompt_that_fills_the_length(model: Callable[..., Path], tmp_path: Path) -> None:
    rows = [{"prompt": [user("Hello " * 60)], "completion": [assistant("Yes.")]}]
    path = model(template_of("qwen2_5"))
    assert codes(path, rows, tmp_path, max_length=64) == ["TOK006"]
    with pytest.raises((IndexError, ValueError, StopIteration)):
        trainer(path, rows, tmp_path, max_length=64).train()


def test_a_pad_token_that_is_the_end_hides_nothing(model: Callable[..., Path], tmp_path: Path) -> None:
    path = model(template_of("qwen2_5"), pad_token="<|im_end|>")
    rows = [CHAT, {"messages": [*CHAT["messages"], *CHAT["messages"]]}]
    made = trainer(path, rows, tmp_path)
    batch = made.data_collator([made.train_dataset[0], made.train_dataset[1]])
    end = made.processing_class.eos_token_id
    assert end == made.processing_class.pad_token_id
    counted = [sum(label == end for label in row["labels"]) for row in made.train_dataset]
    assert [(labels == end).sum().item() for labels in batch["labels"]] == counted
    assert codes(path, rows, tmp_path) == []
