"""Rules about what is installed where a script runs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.requirements import package_name, read_requirement
from hfjobs_trainer.specs.script import Script

# Registry, path, tag and digest; the parts are the registry's to judge.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_OF_THE_JOB = frozenset(
    f"HFT_{name}"
    for name in (
        "TIMEOUT",
        "DEADLINE",
        "PLAN",
        "CHECKPOINTS",
        "BUCKET",
        "RUN_FOLDER",
        "EXIT_FILE",
        "NODE_RANK",
        "NODE_GROUP",
        "MAIN_NODE",
    )
)
# A name and a version, as in `pip list`.
_SPACED = re.compile(r"\s*([\w.-]+) +v?(\d[\w.]*)\s*", re.ASCII)


@rule("ENV001", scripts=True)
def extra_dependencies_fit(context: Context[JobSpec]) -> Iterator[Found]:
    """Extra dependencies are requirements that fit beside the tested ones.

    What it does:
        Refuses text in `extra_dependencies` that is no requirement in the form of PEP 508, and a version of a package
        that the script pins to another one.

    Why:
        `uv run` stops before the script starts: it cannot read the header, or finds no set of packages that satisfies
        it.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., extra_dependencies=["einops 0.8", "transformers==4.57.0"])
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., extra_dependencies=["einops>=0.8"])
        ```
    """
    spec = context.spec
    # a script that exists already brings its own versions
    tested = {} if isinstance(spec, Script) else pins(type(spec).METHOD.family).packages
    wrong: dict[int, str] = {}
    right: list[str] = []
    for index, text in enumerate(spec.extra_dependencies):
        try:
            requirement = read_requirement(text)
        except ValueError as error:
            wrong[index] = f"is not a requirement that pip accepts: {str(error).splitlines()[0]}"
            spaced = _SPACED.fullmatch(text)
            right.append(f"{spaced[1]}=={spaced[2]}" if spaced else text)
            continue
        pinned = tested.get(package_name(text))
        if pinned is not None and (requirement.url or not requirement.specifier.contains(pinned, prereleases=True)):
            wrong[index] = f"{requirement.name} is pinned to {pinned}, with which the script was tested"
        else:
            right.append(text)
    for index, why in wrong.items():
        fix = "" if spec.extra_dependencies[index] in right else change(spec, {"extra_dependencies": right})
        yield Found(f"extra_dependencies.{index}", why, fix)


@rule("ENV003", scope="remote", severity="warning")
def own_variables_are_left_alone(context: Context[TrainSpec]) -> Iterator[Found]:
    """Variables that a job gives its script are left to it.

    What it does:
        Warns of names such as `HFT_TIMEOUT`, `HFT_CHECKPOINTS` and `HFT_BUCKET` in `env`.

    Why:
        They say how much time the job has, and where its checkpoints go. With others the script would stop too early
        or too late, or keep its checkpoints where nobody looks for them.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., env={"HFT_TIMEOUT": "3600"})
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., timeout="1h")
        ```
    """
    spec = context.spec
    if found := sorted(_OF_THE_JOB & spec.env.keys()):
        env = {name: value for name, value in spec.env.items() if name not in found}
        why = f"{', '.join(found)}: set by submit, as timeout and output.checkpoints say; another value is in the way"
        yield Found("env", why, change(spec, {"env": env}))


@rule("ENV002", scope="remote", scripts=True)
def image_is_a_reference(context: Context[JobSpec]) -> Iterator[Found]:
    """A Docker image is named as Docker names it.

    What it does:
        Refuses an `image` with blanks or other characters that no reference to an image has.

    Why:
        The Hub refuses the job, or cannot start it.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., image="ghcr.io/astral-sh/uv python3.12-bookworm")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., image="ghcr.io/astral-sh/uv:python3.12-bookworm")
        ```
    """
    image = context.spec.image
    if image is not None and not _IMAGE.fullmatch(image):
        why = f"{image!r:.80} is not an image reference such as ghcr.io/astral-sh/uv:python3.12-bookworm"
        yield Found("image", why)
