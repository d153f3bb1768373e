"""The dataset viewer: ``/size`` and ``/first-rows``, computed from the data files of the commit that is asked for.

On the public Hub these routes are those of datasets-server.huggingface.co. Fields, texts of errors, their codes and the
way large rows are cut follow huggingface/dataset-viewer (docs/source/openapi.json; libs/libcommon: viewer_utils).
"""

from __future__ import annotations

import csv
import fnmatch
import io
import json
import re
from typing import Any

import yaml

from hubsim.repos import Repo, get_repo
from hubsim.routing import ApiError, route

MAX_ROWS, MIN_ROWS = 100, 10
MAX_BYTES, MIN_CELL_BYTES = 200_000, 100
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
SPLITS = ("train", "validation", "test")
HIDDEN = "The dataset does not exist, or is not accessible with"
Tables = dict[str, dict[str, list[dict[str, Any]]]]


@route("GET", "/size")
def get_size(h: Any) -> None:
    name = need_parameters(h, "dataset")[0]
    repo, tables = open_dataset(h, name)
    splits = [
        {"dataset": name, "config": config, "split": split, **sizes(rows), "num_columns": len(columns(rows))}
        for config, by_split in tables.items()
        for split, rows in by_split.items()
    ]
    configs = [
        {"dataset": name, "config": config, "num_bytes_original_files": 0, **total(splits, config)}
        | {"num_columns": next(entry["num_columns"] for entry in splits if entry["config"] == config)}
        for config in tables
    ]
    whole = {"dataset": name, "num_bytes_original_files": 0, **total(splits, None)}
    partial = h.hub.cfg["viewerPartial"]
    body = {"size": {"dataset": whole, "configs": configs, "splits": splits}, "pending": [], "failed": []}
    h.send(200, body | {"partial": partial}, X_Revision=repo.head())


@route("GET", "/first-rows")
def get_first_rows(h: Any) -> None:
    name, config, split = need_parameters(h, "dataset", "config", "split")
    repo, tables = open_dataset(h, name)
    rows = tables.get(config, {}).get(split)
    if rows is None:
        raise ApiError(404, "The response is not found.", "ResponseNotFound")
    features = [{"feature_idx": index, "name": key, "type": kind} for index, (key, kind) in enumerate(columns(rows))]
    items, is_cut = cut_rows(rows)
    body = {"dataset": name, "config": config, "split": split, "features": features, "rows": items}
    h.send(200, body | {"truncated": is_cut}, X_Revision=repo.head())


def need_parameters(h: Any, *names: str) -> list[str]:
    found = [dict(h.query).get(name) for name in names]
    if not all(found):
        listed = " or ".join(f"'{name}'" for name in names)
        raise ApiError(422, f"Parameter {listed} is required", "MissingRequiredParameter")
    return [str(value) for value in found]


def open_dataset(h: Any, name: str) -> tuple[Repo, Tables]:
    """A dataset that the token may see, with its rows by configuration and split."""
    try:
        repo = get_repo(h, "datasets", name, content=True)
    except ApiError as error:
        if error.status == 401:
            text = f"{HIDDEN}out authentication (private or gated)."
            raise ApiError(401, text, "ExternalUnauthenticatedError") from None
        text = f"{HIDDEN} the current credentials (private or gated)."
        raise ApiError(404, text, "ExternalAuthenticatedError") from None
    if repo.meta["private"] and not h.hub.cfg["viewerPrivate"]:
        raise ApiError(501, "Private datasets are not supported.", "NotSupportedPrivateRepositoryError")
    _, files = repo.resolve("main")
    card = read_card(repo, files)
    if card.get("viewer") is False:
        raise ApiError(501, "The dataset viewer has been disabled on this dataset.", "NotSupportedDisabledViewerError")
    tables: Tables = {}
    for path, info in files.items():
        if path.endswith(SUFFIXES):
            rows = read_rows(path, repo.blob(info).read_bytes())
            for config, split in places(path, card):
                tables.setdefault(config, {}).setdefault(split, []).extend(rows)
    if not tables:
        raise ApiError(500, "The dataset is empty.", "EmptyDatasetError")
    return repo, tables


def read_card(repo: Repo, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    text = repo.blob(files["README.md"]).read_text() if "README.md" in files else ""
    found = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    return (yaml.safe_load(found[1]) or {}) if found else {}


def places(path: str, card: dict[str, Any]) -> list[tuple[str, str]]:
    """Configurations and splits to which a file belongs: as the card declares, else by its name."""
    if configs := card.get("configs"):
        return [
            (entry["config_name"], group["split"])
            for entry in configs
            for group in entry["data_files"]
            if fnmatch.fnmatch(path, group["path"])
        ]
    return [("default", next((split for split in SPLITS if split in path), "train"))]


def read_rows(path: str, data: bytes) -> list[dict[str, Any]]:
    try:
        if path.endswith(".parquet"):
            import pyarrow.parquet

            return pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
        if path.endswith(".csv"):
            return list(csv.DictReader(io.StringIO(data.decode(), newline="")))
        text = data.decode()
        return json.loads(text) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]
    except ValueError:
        raise ApiError(500, "Cannot load the dataset split.", "StreamingRowsError") from None


def columns(rows: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return [(name, feature(next((row[name] for row in rows if row.get(name) is not None), None))) for name in names]


def feature(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: feature(item) for key, item in value.items()}
    if isinstance(value, list):
        return [feature(value[0] if value else None)]
    kinds = {str: "string", bool: "bool", int: "int64", float: "float64"}
    return {"dtype": kinds.get(type(value), "null"), "_type": "Value"}


def sizes(rows: list[dict[str, Any]]) -> dict[str, int]:
    size = json_size(rows)
    return {"num_bytes_parquet_files": size, "num_bytes_memory": size, "num_rows": len(rows)}


def total(splits: list[dict[str, Any]], config: str | None) -> dict[str, int]:
    entries = [entry for entry in splits if config in (None, entry["config"])]
    names = ("num_bytes_parquet_files", "num_bytes_memory", "num_rows")
    return {name: sum(entry[name] for entry in entries) for name in names}


def cut_rows(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The first rows, as many as fit; of the first ten, if even they are too large, cells are cut from the last up."""
    names = [name for name, _ in columns(rows)]
    items = [
        {"row_idx": index, "row": {name: row.get(name) for name in names}, "truncated_cells": []}
        for index, row in enumerate(rows[:MAX_ROWS])
    ]
    size, kept = 2, list[dict[str, Any]]()
    for index, item in enumerate(items):
        size += json_size(item) + 1
        if index >= MIN_ROWS and size >= MAX_BYTES:
            break
        kept.append(item)
    size = json_size(kept)
    for item in reversed(kept):
        if size < MAX_BYTES:
            break
        before = json_size(item)
        cut_cells(item)
        size += json_size(item) - before
    return kept, len(kept) < len(rows)


def cut_cells(item: dict[str, Any]) -> None:
    for name, cell in item["row"].items():
        data = json.dumps(cell, ensure_ascii=False, separators=(",", ":")).encode()
        if len(data) > MIN_CELL_BYTES:
            item["row"][name] = data[:MIN_CELL_BYTES].decode(errors="ignore")
            item["truncated_cells"].append(name)


def json_size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
