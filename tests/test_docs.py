"""The documents keep their word: their code runs, their links lead somewhere, and nothing public is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.pages import Block, blocks, complete
from hfjobs_trainer.codegen.references import PARTS
from hfjobs_trainer.problems import all_rules
from hfjobs_trainer.specs import load, parse

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("references/*.md")])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
# The rules' own tests build its examples: half of them are wrong on purpose.
RUNNING = [name for name in TEXTS if name != "references/rules.md"]
PYTHON = [block for page, text in TEXTS.items() for block in blocks(page, text) if block.language == "python"]
LINKS = [(page, link) for page, text in TEXTS.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)]
LOCAL_LINKS = [(page, link) for page, link in LINKS if not link.startswith("https://")]


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


def test_codes_that_are_mentioned_exist() -> None:
    known = parse.CODES | load.CODES | all_rules()
    mentioned = {(page, code) for page, text in TEXTS.items() for code in re.findall(r"\b[A-Z]{2,}\d{3}\b", text)}
    invented = {(page, code) for page, code in mentioned if code not in known and not code.startswith("AREA")}
    assert mentioned
    assert not invented


@pytest.mark.parametrize("page", TEXTS)
def test_no_page_names_a_package_index_or_a_place_of_its_writer(page: str) -> None:
    assert not re.search(r"pypi|anaconda|conda-forge|npmjs|/work/|/opt/|/root/", TEXTS[page], re.IGNORECASE)


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
    with pytest.raises(hft.HFTError, match=r"page\.md asks for the generated part 'nothing'"):
        complete("page.md", "<!-- generated: nothing -->\n<!-- end of nothing -->\n", {})
