"""Rewards of PPO's answers to the evaluation set, at the steps that are due."""

from importlib import import_module
from typing import Any

from hfjobs_trainer.rendering.runtime.evaluate import evaluate_by_reward


def score_answers(trainer: Any, batch: dict[str, Any]) -> Any:
    """Have the policy answer each prompt, and the reward model score the answers."""
    from transformers import GenerationConfig

    ppo: Any = import_module("trl.experimental.ppo.ppo_trainer")
    args, accelerator = trainer.args, trainer.accelerator
    queries = batch["input_ids"].to(accelerator.device)
    length = queries.shape[1]
    sampling = {
        "max_new_tokens": args.response_length,
        "temperature": args.temperature + 1e-7,
        "top_k": 0,
        "top_p": 1.0,
        "do_sample": True,
    }
    pad = trainer.processing_class.pad_token_id
    with ppo.unwrap_model_for_generation(
        trainer.model,
        accelerator,
        gather_deepspeed3_params=args.ds3_gather_for_generation,
        generation_kwargs=sampling,
    ) as model:
        answered, _ = ppo.batch_generation(
            model.policy, queries, len(queries), pad, GenerationConfig(**sampling)
        )
    answers = answered[:, length:]
    if trainer.stop_token_id is not None:
        answers = ppo.truncate_response(trainer.stop_token_id, pad, answers)
    answered = ppo.torch.cat((queries, answers), 1)
    return ppo.get_reward(trainer.reward_model, answered, pad, length)[1]


def prepare_evaluation(trainer: Any) -> None:
    """Give the trainer the evaluation that it lacks, and have it called."""
    from transformers import TrainerCallback

    class Evaluate(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if control.should_evaluate:
                control.should_evaluate = False
                trainer.evaluate()

    evaluate_by_reward(trainer, score_answers)
    trainer.add_callback(Evaluate())
