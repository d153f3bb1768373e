"""Rules about scripts that exist already."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hfjobs_trainer.facts import ScriptFacts
from hfjobs_trainer.planning.script_header import read_header
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.script import Script

# What tells that a script reads TRL's or transformers' arguments from its command line.
_PARSERS = ("TrlParser", "HfArgumentParser")


def _facts(context: Context[Script]) -> ScriptFacts:
    return need(context.facts.script, "the script")


@rule("SCRIPT001", methods=["script"])
def script_can_be_read(context: Context[Script]) -> Iterator[Found]:
    """The script is read when it is planned, and its text travels with the job.

    What runs is then what was shown, and a private script needs no token on the rented machine. A URL is that of the
    file itself; the pages that GitHub and the Hub show for a file are understood as well.
    """
    facts = _facts(context)
    if facts.text is None:
        fix = "check the URL" if context.spec.is_remote else "check the path"
        yield Found("script", f"{context.spec.script} cannot be read: {facts.problem}", fix)


@rule("SCRIPT002", methods=["script"])
def script_is_the_one_that_was_meant(context: Context[Script]) -> Iterator[Found]:
    """Where ``sha256`` is given, the script has that digest.

    A script behind a URL can change. The plan shows the digest of what was read; set, it holds the script to it.
    """
    found, wanted = _facts(context).sha256, context.spec.sha256
    if wanted and found and found != wanted:
        yield Found("sha256", f"the script's digest is {found}", f'read it again, then sha256="{found}"')


@rule("SCRIPT003", methods=["script"])
def script_is_python(context: Context[Script]) -> Iterator[Found]:
    """The script is Python, and its header, if it has one, is a PEP 723 block."""
    text = _facts(context).text
    if text is None:
        return
    if text.lstrip()[:1] == "<":
        yield Found("script", "is a web page", "give the URL of the file itself")
        return
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        yield Found("script", f"is no Python: {error}", "check what the URL gives")
    try:
        read_header(text)
    except ValueError as error:
        yield Found("script", f"has a broken `# /// script` header: {error}", "mend its header")


@rule("SCRIPT004", methods=["script"], severity="warning")
def script_names_its_packages(context: Context[Script]) -> Iterator[Found]:
    """A script without a PEP 723 header runs with ``extra_dependencies`` and the standard library alone."""
    text = _facts(context).text
    try:
        bare = text is not None and not read_header(text).found
    except ValueError:
        return
    if bare and not context.spec.extra_dependencies:
        why = "the script has no `# /// script` header, so it would run without any package"
        yield Found("extra_dependencies", why, 'extra_dependencies=["trl==1.16.0"]')


@rule("SCRIPT005", methods=["script"], scope="remote")
def local_files_do_not_travel(context: Context[Script]) -> Iterator[Found]:
    """An argument that names a file on this machine means nothing on a rented one: only the script is sent."""
    for item in context.spec.script_args:
        if item in _facts(context).local_files:
            why = f"{item} is a file on this machine, which the job would not have"
            fix = (
                "give its settings as arguments" if item.endswith((".yaml", ".yml", ".json")) else "push it to the Hub"
            )
            yield Found("script_args", why, fix)


@rule("SCRIPT006", methods=["script"], scope="remote")
def script_needs_a_named_flavor(context: Context[Script]) -> Iterator[Found]:
    """What a script needs cannot be known from outside, so the flavor of its machine is named."""
    if context.spec.hardware.flavor == "auto":
        yield Found("hardware.flavor", "nobody can know what this script needs", 'hardware="a10g-large"')


@rule("SCRIPT007", methods=["script"], severity="warning")
def script_is_told_to_report(context: Context[Script]) -> Iterator[Found]:
    """A script that parses TRL's arguments sends its metrics to a tracker only if ``--report_to`` says so.

    TRL's own default is none. The tracking of the spec then decides on project, run, group and Space.
    """
    spec, text = context.spec, _facts(context).text or ""
    reporter = spec.tracking.report_to
    says = any(item.split("=")[0] in ("--report_to", "--report-to", "--config") for item in spec.script_args)
    if reporter != "none" and not says and any(parser in text for parser in _PARSERS):
        why = f"the script would not report to {reporter}"
        yield Found("script_args", why, f'script_args=[..., "--report_to", "{reporter}"], or report_to="none"')
