"""Generator of the reference pages: adds tables, output and the JSON schema to pages that people write."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter, create_model
from pydantic.fields import FieldInfo

import hfjobs_trainer as hft
from hfjobs_trainer.codegen import recipes
from hfjobs_trainer.codegen.failures import failures
from hfjobs_trainer.codegen.pages import Part, complete
from hfjobs_trainer.codegen.proofs import proofs
from hfjobs_trainer.codegen.source import members_of, type_text
from hfjobs_trainer.codegen.trials import reward_problems
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS
from hfjobs_trainer.specs.trl_args.common import CommonArgs

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "references"
PAGES = (
    "README.md",
    f"{FOLDER}/hardware_guide.md",
    f"{FOLDER}/how_it_works.md",
    f"{FOLDER}/running.md",
    f"{FOLDER}/tested.md",
    f"{FOLDER}/trackio_guide.md",
    f"{FOLDER}/training_methods.md",
    f"{FOLDER}/training_patterns.md",
    f"{FOLDER}/troubleshooting.md",
)
"""Pages that people write and this generator completes."""

SCHEMA = f"{FOLDER}/schema.json"
GROUPS: tuple[type[BaseModel], ...] = (hft.Dataset, hft.LoRA, hft.Hardware, hft.Tracking, hft.Output)
LONGEST_CHOICE = 6
"""Most values that a table lists; longer lists are separate."""

# Facts about the model and the dataset of the README's example, and an account that may write.
EXAMPLE_FACTS = Facts(
    model=ModelFacts(
        exists=True,
        model_type="qwen2",
        num_parameters=494_032_768,
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151_936,
        tie_word_embeddings=True,
        dtype="bfloat16",
        has_chat_template=True,
    ),
    dataset=DatasetFacts(
        exists=True,
        columns=("chosen", "rejected", "score_chosen", "score_rejected"),
        splits=("train", "test"),
    ),
    account=AccountFacts(has_token=True, name="username", organizations=(), token_role="write"),
    is_gathered=True,
)


def generate() -> dict[str, str]:
    """Return path of each page and of the schema -> its text."""
    found = {page: ROOT / page for page in PAGES}
    pages = {page: complete(page, file.read_text(encoding="utf-8"), PARTS) for page, file in found.items()}
    return pages | {SCHEMA: json.dumps(schema(), indent=1) + "\n"}


# -- plans and hardware


def price_range(page: Mapping[str, Any]) -> str:
    """The prices of machines with GPUs, from the cheapest to the most expensive."""
    prices = sorted(flavor.usd_per_hour for flavor in snapshot().flavors if flavor.num_gpus)
    machines = f"A machine with GPUs costs ${prices[0]:.2f} to ${prices[-1]:.2f} per hour"
    return f"{machines} ({snapshot().source}): [all flavors]({FOLDER}/hardware_guide.md#all-flavors)."


def plan(page: Mapping[str, Any]) -> str:
    """The plan of the page's ``spec``, as it is printed."""
    return _text(str(hft.plan(page["spec"], facts=EXAMPLE_FACTS)))


def own_gpu(page: Mapping[str, Any]) -> str:
    """The estimate of the README's run on a GPU of your own."""
    return _text(str(hft.estimate(page["spec"], gpu="RTX 4090", facts=EXAMPLE_FACTS)))


def choice(page: Mapping[str, Any]) -> str:
    """How the flavor of the page's ``spec`` is chosen: the first lines."""
    lines = str(hft.pick_flavor(page["spec"], facts=EXAMPLE_FACTS)).splitlines()
    return _text("\n".join([*lines[:15], "  ..."]))


def comparison(page: Mapping[str, Any]) -> str:
    """The page's ``spec`` on the flavors where it costs least."""
    lines = str(hft.compare_flavors(page["spec"], facts=EXAMPLE_FACTS)).splitlines()
    return _text("\n".join([*lines[:8], "..."]))


