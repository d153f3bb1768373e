"""A strict stand-in for the Hugging Face Hub on 127.0.0.1: jobs that really run, buckets, repositories."""

from __future__ import annotations

from hubsim.server import start, stop
from hubsim.state import Hub

__all__ = ["Hub", "start", "stop"]
