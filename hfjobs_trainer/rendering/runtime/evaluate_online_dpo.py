"""Rewards of OnlineDPO's answers to a batch of the evaluation set."""

from typing import Any

from hfjobs_trainer.rendering.runtime.evaluate import evaluate_by_reward


def score_answers(trainer: Any, batch: dict[str, Any]) -> Any:
    """Have the model answer each prompt twice, as in training, and score that."""
    prompts: list[Any] = batch["prompt"]
    if trainer.args.use_vllm:
        generated = trainer._generate_vllm(prompts)
    else:
        generated = trainer._generate(trainer.model_wrapped, prompts)
    tokens = generated[2]
    answers: list[Any] = trainer.processing_class.batch_decode(
        tokens, skip_special_tokens=True
    )
    if not isinstance(prompts[0], str):
        answers = [[{"role": "assistant", "content": answer}] for answer in answers]
    columns = {name: 2 * rows for name, rows in batch.items() if name != "prompt"}
    return trainer._calculate_rewards_from_functions(
        prompts=2 * prompts,
        completions=answers,
        completion_ids_list=[row.tolist() for row in tokens],
        **columns,
    )


def prepare_evaluation(trainer: Any) -> None:
    """Give the trainer the evaluation that it lacks."""
    evaluate_by_reward(trainer, score_answers)
