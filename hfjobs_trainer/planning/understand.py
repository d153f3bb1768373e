"""What a spec and the facts mean together: the only reader of a spec's training fields."""

from __future__ import annotations

from typing import Any, Literal

from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.facts.gap import needed_answers
from hfjobs_trainer.planning.arguments.packing import COUNTED, most_packed
from hfjobs_trainer.planning.arguments.strategies import first_strategy, written_spread
from hfjobs_trainer.planning.arguments.tuning import complete
from hfjobs_trainer.planning.arguments.vision import has_images
from hfjobs_trainer.planning.duration.lengths import UNBOUNDED_TOKENS, longest_prompt
from hfjobs_trainer.planning.model.shape import count_parameters, shape_of
from hfjobs_trainer.planning.run import Batch, Evaluation, MixedPrecision, Rows, Run, Saving, Vllm
from hfjobs_trainer.problems import Unknown
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import side_models
from hfjobs_trainer.specs.training import Answers, SideModel

# Arguments that tie the batch per device to how completions are generated.
_TIES = ("generation_batch_size", "steps_per_generation", "auto_find_batch_size")


def understand(spec: TrainSpec, facts: Facts) -> Run:
    """The run that the spec and the facts describe; the machine is not chosen yet.

    Args:
        spec: What the user wants.
        facts: Facts about the model, its data and the account.
    """
    training, method = type(spec).TRAINING, type(spec).METHOD
    answers = training.answers(spec) if training.answers else None
    sides = tuple(side_models(spec, facts))
    images = has_images(spec.dataset, facts.dataset)
    sees = bool(facts.model.is_vision or images)
    lifts = "max_length" in type(spec).model_fields and not spec.is_set("max_length") and sees and images is not False
    strategy = first_strategy(spec.hardware)
    spread = written_spread(spec.hardware) if strategy == "user" else None
    recomputes = training.recomputes and _recomputes(spec)
    rows = _rows(spec, facts, sees=sees, lifts_max_length=lifts)
    vllm = _vllm(spec, facts, answers)
    num_parameters = facts.model.num_parameters or count_parameters(facts.model)
    shape = shape_of(facts.model)
    quantized = spec.quantization is not None
    lora, lora_choices = complete(spec.lora, facts.model, own_code=bool(spec.trust_remote_code))
    return Run(
        method=method,
        training=training,
        given=spec.trl_arguments(),
        model_id=spec.model,
        model=facts.model,
        shape=shape,
        num_parameters=num_parameters,
        sees=sees,
        side_models=sides,
        answers=answers,
        passes=training.passes(spec),
        beta=getattr(spec, "beta", None),
        lora=lora,
        lora_choices=lora_choices,
        quantization=spec.quantization,
        trains_weights=_trains_weights(spec),
        bf16_adapter=quantized and training.bf16_adapter,
        merges=_merges(spec),
        dtype=spec.dtype,
        mixed_precision=_mixed_precision(spec),
        use_cpu=spec.use_cpu,
        optim=spec.optim,
        optim_is_set=spec.is_set("optim"),
        attention=spec.attn_implementation,
        liger_kernel=spec.use_liger_kernel,
        activation_offloading=bool(getattr(spec, "activation_offloading", False)),
        batch=_batch(spec, answers),
        recomputes=recomputes,
        may_keep_activations=recomputes
        and spec.activation_checkpointing is None
        and not spec.is_set("gradient_checkpointing"),
        hardware=spec.hardware,
        strategy=strategy,
        spread=spread,
        zero3_obstacles=_zero3_obstacles(spec),
        nodes=spec.hardware.nodes - bool(vllm and vllm.apart),
        vllm=vllm,
        dataset=spec.dataset,
        rows=rows,
        epochs=_epochs(spec, rows, answers),
        max_steps=spec.max_steps if spec.max_steps > 0 else None,
        evaluation=_evaluation(spec, facts, rows, answers),
        saving=_saving(spec),
        syncs_reference=bool(getattr(spec, "sync_ref_model", False)),
        timeout_is_set=spec.is_set("ddp_timeout"),
        lifts_max_length=lifts,
        output_dir=spec.output_dir,
        output=spec.output,
        tracking=spec.tracking,
        namespace=spec.namespace or facts.account.name,
        private_inputs=_private_inputs(facts),
        image=spec.image,
        simulation=facts.simulation,
        unknown=_unknown(spec, facts, sides, unclear=strategy == "user" and spread is None),
        unknown_amounts=_unknown_work(spec, facts, rows, known=shape is not None),
    )


