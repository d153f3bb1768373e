from __future__ import annotations

from hfjobs_trainer.facts import Facts, ModelFacts

BAD = {"method": "grpo", "reward_funcs": ["me/judge"]}
GOOD = {"method": "grpo", "reward_funcs": ["me/judge"]}
_POLICY = ModelFacts(exists=True, model_type="llama", architectures=("LlamaForCausalLM",))
FACTS = Facts(model=_POLICY, reward_models=(_POLICY,))
GOOD_FACTS = Facts(
    model=_POLICY,
    reward_models=(
        ModelFacts(exists=True, model_type="llama", architectures=("LlamaForSequenceClassification",), num_labels=1),
    ),
)
UNCHECKED = "the files of me/judge"
EXPECTED = [
    (
        "reward_funcs",
        (
            "me/judge is a LlamaForCausalLM that has not learned to score: its rewards would be random; hft.Reward "
            "makes a reward model of it"
        ),
        "",
    )
]