def flavors(page: Mapping[str, Any]) -> str:
    """The hardware snapshot as a table."""
    rows = [
        (
            f"`{flavor.name}`",
            flavor.gpu or "none",
            str(flavor.num_gpus or ""),
            f"{flavor.gpu_memory_gb:g}" if flavor.gpu_memory_gb else "",
            f"{flavor.usable_gpu_memory_gib:g}" if flavor.usable_gpu_memory_gib else "",
            ("yes" if flavor.bf16 else "no") if flavor.num_gpus else "",
            str(flavor.vcpu),
            f"{flavor.ram_gb:g}",
            f"{flavor.disk_gb:g}",
            f"{flavor.usd_per_hour:.2f}",
        )
        for flavor in snapshot().flavors
    ]
    header = ("Flavor", "GPU", "GPUs", "GB of one", "usable GiB", "bf16", "vCPU", "RAM GB", "disk GB", "$/h")
    return f"{snapshot().source[0].upper()}{snapshot().source[1:]}.\n\n{_table(header, rows)}"


# -- methods


def memory_errors(page: Mapping[str, Any]) -> str:
    """How far the estimates of memory are from published peaks: what ``benchmarks.memory --json`` printed."""
    levels = json.loads((ROOT / "benchmarks/results/memory.json").read_text(encoding="utf-8"))
    shown = (("median", ".1%"), ("p95", ".1%"), ("bias", "+.1%"))
    rows = [
        (level.replace("_", " "), subset, f"{found['n']}", *(format(found[name], how) for name, how in shown))
        for level in ("closed_form", "simulation")
        for subset, found in levels[level].items()
        if subset != "all"
    ]
    said = ", ".join(f"{name} {count}" for name, count in levels["out_of_memory"].items())
    header = ("level", "rows", "number", "median error", "95% within", "mean bias")
    died = sum(levels["out_of_memory"].values())
    return f"{_table(header, rows)}\n\nVerdicts on {died} published runs that ran out of memory: {said}."


def methods(page: Mapping[str, Any]) -> str:
    """The methods: what they do, and the columns of their datasets."""
    rows: list[tuple[str, ...]] = []
    for name, spec in METHODS.items():
        accepted = " or ".join(_columns(columns) for columns in _example(spec).dataset_formats())
        linked = f"[`hft.{spec.__name__}`](#{spec.METHOD.label.lower()})"
        rows.append((f"`{name}`", linked, f"`hft.submit_{name}`", _summary(spec), accepted))
    return _table(("Method", "Spec", "Submitted by", "What it does", "Columns of the dataset"), rows)


def rewards(page: Mapping[str, Any]) -> str:
    """TRL's reward functions."""
    rows = [
        (
            f"`{name}`",
            ", ".join(f"`{key}={value!r}`" for key, value in reward.arguments.items()),
            ", ".join(reward.packages),
        )
        for name, reward in BUILTIN_REWARDS.items()
    ]
    return _table(("Reward", "Called with", "Packages"), rows)


def differing_defaults(page: Mapping[str, Any]) -> str:
    """Arguments whose default differs between methods or from transformers'."""
    base = importlib.import_module("transformers").TrainingArguments
    plain = {name: _source(value) for name, value in _defaults(base).items()}
    rows: list[tuple[str, ...]] = []
    for name in sorted({name for spec in METHODS.values() for name in spec.METHOD.trl_argument_names(spec)}):
        methods: dict[str, list[str]] = {}
        for spec in METHODS.values():
            if name in spec.METHOD.trl_argument_names(spec):
                value = _source(spec.model_fields[name].get_default(call_default_factory=True))
                methods.setdefault(value, []).append(spec.METHOD.label)
        if len(methods.keys() | {plain.get(name, next(iter(methods)))}) > 1:
            told = "; ".join(f"`{value}`: {', '.join(labels)}" for value, labels in methods.items())
            rows.append((f"`{name}`", f"`{plain[name]}`" if name in plain else "", told))
    return _table(("Argument", "transformers", "Methods"), rows)


