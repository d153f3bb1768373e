"""The audit of a push: what lies on the Hub is what was saved."""

from importlib import import_module
from pathlib import Path
from typing import Any


def model_files(folder: Path) -> list[str]:
    """Name the files of a saved model, without what else lies in its folder."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    others = ("_", ".", "checkpoint-", "merged/", "ref/")
    return sorted(n for path in paths if not (n := path.as_posix()).startswith(others))


def audit(api: Any, repo: str, commit: str, folder: Path) -> dict[str, str]:
    """Give the digests of a model's files, which a commit has too, or LookupError."""
    digests: Any = import_module("huggingface_hub.utils.sha")
    names, same = model_files(folder), dict[str, str]()
    for file in api.get_paths_info(repo, names, revision=commit):
        there = file.lfs.sha256 if file.lfs else file.blob_id
        with Path(folder, file.path).open("rb") as data:
            large = file.lfs and digests.sha_fileobj(data).hex()
            if there == (large or digests.git_hash(data.read())):
                same[file.path] = there
    if lacking := [name for name in names if name not in same]:
        raise LookupError(f"{repo} at {commit} lacks these as saved: {lacking}")
    return same
