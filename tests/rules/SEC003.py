from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

BAD = {"secrets": ["HF_TOKEN"], "tracking": {"report_to": "none"}}
GOOD = {"secrets": ["HF_TOKEN"], "tracking": {"report_to": "none"}, "output": {"hub_model_id": "me/model"}}
FACTS = Facts(
    model=ModelFacts(exists=True, private=False, gated=False), dataset=DatasetFacts(exists=True, private=False)
)
UNCHECKED = "whether me/model is private"
EXPECTED = [("secrets", "nothing in this run needs HF_TOKEN, and every package in the job could read it", "secrets=[]")]
