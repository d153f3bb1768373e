"""Access tokens and keys, recognized by their form."""

from __future__ import annotations

import re

# Every service marks its tokens with a prefix; random text without one (say, a commit hash) is no token. A password in
# a URL stands between ":" and "@"; one in braces or with a "$" is the name of a variable, and "password" a placeholder.
_NO_PASSWORD = r"(?:pass(?:word|wd)?|x+|\*+|\.+)"
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(rf"(?<![A-Za-z0-9]){pattern}"))
    for kind, pattern in (
        ("a Hugging Face token", r"hf_(?:oauth_|app_|jwt_)?[A-Za-z0-9]{20,}"),
        ("an API key", r"sk-[A-Za-z0-9_-]{20,}"),
        ("a GitHub token", r"(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})"),
        ("a GitLab token", r"glpat-[\w-]{20,}"),
        ("an AWS key", r"(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])"),
        ("a Google key", r"AIza[\w-]{30,}"),
        ("a Slack token", r"xox[abprs]-[\w-]{10,}"),
        ("a private key", r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
        (
            "a URL with a password",
            rf"[A-Za-z][A-Za-z0-9+.-]{{0,30}}://[^\s/?#:@'\"]*:(?!{_NO_PASSWORD}@)[^\s/?#@{{}}$<>'\"]+@",
        ),
    )
)
_SECRET_NAME = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|KEY|APIKEY|CREDENTIALS)$")
_HARMLESS = frozenset({"", "0", "1", "true", "false", "none"})


def token_kind(text: str) -> str | None:
    """What kind of secret stands in the text, such as ``"a Hugging Face token"``; ``None`` if there is none."""
    return next((kind for kind, pattern in _KINDS if pattern.search(text)), None)


def names_a_secret(name: str, value: str) -> bool:
    """Whether an environment variable holds a secret, by its name: ``WANDB_API_KEY``, ``DB_PASSWORD``."""
    return _SECRET_NAME.search(name.upper()) is not None and value.strip().lower() not in _HARMLESS


def name_of_secret(entry: str) -> str:
    """The name in an entry of ``secrets``: what stands before ``=``, since people type ``NAME=value`` there."""
    return entry.partition("=")[0].strip()


def masked(text: str) -> str:
    """The text with every token in it replaced, fit for a message; of a URL with a password, all before the host."""
    for kind, pattern in _KINDS:
        text = pattern.sub(f"<{kind}>", text)
    return text
