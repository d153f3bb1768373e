"""Rules about what a script does: what it takes from this machine, and arguments of an earlier TRL."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import suppress

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.names import basename, file_name
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.planning.rules.script.earlier import earlier_arguments
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.fixes import shell
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.requirements import package_names, read_requirement
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.specs.script_header import ScriptHeader, read_header
from hfjobs_trainer.specs.source import path_of


def _header(text: str) -> ScriptHeader:
    with suppress(ValueError):
        return read_header(text)
    return ScriptHeader()


@rule("SCRIPT008", methods=["script"], severity="warning")
def modules_beside_do_not_travel(context: Context[Script]) -> Iterator[Found]:
    """A script stands alone.

    What it does:
        Warns of imports of modules that lie beside the script.

    Why:
        Only the script itself is run elsewhere, and from another folder: the import ends in a `ModuleNotFoundError`. A
        package of the same name on the package index is somebody else's.

    Example:
        ```python
        from rewards import accuracy  # rewards.py lies beside the script
        ```

    Use instead:
        ```python
        def accuracy(completions, **kwargs):  # in the script itself
            ...
        ```
    """
    known, spec = context.facts.script, context.spec
    if known is None or known.text is None:
        return
    tested = pins()
    installed = {*tested.packages, *tested.extras, "torch"}
    installed |= package_names((*_header(known.text).dependencies, *spec.extra_dependencies))
    for name in known.modules:
        top = name.split(".")[0]
        if top.lower().replace("_", "-") not in installed or not top:
            what = "a module beside the script" if top else "relative to the script"
            yield Found("script", f"imports {name}, {what}, which does not travel: move its code into the script")


@rule("SCRIPT009", methods=["script"], severity="warning")
def arguments_are_of_this_trl(context: Context[Script]) -> Iterator[Found]:
    """A script calls TRL as it is today.

    What it does:
        Warns of calls of TRL's configs and trainers, and of `TrainingArguments`, with arguments that TRL or
        transformers renamed, moved or removed, in a script that does not ask for an earlier TRL.

    Why:
        The call ends in a `TypeError`, after the packages were installed and mostly after the model was loaded. A
        script that names no versions gets those that this package was tested with.

    Example:
        ```python
        SFTConfig(output_dir="out", max_seq_length=2048, evaluation_strategy="steps")
        ```

    Use instead:
        ```python
        SFTConfig(output_dir="out", max_length=2048, eval_strategy="steps")
        ```
    """
    known, spec = context.facts.script, context.spec
    if known is None or known.text is None:
        return
    if _asks_for_another(_header(known.text), spec):
        return
    with suppress(SyntaxError, ValueError):
        for found in earlier_arguments(ast.parse(known.text)):
            yield Found("script", f"line {found.line}: {found.call}({found.argument}=...): {found.today}")


def _asks_for_another(header: ScriptHeader, spec: Script) -> bool:
    """Whether the script pins or bounds TRL or transformers, so that these are not today's."""
    for text in (*header.dependencies, *spec.extra_dependencies):
        with suppress(ValueError):
            wanted = read_requirement(text)
            version = pins().packages.get(wanted.name)
            if wanted.name in ("trl", "transformers") and version and not wanted.specifier.contains(version):
                return True
    return False


@rule("SCRIPT010", methods=["script"], severity="warning")
def data_of_this_machine_stay_here(context: Context[Script]) -> Iterator[Found]:
    """A script reads what is there where it runs.

    What it does:
        Warns of data and models that the script reads by a literal path that is on this machine: `load_dataset("json",
        data_files="train.jsonl")`, `load_from_disk`, `open`, `pd.read_csv`, `from_pretrained("./model")`. On the local
        backend, absolute paths are read where they are; a run has a folder of its own, in which relative ones lead
        nowhere.

    Why:
        Only the script travels, so it ends with a `FileNotFoundError`, or takes the path for the id of a repository.

    Example:
        ```python
        dataset = load_dataset("json", data_files="train.jsonl", split="train")
        ```

    Use instead:
        ```sh
        hf upload username/train train.jsonl --repo-type dataset --private
        ```
        ```python
        dataset = load_dataset("username/train", split="train")
        ```
    """
    known, spec = context.facts.script, context.spec
    if known is None:
        return
    owner = spec.namespace or context.facts.account.name
    for text, place in known.reads.items():
        if context.backend.absolute_paths and (given := path_of(text)) and given.is_absolute():
            continue
        name = file_name(basename(text).split(".")[0]) or "my-data"
        repo = f"{owner}/{name}" if owner else name
        # of a folder it depends on what is in it
        is_file = data_suffix(text) is not None
        fix = shell("hf", "upload", repo, place, "--repo-type", "dataset", "--private") if is_file else ""
        yield Found("script", f"reads {text}, which is on this machine and does not travel: read it from the Hub", fix)
