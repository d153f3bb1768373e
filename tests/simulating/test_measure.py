"""Simulated steps: against exact sums, against a real step, and against each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from simulating.tiny import LAYER, MODEL, PARAMETERS, request

from hfjobs_trainer.simulating.request import parse_request

pytestmark = pytest.mark.torch

# Blocks of 512 bytes round each tensor up: at most so much per tensor of a layer and of the rest.
ROUNDING = 512 * (6 * 9 + 3)


def peak(**fields: Any) -> float:
    from hfjobs_trainer.simulating.measure import measure

    return max(measure(request(**fields), 2).peaks.values())


def test_what_is_held_throughout_is_the_exact_sum() -> None:
    from hfjobs_trainer.simulating.measure import measure

    found = measure(request(), 6)
    assert found.parameters == PARAMETERS
    assert 0 <= found.static["weights"] - 4 * PARAMETERS <= ROUNDING
    # two moments; each parameter's count of steps takes a block
    assert 0 <= found.static["optimizer_states"] - 8 * PARAMETERS <= 3 * ROUNDING
    assert found.gradients["step"] == found.static["weights"] - buffer_bytes()


def buffer_bytes() -> int:
    """The rotary frequencies, twice."""
    return 2 * 512


def test_an_adapter_is_counted_by_peft_itself() -> None:
    from hfjobs_trainer.simulating.measure import measure

    found = measure(request(tuning="lora", lora_r=8, lora_targets=["q_proj", "v_proj"]), 2)
    assert found.static["adapter"] == 2 * 4 * 8 * ((64 + 64) + (64 + 32))
    assert found.gradients["step"] == found.static["adapter"]


def test_four_bits_take_half_a_byte_and_their_scales() -> None:
    from hfjobs_trainer.simulating.measure import measure

    plain = measure(request(tuning="lora", dtype="bfloat16"), 2).static
    packed = measure(request(tuning="lora", dtype="bfloat16", quantization="4bit"), 2).static
    matrices = 2 * (LAYER - 2 * 64)
    # seven matrices a layer, each with a table of 16 values
    expected = matrices * (0.5 + 4 / 64) + 14 * 512
    assert plain["weights"] - packed["weights"] == pytest.approx(2 * matrices - expected, abs=14 * 1024)
    assert packed["adapter"] == plain["adapter"] / 2


def test_a_real_step_on_the_cpu_holds_as_much() -> None:
    """Without a fake tensor in it; attention is computed as written, so that CPU and CUDA go the same way."""
    import torch
    from transformers import AutoModelForCausalLM

    from hfjobs_trainer.simulating.measure import measure
    from hfjobs_trainer.simulating.model import config_of
    from hfjobs_trainer.simulating.tape import Tape

    asked = request(attention="eager", logits="now", gradient_checkpointing=False, optim="adamw_torch")
    config = config_of(asked.model, 3)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).train()
    decay = [each for each in model.parameters() if each.dim() > 1]
    rest = [each for each in model.parameters() if each.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decay}, {"params": rest}], foreach=True)
    ids, mask, labels = (torch.ones((2, 48), dtype=torch.int64) for _ in range(3))
    tape = Tape()
    for number in range(2):
        if number:
            tape.hold([*model.parameters(), *model.buffers(), ids, mask, labels])
            tape.hold(value for state in optimizer.state.values() for value in state.values())
            tape.__enter__()
        tape.mark("forward")
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        tape.mark("backward")
        tape.backward(loss)
        del loss
        tape.mark("step")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
    tape.__exit__(None, None, None)
    events = len(tape.events)
    assert events > 100
    real = {name: size for name, (size, _) in tape.peaks().items()}
    simulated = measure(asked, 3).peaks
    for name in ("forward", "backward", "step"):
        most = max(size for moment, size in simulated.items() if moment.startswith(name))
        assert most == pytest.approx(real[name], rel=0.01), name


@pytest.mark.parametrize(
    "fields",
    [
        {"tuning": "lora", "lora_dropout": 0.1, "gradient_checkpointing": False, "padded": True},
        {"mixed_precision": "bf16", "gradient_accumulation_steps": 4, "optim": "adamw_torch"},
    ],
)
def test_two_depths_tell_the_third(fields: dict[str, Any]) -> None:
    from hfjobs_trainer.simulating.measure import extrapolate, measure

    asked = request(**fields)
    guessed = extrapolate(measure(asked, 2), measure(asked, 4), 6)
    full = measure(asked, 6)
    assert guessed.parameters == full.parameters
    assert guessed.peaks == pytest.approx(full.peaks, rel=0.01)
    assert guessed.static == pytest.approx(full.static, rel=0.001)


def test_recomputing_activations_lowers_the_peak() -> None:
    from hfjobs_trainer.simulating.measure import measure

    long = {"sequence_length": 512, "tuning": "lora", "lora_targets": "all-linear"}
    asked, kept = request(**long), request(**long, gradient_checkpointing=False)
    with_it, without = measure(asked, 4).peaks, measure(kept, 4).peaks
    assert max(with_it.values()) < 0.8 * max(without.values())


def test_each_method_holds_what_it_says() -> None:
    from hfjobs_trainer.simulating.measure import measure

    sft, copied = measure(request(), 2), measure(request(step="preference", reference_model=True), 2)
    assert copied.static["reference_model"] == sft.static["weights"]
    assert max(copied.peaks.values()) > max(sft.peaks.values()) + sft.static["weights"]
    for fields in (
        {"step": "unpaired", "tuning": "lora"},
        {"step": "policy_gradient"},
        {"step": "scores", "logits": "none"},
    ):
        assert set(measure(request(**fields), 2).peaks) >= {"forward", "backward", "step"}, fields


def test_accumulated_gradients_are_there_when_the_next_pass_begins() -> None:
    from hfjobs_trainer.simulating.measure import measure

    one, two = measure(request(), 2), measure(request(gradient_accumulation_steps=2), 2)
    assert one.gradients["forward"] == 0
    assert two.gradients["forward"] == two.gradients["step"]


def test_a_mask_costs_scores_and_repeated_keys() -> None:
    plain = {"gradient_checkpointing": False, "dtype": "bfloat16", "sequence_length": 256}
    assert peak(**plain, padded=True) > peak(**plain) + 2 * 2 * 2 * 256 * 256


def test_adamw_of_torch_2_0_holds_two_temporaries() -> None:
    from hfjobs_trainer.simulating.measure import measure

    one, two = (measure(request(optim="adamw_torch", adamw_temporaries=number), 2) for number in (1, 2))
    trained = 4 * (2 * 1000 * 64 + 64 + 2 * LAYER)
    # those of the group with weight decay, all but the norms; torch 2.0 keeps the 21 counts of steps on the CPU
    assert two.peaks["step"] - one.peaks["step"] == trained - 4 * 5 * 64 - 21 * 512


def test_a_kernel_spares_the_scores_of_a_model_that_has_no_other_than_eager() -> None:
    model = {"model_type": "gpt_oss", "num_experts": 4, "num_experts_per_tok": 2}
    fields = {"dtype": "bfloat16", "sequence_length": 256, "gradient_checkpointing": False}
    eager, flash = (peak(model=model, **fields, attention=attention) for attention in (None, "flash"))
    # at least the probabilities of each of two layers: 2 rows, 4 heads, 2 bytes
    assert eager - flash > 2 * 2 * 4 * 256 * 256 * 2
    # where transformers has another, it is as good
    assert peak(**fields, attention="flash") == peak(**fields)


def test_a_loop_that_keeps_the_logits_holds_them_in_the_backward_pass() -> None:
    wide = {"vocab_size": 20000}
    kept, passing = (peak(model=wide, dtype="bfloat16", logits=logits) for logits in ("copied", "half"))
    assert kept - passing > 4 * 2 * 48 * 20000


def test_layers_that_alternate_are_run_in_whole_periods() -> None:
    from hfjobs_trainer.simulating.model import config_of, period_of

    config = config_of({"model_type": "gemma3_text", "hidden_size": 64, "num_hidden_layers": 12})
    assert period_of(config) == 6


def test_numbers_that_do_not_make_the_model_are_refused() -> None:
    from hfjobs_trainer.simulating.measure import simulate
    from hfjobs_trainer.simulating.model import UnsupportedError

    with pytest.raises(UnsupportedError, match="billion parameters"):
        simulate(replace(request(), num_parameters=2 * PARAMETERS))


def test_what_no_library_knows_is_refused() -> None:
    from hfjobs_trainer.simulating.measure import simulate
    from hfjobs_trainer.simulating.model import UnsupportedError

    with pytest.raises(UnsupportedError, match="optim='lomo'"):
        simulate(request(optim="lomo"))
    with pytest.raises(UnsupportedError, match="not found in the base model"):
        simulate(request(tuning="lora", lora_targets=["nothing"]))
    with pytest.raises(UnsupportedError):
        simulate(parse_request({"model": MODEL | {"num_attention_heads": 7, "head_dim": 3, "hidden_size": 50}}))
