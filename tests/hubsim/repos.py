"""Models, datasets and Spaces: live folders, with a snapshot of every revision that was ever seen."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import yaml

from hubsim import schema
from hubsim.accounts import object_id
from hubsim.routing import ApiError, route
from hubsim.state import LARGE_FILE_BYTES, LARGE_FILE_SUFFIXES, Hub

VERBS = {
    *("revision", "tree", "paths-info", "refs", "preupload", "commit", "commits", "auth-check"),
    *("safetensors-metadata", "resolve", "branch"),
}
CREATED = "2026-01-01T00:00:00.000Z"
SETTINGS_FILE = ".hubsim.json"


class Repo:
    """One model, dataset or Space.

    A file ``.hubsim.json`` in its folder may say ``{"private": true, "gated": "manual", "allow": ["bob"]}``.
    """

    def __init__(self, hub: Hub, kind: str, name: str) -> None:
        self.hub = hub
        self.kind = kind
        self.id = name
        self.branch = "main"
        self.path = hub.root / kind / name
        self.meta_path = hub.state_dir / "repos" / kind / f"{name}.json"
        self.meta: dict[str, Any] = {"private": False, "gated": False, "allow": [], "commits": []}
        source = self.meta_path if self.meta_path.exists() else self.path / SETTINGS_FILE
        if source.exists():
            self.meta |= json.loads(source.read_text())

    @property
    def page(self) -> str:
        return f"{self.hub.endpoint}/{'' if self.kind == 'models' else self.kind + '/'}{self.id}"

    def save(self) -> None:
        self.meta_path.parent.mkdir(parents=True, exist_ok=True)
        self.meta_path.write_text(json.dumps(self.meta))

    def on(self, branch: str) -> Repo:
        """This repository, with the folder of a branch: beside the live one, which is the main branch."""
        if branch == "main":
            return self
        other = Repo(self.hub, self.kind, self.id)
        other.branch = branch
        other.path = self.hub.state_dir / "branches" / self.kind / self.id / branch
        return other

    def branches(self) -> list[str]:
        """Names of the branches beside the main one."""
        folder = self.on("*").path.parent
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def scan(self) -> dict[str, dict[str, Any]]:
        files = {}
        for file in sorted(self.path.rglob("*")):
            path = file.relative_to(self.path).as_posix()
            if file.is_file() and path != SETTINGS_FILE and not path.startswith(".git/"):
                files[path] = self.hub.file_info(file)
        return files

    def head(self) -> str:
        """Commit hash of the folder as it is now, which is kept readable from here on."""
        with self.hub.lock:
            files = self.scan()
            listing = "".join(f"{info['oid']} {path}\n" for path, info in files.items())
            history = sum(commit.get("branch", "main") == self.branch for commit in self.meta["commits"])
            sha = hashlib.sha1(f"{self.kind}/{self.id}\n{listing}{history}".encode()).hexdigest()
            snapshot = self.snapshot(sha)
            if not snapshot.exists():
                for path, info in files.items():
                    self.keep(self.path / path, self.blob(info))
                snapshot.parent.mkdir(parents=True, exist_ok=True)
                snapshot.write_text(json.dumps(files))
            return sha

    def snapshot(self, sha: str) -> Path:
        return self.hub.state_dir / "snap" / f"{sha}.json"

    def blob(self, info: dict[str, Any]) -> Path:
        return self.hub.state_dir / "blobs" / info["oid"]

    def keep(self, file: Path, blob: Path) -> None:
        if blob.exists():
            return
        blob.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, blob)
        except OSError:
            shutil.copyfile(file, blob)

    def resolve(self, revision: str) -> tuple[str, dict[str, dict[str, Any]]]:
        """Commit hash and files of a revision."""
        head = self.head()
        sha = head if revision in ("main", "refs/heads/main") else revision
        if revision in self.branches():
            sha = self.on(revision).head()
        if not re.fullmatch("[0-9a-f]{40}", sha) or not self.snapshot(sha).exists():
            raise ApiError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, json.loads(self.snapshot(sha).read_text())


def get_repo(h: Any, kind: str, name: str, *, write: bool = False, content: bool = False) -> Repo:
    """A repository that the token may see; ``content``: whose files it may read; ``write``: that it may change."""
    repo = Repo(h.hub, kind, name)
    namespace = name.split("/")[0]
    if moved := h.hub.moved.get(f"{kind}/{name}"):
        # as the Hub does where a repository was renamed, or is written otherwise
        raise ApiError(307, f"Temporary Redirect to {moved}", Location=h.path.replace(name, moved, 1))
    is_member = h.hub.accounts.allows(h.token, "repo.read", namespace)
    if not repo.path.is_dir() or (repo.meta["private"] and not is_member):
        if h.token is None:
            raise ApiError(401, "Invalid username or password.", "RepoNotFound")
        raise ApiError(404, "Repository not found", "RepoNotFound")
    if content and repo.meta["gated"] and not is_member:
        check_gate(h, repo)
    if write:
        h.need("repo.write", namespace)
    return repo


def check_gate(h: Any, repo: Repo) -> None:
    what = f"Access to {repo.kind[:-1]} {repo.id} is restricted"
    if h.token is None:
        text = f"{what}. You must have access to it and be authenticated to access it. Please log in."
        raise ApiError(401, text, "GatedRepo")
    if h.token["user"] not in repo.meta["allow"]:
        text = f"{what} and you are not in the authorized list. Visit {repo.page} to ask for access."
        raise ApiError(403, text, "GatedRepo")
    if h.token["role"] == "fineGrained" and not h.token.get("canReadGatedRepos"):
        text = "Please enable access to public gated repositories in your fine-grained token settings to view this"
        text += " repository."
        raise ApiError(403, text, "GatedRepo")


def view_file(path: str, info: dict[str, Any], *, expand: bool = False) -> dict[str, Any]:
    out = {"type": "file", "oid": info["oid"], "size": info["size"], "path": path}
    if info["lfs"]:
        out["lfs"] = {"oid": info["sha256"], "size": info["size"], "pointerSize": 134}
    if expand:
        out["lastCommit"] = {"id": info["oid"], "title": "hubsim", "date": CREATED}
    return out


def view_folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}


def view_sibling(path: str, info: dict[str, Any], *, blobs: bool) -> dict[str, Any]:
    out: dict[str, Any] = {"rfilename": path}
    if blobs:
        out |= {"size": info["size"], "blobId": info["oid"]}
        if info["lfs"]:
            out["lfs"] = {"sha256": info["sha256"], "size": info["size"], "pointerSize": 134}
    return out


def safetensors_headers(repo: Repo, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    headers = {}
    for path, info in files.items():
        if path.endswith(".safetensors") and "/" not in path:
            with repo.blob(info).open("rb") as file:
                size = int.from_bytes(file.read(8), "little")
                headers[path] = json.loads(file.read(size)) if size <= info["size"] else {}
    return headers


def count_parameters(repo: Repo, files: dict[str, dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for header in safetensors_headers(repo, files).values():
        for name, tensor in header.items():
            if name == "__metadata__":
                continue
            size = 1
            for dimension in tensor["shape"]:
                size *= dimension
            counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + size
    return counts


def view_repo(repo: Repo, revision: str, *, blobs: bool) -> dict[str, Any]:
    sha, files = repo.resolve(revision)

    def read(path: str) -> str:
        return repo.blob(files[path]).read_text(errors="replace") if path in files else ""

    found = re.match(r"---\n(.*?)\n---", read("README.md"), re.DOTALL)
    card = (yaml.safe_load(found[1]) or {}) if found else {}
    out = {
        "_id": object_id(f"{repo.kind}/{repo.id}"),
        "id": repo.id,
        "author": repo.id.split("/")[0],
        "sha": sha,
        "private": repo.meta["private"],
        "gated": repo.meta["gated"],
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card.get("tags") or [],
        "cardData": card,
        "lastModified": CREATED,
        "createdAt": CREATED,
        "usedStorage": sum(info["size"] for info in files.values()),
        "siblings": [view_sibling(path, info, blobs=blobs) for path, info in files.items()],
    }
    if repo.kind == "spaces":
        out["sdk"] = card.get("sdk")
    if repo.kind == "models":
        config = json.loads(read("config.json") or "{}")
        out["modelId"] = repo.id
        out["config"] = {key: config[key] for key in ("architectures", "model_type") if key in config}
        if config:
            out |= {"library_name": "transformers", "pipeline_tag": "text-generation"}
        if counts := count_parameters(repo, files):
            out["safetensors"] = {"parameters": counts, "total": sum(counts.values())}
    return out


def paginate(h: Any, items: list[Any], size: int) -> None:
    start = int(dict(h.query).get("cursor") or 0)
    link = {}
    if start + size < len(items):
        kept = [(key, value) for key, value in h.query if key != "cursor"]
        query = urlencode([*kept, ("cursor", start + size)])
        link = {"Link": f'<{h.hub.endpoint}{h.raw_path}?{query}>; rel="next"'}
    h.send(200, items[start : start + size], **link)


# ---------------------------------------------------------------------------------------- routes


@route("POST", "/api/repos/create")
def create_repo(h: Any) -> None:
    body = h.json_body(schema.REPO)
    if h.token is None:
        raise ApiError(401, "Invalid username or password.")
    kind = body.get("type", "model")
    namespace = body.get("organization") or h.token["user"]
    name = f"{namespace}/{body['name']}"
    if not h.hub.accounts.allows(h.token, "repo.write", namespace):
        raise ApiError(403, f'You don\'t have the rights to create a {kind} under the namespace "{namespace}"')
    repo = Repo(h.hub, f"{kind}s", name)
    if repo.path.exists():
        return h.send(409, {"error": f"You already created this {kind} repo", "url": repo.page})
    repo.path.mkdir(parents=True)
    repo.meta["private"] = body.get("visibility") == "private" or bool(body.get("private"))
    repo.meta["commits"] = [{"title": "initial commit"}]
    attributes = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE_FILE_SUFFIXES)
    h.hub.write_live(repo.path / ".gitattributes", attributes.encode())
    repo.save()
    return h.send(200, {"url": repo.page, "name": name, "id": object_id(f"{kind}s/{name}")})


@route("DELETE", "/api/repos/delete")
def delete_repo(h: Any) -> None:
    body = h.json_body(schema.REPO)
    namespace = body.get("organization") or (h.token or {}).get("user")
    repo = get_repo(h, body.get("type", "model") + "s", f"{namespace}/{body['name']}", write=True)
    shutil.rmtree(repo.path)
    shutil.rmtree(repo.on("*").path.parent, ignore_errors=True)
    repo.meta_path.unlink(missing_ok=True)
    h.send(200, {})


@route("POST", "/api/validate-yaml")
def validate_yaml(h: Any) -> None:
    h.send(200, {"errors": [], "warnings": []})


@route("GET", "/api/telemetry(?:/.*)?")
def take_telemetry(h: Any) -> None:
    h.send(200, {})


@route("GET", "/api/agent-harnesses(?:/.*)?")
def list_harnesses(h: Any) -> None:
    raise ApiError(404, "not found")


def answer_repo(h: Any, kind: str, rest: str) -> None:
    """Everything below /api/models/NAME and its kin; names may hold one slash."""
    parts = h.raw_path.split("/", 3)[3].split("/")
    cut = 2 if len(parts) > 1 and parts[1] not in VERBS else 1
    name = "/".join(map(unquote, parts[:cut]))
    verb = parts[cut] if len(parts) > cut else "revision"
    args = [unquote(part) for part in parts[cut + 1 :]]
    method = "GET" if h.command == "HEAD" else h.command
    writes = (method != "GET" and verb != "paths-info") or (verb == "auth-check" and args[:1] == ["write"])
    repo = get_repo(h, kind, name, write=writes)
    function = REPO_ROUTES.get((method, verb))
    if function is None:
        h.entry["note"] = "unserved"
        raise ApiError(404, f"hubsim does not serve {method} {h.raw_path}")
    function(h, repo, args)


def is_true(text: str) -> bool:
    return text.lower() in ("true", "1")


def get_info(h: Any, repo: Repo, args: list[str]) -> None:
    revision = args[0] if args else "main"
    h.send(200, view_repo(repo, revision, blobs=is_true(dict(h.query).get("blobs", ""))))


def check_auth(h: Any, repo: Repo, args: list[str]) -> None:
    get_repo(h, repo.kind, repo.id, content=True)
    h.send(200, {})


def list_refs(h: Any, repo: Repo, args: list[str]) -> None:
    branches = [
        {"name": name, "ref": f"refs/heads/{name}", "targetCommit": repo.on(name).head()}
        for name in ("main", *repo.branches())
    ]
    h.send(200, {"branches": branches, "tags": [], "converts": []})


def create_branch(h: Any, repo: Repo, args: list[str]) -> None:
    (name,) = args
    if name in ("main", *repo.branches()):
        raise ApiError(409, f"Reference already exists: refs/heads/{name}")
    _, files = repo.resolve(h.json_body().get("startingPoint", "main"))
    folder = repo.on(name).path
    folder.mkdir(parents=True)
    for path, info in files.items():
        h.hub.write_live(folder / path, repo.blob(info).read_bytes())
    h.send(200, {})


def list_commits(h: Any, repo: Repo, args: list[str]) -> None:
    sha, _ = repo.resolve(args[0] if args else "main")
    made = [commit for commit in reversed(repo.meta["commits"]) if commit.get("id")]
    commits = made or [{"id": sha, "title": "initial commit"}]
    common = {"message": "", "authors": [], "date": CREATED}
    h.send(200, [{"id": commit["id"], "title": commit["title"], **common} for commit in commits])


def list_tree(h: Any, repo: Repo, args: list[str]) -> None:
    revision = args[0] if args else "main"
    _, files = repo.resolve(revision)
    query = dict(h.query)
    prefix = "/".join(args[1:]).strip("/")
    recursive, expand = is_true(query.get("recursive", "")), is_true(query.get("expand", ""))
    out = {}
    for path, info in files.items():
        if prefix and not path.startswith(prefix + "/"):
            continue
        parts = path[len(prefix) :].strip("/").split("/")
        depth = len(parts) if recursive else min(2, len(parts))
        for length in range(1, depth):
            folder = "/".join(filter(None, (prefix, *parts[:length])))
            out[folder] = view_folder(folder)
        if recursive or len(parts) == 1:
            out[path] = view_file(path, info, expand=expand)
    if prefix and not out:
        raise ApiError(404, f'{prefix} does not exist on "{revision}"', "EntryNotFound")
    paginate(h, [out[path] for path in sorted(out)], 50 if expand else 1000)


def list_paths(h: Any, repo: Repo, args: list[str]) -> None:
    _, files = repo.resolve(args[0] if args else "main")
    if "form" in h.headers.get("Content-Type", ""):
        paths = [value for key, value in parse_qsl(h.body.decode()) if key == "paths"]
    else:
        paths = h.json_body()["paths"]
    out = []
    for path in paths:
        if path in files:
            out.append(view_file(path, files[path]))
        elif any(name.startswith(path.rstrip("/") + "/") for name in files):
            out.append(view_folder(path))
    h.send(200, out)


def get_safetensors(h: Any, repo: Repo, args: list[str]) -> None:
    _, files = repo.resolve("main")
    path = "/".join(args)
    if path not in files:
        raise ApiError(404, "Entry not found", "EntryNotFound")
    index = json.loads(repo.blob(files[path]).read_text())
    h.send(200, {"index": {"metadata": index.get("metadata")}, "headers": safetensors_headers(repo, files)})


def prepare_upload(h: Any, repo: Repo, args: list[str]) -> None:
    sha, files = repo.resolve(args[0] if args else "main")
    out = []
    for file in h.json_body()["files"]:
        is_large = file["path"].endswith(LARGE_FILE_SUFFIXES) or file["size"] > LARGE_FILE_BYTES
        answer = {"path": file["path"], "uploadMode": "lfs" if is_large else "regular", "shouldIgnore": False}
        if old := files.get(file["path"]):
            answer["oid"] = old["sha256"] if old["lfs"] else old["oid"]
        out.append(answer)
    h.send(200, {"files": out, "commitOid": sha})


def make_commit(h: Any, repo: Repo, args: list[str]) -> None:
    hub: Hub = h.hub
    revision = args[0] if args else "main"
    operations = [json.loads(line) for line in h.body.split(b"\n") if line]
    header = next(operation["value"] for operation in operations if operation["key"] == "header")
    if not header.get("summary"):
        raise ApiError(400, "✖ Invalid input: expected string, received undefined\n  → at summary")
    with hub.lock:
        sha, _ = repo.resolve(revision)
        if header.get("parentCommit") and header["parentCommit"] != sha:
            raise ApiError(412, "A commit has happened since. Please refresh and try again.")
        if revision not in ("main", *repo.branches()) or dict(h.query).get("create_pr") == "1":
            raise ApiError(400, "hubsim commits to branches only")
        repo = repo.on(revision)
        writes, deletes = read_operations(hub, operations)
        for path in [*writes, *deletes]:
            if not (repo.path / path).resolve().is_relative_to(repo.path.resolve()):
                raise ApiError(400, "Invalid path")
        for path in deletes:
            if (repo.path / path).is_dir():
                shutil.rmtree(repo.path / path)
            else:
                (repo.path / path).unlink(missing_ok=True)
        for path, data in writes.items():
            hub.write_live(repo.path / path, data)
        repo.meta["commits"].append({"title": header["summary"], "branch": repo.branch})
        oid = repo.head()
        repo.meta["commits"][-1]["id"] = oid
        repo.save()
    h.send(200, {"success": True, "commitOid": oid, "commitUrl": f"{repo.page}/commit/{oid}", "hookOutput": ""})


def read_operations(hub: Hub, operations: list[dict[str, Any]]) -> tuple[dict[str, bytes], list[str]]:
    """What a commit writes, by path, and what it deletes."""
    writes: dict[str, bytes] = {}
    deletes: list[str] = []
    for operation in operations:
        key, value = operation["key"], operation["value"]
        if key == "file":
            text = value["content"]
            writes[value["path"]] = base64.b64decode(text) if value.get("encoding") == "base64" else text.encode()
        elif key == "lfsFile":
            data = hub.uploaded(value["oid"])
            if data is None:
                raise ApiError(400, f"LFS pointer pointed to a file that does not exist: {value['oid']}")
            writes[value["path"]] = data
        elif key.startswith("deleted"):
            deletes.append(value["path"])
        elif key != "header":
            raise ApiError(400, f'✖ Unrecognized key: "{key}"')
    return writes, deletes


REPO_ROUTES = {
    ("GET", "revision"): get_info,
    ("GET", "auth-check"): check_auth,
    ("GET", "refs"): list_refs,
    ("GET", "commits"): list_commits,
    ("POST", "branch"): create_branch,
    ("GET", "tree"): list_tree,
    ("POST", "paths-info"): list_paths,
    ("GET", "safetensors-metadata"): get_safetensors,
    ("POST", "preupload"): prepare_upload,
    ("POST", "commit"): make_commit,
}


def send_bytes(h: Any, data: bytes, headers: dict[str, str]) -> None:
    """Answer with a file, or with the range of it that was asked for."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", h.headers.get("Range") or "")
    headers = {"Accept-Ranges": "bytes", **headers}
    if not asked or not (asked[1] or asked[2]):
        return h.send(200, data, content_type="application/octet-stream", **headers)
    start = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
    end = min(int(asked[2]), len(data) - 1) if asked[1] and asked[2] else len(data) - 1
    if start >= len(data) or end < start:
        return h.send(416, b"", **{"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
    return h.send(206, data[start : end + 1], content_type="application/octet-stream", **headers)


RESOLVE = "/(?:(?P<kind>datasets|spaces)/)?(?P<name>(?:[^/]+/)?[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)"


@route("GET", RESOLVE)
def get_file(h: Any, name: str, revision: str, path: str, kind: str = "models") -> None:
    repo = get_repo(h, kind, name, content=True)
    sha, files = repo.resolve(revision)
    if path not in files:
        raise ApiError(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": sha})
    info = files[path]
    tag = f'"{info["sha256"] if info["lfs"] else info["oid"]}"'
    headers = {"X-Repo-Commit": sha, "ETag": tag}
    if info["lfs"]:
        headers |= {"X-Linked-Etag": tag, "X-Linked-Size": str(info["size"])}
    send_bytes(h, repo.blob(info).read_bytes(), headers)