def own_fields(page: Mapping[str, Any]) -> str:
    """The fields that this package adds to TRL's arguments, for every method."""
    ours = {name: field for name, field in TrainSpec.model_fields.items() if name not in CommonArgs.model_fields}
    return _fields(ours)


def groups(page: Mapping[str, Any]) -> str:
    """The groups of a spec."""
    return "\n\n".join(
        f"### `hft.{group.__name__}`\n\n{_summary(group)}\n\n{_fields(group.model_fields)}" for group in GROUPS
    )


def folded(page: Mapping[str, Any]) -> str:
    """TRL's names that are fields of a group."""
    rows = [(f"`{name}`", f"`{owner}.{key}`") for name, (owner, key) in names.FOLDED.items()]
    rows += [(f"`{name}`", f"`{field}`, where the method has one") for name, field in names.FOLDED_FIELDS.items()]
    rows += [(f'`model_init_kwargs["{key}"]`', f"`{field}`") for key, field in names.FOLDED_MODEL_INIT.items()]
    return _table(("TRL's name", "Stored in"), rows)


def refused(page: Mapping[str, Any]) -> str:
    """TRL's names that a spec does not accept."""
    rows = [(f"`{name}`", why, fix) for name, (why, fix) in names.REFUSED.items()]
    return _table(("TRL's name", "Why it is refused", "Use instead"), rows)


def common_arguments(page: Mapping[str, Any]) -> str:
    """TRL's arguments that every method has."""
    return _fields(CommonArgs.model_fields)


def choices(page: Mapping[str, Any]) -> str:
    """The values of arguments that have many."""
    found: dict[tuple[str, tuple[Any, ...]], list[str]] = {}
    for spec in METHODS.values():
        for name, field in spec.model_fields.items():
            for member in members_of(field.annotation):
                literal = get_args(member)[0] if get_origin(member) is list else member
                if get_origin(literal) is Literal and len(get_args(literal)) > LONGEST_CHOICE:
                    found.setdefault((name, get_args(literal)), []).append(spec.METHOD.label)
    lines: list[str] = []
    for (name, values), methods in found.items():
        where = "" if name in CommonArgs.model_fields else f" ({', '.join(dict.fromkeys(methods))})"
        lines.append(f"- `{name}`{where}: {', '.join(f'`{_source(value)}`' for value in values)}")
    return "\n".join(lines)


def method_arguments(page: Mapping[str, Any]) -> str:
    """The fields of each method besides the common arguments: our fields first, then TRL's."""
    parts: list[str] = []
    common = TrainSpec.model_fields.keys() | {"method"}
    for spec in METHODS.values():
        trl = spec.METHOD.trl_argument_names(spec)
        own = {name: field for name, field in spec.model_fields.items() if name not in common}
        ordered = dict(sorted(own.items(), key=lambda item: item[0] in trl))
        parts.append(f"### {spec.METHOD.label}\n\n{_fields(ordered)}")
    return "\n\n".join(parts)


def recommendation(page: Mapping[str, Any]) -> str:
    """The starting values for the page's ``adapted``."""
    return _text(str(hft.recommend(page["adapted"], facts=EXAMPLE_FACTS)))


def starting_values(page: Mapping[str, Any]) -> str:
    """Every recipe as a table, and the sources."""
    parts: list[str] = []
    for title, rows, notes in recipes.recipe_tables():
        parts += [f"**{title}**", _table(recipes.HEADER, rows), "\n".join(f"- {note}" for note in notes)]
    parts.append(_table(recipes.SOURCES, recipes.source_rows()))
    return "\n\n".join(part for part in parts if part)


# -- the schema


