"""One of two processes that really train a tiny decoder under FSDP2 with gloo; prints the peak of each part of a step.

The units are those that accelerate 1.15 makes (``utils/fsdp_utils.py``, ``fsdp2_prepare_model``), written out here.
"""

from __future__ import annotations

import json
import sys

import torch
from simulating.tiny import request
from torch import distributed
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import AutoModelForCausalLM

from hfjobs_trainer.simulating.model import config_of
from hfjobs_trainer.simulating.sharded import resizes_on
from hfjobs_trainer.simulating.tape import Tape


def main() -> None:
    asked, layers = request(**json.loads(sys.argv[1])), int(sys.argv[2])
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    config = config_of(asked.model, layers)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    if asked.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    half = torch.bfloat16 if asked.mixed_precision else None
    policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=half, output_dtype=half)
    for unit in (*model.model.layers, model.model.embed_tokens):
        fully_shard(unit, mp_policy=policy, reshard_after_forward=True)
    fully_shard([model.model.norm, model.lm_head], mp_policy=policy, reshard_after_forward=False)
    fully_shard(model, mp_policy=policy)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    ids, mask, labels = (torch.ones((2, 48), dtype=torch.int64) for _ in range(3))
    tape = Tape()

    def step() -> None:
        tape.mark("forward")
        loss = model(input_ids=ids, labels=labels, use_cache=False).loss
        tape.mark("backward")
        tape.backward(loss)
        del loss
        tape.mark("step")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()

    step()
    tape.marks.clear()
    tape.hold([*model.parameters(), *model.buffers(), ids, mask, labels])
    tape.hold(value for state in optimizer.state.values() for value in state.values())
    with tape, resizes_on(tape):
        step()
    print(json.dumps({name: size for name, (size, _) in tape.peaks().items()}))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
