"""A stand-in for a training script: it starts a server, and comes to its end in the way that it is told."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from hfjobs_trainer.rendering.runtime.vllm_server import start_server

END, FOLDER, PORT, SECONDS, *SERVER = sys.argv[1:]


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
    server = Path(__file__).with_name("fake_vllm_server.py")
    start_server([sys.executable, str(server), FOLDER, PORT, *SERVER], int(PORT), float(SECONDS), dict(os.environ))
    print("trains", flush=True)
    match END:
        case "return":
            return
        case "raise":
            raise RuntimeError("the loss is not finite")
        case "exit":
            os._exit(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            time.sleep(600)


main()
