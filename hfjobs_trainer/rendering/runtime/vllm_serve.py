"""How vLLM's server is started as TRL's trainers want it, and waited for."""

import subprocess
import sys
import time
import urllib.request
from http.client import HTTPException
from typing import Any

# Keeps the server: ends it once the process that started it is gone, however that
# ended, since then its standard input closes. All of it is one process group.
KEEPER = """
import os, signal, subprocess, sys, threading
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, lambda *_: None)
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def follow():
    code = server.wait()
    os.killpg(0, signal.SIGTERM)
    os._exit(code if code >= 0 else 128 - code)
threading.Thread(target=follow, daemon=True).start()
sys.stdin.buffer.read()
os.killpg(0, signal.SIGTERM)
try:
    server.wait(20)
except subprocess.TimeoutExpired:
    pass
os.killpg(0, signal.SIGKILL)
"""


def serve_command(model: str, **options: Any) -> list[str]:
    """Give the command of a server, with options of `trl vllm-serve`."""
    command = [sys.executable, "-m", "trl.scripts.vllm_serve", f"--model={model}"]
    return command + [f"--{name}={value}" for name, value in options.items()]


def keep(command: list[str], env: dict[str, str] | None = None) -> Any:
    """Start a server that ends when the standard input of its keeper is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", KEEPER, *command],
        env=env,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def await_answer(host: str, port: int, seconds: float, server: Any = None) -> None:
    """Wait until a server is healthy; end this process if it is not in time.

    Args:
        host: Name or address of its machine.
        port: Port on which it answers.
        seconds: How long that may take.
        server: Its process, where that runs on this machine.
    """
    # Straight there, whatever proxies the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if server and (code := server.poll()) is not None:
            sys.exit(
                f"vLLM's server ended with code {code} before it answered; the lines"
                " above are its own."
            )
        try:
            with opener.open(f"http://{host}:{port}/health", timeout=5):
                waited = time.monotonic() - started
                print(f"vLLM's server answers after {waited:.0f} s.", flush=True)
                return
        except (OSError, HTTPException):
            time.sleep(0.5)
    sys.exit(
        f"vLLM's server did not answer within {seconds:.0f} s. Give it more time with"
        " vllm_server_timeout, or see its lines for what it was doing."
    )
