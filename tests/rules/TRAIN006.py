from __future__ import annotations

BAD = {"optim": "schedule_free_adamw"}
GOOD = {"optim": "schedule_free_adamw", "extra_dependencies": ["schedulefree==1.4.1"]}
EXPECTED = [
    (
        "optim",
        '"schedule_free_adamw" needs the package schedulefree, which the script does not install',
        'extra_dependencies=["schedulefree"]',
    ),
]
