"""The environment of a script that is tried: what it needs to find things, no token, no secret, no GPU."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

# What a process needs to find its interpreter, libraries, caches and the Hub. No token is among these; the address of a
# proxy may have a password, without which there would be no network.
_PASSED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH"),
    *("DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
    *("PYTHONPYCACHEPREFIX", "XDG_CACHE_HOME", "XDG_DATA_HOME", "HTTP_PROXY", "HTTPS_PROXY"),
    *("ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy", "SSL_CERT_FILE"),
    *("SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HF_HOME", "HF_HUB_CACHE"),
    *("HUGGINGFACE_HUB_CACHE", "HF_XET_CACHE", "HF_ASSETS_CACHE", "HF_DATASETS_CACHE"),
    *("HF_MODULES_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"),
    *("TRANSFORMERS_OFFLINE", "HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"),
    *("HF_HUB_DISABLE_XET", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
)


def environment(
    scratch: Path,
    *,
    declared: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool = False,
) -> dict[str, str]:
    """The variables of the process.

    Args:
        scratch: Folder for whatever it writes.
        declared: Variables that the spec declares for the job.
        secrets: Names of variables that are passed on if they are set here: those that the user's own code needs.
        token: Hub token, only where a model or dataset is private or gated.
        endpoint: URL of the Hub.
        offline: Do not contact the Hub.
    """
    secrets = [name for name in secrets if name != "HF_TOKEN"]
    names = {name for name in os.environ if name in _PASSED or name.startswith("LC_")}
    kept = {name: os.environ[name] for name in names.union(secrets) if name in os.environ}
    told = {name: value for name, value in (declared or {}).items() if not name.startswith("UV_")}
    own = {
        "TMPDIR": str(scratch / "tmp"),
        "HFT_HOME": str(scratch / "home"),
        "HFT_DATA_DIR": str(scratch / "data"),
        "TRACKIO_DIR": str(scratch / "trackio"),
        "HF_TOKEN_PATH": str(scratch / "no-token"),  # not the one that is stored
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0" if token else "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "HFT_NUM_PROCESSES": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
        "TOKENIZERS_PARALLELISM": "false",
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "WANDB_MODE": "disabled",
    }
    if endpoint:
        own["HF_ENDPOINT"] = endpoint
    if token:
        own["HF_TOKEN"] = token
    if offline:
        own["HF_HUB_OFFLINE"] = "1"
    return {**kept, **told, **own}