def _batch(spec: TrainSpec, answers: Answers | None) -> Batch:
    training = type(spec).TRAINING
    return Batch(
        per_device=spec.per_device_train_batch_size,
        per_device_is_set=spec.is_set("per_device_train_batch_size"),
        accumulation=spec.gradient_accumulation_steps,
        accumulation_is_set=spec.is_set("gradient_accumulation_steps"),
        global_size=spec.global_batch_size,
        is_free=training.free_batch and not any(spec.is_set(name) for name in _TIES),
        least=training.least_per_device,
        generation_size=getattr(spec, "generation_batch_size", None),
        eval_per_device=spec.per_device_eval_batch_size,
        # with generated completions, an evaluation batch must hold whole groups of them, and stays as it is
        eval_follows=training.free_batch and answers is None and not spec.is_set("per_device_eval_batch_size"),
    )


def _rows(spec: TrainSpec, facts: Facts, *, sees: bool, lifts_max_length: bool) -> Rows:
    dataset, count = spec.dataset, facts.dataset.num_rows
    total: float | None = count
    # for a mixture, the number of rows used is known
    if dataset.num_samples is not None and not dataset.mixed_with:
        total = dataset.num_samples if count is None else min(count, dataset.num_samples)
    if total is not None and facts.dataset.shape and not dataset.mixed_with:
        total = round(total * facts.dataset.shape.rows_of_one)
    held = 0.0 if total is None else float(min(spec.held_out(total), total))
    packed = bool(getattr(spec, "packing", False))
    max_length: int | None = getattr(spec, "max_length", None)
    return Rows(
        total=total,
        held_out=held,
        lengths=facts.dataset.lengths,
        max_length=None if lifts_max_length else max_length,
        packed=packed,
        splits=packed and getattr(spec, "packing_strategy", "bfd") != "bfd",
        padded=not packed and not getattr(spec, "padding_free", False),
        streamed=dataset.streaming,
        processes=int(getattr(spec, "dataset_num_proc", None) or 1),
        most_packed=0 if sees else _most_packed(spec, facts, max_length),
    )


def _most_packed(spec: TrainSpec, facts: Facts, max_length: int | None) -> int:
    rows = facts.dataset.num_rows
    if not type(spec).TRAINING.packs or spec.dataset.streaming or any(spec.is_set(name) for name in COUNTED):
        return 0
    return most_packed(
        model_type=facts.model.model_type,
        lengths=facts.dataset.lengths,
        rows=None if rows is None else max(0, rows - spec.held_out(rows)),
        max_length=max_length,
        epochs=spec.num_train_epochs,
        per_device=spec.per_device_train_batch_size,
        flash="flash" in (spec.attn_implementation or ""),
    )


def _epochs(spec: TrainSpec, rows: Rows, answers: Answers | None) -> float:
    """Epochs; the spec may count completions instead."""
    total = answers.total if answers else None
    return total / rows.trained if total and rows.trained else float(spec.num_train_epochs)


