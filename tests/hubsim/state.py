"""What the simulator knows: its folder, accounts, settings, jobs, faults and the journal of requests."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubsim import accounts, xet_formats
from hubsim.container import overlay_works
from hubsim.jobs import Job
from hubsim.routing import ApiError
from hubsim.times import iso

if TYPE_CHECKING:
    from hubsim.schedules import Schedule

LARGE_FILE_SUFFIXES = (
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".gguf", ".h5", ".onnx", ".msgpack", ".npz", ".npy"),
    *(".parquet", ".arrow", ".zip", ".gz", ".tar", ".zst", ".png", ".jpg", ".model"),
)
LARGE_FILE_BYTES = 10 * 1024 * 1024
FOLDERS = {"bucket": "buckets", "model": "models", "dataset": "datasets", "space": "spaces"}
SETTINGS: dict[str, Any] = {
    "exec": "local",
    "uv": "python",
    "schedSecs": 0.15,
    "graceSecs": 2.0,
    "defaultTimeout": 1800,
    "stageLagSecs": 0.0,
    "listLagSecs": 0.0,
    "keepaliveSecs": 30.0,
    "metricSecs": 1.0,
    "pageSize": 20,
    "unknownFields": "reject",
    "labelDots": False,
    "cancelFinished": 200,
    "logReplayLimit": 0,
    "logLagSecs": 0.0,
    "streamsStayOpen": False,
    "jobEnv": {},
    "viewerPartial": False,
    "viewerPrivate": False,
    "lateWriteSecs": 0.0,
}
FAULT_KEYS = {"method", "path", "times", "skip", "delay", "response", "reset", "hang", "sse", "body_has", "rewrite"}


class Hub:
    """One simulated Hub; everything about it may be read and changed while it runs.

    Args:
        root: Folder with models/, datasets/, spaces/ and buckets/; what is missing is made.
        python: Interpreter that jobs run with.
        isolate: ``"overlay"`` runs jobs in a mount namespace of their own, ``"off"`` as plain processes, ``"auto"``
            in the first way where this machine allows it.
        config: Overrides, key by key, of users, orgs, tokens and settings.

    Attributes:
        endpoint: Address, as ``HF_ENDPOINT`` takes it.
        journal: Every request so far: method, path, query, headers, body, token, user, status, fault.
        faults: What will go wrong; see ``fail``.
        cfg: The settings.
        moved: Former names of repositories, such as ``{"models/acme/old": "acme/new"}``.
    """

    def __init__(
        self,
        root: str | Path,
        python: str = sys.executable,
        isolate: str = "auto",
        config: dict[str, dict[str, Any]] | None = None,
    ) -> None:
        self.root = Path(root).resolve()
        self.python = os.path.abspath(python)  # noqa: PTH100 - resolving the link would leave the virtual environment
        self.state_dir = self.root / ".hubsim"
        for name in (*FOLDERS.values(), ".hubsim/cas", ".hubsim/xorbs"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        named = {
            "users": accounts.USERS,
            "orgs": accounts.ORGS,
            "tokens": accounts.TOKENS,
            "settings": SETTINGS,
        }
        merged = copy.deepcopy(named)
        for key, values in (config or {}).items():
            merged[key] |= values
        self.cfg = merged.pop("settings")
        self.accounts = accounts.Accounts(**merged)
        self.cas_id = self._read_cas_id()
        self.lock = threading.RLock()
        self.endpoint = ""
        self.overlay = isolate == "overlay" or (isolate == "auto" and overlay_works(self.python, self.state_dir))
        self.jobs: dict[str, Job] = {}
        self.schedules: dict[str, Schedule] = {}
        self.counter = 0
        self.plans: list[dict[str, Any]] = []
        self.faults: list[dict[str, Any]] = []
        self.moved: dict[str, str] = {}
        self.journal: list[dict[str, Any]] = []
        self.networks: dict[str, dict[str, tuple[str, list[str]]]] = {}
        self.stopping = False
        self._file_cache: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._blob_of_sha: dict[str, Path] = {}

    def _read_cas_id(self) -> str:
        """The client caches which xorbs an address holds, so each root has an address of its own."""
        path = self.state_dir / "id"
        if not path.exists():
            path.write_text(os.urandom(6).hex())
        return path.read_text()

    # -- what tests ask and arrange

    @property
    def late_writes(self) -> float:
        """How late what a job writes to a bucket volume arrives there, seconds; what is later than its end is lost."""
        return self.cfg["lateWriteSecs"]

    @late_writes.setter
    def late_writes(self, seconds: float) -> None:
        self.cfg["lateWriteSecs"] = seconds

    def requests(self, path: str = "", method: str | None = None) -> list[dict[str, Any]]:
        """Journal entries whose path matches the regular expression, oldest first."""
        return [e for e in self.journal if re.search(path, e["path"]) and method in (None, e["method"])]

    def fail(self, **fault: Any) -> dict[str, Any]:
        """Make a coming request go wrong; README.md lists the keys. The first fault that matches is used."""
        if unknown := set(fault) - FAULT_KEYS:
            raise ValueError(f"unknown fault keys {sorted(unknown)}, known are {sorted(FAULT_KEYS)}")
        full = {"id": f"f{len(self.faults) + 1}", "times": 1, "skip": 0, "path": "", **fault}
        self.faults.append(full)
        return full

    def script(self, **plan: Any) -> dict[str, Any]:
        """Play the next matching job instead of running it; README.md lists the keys."""
        full = {"count": 1, **plan}
        self.plans.append(full)
        return full

    def trigger(self, name: str) -> Job:
        """Start a run of a scheduled job, as the clock would; one that is suspended starts none."""
        found = self.schedules[name]
        if found.suspended:
            raise ValueError(f"{name} is suspended")
        return found.start()

    # -- files

    def file_info(self, path: Path) -> dict[str, Any]:
        """Hashes and size of a live file, computed once per content."""
        stat = path.stat()
        key = (str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if key not in self._file_cache:
            git = hashlib.sha1(f"blob {stat.st_size}\0".encode())
            sha = hashlib.sha256()
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    git.update(block)
                    sha.update(block)
            self._file_cache[key] = {
                "oid": git.hexdigest(),
                "size": stat.st_size,
                "sha256": sha.hexdigest(),
                "lfs": path.suffix in LARGE_FILE_SUFFIXES or stat.st_size > LARGE_FILE_BYTES,
            }
        return self._file_cache[key]

    def put_blob(self, data: bytes, xet_hash: str | None = None) -> str:
        sha = xet_formats.sha256(data)
        path = self.state_dir / "cas" / (xet_hash or sha)
        if not path.exists():
            path.write_bytes(data)
        self._blob_of_sha[sha] = path
        return sha

    def uploaded(self, sha256: str) -> bytes | None:
        """Content of a large file that was uploaded before the commit that names it."""
        path = self._blob_of_sha.get(sha256)
        return None if path is None else path.read_bytes()

    def blob(self, xet_hash: str) -> bytes:
        if set(xet_hash) == {"0"}:
            return b""
        path = self.state_dir / "cas" / xet_hash
        if not path.exists():
            raise ApiError(404, f"file {xet_hash} not found in CAS")
        return path.read_bytes()

    def write_live(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".hubsim-tmp")
        partial.write_bytes(data)
        partial.replace(path)  # never in place: snapshots hold hard links to the old content

    def bucket_dir(self, bucket_id: str) -> Path:
        return self.root / "buckets" / bucket_id

    def xet_note(self, path: Path) -> Path:
        """Where the xet hash of a live bucket file is remembered."""
        note = self.state_dir / "xet" / hashlib.sha1(str(path).encode()).hexdigest()
        note.parent.mkdir(parents=True, exist_ok=True)
        return note

    def remember_xet(self, path: Path, xet_hash: str) -> None:
        stat = path.stat()
        self.xet_note(path).write_text(json.dumps({"stat": [stat.st_size, stat.st_mtime_ns], "xet": xet_hash}))

    def bucket_entry(self, bucket: Path, path: Path) -> dict[str, Any]:
        stat = path.stat()
        note = self.xet_note(path)
        known = json.loads(note.read_text()) if note.exists() else None
        if known is None or known["stat"] != [stat.st_size, stat.st_mtime_ns]:
            # written by a job through its volume: its sha256 serves as the hash, which the download path understands
            self.remember_xet(path, self.put_blob(path.read_bytes()))
            known = json.loads(note.read_text())
        return {
            "type": "file",
            "path": path.relative_to(bucket).as_posix(),
            "size": stat.st_size,
            "xetHash": known["xet"],
            "mtime": iso(stat.st_mtime),
            "uploadedAt": iso(stat.st_mtime),
        }

    def volume_dir(self, volume: dict[str, Any]) -> Path | None:
        base = self.root / FOLDERS[volume["type"]]
        path = base / volume["source"] / (volume.get("path") or "")
        return path if path.is_dir() and path.resolve().is_relative_to(base.resolve()) else None

    # -- network groups: one loopback address per member, names in a hosts file that the members' containers share

    def hosts_file(self, job: Job) -> Path:
        return self.state_dir / "net" / hashlib.sha1(job.network_key.encode()).hexdigest()[:10]

    def join_network(self, job: Job) -> dict[str, str]:
        network = job.spec["network"]
        group = network["group"]
        host = f"{group}.group.hubsim"
        with self.lock:
            members = self.networks.setdefault(job.network_key, {})
            address = f"127.1.{len(self.networks)}.{len(members) + 1}"
            members.setdefault(job.id, (address, network.get("aliases") or []))
            lines = ["127.0.0.1 localhost"]
            for ip, aliases in members.values():
                lines.append(" ".join([ip, host, *(f"{group}-{alias}" for alias in aliases)]))
            path = self.hosts_file(job)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        return {"HF_NETWORK_GROUP_HOSTNAME": host, "HF_NETWORK_GROUP_PREFIX": f"{group}-"}

    # -- jobs

    def add_schedule(self, namespace: str, user: str, body: dict[str, Any]) -> Schedule:
        from hubsim.schedules import Schedule

        with self.lock:
            self.counter += 1
            name = f"5c{self.counter:022x}"
            self.schedules[name] = Schedule(self, name, namespace, user, body)
            return self.schedules[name]

    def start_job(self, namespace: str, user: str, spec: dict[str, Any], initiator: dict[str, Any]) -> Job:
        with self.lock:
            self.counter += 1
            job_id = f"6a{self.counter:022x}"
            labels = spec.get("labels") or {}
            matching = (p for p in self.plans if p["count"] > 0 and p.get("match", {}).items() <= labels.items())
            plan = next(matching, None)
            if plan:
                plan["count"] -= 1
            job = Job(self, job_id, namespace, user, spec, initiator, plan)
            self.jobs[job_id] = job
        job.start()
        return job
