"""Prompts as token ids, for a trainer that does not tokenize."""

from typing import Any


def tokenize_prompts(dataset: Any, tokenizer: Any) -> Any:
    """Turn the column `prompt`, texts or messages, into the one column `input_ids`."""

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        prompt = row["prompt"]
        if isinstance(prompt, str):
            return {"input_ids": tokenizer(prompt)["input_ids"]}
        tokens = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_dict=True
        )
        return {"input_ids": tokens["input_ids"]}

    if "input_ids" in dataset.column_names:
        return dataset.select_columns("input_ids")
    return dataset.map(tokenize, remove_columns=dataset.column_names)
