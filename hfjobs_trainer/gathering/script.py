"""A script that exists already, read from a URL or from disk."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import time
from pathlib import Path

from hfjobs_trainer.facts import ScriptFacts
from hfjobs_trainer.gathering.answer import ask
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.script_reads import modules_beside, paths_read
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.specs.source import is_file, path_of, read_bytes

LARGEST = 1_000_000
"""Bytes of the largest script that is taken."""
DOWNLOAD_SECONDS = 20.0
"""Longest wait for a connection, and for each piece of the answer."""

_GITHUB_PAGE = re.compile(r"https://github\.com/([^/]+/[^/]+)/(?:blob|raw)/(.+)")


def read_script(spec: Script, *, offline: bool, token: str | None, endpoint: str | None) -> ScriptFacts:
    """Read a script once; ``problem`` says what went wrong."""
    files = {item: str(Path(item).absolute()) for item in spec.script_args if _is_file(item)}
    if not spec.is_remote:
        return _facts(_from_disk(spec.script), files, attempt(lambda: Path(spec.script).expanduser().absolute().parent))
    if offline:
        return ScriptFacts(problem="the plan is made offline", local_files=files)
    return _facts(_download(spec.script, token, endpoint), files)


def _facts(read: bytes | str, files: dict[str, str], folder: Path | None = None) -> ScriptFacts:
    if isinstance(read, str):
        return ScriptFacts(problem=read, local_files=files)
    if len(read) > LARGEST:
        return ScriptFacts(problem=f"it has more than {LARGEST:,} bytes", local_files=files)
    try:
        text = read.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return ScriptFacts(problem="it is not UTF-8 text", local_files=files)
    # text that is no Python is a rule's to tell
    tree = attempt(lambda: ast.parse(text)) or ast.Module([], [])
    modules, reads = modules_beside(tree, folder) if folder else (), paths_read(tree, folder)
    return ScriptFacts(text, hashlib.sha256(read).hexdigest(), None, files, modules, reads)


def _from_disk(path: str) -> bytes | str:
    try:
        return read_bytes(path_of(path) or Path(path), LARGEST)
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError as error:
        return str(error)


def _download(url: str, token: str | None, endpoint: str | None) -> bytes | str:
    from huggingface_hub import HfApi, get_session
    from huggingface_hub.utils import hf_raise_for_status

    hub = HfApi(endpoint=endpoint).endpoint.rstrip("/")
    # The token is for the Hub alone.
    headers = {"authorization": f"Bearer {token}"} if token and url.startswith(f"{hub}/") else {}

    def download() -> bytes:
        answer = get_session().get(_raw(url, hub), headers=headers, timeout=DOWNLOAD_SECONDS, follow_redirects=True)
        hf_raise_for_status(answer)
        return answer.content

    answer = ask(download, time.monotonic() + DOWNLOAD_SECONDS)
    if answer.value is not None:
        return answer.value
    return f"HTTP status {answer.refused}" if answer.refused else f"the download failed: {answer.failure}"


def _raw(url: str, hub: str) -> str:
    """The address of the file, where ``url`` is that of the page that shows it."""
    if page := _GITHUB_PAGE.fullmatch(url):
        return f"https://raw.githubusercontent.com/{page[1]}/{page[2]}"
    return url.replace("/blob/", "/resolve/", 1) if url.startswith(f"{hub}/") else url


def _is_file(argument: str) -> bool:
    """Whether an argument means a file of this machine, and not a word that a file happens to have as its name."""
    looks_like_one = os.sep in argument or re.search(r"\.[A-Za-z]\w{0,5}$", argument) is not None
    return looks_like_one and is_file(Path(argument))
