from __future__ import annotations

BAD = {"tracking": {"project": "model_artifacts"}}
GOOD = {"tracking": {"project": "model-artifacts"}}
EXPECTED = [
    (
        "tracking.project",
        'trackio reserves names that end in "_artifacts"',
        'tracking=hft.Tracking(project="model-artifacts")',
    )
]
