"""Names of a network group for a job's Python, where the job has no /etc/hosts of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

_look_up, _look_up_one = socket.getaddrinfo, socket.gethostbyname


def _address(host: Any) -> Any:
    """The first address that the group's file gives for a name, which is read anew each time; else the name."""
    lines = Path(os.environ["HUBSIM_HOSTS"]).read_text().splitlines()
    return next((line.split()[0] for line in lines if host in line.split()[1:]), host)


def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
    return _look_up(_address(host), *args, **options)


def gethostbyname(host: Any) -> str:
    return _look_up_one(_address(host))


if "HUBSIM_HOSTS" in os.environ:
    socket.getaddrinfo, socket.gethostbyname = getaddrinfo, gethostbyname
