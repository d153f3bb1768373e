from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts

# a tenth of the rows has 1500 tokens, the rest 100 to 900
LENGTHS = LengthFacts(
    "tokens", 100, 640.0, (*(100.0 + 50 * step for step in range(17)), 900.0, 1500.0, 1500.0), prompt_mean=None
)
CHARACTERS = replace(LENGTHS, unit="characters")
BAD = {"dataset": "me/data", "max_length": 600}
GOOD = {"dataset": "me/data"}
FACTS = Facts(dataset=DatasetFacts(exists=True, lengths=LENGTHS))
GOOD_FACTS = Facts(dataset=DatasetFacts(exists=True, lengths=CHARACTERS))
UNCHECKED = "how many tokens the rows of me/data have"
EXPECTED = [
    (
        "max_length",
        (
            "about 45% of the rows of me/data are longer than 600 tokens, and are truncated; 1536 are enough for "
            "95% of them, if memory allows"
        ),
        "max_length=1536",
    )
]
