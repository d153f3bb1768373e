"""The upload of the trained model."""

# needs: events

import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report

PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...


def push(trainer: Any, **card: Any) -> None:
    """Save the model and upload it with its card.

    Args:
        trainer: The trainer, done with training.
        card: What `trainer.create_model_card()` takes, such as `dataset_name`.
    """
    # All processes save, since each may hold a part; one uploads. The trainer's own
    # push_to_hub() does both at once, so it could not be tried again by one alone.
    trainer.save_model(_internal_call=True)
    upload(trainer, Path(trainer.args.output_dir).absolute(), **card)


def upload(trainer: Any, folder: Path | None, suffix: str = "", **card: Any) -> None:
    """Upload a saved model, again after each failure that may pass.

    Args:
        trainer: The trainer, done with training.
        folder: Where the model is; only the main process needs to know.
        suffix: What is added to the name of the trainer's repository.
        card: What `trainer.create_model_card()` takes, such as `dataset_name`.
    """
    from huggingface_hub import HfApi

    if folder is None or not trainer.is_world_process_zero():
        return
    api: Any = HfApi(token=trainer.args.hub_token)
    pauses = list(PUSH_PAUSES)
    while True:
        try:
            if trainer.hub_model_id is None:
                trainer.init_hf_repo()
            main_repo = str(trainer.hub_model_id)
            repo = main_repo + suffix
            private = trainer.args.hub_private_repo
            if suffix:
                api.create_repo(repo, private=private, exist_ok=True)
            trainer.create_model_card(**{"model_name": repo.split("/")[-1], **card})
            text = Path(trainer.args.output_dir, "README.md").read_text("utf-8")
            text = text.replace(f'"{main_repo}"', f'"{repo}"')
            (folder / "README.md").write_text(text, "utf-8")
            commit = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                commit_message="End of training",
                ignore_patterns=["_*", "checkpoint-*", "merged/*", "ref/*"],
                revision=None if suffix else trainer.args.hub_revision,
            )
        except Exception as error:
            if not pauses or not may_pass(error):
                lost = f"The model was not pushed; it is in {folder}: {error!r:.300}"
                report("warning", message=lost)
                raise
            pause = pauses.pop(0)
            report("warning", message=f"Push again in {pause:g} s: {error!r:.300}")
            time.sleep(pause)
        else:
            report("pushed", repo=repo, url=str(commit.repo_url))
            return


def may_pass(error: Exception) -> bool:
    """Tell whether the Hub may answer differently in a minute."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is None or status >= 500 or status in (408, 409, 412, 425, 429)
