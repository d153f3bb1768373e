"""The documents keep their word: their code runs, their links lead somewhere, and nothing public is left out."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES
from hfjobs_trainer.codegen.pages import Block, blocks, complete, run
from hfjobs_trainer.codegen.references import EXAMPLE_FACTS, PARTS, schema
from hfjobs_trainer.facts import DatasetFacts
from hfjobs_trainer.planning import schedule
from hfjobs_trainer.planning.check import all_rules
from hfjobs_trainer.running.signatures import signatures
from hfjobs_trainer.specs import load, parse
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.trying import failures, reward_findings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("references/*.md")])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
# The rules' own tests build its examples: half of them are wrong on purpose.
RUNNING = [name for name in TEXTS if name != "references/rules.md"]
PYTHON = [block for page, text in TEXTS.items() for block in blocks(page, text) if block.language == "python"]
YAML = [block for page, text in TEXTS.items() for block in blocks(page, text) if block.language == "yaml"]
LINKS = [(page, link) for page, text in TEXTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)]
LOCAL_LINKS = [(page, link) for page, link in LINKS if not link.startswith("https://")]


@functools.cache
def definitions() -> dict[str, Any]:
    return schema()["$defs"]


def anchors(text: str) -> set[str]:
    """Fragments that headings can be reached by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: f"{block.page}:{block.line}")
def test_every_python_block_is_python(block: Block) -> None:
    block.compile()


@pytest.mark.parametrize("page", RUNNING)
def test_what_can_run_runs_and_prints_what_the_page_says(page: str) -> None:
    # the tables of TRL's defaults are compared by `codegen --check`
    parts = {name: PARTS[name] for name in PARTS.keys() - {"differing_defaults"}}
    whole = re.search(
        r"<!-- generated: differing_defaults -->(.*)<!-- end of differing_defaults -->", TEXTS[page], re.S
    )
    parts["differing_defaults"] = lambda _: whole[1] if whole else ""
    assert complete(page, TEXTS[page], parts) == TEXTS[page]


@pytest.mark.parametrize("page", RUNNING)
def test_the_specs_of_a_page_can_run(page: str) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page, TEXTS[page]):
        if block.language == "python" and block.reason is None:
            run(block, names)
    dataset = DatasetFacts(exists=True, splits=("train", "test"))
    model = EXAMPLE_FACTS.model
    beside: dict[str, Any] = {"teacher": model, "reward_model": model, "value_model": model, "reward_models": (model,)}
    facts = replace(EXAMPLE_FACTS, dataset=dataset, eval_dataset=dataset, **beside)
    wrong = {name: hft.check(spec, facts=facts) for name, spec in names.items() if isinstance(spec, TrainSpec)}
    assert not {name: str(report) for name, report in wrong.items() if not report.ok}


@pytest.mark.parametrize(("page", "link"), LOCAL_LINKS)
def test_links_lead_somewhere(page: str, link: str) -> None:
    path, _, fragment = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    assert target.exists()
    if fragment:
        assert fragment in anchors(target.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", hft.__all__)
def test_every_public_name_is_mentioned(name: str) -> None:
    told = [text for page, text in TEXTS.items() if page == "README.md" or page.startswith("references/")]
    assert any(re.search(rf"\bhft\.{name}\b", text) for text in told)


@pytest.mark.parametrize("block", YAML, ids=lambda block: f"{block.page}:{block.line}")
def test_yaml_is_a_spec_and_fits_the_schema(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(block.code, encoding="utf-8")
    spec = hft.load(file)
    known = definitions()[type(spec).__name__]
    written = yaml.safe_load(block.code).keys()
    assert set(known["required"]) <= written <= known["properties"].keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_schema_knows_what_a_spec_is_saved_as(name: str) -> None:
    saved = EXAMPLES[name]().to_dict()
    known = next(
        entry
        for entry in definitions().values()
        if entry["properties"].get("method", {}).get("const") == saved["method"]
    )
    assert set(known["required"]) <= saved.keys() <= known["properties"].keys()


def test_codes_that_are_mentioned_exist() -> None:
    known = {*parse.CODES, *load.CODES, *schedule.CODES, *failures.CODES, *reward_findings.CODES, *all_rules()}
    known |= {signature.code for signature in signatures()}
    mentioned = {(page, code) for page, text in TEXTS.items() for code in re.findall(r"\b[A-Z]{2,}\d{3}\b", text)}
    invented = {(page, code) for page, code in mentioned if code not in known and not code.startswith("AREA")}
    assert mentioned
    assert not invented


@pytest.mark.parametrize("page", TEXTS)
def test_no_page_names_a_package_index_or_a_place_of_its_writer(page: str) -> None:
    assert not re.search(
        r"pypi|anaconda|conda-forge|npmjs|(?<![\w.~])/(?:home|root|opt|work)/", TEXTS[page], re.IGNORECASE
    )


@pytest.mark.parametrize("text", ["three hours", "hft.", ""])
def test_an_output_block_is_written_anew(text: str) -> None:
    page = f"# A page\n\n```python\nprint({text!r})\n```\n\n```text\nstale\n```\n\n```text\nkept\n```\n"
    assert complete("page.md", page, {}) == page.replace("stale", text)


def test_a_block_that_does_not_run_leaves_what_follows() -> None:
    page = "<!-- compile only: no account -->\n```python\nprint(1)\n```\n\n```text\nas written\n```\n"
    assert complete("page.md", page, {}) == page


def test_a_part_sees_what_was_defined_above_it() -> None:
    page = "```python\na = 1\n```\n<!-- generated: it -->\nold\n<!-- end of it -->\n```python\na = 2\n```\n"
    assert "\n\n1\n\n" in complete("page.md", page, {"it": lambda names: str(names["a"])})


def test_a_part_that_nobody_makes_is_named() -> None:
    with pytest.raises(hft.HFTError, match=r"page\.md has the unknown generated part 'nothing'"):
        complete("page.md", "<!-- generated: nothing -->\n<!-- end of nothing -->\n", {})


def test_the_readme_is_short_and_begins_with_what_a_reader_looks_for() -> None:
    text = TEXTS["README.md"]
    assert len(text.split()) <= 2000
    first_screen = "\n".join(text.splitlines()[:25])
    assert "costs money" in first_screen
    assert "pip install" in first_screen
    for start in ("I have a trl command", "I have YAML", "I have a GPU of my own"):
        assert re.search(rf"\[{start}\]\(#[\w-]+\)", first_screen)
        section = re.search(rf"^## {start}$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
        assert section
        assert any(block.reason is None for block in blocks(start, section[1]) if block.language == "python")


def test_a_block_finds_the_files_that_the_page_shows_above_it() -> None:
    code = "from pathlib import Path\nprint(Path('a.yaml').read_text())"
    page = f"```yaml\n# a.yaml\nb: 1\n```\n```python\n{code}\n```\n```text\nold\n```\n"
    assert "```text\n# a.yaml\nb: 1\n```" in complete("page.md", page, {})
