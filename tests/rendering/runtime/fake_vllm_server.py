"""A stand-in for vLLM's server: a process with a child, as vLLM has, that answers on /health once it is ready."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

FOLDER, PORT, BEHAVIOUR = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


class Handler(BaseHTTPRequestHandler):
    answers = 0

    def do_GET(self) -> None:
        Handler.answers += 1
        # vLLM's server listens before its engine is ready
        ready = self.path == "/health" and BEHAVIOUR == "healthy" and Handler.answers > 2
        self.send_response(200 if ready else 503)
        self.end_headers()


if BEHAVIOUR == "dies":
    sys.exit("no GPU is left")
engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
state = {"pids": [os.getpid(), engine.pid], "environment": dict(os.environ), "arguments": sys.argv}
(FOLDER / "server.json").write_text(json.dumps(state))
HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
