from __future__ import annotations

BAD = {"trust_remote_code": True, "output": {"hub_model_id": "me/model"}}
GOOD = {"trust_remote_code": True, "tracking": {"report_to": "none"}}
EXPECTED = [
    (
        "trust_remote_code",
        "code of me/model would run beside your HF_TOKEN",
        "a fine-grained token that may write to one repository only, and model_revision of a commit you read",
    ),
]
