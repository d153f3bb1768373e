"""Run the simulator in a process of its own: ``python -m hubsim --root FOLDER --ready-file FILE``."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from pathlib import Path

from hubsim.server import start, stop


def main() -> None:
    parser = argparse.ArgumentParser(prog="hubsim", description=__doc__)
    parser.add_argument("--root", required=True, help="folder with models/, datasets/, buckets/ (made if missing)")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--ready-file", help="write the address here once it listens")
    parser.add_argument("--python", default=sys.executable, help="interpreter that jobs run with")
    parser.add_argument("--isolate", choices=["auto", "overlay", "off"], default="auto")
    parser.add_argument("--config", help="JSON file: overrides of users, orgs, tokens, settings")
    args = parser.parse_args()
    config = json.loads(Path(args.config).read_text()) if args.config else None
    hub, server = start(args.root, args.port, python=args.python, isolate=args.isolate, config=config)
    print(f"HF_ENDPOINT={hub.endpoint}", flush=True)
    if args.ready_file:
        Path(args.ready_file).write_text(hub.endpoint)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    stop(hub, server)


if __name__ == "__main__":
    main()
