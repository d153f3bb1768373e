"""What the Hub does not say is told apart: not asked, no answer, refused, absent. What is missing is asked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hubsim
import pytest
from gathering.repos import CARD, TOKEN, gathered, make_model, make_repo, spec

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.facts.gap import PRICES, TARGET
from hfjobs_trainer.facts.gap import TOKEN as TOKEN_OWNER
from hfjobs_trainer.gathering import answer
from hfjobs_trainer.gathering import hub as hub_module

PATHS = {
    TOKEN_OWNER: "/api/whoami",
    PRICES: "/api/jobs/hardware",
    "acme/llama": "/api/models/acme/llama$",
    "acme/chat": "/api/datasets/acme/chat$",
    TARGET: "/api/models/alice/out$",
}
HOUR = {"Retry-After": "3600"}
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "hangs": ({"hang": "before"}, "unanswered", "no answer within 1 s"),
    "too slow": ({"delay": 3}, "unanswered", "no answer within 1 s"),
    "503": ({"response": {"status": 503}}, "unanswered", "HTTP status 503, asked 3 times"),
    "429": (
        {"response": {"status": 429, "headers": HOUR}},
        "unanswered",
        "too many requests, to be made again in 3600 s",
    ),
    "401": ({"response": {"status": 401}}, "refused", "HTTP status 401, it does not accept your token"),
    "403": ({"response": {"status": 403}}, "refused", "HTTP status 403, your token may not read it"),
}
TITLES = {"unanswered": "no answer", "refused": "refused", "absent": "not on the Hub"}
SPEC = {"hub_model_id": "alice/out", "hardware": "t4-small", "timeout": "1h"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again at once, and not for long."""
    monkeypatch.setattr(answer, "PAUSES", (0.01, 0.01))


@pytest.fixture
def repos(hub: hubsim.Hub) -> hubsim.Hub:
    files = {"tokenizer__json": "{}", "tokenizer_config__json": '{"chat_template": "{{ messages }}"}'}
    make_model(hub, "acme/llama", **files)
    card = CARD.replace("  - name: prompt\n    dtype: string\n", "")
    make_repo(hub, "datasets", "acme/chat", {"README.md": card})
    return hub


