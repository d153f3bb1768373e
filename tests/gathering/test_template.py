"""Rows rendered with the templates of real families: what is found in bad ones, and nothing in good ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from gathering.families import assistant, make_model, system, user, write_rows

import hfjobs_trainer as hft
from hfjobs_trainer.problems import Report

Check = Callable[..., Report]
AREAS = ("TMPL", "TOK", "DATA011")

CALL = [{"type": "function", "function": {"name": "multiply", "arguments": {"a": 2, "b": 3}}}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "multiply",
            "description": "Multiply.",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer", "description": "x"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            },
        },
    }
]
PLAIN = {"messages": [user("Hello there"), assistant("The sky is blue.")]}
SYSTEM = {"messages": [system("Be kind."), *PLAIN["messages"]]}
MULTI = {"messages": [*SYSTEM["messages"], user("Why?"), assistant("Light is scattered.")]}
CALLS = {
    "messages": [
        user("What is 2 * 3?"),
        assistant("", tool_calls=CALL),
        {"role": "tool", "name": "multiply", "content": "6"},
        assistant("It is 6."),
    ],
    "tools": TOOLS,
}
THINKS = {"messages": [user("Hello"), assistant("<think>\nA greeting.\n</think>\n\nHello to you.")]}
TURN_ENDS = {
    **dict.fromkeys(("gemma", "gemma3"), "<end_of_turn>"),
    **dict.fromkeys(("llama3", "llama3_1"), "<|eot_id|>"),
    "phi3": "<|end|>",
    "gptoss": "<|return|>",
}


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """What is told of rows and a model's folder in the areas of templates and tokens."""

    def run(model: Path, rows: Sequence[Mapping[str, Any]], method: str = "sft", **fields: Any) -> Report:
        data = write_rows(tmp_path / "rows.jsonl", rows)
        spec = {"method": method, "model": str(model), "dataset": str(data), **fields}
        return hft.check(spec, offline=True, backend="local")

    return run


def codes(report: Report) -> list[str]:
    assert not [item for item in report.unchecked if item.code.startswith(AREAS)]
    return [problem.code for problem in report.problems if problem.code.startswith(AREAS)]


def told(report: Report, code: str) -> tuple[str, str]:
    return next((problem.why, problem.fix) for problem in report.problems if problem.code == code)


@pytest.mark.parametrize(
    ("family", "rows"),
    [
        *((name, [PLAIN, SYSTEM, MULTI, CALLS]) for name in ("qwen2_5", "qwen3", "llama3_1", "gptoss")),
        ("qwen3", [PLAIN, THINKS]),
        ("qwen3", [{"messages": [user("Hello"), assistant("Hello to you.", reasoning_content="A greeting.")]}]),
        *((name, [PLAIN, SYSTEM, MULTI]) for name in ("llama3", "gemma3", "phi3", "lfm2")),
        ("gemma", [PLAIN, {"messages": [*PLAIN["messages"], user("Why?"), assistant("Because.")]}]),
    ],
)
def test_good_rows_of_known_families(family: str, rows: list[dict[str, Any]], tmp_path: Path, check: Check) -> None:
    # Gemma's generation config stops at the end of a turn, which is not its EOS token
    turn_end = TURN_ENDS.get(family, "<|im_end|>")
    eos = "<eos>" if "gemma" in family else turn_end
    model = make_model(tmp_path / family, family, eos=eos, bos="<bos>", stops=[turn_end])
    # a token has few letters here
    assert codes(check(model, rows, max_length=4096)) == []


def test_plain_text_and_a_base_model(tmp_path: Path, check: Check) -> None:
    model = make_model(tmp_path / "base", "qwen2_5", eos="<|endoftext|>")
    assert codes(check(model, [{"text": "Once upon a time."}])) == []
    assert codes(check(make_model(tmp_path / "bare", None), [{"prompt": "One", "completion": " two"}])) == []


def test_what_a_template_refuses_is_quoted(tmp_path: Path, check: Check) -> None:
    report = check(make_model(tmp_path / "gemma", "gemma", eos="<end_of_turn>"), [PLAIN, PLAIN, SYSTEM])
    assert codes(report) == ["TMPL001"]
    why, _ = told(report, "TMPL001")
    assert 'saying "System role not supported": row 2 of the 3 looked at' in why


