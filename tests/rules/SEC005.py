from __future__ import annotations

BAD = {"trust_remote_code": True, "output": {"hub_model_id": "me/model"}}
GOOD = {"trust_remote_code": True, "tracking": {"report_to": "none"}}
EXPECTED = [
    (
        "trust_remote_code",
        "code from me/model would run with your HF_TOKEN in its environment",
        "a fine-grained token that can write to one repository only, and model_revision of a commit you have read",
    ),
]