def _evaluation(spec: TrainSpec, facts: Facts, rows: Rows, answers: Answers | None) -> Evaluation:
    size = _eval_rows(spec, facts.eval_dataset, rows.held_out)
    return Evaluation(
        in_memory=bool(spec.needs_eval_dataset) and type(spec).TRAINING.evaluates_loss,
        has_set=spec.evaluates,
        rows=size * answers.eval_group if size and answers else size,
        every=None if spec.eval_strategy == "epoch" else float(spec.eval_steps or spec.logging_steps),
        first=bool(spec.eval_on_start),
        chooses_first=spec.eval_strategy != "no"
        and not spec.is_set("eval_on_start")
        and type(spec).TRAINING.evaluates_at_start,
    )


def _eval_rows(spec: TrainSpec, known: DatasetFacts | None, held_out: float) -> float | None:
    if spec.eval_strategy == "no" and not spec.eval_on_start:
        return 0.0
    if spec.eval_dataset is None:
        return held_out
    sizes = [size for size in (known.num_rows if known else None, spec.eval_dataset.num_samples) if size is not None]
    return float(min(sizes)) if sizes else None


def _saving(spec: TrainSpec) -> Saving:
    return Saving(
        every={"no": 0.0, "epoch": None}.get(spec.save_strategy, float(spec.save_steps)),
        limit=spec.save_total_limit,
        limit_is_set=spec.is_set("save_total_limit"),
        keeps_best=spec.load_best_model_at_end,
        resumable=not spec.save_only_model,
        is_open=type(spec).TRAINING.resumes
        and spec.output.checkpoints is not None
        and not (spec.save_only_model or spec.load_best_model_at_end)
        and not any(spec.is_set(name) for name in ("save_steps", "save_strategy")),
    )


def _vllm(spec: TrainSpec, facts: Facts, answers: Answers | None) -> Vllm | None:
    if not getattr(spec, "use_vllm", False):
        return None
    fields: Any = spec  # every method with use_vllm has the other vLLM arguments
    server = fields.vllm_mode == "server"
    starts = server and not (spec.is_set("vllm_server_base_url") or spec.is_set("vllm_server_host"))
    share = "vllm_gpu_memory_utilization"
    context = "vllm_max_model_length"
    impl = fields.vllm_model_impl if spec.is_set("vllm_model_impl") else None
    return Vllm(
        colocated=fields.vllm_mode == "colocate",
        starts_server=starts,
        apart=starts and spec.hardware.nodes > 1,
        gpus=int(fields.vllm_tensor_parallel_size),
        gpus_is_set=spec.is_set("vllm_tensor_parallel_size"),
        share=getattr(spec, share) or 0.0,
        share_is_set=spec.is_set(share),
        chooses_context=hasattr(spec, context) and not spec.is_set(context),
        tokens=_vllm_tokens(spec, facts.dataset.lengths, answers),
        port=int(fields.vllm_server_port),
        timeout=float(fields.vllm_server_timeout) if spec.is_set("vllm_server_timeout") else None,
        options={
            "vllm_model_impl": impl,
            "revision": spec.model_revision,
            "trust_remote_code": spec.trust_remote_code or None,
        },
    )


def _vllm_tokens(spec: TrainSpec, lengths: LengthFacts | None, answers: Answers | None) -> int:
    """Tokens of a sequence that vLLM has to hold: as the user set it, or the longest prompt and its completion."""
    told: int | None = getattr(spec, "vllm_max_model_length", None)
    if told is not None:
        return told
    bounded = answers is not None and answers.within_max_length
    # online DPO passes vLLM the sum of both (TRL 1.16: online_dpo_trainer.py)
    prompt: int | None = getattr(spec, "max_length", None) if bounded else longest_prompt(lengths)
    return (prompt or UNBOUNDED_TOKENS) + ((answers.most if answers else None) or UNBOUNDED_TOKENS)


def _recomputes(spec: TrainSpec) -> bool:
    return spec.activation_checkpointing if spec.activation_checkpointing is not None else spec.gradient_checkpointing


def _mixed_precision(spec: TrainSpec) -> MixedPrecision | None:
    """What the user set of bf16 and fp16; ``None`` if nothing."""
    if spec.bf16 is None and not spec.is_set("fp16"):
        return None
    return "bf16" if spec.bf16 else "fp16" if spec.fp16 else "fp32" if spec.bf16 is False else "bf16"


