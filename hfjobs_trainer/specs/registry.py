"""The training methods: one record each, found by the files in ``specs/methods``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import JobSpec, TrainSpec

_PACKAGE = "hfjobs_trainer.specs.methods"
_registered: dict[str, type[TrainSpec]] = {}
S = TypeVar("S", bound="type[TrainSpec]")


@dataclass(frozen=True, slots=True)
class Method:
    """A training method and where TRL keeps it.

    Attributes:
        name: Such as ``"dpo"``: the tag of its specs, its file's and its template's name.
        label: As people write it, such as ``"DPO"``.
        module: Module that has the trainer and the config.
        trainer: Name of the trainer class.
        config: Name of the config class.
        family: Which set of pins its scripts use, a key of ``data/pins.json``.
        lora_task: PEFT's task type of its adapters.
        device_map: Whether the trainer would spread a model over all GPUs by itself, unless it is told not to.
        loads_models: Whether the script loads the models itself, because the trainer takes no ids.
    """

    name: str
    label: str
    trainer: str
    config: str
    module: str = "trl"
    family: str = "default"
    lora_task: str = "CAUSAL_LM"
    device_map: bool = False
    loads_models: bool = False

    @property
    def experimental(self) -> bool:
        """Whether TRL may change it at any release, and warns of that when it is imported."""
        return self.module.startswith("trl.experimental")

    def trl_argument_names(self, spec: type[TrainSpec]) -> frozenset[str]:
        """Fields of the spec class that are arguments of TRL's config."""
        from hfjobs_trainer.specs.args_base import TRLArgs
        from hfjobs_trainer.specs.trl_args.common import CommonArgs

        tables = [
            c
            for c in spec.__mro__
            if issubclass(c, TRLArgs) and c.__module__.startswith(CommonArgs.__module__.rsplit(".", 1)[0])
        ]
        return frozenset(name for table in tables for name in table.model_fields)


def method(
    name: str,
    *,
    label: str,
    trainer: str,
    config: str,
    module: str = "trl",
    family: str = "default",
    lora_task: str = "CAUSAL_LM",
    device_map: bool = False,
    loads_models: bool = False,
) -> Callable[[S], S]:
    """Register a spec class as the training method ``name``; the keywords are those of ``Method``."""

    def register(spec: S) -> S:
        spec.METHOD = Method(name, label, trainer, config, module, family, lora_task, device_map, loads_models)
        _registered[name] = spec
        return spec

    return register


def method_names(spec: type[JobSpec]) -> frozenset[str]:
    """The name of the class's method, and those of the methods that it extends."""
    records = (vars(base).get("METHOD") for base in spec.__mro__)
    return frozenset(record.name for record in records if isinstance(record, Method))


@cache
def _names() -> tuple[str, ...]:
    folder = importlib.import_module(_PACKAGE).__path__
    return tuple(info.name for info in pkgutil.iter_modules(folder))


class Methods(Mapping[str, "type[TrainSpec]"]):
    """Spec classes by method name; a class is built when it is first asked for."""

    def __getitem__(self, name: str) -> type[TrainSpec]:
        if name not in _names():
            from hfjobs_trainer.specs.dropped import INSTEAD, plain_name

            hint = INSTEAD.get(plain_name(name))
            raise KeyError(f"{name}: {hint}" if hint else name)
        if name not in _registered:
            importlib.import_module(f"{_PACKAGE}.{name}")
        return _registered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_names())

    def __len__(self) -> int:
        return len(_names())

    def __repr__(self) -> str:
        return f"METHODS({', '.join(self)})"


METHODS: Mapping[str, type[TrainSpec]] = Methods()
