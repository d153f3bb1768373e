"""Rules about scripts that exist already."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from hfjobs_trainer.facts import ScriptFacts
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.specs.script_header import read_header

# What shows that a script reads TRL's or transformers' arguments from its command line.
_PARSERS = ("TrlParser", "HfArgumentParser")


def _facts(context: Context[Script]) -> ScriptFacts:
    return need(context.facts.script, "the script")


@rule("SCRIPT001", methods=["script"], first=True)
def script_can_be_read(context: Context[Script]) -> Iterator[Found]:
    """The script can be read.

    What it does:
        Refuses a script whose path or URL gives nothing. The pages that GitHub and the Hub show for a file are
        understood as well as the URL of the file itself.

    Why:
        The script is read when it is planned, and its text travels with the job: what runs is what was shown,
        and a private script needs no token on the rented machine.

    Example:
        ```python
        hft.Script("no-such-script.py")
        ```

    Use instead:
        ```python
        hft.Script("scripts/train.py")
        ```
    """
    facts = _facts(context)
    if facts.text is None:
        yield Found("script", f"{context.spec.script} cannot be read: {facts.problem}")


@rule("SCRIPT002", methods=["script"])
def script_is_the_one_that_was_meant(context: Context[Script]) -> Iterator[Found]:
    """The script is the one that was meant.

    What it does:
        Where `sha256` is given, refuses a script with another digest.

    Why:
        A script behind a URL can change between two runs. The plan shows the digest of what was read.

    Example:
        ```python
        hft.Script("https://example.com/train.py", sha256="<digest of the version of last week>")
        ```

    Use instead:
        ```python
        hft.Script("https://example.com/train.py", sha256="<digest that the plan shows, once you have read the script>")
        ```
    """
    found, wanted = _facts(context).sha256, context.spec.sha256
    if wanted and found and found != wanted:
        yield Found("sha256", f"the script's digest is {found}: read it again", f'sha256="{found}"')


@rule("SCRIPT003", methods=["script"])
def script_is_python(context: Context[Script]) -> Iterator[Found]:
    """The script is Python.

    What it does:
        Refuses a web page, text that Python cannot parse, and a `# /// script` header that is no valid PEP 723
        block.

    Why:
        `uv run` would fail on it, but only on the machine.

    Example:
        ```python
        hft.Script("https://example.com/view?file=train.py")
        ```

    Use instead:
        ```python
        hft.Script("https://example.com/raw/train.py")
        ```
    """
    text = _facts(context).text
    if text is None:
        return
    if text.lstrip()[:1] == "<":
        yield Found("script", "is a web page: give the URL of the file itself")
        return
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        yield Found("script", f"is not Python: {error}")
    try:
        read_header(text)
    except ValueError as error:
        yield Found("script", f"has a broken `# /// script` header: {error}")


@rule("SCRIPT004", methods=["script"], severity="warning")
def script_names_its_packages(context: Context[Script]) -> Iterator[Found]:
    """A script names the packages that it needs.

    What it does:
        Warns where the script has no PEP 723 header and `extra_dependencies` is empty.

    Why:
        It would run with the standard library alone, and fail at its first import of a package.

    Example:
        ```python
        hft.Script("train.py")
        ```

    Use instead:
        ```python
        hft.Script("train.py", extra_dependencies=["trl==1.16.0"])
        ```
    """
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
    """Files on this machine do not travel.

    What it does:
        On Hugging Face Jobs, refuses an argument that names a file on this machine.

    Why:
        Only the script itself is sent; on the rented machine the file does not exist.

    Example:
        ```python
        hft.Script("train.py", script_args=["--config", "config.yaml"])
        ```

    Use instead:
        ```python
        hft.Script("train.py", script_args=["--learning_rate", "1e-5", "--max_steps", "1000"])
        ```
    """
    for item in context.spec.script_args:
        if item in _facts(context).local_files:
            instead = "its settings as arguments" if item.endswith((".yaml", ".yml", ".json")) else "it from the Hub"
            why = f"{item} is a file on this machine, which the job would not have: give {instead}"
            yield Found("script_args", why)


@rule("SCRIPT006", methods=["script"], scope="remote")
def script_needs_a_named_flavor(context: Context[Script]) -> Iterator[Found]:
    """A script needs a named flavor.

    What it does:
        On Hugging Face Jobs, refuses `hardware="auto"` for a script.

    Why:
        What a script loads and trains cannot be known from outside, so no flavor can be chosen for it.

    Example:
        ```python
        hft.Script("train.py", hardware="auto")
        ```

    Use instead:
        ```python
        hft.Script("train.py", hardware="a10g-large")
        ```
    """
    if context.spec.hardware.flavor == "auto":
        path = "hardware.flavor"
        yield Found(path, "what this script needs cannot be estimated", change(context.spec, {path: "a10g-large"}))


@rule("SCRIPT007", methods=["script"], severity="warning")
def script_is_told_to_report(context: Context[Script]) -> Iterator[Found]:
    """A script is told to report its metrics.

    What it does:
        Warns where the script reads TRL's or transformers' arguments from its command line, a tracker is
        wanted, and `script_args` has no `--report_to`.

    Why:
        TRL's own default is to report nowhere. With `--report_to`, the tracking of the spec decides on project,
        run, group and Space.

    Example:
        ```python
        hft.Script("sft.py", script_args=["--model_name_or_path", "Qwen/Qwen2.5-0.5B"])
        ```

    Use instead:
        ```python
        hft.Script("sft.py", script_args=["--model_name_or_path", "Qwen/Qwen2.5-0.5B", "--report_to", "trackio"])
        ```
    """
    spec, text = context.spec, _facts(context).text or ""
    reporter = spec.tracking.report_to
    says = any(item.split("=")[0] in ("--report_to", "--report-to", "--config") for item in spec.script_args)
    if reporter != "none" and not says and any(parser in text for parser in _PARSERS):
        why = f"the script would not report to {reporter}"
        yield Found("script_args", why, change(spec, {"script_args": [*spec.script_args, "--report_to", reporter]}))


@rule("SCRIPT011", methods=["script"], scope="remote", severity="warning")
def a_script_keeps_its_own_time(context: Context[Script]) -> Iterator[Found]:
    """A script that exists keeps its own time and its own checkpoints.

    What it does:
        Warns of `stop_if_over` and of `attempts` above 1 for a script.

    Why:
        How fast it should be is not known, and it is run as it is: whether it saves before its deadline, and goes on
        when Jobs start it again, is up to it. The checkpoints of one that does not begin anew have to be on the Hub.

    Example:
        ```python
        hft.Script("train.py", hardware=hft.Hardware(flavor="a10g-large", stop_if_over=True))
        ```

    Use instead:
        ```python
        hft.Script("train.py", hardware="a10g-large")
        ```
    """
    spec = context.spec
    if spec.hardware.stop_if_over:
        why = "what a script should take is not known, so it is not stopped"
        yield Found("hardware.stop_if_over", why, change(spec, {"hardware.stop_if_over": REMOVE}))
    if spec.hardware.attempts > 1:
        why = f"whether each of {spec.hardware.attempts} attempts begins anew is up to the script"
        yield Found("hardware.attempts", why, change(spec, {"hardware.attempts": REMOVE}))
