"""Names of TRL that are not methods here, and what to use instead.

Some were removed from TRL itself, some are experiments that this package does not cover. The versions were read off
TRL's releases up to 1.16.0.
"""

from __future__ import annotations

_SCRIPT = "hft.Script(url_or_path), which runs a script of yours or TRL's own example on the same hardware"
_EXPERIMENT = f"an experimental trainer of TRL that this package does not cover: use {_SCRIPT}"


def _until(version: str, instead: str) -> str:
    return f"TRL {version} was the last release with it: use {instead}, or {_SCRIPT}, with trl=={version} in its header"


INSTEAD: dict[str, str] = {
    # removed from TRL
    "bco": _until("1.13.0", 'hft.DPO(loss_type="bco_pair") on pairs, hft.KTO on single answers'),
    "prm": _until("1.13.0", "hft.Reward, which scores whole answers"),
    "nashmd": _until("1.13.0", "hft.OnlineDPO"),
    "xpo": _until("1.13.0", "hft.OnlineDPO"),
    "minillm": _until("1.14.2", "hft.GKD or hft.Distillation"),
    "ssd": _until("1.15.0", "hft.SFT"),
    "gspotoken": _until("1.13.0", 'hft.GRPO(importance_sampling_level="sequence", loss_type="grpo")'),
    "grpowithreplaybuffer": _until("1.13.0", "hft.GRPO"),
    "iterativesft": "removed from TRL; run hft.SFT once per round, starting from the previous round's model",
    "ddpo": f"removed from TRL, which no longer trains image generators: use {_SCRIPT}",
    "alignprop": f"removed from TRL, which no longer trains image generators: use {_SCRIPT}",
    "gfpo": "removed from TRL; use hft.GRPO with a reward that filters",
    "papo": "removed from TRL; use hft.GRPO",
    "dppo": "removed from TRL; use hft.GRPO or hft.PPO",
    "selfdistillation": f"replaced in TRL by SDFT and SDPO: use {_SCRIPT}",
    # a setting of another method
    "gspo": 'use hft.GRPO(importance_sampling_level="sequence", loss_type="grpo")',
    "drgrpo": 'use hft.GRPO(loss_type="dr_grpo", scale_rewards="none")',
    "dapo": 'use hft.GRPO(loss_type="dapo")',
    "simpo": 'use hft.CPO(loss_type="simpo", cpo_alpha=0.0)',
    "ipo": 'use hft.DPO(loss_type="ipo")',
    "mpo": "use hft.DPO with lists as loss_type and loss_weights",
    "slic": 'use hft.DPO(loss_type="hinge")',
    "rm": "use hft.Reward",
    "rewardmodeling": "use hft.Reward",
    "lora": "use any method with lora=hft.LoRA(...)",
    # experiments
    **dict.fromkeys(("tpo", "gmpo", "a2po", "sdft", "sdpo", "iwopd", "asyncgrpo", "bemadpo"), _EXPERIMENT),
    **dict.fromkeys(("asyncdistillation", "serverdistillation"), f"use hft.Distillation; {_EXPERIMENT}"),
    "gold": f"use hft.GKD or hft.Distillation where teacher and student share a vocabulary; {_EXPERIMENT}",
    # other names of TRL
    "automodelforcausallmwithvaluehead": "removed from TRL; hft.PPO makes its value model from reward_model",
    "automodelforseq2seqlmwithvaluehead": "removed from TRL; hft.PPO makes its value model from reward_model",
    "pretrainedmodelwrapper": "removed from TRL; hft.PPO makes its value model from reward_model",
    "datacollatorforcompletiononlylm": (
        "removed from TRL; use hft.SFT(assistant_only_loss=True) on conversations, or the columns prompt and "
        "completion, where the loss is taken on the completion only"
    ),
    "setupchatformat": 'removed from TRL; use hft.SFT(chat_template_path="a model, or a .jinja file")',
    "truncatedataset": "removed from TRL; use max_length",
    "getkbitdevicemap": "removed from TRL; the script places the model itself",
    "winratecallback": "removed from TRL; score answers with reward_funcs in hft.OnlineDPO or hft.GRPO",
    **dict.fromkeys(
        (
            "judge",
            "judges",
            "basejudge",
            "basepairwisejudge",
            "baserankjudge",
            "hfpairwisejudge",
            "openaipairwisejudge",
            "pairrmjudge",
            "allbalancingjudge",
            "allntruejudge",
        ),
        "removed from TRL; use hft.OnlineDPO or hft.GRPO with a function in reward_funcs that calls the judge",
    ),
    "textenvironment": f"removed from TRL: use {_SCRIPT}",
    "mergemodelcallback": f"a callback, which your own script can import from trl.experimental: use {_SCRIPT}",
}
"""What to use instead, by name in lower case without ``_``, ``-``, ``Trainer`` and ``Config``."""


def plain_name(name: str) -> str:
    """The name as ``INSTEAD`` has it: ``"BCOTrainer"`` and ``"submit_bco"`` are ``"bco"``."""
    plain = name.lower().replace("_", "").replace("-", "").removeprefix("submit")
    return plain.removesuffix("trainer").removesuffix("config")


def instead(name: str) -> str | None:
    """What to use instead of a name of TRL, as one sentence without a period; ``None`` if TRL never had it."""
    from hfjobs_trainer.specs.registry import METHODS

    plain = plain_name(name)
    if found := INSTEAD.get(plain):
        return found
    method = next((method for method in METHODS if method.replace("_", "") == plain), None)
    return f"use hft.{METHODS[method].__name__}(...)" if method else None
