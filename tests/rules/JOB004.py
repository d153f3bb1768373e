from __future__ import annotations

BAD = {"env": {"_DEBUG": "1", "X": "1", "BOTH": "1"}, "secrets": ["my-secret", "BOTH"]}
GOOD = {"env": {"DEBUG": "1"}, "secrets": ["my_secret", "S"]}
EXPECTED = [
    (
        "env",
        'the name "_DEBUG" must begin with a letter and have only letters, digits and _, two at least',
        'env={"DEBUG": "1", "X": "1"}',
    ),
    ("env", 'the name "X" must begin with a letter and have only letters, digits and _, two at least', ""),
    (
        "secrets",
        'the name "my-secret" must begin with a letter and have only letters, digits and _',
        'secrets=["my_secret", "BOTH"]',
    ),
    ("env", "BOTH is also in secrets", 'env={"DEBUG": "1", "X": "1"}'),
]
