"""What the dataset viewer of the Hub says: rows of each split, and the first of them.

Its answers are described in huggingface/dataset-viewer: docs/source/openapi.json, size.md, first_rows.md.
"""

from __future__ import annotations

from urllib.parse import urlencode

from hfjobs_trainer.gathering.values import Json, as_int, as_json, as_list, as_text

Sizes = dict[str, dict[str, int | None]]


def viewer_url(endpoint: str, path: str, **query: str) -> str:
    """The address of a question to the viewer of the Hub at ``endpoint``.

    The public Hub has a server of its own for it (huggingface_hub: constants.py); any other is asked itself.
    """
    from huggingface_hub import constants

    hub = endpoint.rstrip("/")
    public = hub == "https://huggingface.co"
    return f"{constants.DATASETS_SERVER_ENDPOINT if public else hub}{path}?{urlencode(query)}"


def read_sizes(size: Json) -> Sizes:
    """Rows by configuration and split, from an answer of ``/size``; ``None`` where only a part was counted."""
    sizes: Sizes = {}
    for entry in map(as_json, as_list(as_json(size.get("size")).get("splits"))):
        config, split = as_text(entry.get("config")), as_text(entry.get("split"))
        if config and split:
            sizes.setdefault(config, {})[split] = None if size.get("partial") else as_int(entry.get("num_rows"))
    return sizes


def read_columns(first_rows: Json) -> tuple[str, ...] | None:
    """Column names from an answer of ``/first-rows``."""
    entries = map(as_json, as_list(first_rows.get("features")))
    return tuple(name for entry in entries if (name := as_text(entry.get("name")))) or None


def read_first_rows(first_rows: Json) -> list[Json]:
    """The rows of an answer of ``/first-rows``, without the values that are cut off.

    Where the rows are large, the viewer cuts off cells from the last row upwards, but leaves short cells whole: to go
    on with a column beyond the first that is missing would count the short ones only.
    """
    rows = list[Json]()
    for item in map(as_json, as_list(first_rows.get("rows"))):
        cut = as_list(item.get("truncated_cells"))
        rows.append({name: value for name, value in as_json(item.get("row")).items() if name not in cut})
    return rows
