"""The saved adapter, loaded beside the trained one."""

from importlib import import_module
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.reload import compare_ends


def reload(trainer: Any) -> None:
    """Load the saved adapter beside the trained one, which it must equal."""
    if not trainer.is_world_process_zero():
        return
    folder, model = Path(trainer.args.output_dir).absolute(), trainer.model
    base = model.active_peft_config.base_model_name_or_path
    more = {"torch_device": trainer.args.device.type, "autocast_adapter_dtype": False}
    weights: Any = import_module("peft").get_peft_model_state_dict
    try:
        compare_ends(trainer, folder, base)
        if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
            report("reloaded", loaded=False, why="it is spread over several processes")
            return
        model.load_adapter(folder, "saved", **more)
        trained, saved = [weights(model, adapter_name=n) for n in ("default", "saved")]
        other = [name for name in trained if not trained[name].equal(saved[name])]
    except Exception as error:  # noqa: BLE001 - the model is where it belongs already
        other = [f"{error!r:.200}"]
    report("reloaded", loaded=not other)
    if other:
        told = f"The saved adapter is not the one that was trained: {other[:5]}"
        trainer.lost = [*getattr(trainer, "lost", ()), told]
