from __future__ import annotations

BAD = {"trust_remote_code": True, "output": {"hub_model_id": "me/model"}}
GOOD = {"trust_remote_code": True, "tracking": {"report_to": "none"}}
EXPECTED = [
    (
        "trust_remote_code",
        (
            "code from me/model would run with your HF_TOKEN in its environment: take a token that can write to "
            "one repository only, and the commit that you have read as model_revision"
        ),
        "",
    )
]
