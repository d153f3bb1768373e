"""Which function answers which request, and how a request is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

ROUTES: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = []


class ApiError(Exception):
    """A refusal, with the body and headers that the Hub gives it."""

    def __init__(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers)
        if code:
            self.headers["X-Error-Code"] = code
        if message.isascii():
            self.headers["X-Error-Message"] = message.split("\n")[0]


def route(method: str, pattern: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function for a method and a path; named groups of the pattern become its arguments."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        ROUTES.append((method, re.compile(pattern + r"\Z"), function))
        return function

    return register
