from __future__ import annotations

BAD = {"env": {"_DEBUG": "1", "X": "1", "BOTH": "1"}, "secrets": ["my-secret", "BOTH"]}
GOOD = {"env": {"DEBUG": "1"}, "secrets": ["my_secret", "S"]}
EXPECTED = [
    ("env", 'the name "_DEBUG" must begin with a letter and have only letters, digits and _, two at least', '"DEBUG"'),
    ("env", 'the name "X" must begin with a letter and have only letters, digits and _, two at least', "another name"),
    ("secrets", 'the name "my-secret" must begin with a letter and have only letters, digits and _', '"my_secret"'),
    ("env", "BOTH is also in secrets", "remove it from env"),
]
