from __future__ import annotations

BAD = {"attn_implementation": "flash_attention2"}
GOOD = {"attn_implementation": "sdpa"}
EXPECTED = [
    (
        "attn_implementation",
        (
            'transformers has no attention "flash_attention2"; it has eager, sdpa, flex_attention, '
            "flash_attention_2, flash_attention_3, flash_attention_4, paged|eager"
        ),
        'attn_implementation="flash_attention_2"',
    )
]