def test_messages_that_a_template_passes_over(tmp_path: Path, check: Check) -> None:
    model = make_model(tmp_path / "qwen", "qwen2_5")
    rows = [PLAIN, {"messages": [{"role": "interviewer", "content": "Hi"}, assistant("Hello")]}]
    report = check(model, rows)
    assert codes(report) == ["TMPL003"]
    assert '"interviewer"' in told(report, "TMPL003")[0]
    # phi3 knows neither tools nor what they give
    report = check(make_model(tmp_path / "phi", "phi3", eos="<|end|>"), [CALLS])
    assert codes(report) == ["TMPL003", "TMPL003", "TMPL006"]


def test_a_base_model_without_a_template(tmp_path: Path, check: Check) -> None:
    report = check(make_model(tmp_path / "base", None), [PLAIN])
    assert codes(report) == ["TMPL002"]
    assert told(report, "TMPL002")[1] == 'chat_template_path="meta-llama/Llama-3.2-1B-Instruct"'
    chatml = make_model(tmp_path / "chatml", None, specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    assert told(check(chatml, [PLAIN]), "TMPL002")[1] == 'chat_template_path="Qwen/Qwen3-0.6B"'
    # a folder brings its template, its tokens and its end of sequence
    source = make_model(tmp_path / "source", "qwen3", specials=("<|new|>", "<|im_start|>", "<|im_end|>"))
    assert codes(check(chatml, [PLAIN], chat_template_path=str(source))) == []
    pair = {"prompt": [user("Hi")], "chosen": [assistant("Hello")], "rejected": [assistant("No")]}
    assert codes(check(chatml, [pair], "dpo")) == ["TMPL002"]


def test_the_end_of_a_base_model_is_never_trained(tmp_path: Path, check: Check) -> None:
    model = make_model(tmp_path / "base", "qwen2_5", eos="<|endoftext|>")
    report = check(model, [PLAIN])
    assert codes(report) == ["TOK003"]
    assert told(report, "TOK003")[1] == 'eos_token="<|im_end|>"'
    assert codes(check(model, [PLAIN], eos_token="<|im_end|>")) == []
    stopping = make_model(tmp_path / "stops", "qwen2_5", eos="<|endoftext|>", stops=["<|im_end|>"])
    assert codes(check(stopping, [PLAIN])) == []


def test_tokens_that_a_vocabulary_lacks(tmp_path: Path, check: Check) -> None:
    model = make_model(tmp_path / "qwen", "qwen2_5")
    report = check(model, [PLAIN], eos_token="<|eos|>", pad_token="<|pad|>")
    assert codes(report) == ["TOK001", "TOK001"]
    none = make_model(tmp_path / "none", "qwen2_5", eos=None, pad=None)
    for rows in ([PLAIN], [{"text": "Hi"}]):
        report = check(none, rows)
        assert codes(report) == ["TOK002"]
        assert told(report, "TOK002")[1] == 'eos_token="<|im_end|>"'
    assert codes(check(none, [{"text": "Hi"}], eos_token="<|im_end|>")) == []
    beyond = make_model(tmp_path / "beyond", "qwen2_5", config={"vocab_size": 200})
    assert codes(check(beyond, [PLAIN])) == ["TOK004"]


def test_the_assistants_tokens(tmp_path: Path, check: Check) -> None:
    own = make_model(tmp_path / "own", "{% for m in messages %}{{ m.role + m.content }}<|im_end|>{% endfor %}")
    report = check(own, [PLAIN], assistant_only_loss=True)
    assert codes(report) == ["TMPL004"]
    assert codes(check(own, [PLAIN])) == []
    known = make_model(tmp_path / "qwen", "qwen2_5")
    assert codes(check(known, [PLAIN, MULTI], assistant_only_loss=True)) == []
    report = check(known, [PLAIN, {"messages": [user("Hello?")]}], assistant_only_loss=True)
    assert codes(report) == ["TMPL005"]
    assert "row 1 of the 2 looked at" in told(report, "TMPL005")[0]


def test_thoughts_that_are_dropped(tmp_path: Path, check: Check) -> None:
    thinking = {"messages": [user("Hello"), assistant("Hello to you.", reasoning_content="A greeting.")]}
    twice = {"messages": [*THINKS["messages"], *THINKS["messages"]]}
    qwen2, qwen3 = make_model(tmp_path / "2", "qwen2_5"), make_model(tmp_path / "3", "qwen3")
    assert codes(check(qwen2, [thinking])) == ["TMPL006"]
    assert codes(check(qwen3, [twice])) == ["TMPL006"]
    # of the prompt, nothing is trained
    last = {"prompt": twice["messages"][:3], "completion": twice["messages"][3:]}
    assert codes(check(qwen3, [last])) == []


def test_arguments_of_calls_as_openai_writes_them(tmp_path: Path, check: Check) -> None:
    def row(arguments: Any) -> dict[str, Any]:
        call = {"type": "function", "function": {"name": "add", "arguments": arguments}}
        return {"messages": [user("1 + 2"), assistant("", tool_calls=[call]), {"role": "tool", "content": "3"}]}

    qwen2, qwen3 = make_model(tmp_path / "2", "qwen2_5"), make_model(tmp_path / "3", "qwen3")
    report = check(qwen2, [row('{"x": 1}')])
    assert "TMPL006" in codes(report)
    assert "with escaped quotes: row 0 of the 1 looked at" in told(report, "TMPL006")[0]
    assert "TMPL006" not in codes(check(qwen2, [row({"x": 1})]))
    assert "TMPL006" not in codes(check(qwen3, [row('{"x": 1}')]))


def test_what_is_cut(tmp_path: Path, check: Check) -> None:
    model = make_model(tmp_path / "qwen", "qwen2_5")
    long = {"prompt": [user("Hello " * 60)], "completion": [assistant("Yes.")]}
    assert codes(check(model, [long] * 4, max_length=128)) == ["TOK006"]
    report = check(model, [long, {"prompt": [user("Hi")], "completion": [assistant("Yes.")]}], max_length=128)
    assert codes(report) == ["DATA011"]
    why, fix = told(report, "DATA011")
    assert "about 50% of the rows" in why
    assert "of 50% nothing is left to train on" in why
    assert fix == "max_length=512"
    assert codes(check(model, [long], max_length=512)) == []
    pair = {"chosen": [user("Hi"), assistant("Hello " * 60)], "rejected": [user("Hi"), assistant("No")]}
    assert codes(check(model, [pair] * 3, "reward", max_length=128)) == ["TOK006"]
    assert codes(check(model, [pair], "reward", max_length=1024)) == []
    positions = make_model(tmp_path / "short", "qwen2_5", config={"max_position_embeddings": 256})
    assert codes(check(positions, [long], max_length=None)) == ["TOK005"]
    # the template's own system prompt counts
    narrow = make_model(tmp_path / "narrow", "qwen2_5", config={"max_position_embeddings": 64})
    assert told(check(narrow, [PLAIN], max_length=1024), "MODEL011")[1] == "max_length=64"


def test_rows_of_other_methods(tmp_path: Path, check: Check) -> None:
    model = make_model(tmp_path / "gemma", "gemma", bos="<bos>", eos="<end_of_turn>")
    messages = [system("Be kind."), user("Hi")]
    rewards = {"reward_funcs": "think_format_reward"}
    assert codes(check(model, [{"prompt": messages}], "grpo", **rewards)) == ["TMPL001"]
    assert codes(check(model, [{"prompt": messages[1:]}], "grpo", **rewards)) == []
    answers = {"chosen": [assistant("Hello")], "rejected": [assistant("No")]}
    for method in ("dpo", "orpo", "cpo", "reward"):
        assert codes(check(model, [{"prompt": messages, **answers}], method)) == ["TMPL001"]
        assert codes(check(model, [{"prompt": messages[1:], **answers}], method)) == []
    kto = [{"prompt": messages, "completion": [assistant("Hello")], "label": label} for label in (True, False)]
    assert codes(check(model, kto, "kto")) == ["TMPL001"]
