"""HTTP: reading requests, the journal, injected faults, answers and streams."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
import threading
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from hubsim import buckets, control, jobs_api, repos, schedules, schema, viewer, xet, xet_formats
from hubsim.routing import ROUTES, ApiError, route
from hubsim.state import Hub

SERVED = (buckets, jobs_api, repos, schedules, viewer, xet)
"""Imported for their routes; the one that takes all the rest of a repository comes last."""
for _method in ("GET", "POST", "PUT", "DELETE"):
    route(_method, "/api/(?P<kind>models|datasets|spaces)/(?P<rest>.+)")(repos.answer_repo)


class Handler(BaseHTTPRequestHandler):
    """One connection.

    Routes use ``hub``, ``token``, ``body``, ``query``, ``raw_path``, ``entry`` and the methods ``need``, ``json_body``,
    ``send`` and ``stream``.
    """

    protocol_version = "HTTP/1.1"
    server_version = "hubsim"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    # -- reading

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        out = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            out += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return out

    def json_body(self, wanted: schema.Schema | None = None) -> Any:
        try:
            data = json.loads(self.body or b"{}")
        except ValueError:
            raise ApiError(400, "Invalid JSON body") from None
        if wanted is None:
            return data
        strict = self.hub.cfg["unknownFields"] == "reject"
        if errors := schema.check(wanted, data, strict=strict):
            raise ApiError(400, "\n".join(errors))
        return data if strict else schema.strip_unknown(wanted, data)

    def need(self, permission: str, namespace: str) -> None:
        if self.token is None:
            raise ApiError(401, "Invalid username or password.")
        if not self.hub.accounts.allows(self.token, permission, namespace):
            raise ApiError(403, f"missing permissions: {permission}")

    # -- ends of a connection

    def reset(self) -> None:
        """Close the connection so that the client sees it reset."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def is_gone(self) -> bool:
        """Whether the client has closed its side."""
        try:
            readable = bool(select.select([self.connection], [], [], 0)[0])
            return readable and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

    def hang(self) -> None:
        while not self.hub.stopping and not self.is_gone():
            time.sleep(0.05)
        self.reset()

    # -- answering

    def answer(self) -> None:
        self.fault: dict[str, Any] = {}
        self.token: dict[str, Any] | None = None
        self.raw_path, _, query = self.path.partition("?")
        self.query = parse_qsl(query, keep_blank_values=True)
        self.body = self.read_body()
        self.entry: dict[str, Any] = {"n": -1}
        if self.raw_path.startswith("/_sim/"):
            return control.answer(self)
        bearer = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        self.write_journal(bearer)
        time.sleep(self.fault.get("delay", 0))
        if self.fault.get("reset") == "before":
            return self.reset()
        if self.fault.get("hang") == "before":
            return self.hang()
        try:
            if "response" in self.fault:
                return self.send_injected(self.fault["response"])
            self.authenticate(bearer)
            return self.dispatch()
        except ApiError as error:
            return self.send(error.status, {"error": error.message}, **error.headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception as error:
            traceback.print_exc()
            self.entry["internal"] = repr(error)
            return self.send(500, {"error": f"hubsim internal error: {error!r}"})

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = answer  # noqa: N815 - named by http.server

    def write_journal(self, bearer: str) -> None:
        hub = self.hub
        readable = re.search("json|text|form", self.headers.get("Content-Type", "")) and len(self.body) < 1 << 20
        body = self.body.decode("utf-8", "replace")
        if not readable and self.body:
            body = f"<{len(self.body)} bytes sha256={xet_formats.sha256(self.body)}>"
        with hub.lock:
            self.entry = {
                "n": len(hub.journal) + 1,
                "t": time.time(),
                "method": self.command,
                "path": unquote(self.raw_path),
                "query": self.query,
                "headers": dict(self.headers),
                "body": body,
                "token": bearer or None,
                "user": hub.accounts.tokens.get(bearer, {}).get("user"),
                "status": None,
                "fault": None,
            }
            hub.journal.append(self.entry)
            for fault in hub.faults:
                if not self.concerns(fault):
                    continue
                if fault["skip"] > 0:
                    fault["skip"] -= 1
                    continue
                fault["times"] -= 1
                self.fault = fault
                self.entry["fault"] = fault["id"]
                break

    def concerns(self, fault: dict[str, Any]) -> bool:
        return (
            fault["times"] > 0
            and fault.get("method", self.command) == self.command
            and re.search(fault["path"], self.raw_path) is not None
            and fault.get("body_has", "").encode() in self.body
        )

    def authenticate(self, bearer: str) -> None:
        if not bearer or self.raw_path.startswith(("/cas-", "/v1/telemetry")):
            return
        self.token = self.hub.accounts.tokens.get(bearer)
        if self.token is None:
            asked_who = "whoami" in self.raw_path
            refusal = "Invalid username or password." if asked_who else "Invalid credentials in Authorization header"
            raise ApiError(401, refusal)

    def dispatch(self) -> None:
        wanted = "GET" if self.command == "HEAD" else self.command
        for method, pattern, function in ROUTES:
            if method == wanted and (match := pattern.match(self.raw_path)):
                found = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                return function(self, **found)
        self.entry["note"] = "unserved"
        raise ApiError(404, f"hubsim does not serve {self.command} {self.raw_path}")

    def send_injected(self, response: dict[str, Any]) -> None:
        status = response["status"]
        body = response.get("body", {"error": f"injected {status}"})
        self.send(status, body.encode() if isinstance(body, str) else body, **response.get("headers", {}))

    def send(self, status: int, body: Any = b"", content_type: str = "application/json", **headers: str) -> None:
        """Answer; in names of headers ``_`` stands for ``-``."""
        if rewrite := self.fault.get("rewrite"):
            status, body = rewrite(status, body)
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.entry["status"] = status
        if self.fault.get("reset") == "after":
            return self.reset()
        if self.fault.get("hang") == "after":
            return self.hang()
        self.send_response(status)
        standard = {
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            "X-Request-Id": f"Root=hubsim-{self.entry['n']}",
        }
        for name, value in (standard | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if self.fault.get("reset") == "mid":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            time.sleep(0.2)
            return self.reset()
        self.wfile.write(body)
        return None

    def stream(self, next_event: Callable[[float], bytes | bool | None]) -> None:
        """Send server-sent events, until ``next_event(seconds)`` gives ``False``; ``None`` is nothing for so long."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.entry["status"] = 200
        cut = self.fault.get("sse")
        sent = 0
        last = time.time()
        while not self.hub.stopping:
            if cut and sent >= cut["after"]:
                if cut["how"] == "close":  # a clean end, before the job's
                    break
                return self.cut(cut["how"])
            event = next_event(0.05)
            if event is False:
                break
            if isinstance(event, bytes):
                self.send_chunk(event)
                sent += 1
                last = time.time()
            elif self.is_gone():
                self.close_connection = True
                return None
            elif time.time() - last >= self.hub.cfg["keepaliveSecs"]:
                self.send_chunk(b": keep-alive\n\n")
                last = time.time()
        self.wfile.write(b"0\r\n\r\n")
        return None

    def cut(self, how: str) -> None:
        if how == "stall":
            self.hang()
        elif how == "truncate":  # the connection ends in the middle of a chunked body
            self.close_connection = True
        else:
            time.sleep(0.2)  # a reset throws away what the client has not read yet
            self.reset()

    def send_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that hangs up is normal here


def start(root: str | Path, port: int = 0, **options: Any) -> tuple[Hub, Server]:
    """Serve a folder on 127.0.0.1; port 0 picks a free one. Further options are those of ``Hub``."""
    hub = Hub(root, **options)
    server = Server(("127.0.0.1", port), type("BoundHandler", (Handler,), {"hub": hub}))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return hub, server


def stop(hub: Hub, server: Server) -> None:
    """Stop the server and every job."""
    hub.stopping = True
    for job in list(hub.jobs.values()):
        job.cancel()
    for job in list(hub.jobs.values()):
        job.join(5)
    server.shutdown()
    server.server_close()