def _trains_weights(spec: TrainSpec) -> bool:
    """Whether weights of the model itself are trained, in the dtype in which they are loaded.

    PEFT keeps the adapter's own in float32, but not those that ``modules_to_save`` and ``bias`` name, nor the head of
    a sequence classifier, which it trains in full (PEFT 0.21: peft_model.py).
    """
    lora = spec.lora
    if lora is None or type(spec).METHOD.lora_task == "SEQ_CLS":
        return True
    return not lora.continues and bool(lora.modules_to_save or lora.bias != "none")


def _merges(spec: TrainSpec) -> Literal["", "only", "both"]:
    if spec.lora is None or not spec.output.merge_adapter:
        return ""
    return "both" if spec.output.merge_adapter == "both" else "only"


def _zero3_obstacles(spec: TrainSpec) -> tuple[str, ...]:
    """Fields that ZeRO-3 does not support with an adapter."""
    if spec.lora is None:
        return ()
    names = ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")
    given: dict[str, dict[str, Any]] = {name: getattr(spec, name, None) or {} for name in names}
    selective = [name for name, kwargs in given.items() if kwargs.get("selective")]
    return (*selective, *(["lora.merge_first"] if spec.lora.merge_first else []))


def _private_inputs(facts: Facts) -> tuple[str, ...]:
    """Inputs that need a token, each as a reason."""
    subjects: list[tuple[str, ModelFacts | DatasetFacts | None]] = [
        ("model", facts.model),
        ("tokenizer", facts.processing_class),
        ("teacher", facts.teacher),
        ("reference model", facts.ref_model),
        ("reward model", facts.reward_model),
        ("value model", facts.value_model),
        *(("reward model", judge) for judge in facts.reward_models),
        ("adapter", facts.adapter),
        ("dataset", facts.dataset),
        ("evaluation dataset", facts.eval_dataset),
    ]
    return tuple(
        f"the {what} is {'private' if subject.private else 'gated'}"
        for what, subject in subjects
        if subject is not None and (subject.private or subject.gated)
    )


def _unknown(
    spec: TrainSpec,
    facts: Facts,
    sides: tuple[tuple[SideModel, ModelFacts | None], ...],
    *,
    unclear: bool,
) -> tuple[Unknown, ...]:
    """What is needed to estimate memory, and unknown."""
    models = {spec.model: ("model", facts.model)} | {side.id: (side.field, known) for side, known in sides if side.id}
    missing = [
        Unknown(f"the size of {id}", (field,), known is not None and _is_told(facts, id, known))
        for id, (field, known) in models.items()
        if known is None or not _size(known)
    ]
    if unclear:
        name = "deepspeed" if spec.hardware.deepspeed is not None else "fsdp"
        missing.append(Unknown(f"how hardware.{name} shards the model", (f"hardware.{name}",), True))
    return tuple(missing)


def _size(model: ModelFacts) -> int | None:
    return model.num_parameters or count_parameters(model)


def _unknown_work(spec: TrainSpec, facts: Facts, rows: Rows, *, known: bool) -> tuple[Unknown, ...]:
    """What is needed to estimate the duration, and unknown."""
    missing = [] if known else [Unknown("the size of the model", ("model",), _is_told(facts, spec.model, facts.model))]
    if rows.total is None and spec.max_steps <= 0:
        what, about = "the rows of the dataset (or max_steps)", ("dataset", "max_steps")
        missing.append(Unknown(what, about, spec.dataset.streaming or _is_told(facts, spec.dataset.id, facts.dataset)))
    return tuple(missing)


def _is_told(facts: Facts, id: str, known: ModelFacts | DatasetFacts) -> bool:
    """Whether all that there is to know of a model or dataset was answered."""
    return known.exists is True and not any(gap.about == id for gap in needed_answers(facts.gaps))