def schema() -> dict[str, Any]:
    """The JSON schema of a spec file: one of the methods, by ``method``."""
    members: list[Any] = list(METHODS.values())
    union: Any = functools.reduce(lambda left, right: left | right, members)
    model = create_model("Specs", spec=(union, Field(discriminator="method")))
    made, normal = model.model_json_schema(), model.model_json_schema(mode="serialization")
    for spec in METHODS.values():
        entry = made["$defs"][spec.__name__]
        entry["required"] = ["method", *entry["required"]]
        for name, property_ in list(entry["properties"].items()):
            # the saved form of a function is accepted as well
            kept = normal["$defs"][spec.__name__]["properties"][name]
            if any(f'"#/$defs/{added}"' in json.dumps(kept) for added in normal["$defs"].keys() - made["$defs"].keys()):
                if "items" in kept:
                    property_["anyOf"].append({key: kept[key] for key in ("type", "items")})
                else:  # it has no other form in JSON
                    entry["properties"][name] = kept
        for name, accepted in names.FOLDED_TYPES.items():
            owner = ".".join(names.FOLDED.get(name, ()))
            meant = {"description": f"The same as {owner}."} if owner else {}
            entry["properties"][name] = TypeAdapter[Any](accepted).json_schema() | meant
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"hfjobs-trainer {hft.__version__} spec",
        **{key: value for key, value in made["properties"]["spec"].items() if key != "title"},
        "$defs": normal["$defs"] | made["$defs"],
    }


# -- words


def _text(printed: str) -> str:
    return f"```text\n{printed}\n```"


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _columns(columns: Iterable[str]) -> str:
    return " + ".join(f"`{column}`" for column in columns)


def _fields(fields: Mapping[str, FieldInfo]) -> str:
    rows = [(f"`{name}`", _type(field), _default(field), field.description or "") for name, field in fields.items()]
    return _table(("Name", "Type", "Default", "Meaning"), rows)


def _type(field: FieldInfo) -> str:
    accepted = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    members = [member for member in members_of(accepted) if member is not type(None)]
    return " or ".join(dict.fromkeys(_member(member) for member in members))


def _member(tp: Any) -> str:
    if get_origin(tp) is Literal:
        values = get_args(tp)
        return "[a choice](#choices)" if len(values) > LONGEST_CHOICE else ", ".join(f"`{_source(v)}`" for v in values)
    if get_origin(tp) is list and get_origin(get_args(tp)[0]) is Literal:
        return "a list of these"
    if get_origin(tp) is Mapping:
        return "a mapping"
    return f"`{type_text(tp, _class_name)}`"


def _class_name(tp: Any) -> str | None:
    return tp.__name__ if isinstance(tp, type) and tp.__module__ not in ("builtins", "typing") else None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{type(value).__name__}()`"
    return "" if value is None else f"`{_source(value)}`"


def _source(value: Any) -> str:
    """A value as Python source."""
    if isinstance(value, list):
        return f"[{', '.join(map(_source, cast('list[Any]', value)))}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _defaults(config: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        made = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
        found[field.name] = getattr(made, "value", made)
    return found


def _example(spec: type[TrainSpec]) -> TrainSpec:
    needed = [name for name, field in spec.model_fields.items() if field.is_required()]
    return spec(**{name: f"namespace/{name}" for name in (*needed, *spec.missing({}))})


def _summary(documented: type[Any]) -> str:
    return (documented.__doc__ or "").splitlines()[0].replace("``", "`")


PARTS: dict[str, Part] = {
    "price_range": price_range,
    "plan": plan,
    "own_gpu": own_gpu,
    "choice": choice,
    "comparison": comparison,
    "flavors": flavors,
    "memory_errors": memory_errors,
    "methods": methods,
    "tested": proofs,
    "rewards": rewards,
    "reward_problems": reward_problems,
    "differing_defaults": differing_defaults,
    "failures": failures,
    "recommendation": recommendation,
    "starting_values": starting_values,
    "own_fields": own_fields,
    "groups": groups,
    "folded": folded,
    "refused": refused,
    "common_arguments": common_arguments,
    "choices": choices,
    "method_arguments": method_arguments,
}
"""The generated parts, by the name in a page."""
