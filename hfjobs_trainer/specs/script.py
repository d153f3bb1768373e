"""An existing script, run with everything that a training run has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from hfjobs_trainer.specs.base import JobSpec
from hfjobs_trainer.specs.registry import Method

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import ScriptFields

URL_SCHEMES = ("https://", "http://")


class Script(JobSpec):
    """An existing training script: a uv script of your own or a TRL example.

    Such as ``hft.Script("https://.../grpo.py", script_args=["--beta", "0"])``. It is read once, when it is planned, and
    its text is sent with the job: what runs is what was shown. If it uses transformers' trainers, their progress is
    reported, and ``tracking`` applies to them.
    """

    METHOD: ClassVar[Method] = Method("script", label="Script", trainer="", config="")

    method: Literal["script"] = "script"
    script: str = Field(min_length=1, description="URL or local path of a Python script.")
    script_args: list[str] = Field(default=[], description="Arguments of its command line.")
    sha256: str | None = Field(
        default=None,
        pattern="[0-9a-f]{64}",
        description="SHA-256 of its text, hexadecimal; a script of any other text is refused.",
    )

    if TYPE_CHECKING:

        def __init__(self, url_or_path: str = ..., /, **fields: Unpack[ScriptFields]) -> None: ...

    else:

        def __init__(self, url_or_path: str | None = None, /, **fields: Any) -> None:
            super().__init__(**({} if url_or_path is None else {"script": url_or_path}), **fields)

    @property
    def is_remote(self) -> bool:
        """Whether the script is fetched from a URL."""
        return self.script.startswith(URL_SCHEMES)

    @property
    def stem(self) -> str:
        """The script's file name, without its extension."""
        name = self.script.split("?")[0].split("#")[0].rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
        return name.removesuffix(".py") or "script"
