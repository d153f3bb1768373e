"""The generated part of ``references/troubleshooting.md``: a section for each code of ``data/failures.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from hfjobs_trainer.running.signatures import Signature, signatures

# first digit of a code -> the title of its part, in the order of the page
PARTS: dict[str, str] = {
    "0": "Ends that the script or the platform chose",
    "1": "Memory, disk and processes",
    "2": "The Hub",
    "3": "Datasets",
    "4": "Chat templates and tokenizers",
    "5": "GPUs, and several processes",
    "6": "vLLM",
    "7": "Packages",
    "8": "Models and adapters",
    "9": "Rewards, functions and arguments",
}
# What stands in for a value that only a log has.
_EXAMPLES: Mapping[str, str] = {
    "again": "`job.resume()` or `hft.submit(spec)`",
    "column": "prompt",
    "command": "hf upload ...",
    "larger": "a100-large",
    "larger_gib": "80",
    "longer": '`job.resume(timeout="2h")` goes on from the last checkpoint',
    "more_disk": "a100-large",
    "more_ram": "a100-large",
    "name": "reward",
    "package": "package",
    "repo": "username/name",
    "which": "pad_token",
}


def failures(page: Mapping[str, Any]) -> str:
    """What ``hft.diagnose`` knows: a table, and a section for each code."""
    known: dict[str, list[Signature]] = {}
    for signature in signatures():
        known.setdefault(signature.code, []).append(signature)
    rows = [f"| [{code}](#{code.lower()}) | {known[code][0].title} |" for code in sorted(known)]
    lines = [
        f"{len(known)} codes, seen by {len(signatures())} signatures.",
        "",
        "| Code | What happened |",
        "|---|---|",
    ]
    lines += rows
    for digit, title in PARTS.items():
        lines += ["", f"### {title}"]
        for code in sorted(code for code in known if code[3] == digit):
            lines += ["", *_section(code, known[code])]
    return "\n".join(lines)


def _section(code: str, found: Sequence[Signature]) -> list[str]:
    plain = [each for each in found if each.kind != "told"] or found  # what our own script says has values of its own
    cause = _shown(min((text for each in plain for text in each.cause), key=_names), "…")
    fixes = dict.fromkeys(next(fix for fix in each.fix if fix != "{fix}") for each in found)
    sources = dict.fromkeys(each.source for each in found)
    exits = sorted({number for each in found for number in each.exit_codes if number > 0})
    told = f" Exit code {', '.join(map(str, exits))}." if exits and "exit code" not in cause else ""
    return [
        f"#### {code}",
        "",
        f"**{found[0].title}.** {cause}{told}",
        "",
        f"What to type: {'; or '.join(_shown(fix, '...') for fix in fixes)}.",
        "",
        f"Seen in: {', '.join(map(_link, sources))}",
    ]


def _names(template: str) -> int:
    return len(re.findall(r"\{\w+\}", template))


def _shown(template: str, unknown: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: _EXAMPLES.get(match[1], unknown), template)


def _link(source: str) -> str:
    if source.startswith("https://"):
        return f"<{source}>"
    name = source.removeprefix("references/")
    return f"[{name.partition('#')[0]}]({name})"
