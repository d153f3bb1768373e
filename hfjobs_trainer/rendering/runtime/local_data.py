"""Where local data and models are on the machine that the script runs on."""

import hashlib
import os
import sys
from functools import cache
from pathlib import Path

from hfjobs_trainer.rendering.runtime.events import report


@cache
def find_data(name: str) -> str:
    """Find a local file or folder: by its content where a job sees it, else by path.

    A file that has changed since the script was made is taken as it is, and reported.

    Args:
        name: `path@sha256:digest`.
    """
    path, _, digest = name.rpartition("@sha256:")
    mounted = Path(os.environ.get("HFT_DATA_DIR", "/hft/data"), digest)
    for place in sorted(mounted.glob("[!.]*")):
        return str(place)
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = Path(os.environ.get("HFT_HOME") or f"{cache_home}/hfjobs_trainer")
    kept = sorted((home.expanduser() / "data" / digest).glob("[!.]*"))
    places = [Path(path).expanduser(), Path(sys.argv[0]).parent / path, *kept]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        sys.exit(
            f"{path} (SHA-256 {digest}) is not on this machine: put it there, or set"
            " HFT_DATA_DIR to a folder with a folder of that SHA-256 that holds it."
        )
    if found.is_file() and os.environ.get("RANK", "0") == "0":
        with found.open("rb") as stream:
            now = hashlib.file_digest(stream, "sha256").hexdigest()
        if now != digest:
            told = f"{path} has changed since the script was made: its SHA-256 is {now}"
            report("warning", message=f"{told}, not {digest}. It is used as it is now.")
    return str(found)
