"""Command lines that start a training of TRL: ``trl`` itself, its scripts, and what launches them.

A launcher's processes become GPUs, its files and strategies what they are to ``accelerate launch``, the options of a
job fields of the spec. Nothing is run, and no value of a secret is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.job_options import take_job_options
from hfjobs_trainer.specs.notes import LEFT_OUT, Note
from hfjobs_trainer.specs.options import read_options, whole
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.shell_words import commands_of, split_command_line
from hfjobs_trainer.tokens import names_a_secret, token_kind

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PYTHON = re.compile(r"(?:.*/)?python(?:\d(?:\.\d+)?)?")
_PREFIXES = ("nohup", "sudo", "time", "exec", "env", "export", "poetry", "pdm", "pipenv")
# Known so that they are answered as the commands they are.
_OTHERS = ("axolotl", "llamafactory-cli", "autotrain", "swift", "tune", "srun", "sbatch", "conda", "docker", "ray")
_BEFORE = ("cd", "set", "source", "bash", "sh", "pip")

# TRL's scripts whose names are not those of methods; trl/examples/scripts.
_SCRIPTS = {"reward_modeling": "reward", "dpo_online": "online_dpo"}
_OF_TRL = ("examples/scripts/", "trl/scripts/", "trl/experimental/")
_TRL_ADDRESS = "https://raw.githubusercontent.com/huggingface/trl/v{version}/{path}"
_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(slots=True)
class Command:
    """What a command line says.

    Attributes:
        method: Training method; empty while it is not known.
        words: The arguments of the training itself.
        values: What its launcher says, in the words of ``accelerate launch``.
        fields: Fields of a spec that it says.
        notes: What was taken for what.
        problems: What was not understood.
    """

    method: str = ""
    words: Sequence[str] = ()
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    notes: list[Note] = field(default_factory=list[Note])
    problems: list[Problem] = field(default_factory=list[Problem])


def is_command_line(text: str) -> bool:
    """Whether the text is a command line rather than the path of a file."""
    words = text.replace("\\\n", " ").lstrip().removeprefix("$").removeprefix("!").split()
    has_flags = any(word.startswith("--") for word in words[1:])
    return bool(words) and (words[0] == "trl" or has_flags or (len(words) > 1 and _starts(words[0])))


def _starts(word: str) -> bool:
    known = word in _LAUNCHERS or word in _PREFIXES or word in _BEFORE or word in _OTHERS
    return known or bool(_PYTHON.fullmatch(word)) or bool(_ASSIGNMENT.fullmatch(word))


def read_command(words: Sequence[str]) -> Command | Problem:
    """What a command line says, or why it is no training of TRL.

    Args:
        words: Its words, as a shell splits them. Of several commands, the one that starts a training counts, with the
            variables that are set before it.
    """
    found, why = Command(), Problem("LOAD003", "", f"it starts no training; {_known()}")
    for command in commands_of(words):
        read = _read(found, command)
        if isinstance(read, Command):
            return read
        why = read or why
    return why


def _read(found: Command, words: list[str]) -> Command | Problem | None:
    """What one command says; ``None`` if it starts nothing, such as ``cd`` and ``export``."""
    rest = list(words)
    while rest:
        word, *after = rest
        assigned = _ASSIGNMENT.fullmatch(word)
        if assigned:
            _assign(found, assigned[1], assigned[2])
            rest = after
        elif word in ("cd", "set", "source", "pip", "git"):
            return None
        elif word in ("bash", "sh"):
            return _shell(found, after)
        elif word in _PREFIXES:
            rest = after[1:] if word in ("poetry", "pdm", "pipenv") else after
            while rest and rest[0].startswith("-"):
                rest = rest[1:]
        else:
            return _launch(found, rest)
    return None


def _shell(found: Command, words: list[str]) -> Command | Problem | None:
    """What the text of ``bash -c`` says."""
    if len(words) < 2 or not words[0].startswith("-") or "c" not in words[0]:
        return Problem("LOAD003", "", f"a shell script is not read: load the command in it; {_known()}")
    try:
        inner = split_command_line(words[1])
    except ValueError as error:
        return Problem("LOAD003", "", f"the command of {words[0]} cannot be read: {error}")
    why: Problem | None = None
    for command in commands_of(inner):
        read = _read(found, command)
        if isinstance(read, Command):
            return read
        why = read or why
    return why


def _assign(found: Command, name: str, value: str) -> None:
    """A variable that stands before the command: GPUs, a secret by its name, or a variable of the job."""
    if name == _GPUS:
        if devices := _devices(value):
            found.values.setdefault("num_processes", devices)
        else:
            found.values["cpu"] = True
    elif names_a_secret(name, value) or token_kind(value):
        # HF_TOKEN is added by itself where it is needed
        found.fields |= {} if name == "HF_TOKEN" else {"secrets": [*found.fields.get("secrets", []), name]}
    else:
        found.fields["env"] = {**found.fields.get("env", {}), name: value}


def _devices(listed: str) -> int:
    return sum(device.strip() not in ("", "-1") for device in listed.split(","))


def _launch(found: Command, words: list[str]) -> Command | Problem:
    """What a launcher, or the command that it starts, says."""
    if not words:
        return Problem("LOAD003", "", f"it starts no training; {_known()}")
    name, *rest = words
    if name in ("bash", "sh"):
        return _shell(found, rest) or Problem("LOAD003", "", f"it starts no training; {_known()}")
    if _PYTHON.fullmatch(name):
        return _python(found, rest)
    launcher = _LAUNCHERS.get(name)
    if launcher is not None:
        return launcher(found, rest)
    if name.endswith(".py") or "/" in name:
        return _script(found, name, rest)
    starts = next((index for index, word in enumerate(rest) if word in _LAUNCHERS or _PYTHON.fullmatch(word)), None)
    hint = _known() if starts is None else f"load what it starts, from `{' '.join(rest[starts : starts + 2])}` on"
    return Problem("LOAD003", "", f"`{' '.join(words[:2])}` is not a supported training command; {hint}")


def _known() -> str:
    return f"there are {', '.join(f'trl {name}' for name in METHODS)}, and TRL's scripts of these names"


def _trl(found: Command, words: list[str]) -> Command | Problem:
    if not words or words[0] not in METHODS:
        from hfjobs_trainer.specs.dropped import instead

        said = f"`{' '.join(['trl', *words[:1]])}` is not a supported training command"
        hint = instead(words[0]) if words else None
        return Problem("LOAD003", "", f"{said}; {hint or _known()}")
    found.method, found.words = words[0], words[1:]
    return found


def _script(found: Command, script: str, words: Sequence[str]) -> Command | Problem:
    """A script by its path or address, or a module by its dotted name."""
    is_module = not script.endswith(".py") and "/" not in script
    stem = script.split("?")[0].rpartition("." if is_module else "/")[2].removesuffix(".py")
    if is_module and script in ("trl", "trl.cli", "trl.cli.main"):
        return _trl(found, list(words))
    if is_module and script in _MODULES:
        return _MODULES[script](found, list(words))
    method = _SCRIPTS.get(stem, stem.removeprefix("run_").removeprefix("train_"))
    if method not in METHODS:
        from hfjobs_trainer.specs.dropped import INSTEAD, plain_name

        version = TrainSpec.TRL_VERSION
        place = _TRL_ADDRESS.format(version=version, path=script) if script.startswith(_OF_TRL) else script
        args = f", script_args={list(words)!r}" if words else ""
        own = "it is a module, whose file is needed" if is_module else f"use hft.Script({place!r}{args})"
        hint = INSTEAD.get(plain_name(stem)) or own
        return Problem("LOAD003", "", f"{script} is not one of TRL's scripts for a method: {hint}; {_known()}")
    found.method, found.words = method, words
    return found


def _python(found: Command, words: list[str]) -> Command | Problem:
    given, rest = read_options(words, flags=("u", "i", "O", "OO", "B", "I", "E", "s"), ends=("m",), aliases={})
    if not rest:
        return Problem("LOAD003", "", f"it starts no script; {_known()}")
    del given
    return _script(found, rest[0], rest[1:])


_ACCELERATE_FLAGS = (
    *("multi_gpu", "use_deepspeed", "use_fsdp", "cpu", "mps", "tpu", "use_megatron_lm", "use_parallelism_config"),
    *("quiet", "q", "debug", "module", "m", "no_python", "same_network", "use_xpu", "enable_cpu_affinity"),
    *("dynamo_use_fullgraph", "dynamo_use_dynamic", "dynamo_use_regional_compilation", "fp8_use_fp8_weights"),
)
_ACCELERATE_SAYS = (
    *("num_processes", "num_machines", "config_file", "use_deepspeed", "use_fsdp", "multi_gpu", "cpu", "zero_stage"),
    *("deepspeed_config_file", "machine_rank", "main_process_ip", "rdzv_backend"),
)


# Options that the trainer's own arguments overrule: those arguments, and values that are TRL's default anyway.
_OVERRULED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mixed_precision": ("bf16 and fp16", ("bf16", "no")),
    "gradient_accumulation_steps": ("gradient_accumulation_steps", ()),
    "gradient_clipping": ("max_grad_norm", ()),
}


def _accelerate(found: Command, words: list[str]) -> Command | Problem:
    if not words or words[0] != "launch":
        return Problem("LOAD003", "", f"`accelerate {' '.join(words[:1])}` starts no training: accelerate launch does")
    return _accelerate_launch(found, words[1:])


def _accelerate_launch(found: Command, words: list[str]) -> Command | Problem:
    given, rest = read_options(words, flags=_ACCELERATE_FLAGS, ends=("m", "module"), aliases={})
    if not rest:
        return Problem("LOAD003", "", f"accelerate launch has no script; {_known()}")
    said = {name: value for name, value in given.items() if name in _ACCELERATE_SAYS or name.startswith("fsdp_")}
    said |= {name: value for name, value in given.items() if name.startswith("offload_")}
    found.values |= {name: value for name, value in said.items() if value is not None}
    for name, (arguments, usual) in _OVERRULED.items():
        if (value := given.get(name)) is not None and value not in usual:
            found.notes.append(Note(name, LEFT_OUT, f"{name}: {value}; the trainer's {arguments} decide", name))
    if (compiler := given.get("dynamo_backend")) not in (None, "no"):
        name, why = "torch_compile_backend", "the trainer's own argument for dynamo_backend"
        found.problems.append(Problem("LOAD005", name, why, keywords({name: str(compiler).lower()})))
    if isinstance(gpus := given.get("gpu_ids"), str) and gpus != "all":
        found.values.setdefault("num_processes", _devices(gpus))
    return _script(found, rest[0], rest[1:])


_TORCHRUN_FLAGS = ("standalone", "module", "m", "no_python", "run_path", "use_env")


def _torchrun(found: Command, words: list[str]) -> Command | Problem:
    given, rest = read_options(words, flags=_TORCHRUN_FLAGS, ends=("m", "module"), aliases={})
    if not rest:
        return Problem("LOAD003", "", f"torchrun has no script; {_known()}")
    return _script(_processes(found, given.get("nproc_per_node"), given.get("nnodes")), rest[0], rest[1:])


_DEEPSPEED_FLAGS = ("no_local_rank", "no_python", "module", "force_multi", "save_pid", "bind_cores_to_rank", "no_ssh")


def _deepspeed(found: Command, words: list[str]) -> Command | Problem:
    given, rest = read_options(words, flags=_DEEPSPEED_FLAGS, ends=("module",), aliases={})
    if not rest:
        return Problem("LOAD003", "", f"deepspeed has no script; {_known()}")
    gpus = given.get("num_gpus")
    if gpus is None and isinstance(include := given.get("include"), str) and "@" not in include:
        gpus = str(len(include.rpartition(":")[2].split(",")))
    return _script(_processes(found, gpus, given.get("num_nodes")), rest[0], rest[1:])


def _processes(found: Command, each: Any, nodes: Any) -> Command:
    """Processes of each machine, and machines."""
    counted = whole(nodes) if isinstance(nodes, str) else 1
    machines = counted or 1
    if counted is None:
        why = f"{nodes}: a job has a fixed number of machines, such as 2"
        found.problems.append(Problem("LOAD005", "nnodes", why))
    if machines > 1:
        found.values["num_machines"] = machines
    if isinstance(each, str) and (processes := whole(each)) is not None:
        found.values["num_processes"] = processes * machines
    return found


def _uv(found: Command, words: list[str]) -> Command | Problem:
    if words[:2] == ["tool", "run"]:
        return _uvx(found, words[2:])
    if words[:1] != ["run"]:
        return Problem("LOAD003", "", f"`uv {' '.join(words[:1])}` starts no training: uv run does")
    return _uvx(found, words[1:])


_UV_FLAGS = (
    *("no_project", "isolated", "no_sync", "frozen", "locked", "quiet", "q", "script", "s", "active", "all_extras"),
    *("offline", "no_cache", "n", "refresh", "upgrade", "U", "exact", "verbose", "v", "module", "m", "no_config"),
)


def _uvx(found: Command, words: list[str]) -> Command | Problem:
    given, rest = read_options(words, flags=_UV_FLAGS, ends=("m", "module"), aliases={}, several=("with",))
    if not rest:
        return Problem("LOAD003", "", f"uv starts no script; {_known()}")
    take_job_options(found.fields, found.notes, found.problems, {"with": given.get("with")})
    if rest[0].partition("@")[0].partition("==")[0].partition("[")[0] == "trl":
        return _trl(found, rest[1:])
    return _launch(found, rest)


_JOB_FLAGS = ("detach", "d", "dry_run", "ssh")
_JOB_SEVERAL = ("env", "secrets", "label", "volume", "with", "expose", "expose_public")
_JOB_ALIASES = {"e": "env", "s": "secrets", "l": "label", "v": "volume", "p": "python", "d": "detach"}


def _hf(found: Command, words: list[str]) -> Command | Problem:
    runs_uv = words[:3] == ["jobs", "uv", "run"]
    if not runs_uv and words[:2] != ["jobs", "run"]:
        return Problem("LOAD003", "", f"`hf {' '.join(words[:2])}` starts no training: hf jobs uv run does")
    rest = words[3:] if runs_uv else words[2:]
    given, rest = read_options(rest, flags=_JOB_FLAGS, ends=(), aliases=_JOB_ALIASES, several=_JOB_SEVERAL)
    take_job_options(found.fields, found.notes, found.problems, given)
    if not runs_uv and rest:
        why = "the script brings its own pinned packages, TRL among them"
        found.notes.append(Note("image", LEFT_OUT, f"{rest[0]}: {why}", "image"))
        rest = rest[1:]
    return _launch(found, rest)


_TRL_JOBS_NAMES = {"model": "model_name_or_path", "model_name": "model_name_or_path", "peft": "use_peft"}


def _trl_jobs(found: Command, words: list[str]) -> Command | Problem:
    if not words or words[0] not in METHODS:
        return _trl(found, words)
    method, rest, job = words[0], list[str](), dict[str, Any]()
    given, left = read_options(words[1:], flags=("peft", "detach", "d"), ends=(), aliases={"d": "detach"}, open=True)
    for name, value in given.items():
        if name in ("flavor", "timeout", "namespace", "detach", "token"):
            job[name] = value
        else:
            flag = _TRL_JOBS_NAMES.get(name, name)
            rest += [f"--{flag}", *([] if value is True else value if isinstance(value, list) else [str(value)])]
    job.setdefault("flavor", "a100-large")
    job.setdefault("timeout", "1h")
    take_job_options(found.fields, found.notes, found.problems, job)
    why = "it has values of its own for some models, which this command does not show: load its YAML file for them"
    found.notes.append(Note("trl-jobs", LEFT_OUT, why, "trl-jobs"))
    found.method, found.words = method, [*rest, *left]
    return found


_Launcher = Callable[[Command, list[str]], Command | Problem]
_LAUNCHERS: Mapping[str, _Launcher] = {
    "trl": _trl,
    "trl-jobs": _trl_jobs,
    "accelerate": _accelerate,
    "accelerate-launch": _accelerate_launch,
    "torchrun": _torchrun,
    "deepspeed": _deepspeed,
    "uv": _uv,
    "uvx": _uvx,
    "hf": _hf,
    "huggingface-cli": _hf,
}
_MODULES: Mapping[str, _Launcher] = {
    "accelerate.commands.launch": _accelerate_launch,
    "accelerate.commands.accelerate_cli": _accelerate,
    "torch.distributed.run": _torchrun,
    "torch.distributed.launch": _torchrun,
    "deepspeed.launcher.runner": _deepspeed,
}
