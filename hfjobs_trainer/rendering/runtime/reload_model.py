"""The saved model, loaded beside the trained one."""

import json
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.reload import compare_ends


def reload(trainer: Any, folder: Path | None = None) -> None:
    """Load the saved model, or the one in `folder`, and let it read a few tokens.

    A model that does not load, or reads otherwise than the trained one, makes the run
    a failure in the end. Where there is no room for two, that is only told.
    """
    import torch

    if not trainer.is_world_process_zero():
        return

    def read(model: Any) -> Any:
        with torch.no_grad(), trainer.accelerator.autocast():
            tokens = torch.arange(8, device=trainer.args.device)[None]
            return model.eval()(input_ids=tokens).logits.float()

    place, expected = folder or Path(trainer.args.output_dir).absolute(), None
    try:
        compare_ends(trainer, place, place)
        require_room(trainer, place)
        expected = read(trainer.model)
        apart = (read(load_saved(trainer, place)) - expected).norm()
        apart = (apart / (expected.norm() + 1)).item()
        if not apart < 0.5:  # what rounding and quantization change is far less
            raise ValueError(f"its logits are {apart:.0%} away from the trained one's")
        report("reloaded", loaded=True)
    except Exception as error:  # noqa: BLE001 - the model is where it belongs already
        why, room = f"{error!r:.300}", (MemoryError, torch.OutOfMemoryError)
        report("reloaded", loaded=False, why=why)
        # Not every model reads bare tokens, nor has every machine room for two.
        if isinstance(error, FileNotFoundError) or not (
            expected is None or isinstance(error, room)
        ):
            told = f"The model in {place} is not what was trained: {why}"
            trainer.lost = [*getattr(trainer, "lost", ()), told]


def require_room(trainer: Any, folder: Path) -> None:
    """Raise an error where a saved model lacks weights, or should not be loaded.

    Raises:
        FileNotFoundError: A file of weights is not there.
        MemoryError: The model is spread over processes, or a machine may not hold two:
            it would end this process, while a GPU only refuses.
    """
    from psutil import virtual_memory

    names = {path.name for path in folder.glob("*.safetensors")}
    for index in folder.glob("*.safetensors.index.json"):
        names.update(json.loads(index.read_text("utf-8"))["weight_map"].values())
    size = sum((folder / name).stat().st_size for name in names)
    if not names:
        raise FileNotFoundError(f"{folder} has no weights")
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise MemoryError("the model is spread over several processes")
    if trainer.args.device.type == "cpu" and virtual_memory().available < 2 * size:
        raise MemoryError(f"{size / 2**30:.0f} GiB may not fit into this machine twice")


def load_saved(trainer: Any, folder: Path) -> Any:
    """Load a saved model whole, on the device that trained it.

    Raises:
        LookupError: It lacks weights.
    """
    trained = trainer.model
    if hasattr(trained, "peft_config"):  # merged since
        trained = trained.get_base_model()
    options: dict[str, Any] = {"device_map": {"": trainer.args.device}}
    options |= {"dtype": "auto", "output_loading_info": True}
    model, told = trained.from_pretrained(folder, **options)
    if lacking := sorted(told["missing_keys"]):
        raise LookupError(f"it lacks {len(lacking)} weights, such as {lacking[0]}")
    return model
