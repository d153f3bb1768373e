"""An evaluation for trainers that have none: the mean reward of the model's answers."""

from collections.abc import Callable
from typing import Any


def evaluate_by_reward(trainer: Any, score: Callable[[Any, Any], Any]) -> None:
    """Have the trainer evaluate by the rewards of its own answers, as `eval_reward`.

    Args:
        trainer: A trainer with an evaluation set.
        score: Gives the rewards, a tensor, of the trainer's answers to a batch.
    """

    def evaluate(*_: Any, **__: Any) -> dict[str, float]:
        import torch

        model, accelerator = trainer.model, trainer.accelerator
        model.eval()
        with torch.no_grad():
            rewards = [
                accelerator.gather(score(trainer, batch).float())
                for batch in trainer.get_eval_dataloader()
            ]
        model.train()
        metrics = {"eval_reward": torch.cat(rewards).mean().item()}
        trainer.log(metrics)
        trainer.control = trainer.callback_handler.on_evaluate(
            trainer.args, trainer.state, trainer.control, metrics
        )
        return metrics

    trainer.evaluate = evaluate
