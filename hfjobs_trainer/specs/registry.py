"""The training methods: one record each, found by the files in ``specs/methods``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from hfjobs_trainer.specs.training import Training

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec

_PACKAGE = "hfjobs_trainer.specs.methods"
_registered: dict[str, type[TrainSpec]] = {}
S = TypeVar("S", bound="type[TrainSpec]")


@dataclass(frozen=True, slots=True)
class Method:
    """A training method, and its trainer in TRL.

    Attributes:
        name: Such as ``"dpo"``: the tag of its specs, its file's and its template's name.
        label: As people write it, such as ``"DPO"``.
        module: Module that has the trainer and the config.
        trainer: Name of the trainer class.
        config: Name of the config class.
        family: Its scripts' set of pins, a key of ``data/pins.json``.
        lora_task: PEFT's task type of its adapters.
        device_map: Whether the trainer distributes a model over all GPUs by default.
        loads_models: Whether the script loads the models itself, because the trainer does not accept ids.
        extends: Names of the methods whose spec classes it extends, the nearest first.
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
    extends: tuple[str, ...] = ()

    @property
    def lineage(self) -> tuple[str, ...]:
        """Its name, and those of the methods that it extends."""
        return (self.name, *self.extends)

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
    """Register a spec class as the training method ``name``; the keywords are those of ``Method``.

    A subclass of a method under a name of its own is that method again, with its training step, rules and template.

    Raises:
        TypeError: The class, and those that it extends, do not declare ``TRAINING``.
    """

    def register(spec: S) -> S:
        if not isinstance(getattr(spec, "TRAINING", None), Training):
            raise TypeError(f"method {name!r}: {spec.__name__} must declare TRAINING, a specs.training.Training")
        extended: list[Method] = [vars(base)["METHOD"] for base in spec.__mro__[1:] if "METHOD" in vars(base)]
        extends = tuple(dict.fromkeys(base.name for base in extended))
        spec.METHOD = Method(name, label, trainer, config, module, family, lora_task, device_map, loads_models, extends)
        _registered[name] = spec
        return spec

    return register


@cache
def _names() -> tuple[str, ...]:
    folder = importlib.import_module(_PACKAGE).__path__
    return tuple(info.name for info in pkgutil.iter_modules(folder))


def forget(name: str) -> None:
    """Undo a registration, as tests do; the package's own methods are found again."""
    _registered.pop(name, None)


class Methods(Mapping[str, "type[TrainSpec]"]):
    """Spec classes by method name, such as ``METHODS["dpo"]``; a class is loaded when it is first used."""

    def __getitem__(self, name: str) -> type[TrainSpec]:
        if name in _registered:
            return _registered[name]
        if name not in _names():
            from hfjobs_trainer.specs.dropped import INSTEAD, plain_name

            hint = INSTEAD.get(plain_name(name))
            raise KeyError(f"{name}: {hint}" if hint else name)
        importlib.import_module(f"{_PACKAGE}.{name}")
        return _registered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*_names(), *_registered)))

    def __len__(self) -> int:
        return len({*_names(), *_registered})

    def __repr__(self) -> str:
        return f"METHODS({', '.join(self)})"


METHODS: Mapping[str, type[TrainSpec]] = Methods()
