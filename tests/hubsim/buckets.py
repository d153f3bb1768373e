"""The routes of buckets. A job's bucket volume is the bucket's folder itself."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from hubsim import schema
from hubsim.accounts import object_id
from hubsim.repos import paginate, send_bytes
from hubsim.routing import ApiError, route
from hubsim.times import iso

BUCKET = "(?P<bucket>[^/]+/[^/]+)"


def record_path(h: Any, bucket: str) -> Path:
    return h.hub.state_dir / "buckets" / f"{bucket}.json"


def get_bucket(h: Any, bucket: str, permission: str = "repo.read") -> tuple[Path, dict[str, Any]]:
    """Folder and record of a bucket that the token may use so."""
    folder: Path = h.hub.bucket_dir(bucket)
    record_file = record_path(h, bucket)
    namespace = bucket.split("/")[0]
    record = json.loads(record_file.read_text()) if record_file.exists() else {"private": True, "t": 0}
    may_read = not record["private"] or h.hub.accounts.allows(h.token, "repo.read", namespace)
    if not folder.is_dir() or not may_read:
        raise ApiError(401 if h.token is None else 404, "Repository not found", "RepoNotFound")
    if permission == "repo.write":
        h.need(permission, namespace)
    return folder, record


def list_files(folder: Path) -> list[Path]:
    return sorted(f for f in folder.rglob("*") if f.is_file() and not f.name.endswith(".hubsim-tmp"))


def view(h: Any, bucket: str) -> dict[str, Any]:
    folder, record = get_bucket(h, bucket)
    files = list_files(folder)
    return {
        "author": bucket.split("/")[0],
        "id": bucket,
        "private": record["private"],
        "createdAt": iso(record["t"]),
        "updatedAt": iso(record["t"]),
        "size": sum(file.stat().st_size for file in files),
        "totalFiles": len(files),
        "repoType": "bucket",
        "cdnRegions": [],
    }


@route("POST", "/api/buckets/(?P<namespace>[^/]+)/(?P<name>[^/]+)")
def create_bucket(h: Any, namespace: str, name: str) -> None:
    body = h.json_body(schema.BUCKET)
    namespace = h.token["user"] if namespace == "me" and h.token else namespace
    h.need("repo.write", namespace)
    bucket = f"{namespace}/{name}"
    folder = h.hub.bucket_dir(bucket)
    answer = {"url": f"{h.hub.endpoint}/buckets/{bucket}", "id": object_id(f"bucket/{bucket}")}
    if folder.exists():
        return h.send(409, {"error": "You already created this bucket repo", **answer})
    folder.mkdir(parents=True)
    private = body.get("visibility") == "private" or bool(body.get("private"))
    record_file = record_path(h, bucket)
    record_file.parent.mkdir(parents=True, exist_ok=True)
    record_file.write_text(json.dumps({"private": private, "t": time.time()}))
    return h.send(200, {**answer, "name": bucket})


@route("GET", "/api/buckets/(?P<namespace>[^/]+)")
def list_buckets(h: Any, namespace: str) -> None:
    h.need("repo.read", namespace)
    base = h.hub.root / "buckets" / namespace
    names = sorted(folder.name for folder in base.iterdir()) if base.is_dir() else []
    h.send(200, [view(h, f"{namespace}/{name}") for name in names])


@route("GET", f"/api/buckets/{BUCKET}")
def get_info(h: Any, bucket: str) -> None:
    h.send(200, view(h, bucket))


@route("DELETE", f"/api/buckets/{BUCKET}")
def delete_bucket(h: Any, bucket: str) -> None:
    folder, _ = get_bucket(h, bucket, "repo.write")
    shutil.rmtree(folder)
    h.send(204)


@route("GET", f"/api/buckets/{BUCKET}/tree(?:/(?P<prefix>.*))?")
def list_tree(h: Any, bucket: str, prefix: str = "") -> None:
    folder, _ = get_bucket(h, bucket)
    recursive = dict(h.query).get("recursive", "true").lower() == "true"
    prefix = prefix.strip("/")
    entries = []
    directories: dict[str, dict[str, Any]] = {}
    for file in list_files(folder):
        path = file.relative_to(folder).as_posix()
        if prefix and path != prefix and not path.startswith(prefix + "/"):
            continue
        rest = path[len(prefix) :].strip("/")
        if recursive or "/" not in rest:
            entries.append(h.hub.bucket_entry(folder, file))
        else:
            name = "/".join(filter(None, (prefix, rest.split("/")[0])))
            uploaded = iso(file.stat().st_mtime)
            directories.setdefault(name, {"type": "directory", "path": name, "uploadedAt": uploaded})
    paginate(h, sorted([*directories.values(), *entries], key=lambda entry: entry["path"]), 1000)


@route("POST", f"/api/buckets/{BUCKET}/paths-info")
def list_paths(h: Any, bucket: str) -> None:
    folder, _ = get_bucket(h, bucket)
    files = [folder / path for path in h.json_body()["paths"]]
    h.send(200, [h.hub.bucket_entry(folder, file) for file in files if file.is_file()])


@route("POST", f"/api/buckets/{BUCKET}/batch")
def change_files(h: Any, bucket: str) -> None:
    folder, _ = get_bucket(h, bucket, "repo.write")
    operations = [json.loads(line) for line in h.body.split(b"\n") if line]
    failed = []
    for operation in operations:
        try:
            change_file(h, folder, operation)
        except (ApiError, OSError) as error:
            failed.append({"path": operation["path"], "error": str(error)})
    done = len(operations) - len(failed)
    answer = {"success": not failed, "processed": len(operations), "succeeded": done, "failed": failed}
    h.send(422 if failed and not done else 200, answer)


def change_file(h: Any, folder: Path, operation: dict[str, Any]) -> None:
    path = folder / operation["path"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ApiError(400, "Invalid path")
    if operation["type"] == "deleteFile":
        path.unlink()
        return
    h.hub.write_live(path, h.hub.blob(operation["xetHash"]))
    modified = int(operation.get("mtime", time.time() * 1000)) * 1_000_000
    os.utime(path, ns=(modified, modified))
    h.hub.remember_xet(path, operation["xetHash"])


@route("GET", f"/buckets/{BUCKET}/resolve/(?P<path>.+)")
def get_file(h: Any, bucket: str, path: str) -> None:
    folder, _ = get_bucket(h, bucket)
    file = folder / path
    if not file.is_file():
        raise ApiError(404, "Entry not found", "EntryNotFound")
    entry = h.hub.bucket_entry(folder, file)
    tag = f'"{entry["xetHash"]}"'
    headers = {
        "ETag": tag,
        "X-Linked-Size": str(entry["size"]),
        "X-Linked-Etag": tag,
        "X-Xet-Hash": entry["xetHash"],
        "Link": f'<{h.hub.endpoint}/api/buckets/{bucket}/xet-read-token>; rel="xet-auth"',
    }
    send_bytes(h, file.read_bytes(), headers)
