"""The Xet content store, as hf_xet uploads to it and downloads from it."""

from __future__ import annotations

import re
import struct
import time
from typing import Any

from hubsim import xet_formats
from hubsim.accounts import object_id
from hubsim.buckets import get_bucket
from hubsim.repos import get_repo, send_bytes
from hubsim.routing import ApiError, route

CAS = "/cas-[0-9a-f]+"
MALFORMED = (ValueError, IndexError, struct.error)
TOKEN = "/api/(?P<kind>models|datasets|spaces|buckets)/(?P<name>[^/]+/[^/]+)/xet-(?P<right>read|write)-token(?:/[^/]+)?"


@route("GET", TOKEN)
def give_token(h: Any, kind: str, name: str, right: str) -> None:
    if kind == "buckets":
        get_bucket(h, name, f"repo.{right}")
    else:
        get_repo(h, kind, name, write=right == "write")
    address = f"{h.hub.endpoint}/cas-{h.hub.cas_id}"
    expires = int(time.time()) + 3600
    token = f"xet_{right}_{object_id(name)}"
    headers = {
        "X-Xet-Cas-Url": address,
        "X-Xet-Access-Token": token,
        "X-Xet-Token-Expiration": str(expires),
    }
    h.send(200, {"casUrl": address, "exp": expires, "accessToken": token}, **headers)


def need_token(h: Any, *, write: bool) -> None:
    token = (h.headers.get("Authorization") or "").removeprefix("Bearer ")
    if h.raw_path.split("/")[1] != f"cas-{h.hub.cas_id}" or not token.startswith("xet_"):
        raise ApiError(401, "invalid xet token")
    if write and not token.startswith("xet_write_"):
        raise ApiError(403, "xet token has no write scope")


@route("POST", f"{CAS}/v1/xorbs/default/(?P<xorb>[0-9a-f]{{64}})")
def put_xorb(h: Any, xorb: str) -> None:
    need_token(h, write=True)
    try:
        xet_formats.xorb_chunks(h.body)
    except MALFORMED as error:
        raise ApiError(400, f"bad xorb: {error}") from error
    path = h.hub.state_dir / "xorbs" / xorb
    is_new = not path.exists()
    path.write_bytes(h.body)
    h.send(200, {"was_inserted": is_new})


@route("POST", f"{CAS}/v(?P<version>[12])/shards")
def put_shard(h: Any, version: str) -> None:
    need_token(h, write=True)
    try:
        for file in xet_formats.parse_shard(h.body):
            h.hub.put_blob(assemble(h, file), file["hash"])
    except MALFORMED as error:
        raise ApiError(400, f"bad shard: {error}") from error
    if version == "2":
        lines = b'{"type":"committing","stage":"syncing"}\n{"type":"result","result":1}\n'
        return h.send(200, lines, content_type="application/x-ndjson")
    return h.send(200, {"result": 1})


def assemble(h: Any, file: dict[str, Any]) -> bytes:
    """A file's content from the xorbs that its shard names."""
    data = b""
    for xorb, start, end, size in file["terms"]:
        path = h.hub.state_dir / "xorbs" / xorb
        if not path.exists():
            raise ValueError(f"shard references xorb {xorb}, which was never uploaded here")
        part = b"".join(xet_formats.xorb_chunks(path.read_bytes())[start:end])
        if len(part) != size:
            raise ValueError(f"term of file {file['hash']} has {len(part)} bytes, shard says {size}")
        data += part
    if file["sha256"] and file["sha256"] != xet_formats.sha256(data):
        raise ValueError(f"sha256 mismatch for file {file['hash']}")
    return data


@route("GET", f"{CAS}/v(?P<version>[12])/reconstructions/(?P<file>[0-9a-f]{{64}})")
def reconstruct(h: Any, version: str, file: str) -> None:
    need_token(h, write=False)
    size = len(h.hub.blob(file))
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", h.headers.get("Range") or "bytes=0-")
    start = int(asked[1]) if asked else 0
    end = int(asked[2]) + 1 if asked and asked[2] else size
    if start >= size:
        raise ApiError(416, "range not satisfiable")
    url = f"{h.hub.endpoint}/cas-{h.hub.cas_id}/xorb/{file}"
    h.send(200, xet_formats.reconstruction(file, size, url, start, end, v2=version == "2"))


@route("GET", f"{CAS}/xorb/(?P<file>[0-9a-f]{{64}})")
def get_xorb(h: Any, file: str) -> None:
    send_bytes(h, xet_formats.synthetic_xorb(h.hub.blob(file)), {})


@route("GET", f"{CAS}/v1/chunks/.+")
def find_chunk(h: Any) -> None:
    raise ApiError(404, "chunk not tracked")


@route("POST", f"{CAS}/v1/xorb-grants/.+")
def grant_xorb(h: Any) -> None:
    raise ApiError(404, "not found")  # hf_xet then uploads the xorb directly


@route("POST", "/v1/telemetry")
def take_telemetry(h: Any) -> None:
    h.send(204)