@pytest.fixture
def client(repos: hubsim.Hub) -> hft.Client:
    return hft.Client(token=TOKEN, endpoint=repos.endpoint)


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "too slow"])
@pytest.mark.parametrize("about", PATHS)
def test_what_is_not_answered_and_what_is_refused(
    repos: hubsim.Hub, monkeypatch: pytest.MonkeyPatch, about: str, fault: str
) -> None:
    if fault == "hangs":
        monkeypatch.setattr(hub_module, "TOTAL_SECONDS", 1.0)
    how, kind, why = FAULTS[fault]
    repos.fail(path=PATHS[about], times=99, **how)
    facts = gathered(repos, spec(**SPEC))
    found = [(gap.kind, gap.why) for gap in facts.gaps if gap.about == about and not gap.part]
    assert found == [(kind, why)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plan_and_a_report_say_which(
    client: hft.Client, repos: hubsim.Hub, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    if fault in ("hangs", "too slow"):
        monkeypatch.setattr(hub_module, "TOTAL_SECONDS", 1.0)
    how, kind, why = FAULTS[fault]
    repos.fail(path=f"{PATHS['acme/chat']}|{PATHS[TARGET]}", times=99, **how)
    wanted = hft.SFT(model="acme/llama", dataset="acme/chat", **SPEC)
    plan, report = client.plan(wanted), client.check(wanted)
    shown, page = str(plan), plan._repr_html_()
    assert f"{TITLES[kind]}\n  acme/chat ({why})\n  the model's own repository ({why})" in shown
    assert f"HUB010: unknown: whether the model's own repository has a model already ({TITLES[kind]})" in shown
    assert f"<li>acme/chat ({why})</li>" in page
    clause = "the Hub has not answered for acme/chat" if kind == "unanswered" else "the Hub refuses acme/chat"
    assert f"unchecked: DATA004: unknown: the columns of acme/chat ({clause}: {why})" in str(report)
    assert f"{clause}: {why}" in report._repr_html_()
    again = [told for told in (shown, page, str(report), report._repr_html_()) if "asks again" in told]
    assert len(again) == (4 if kind == "unanswered" else 0)
    assert not [told for told in (shown, str(report)) if " needs " in told]


@pytest.mark.parametrize("about", PATHS)
def test_what_is_not_there(repos: hubsim.Hub, about: str) -> None:
    repos.fail(path=PATHS[about], times=99, response={"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}})
    facts = gathered(repos, spec(**SPEC))
    if about in (TOKEN_OWNER, PRICES):  # there always is one
        assert [(gap.kind, gap.why) for gap in facts.gaps if gap.about == about] == [("refused", "HTTP status 404")]
    else:
        assert not [gap for gap in facts.gaps if gap.about == about and not gap.part]
        subjects = {"acme/llama": facts.model, "acme/chat": facts.dataset, TARGET: facts.target}
        assert subjects[about].exists is False


def test_what_is_not_in_it(client: hft.Client, repos: hubsim.Hub) -> None:
    repos.fail(path="acme/llama/resolve/main/config.json", times=99, response={"status": 404})
    shown = str(client.plan(hft.SFT(model="acme/llama", dataset="acme/chat", **SPEC)))
    # the viewer's answer for a dataset without rows is no outage
    assert "not on the Hub\n  acme/llama, config.json\n  acme/chat, rows in the dataset viewer\n" in shown
    assert "the rows of acme/chat (not on the Hub)" in shown
    assert len(repos.requests("^/size$")) == 1


def test_rows_of_another_branch(client: hft.Client) -> None:
    wanted = hft.SFT(model="acme/llama", dataset=hft.Dataset(id="acme/chat", data_files="train.jsonl"), **SPEC)
    (told,) = [line for line in str(client.check(wanted)).splitlines() if "DATA011" in line]
    assert "the Hub answered, and has no rows in the dataset viewer of acme/chat: the dataset viewer shows" in told


def test_who_was_not_asked(client: hft.Client) -> None:
    wanted = hft.SFT(model="acme/llama", dataset="acme/chat", **SPEC)
    offline, given = client.plan(wanted, offline=True), client.plan(wanted, facts=Facts())
    for plan, reason in ((offline, "everything: the Hub was not asked (offline=True)"), (given, "facts= was given")):
        assert "not asked\n  " in str(plan)
        assert reason in str(plan)
        assert "DATA004: unknown: the columns of acme/chat (not asked)" in str(plan)
    assert "(the Hub was not asked: offline=True)" in str(client.check(wanted, offline=True))
    assert "(the Hub was not asked: facts= was given, which does not say it)" in str(
        client.check(wanted, facts=Facts())
    )


def test_what_may_not_be_read_is_not_submitted(client: hft.Client, repos: hubsim.Hub) -> None:
    repos.fail(path="acme/llama", times=99, response={"status": 403})
    with pytest.raises(hft.AuthError, match=r"refuses acme/llama: HTTP status 403.*not known which flavor it takes"):
        client.submit(hft.SFT(model="acme/llama", dataset="acme/chat", hub_model_id="alice/out"))


@pytest.fixture
def script(tmp_path: Path) -> hft.Script:
    path = tmp_path / "train.py"
    path.write_text("# /// script\n# dependencies = []\n# ///\nprint(1)\n", "utf-8")
    tracking = hft.Tracking(report_to="none")
    return hft.Script(str(path), hardware="cpu-basic", timeout="20m", tracking=tracking, namespace="alice")


def test_the_missing_is_asked_for_once_more(client: hft.Client, repos: hubsim.Hub, script: hft.Script) -> None:
    repos.cfg["exec"] = "off"
    repos.fail(path="whoami", times=3, response={"status": 503})
    plan = client.plan(script)
    assert plan.unanswered
    assert client.submit(plan).id.startswith("alice/")
    assert len(repos.requests("whoami")) == 4
    assert len(repos.requests("jobs/hardware")) == 1


def test_another_run_than_was_planned_is_not_submitted(client: hft.Client, repos: hubsim.Hub) -> None:
    repos.fail(path="/api/models/acme/llama$", times=3, response={"status": 503})
    repos.fail(path="/api/jobs/hardware", times=99, response={"status": 503})  # which alone keeps nobody
    plan = client.plan(hft.SFT(model="acme/llama", dataset="acme/chat", hub_model_id="alice/out", timeout="1h"))
    with pytest.raises(hft.BackendError, match=r"not answered for acme/llama .* another: .*flavor \('.*', not None\)"):
        client.submit(plan)
    assert not repos.jobs
