from __future__ import annotations


async def later(row):
    return row


def apart(question, answer):
    return {"prompt": question, "completion": answer}


def named(row, *, system):
    return {"prompt": system + row["question"], "completion": row["answer"]}


def to_pair(row, system="Be short. "):
    return {"prompt": system + row["question"], "completion": row["answer"]}


BAD = {
    "method": "sft",
    "dataset": {"id": "me/data", "map": later, "mixed_with": [{"id": "me/b", "map": apart}]},
    "eval_dataset": {"id": "me/c", "map": named},
}
GOOD = {"method": "sft", "dataset": {"id": "me/data", "map": to_pair}}
EXPECTED = [
    ("dataset.map", "later is asynchronous: write it with def alone", ""),
    (
        "dataset.map",
        "apart takes (question, answer); it is given one row, a dict: def apart(row)",
        "",
    ),
    (
        "dataset.map",
        "named takes (row, system); it is given one row, a dict: def named(row)",
        "",
    ),
]
