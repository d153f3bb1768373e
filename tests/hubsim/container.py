"""What stands in for a job's container: its environment, its command, and its volumes at their mount paths."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubsim.late_mount import LateMount
from hubsim.schema import HARDWARE

if TYPE_CHECKING:
    from hubsim.jobs import Job

Mounts = dict[str, tuple[Path, bool]]
"""Mount path to real folder, and whether it is read-only."""

NAMES = Path(__file__).parent / "names"
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
UV_FLAGS_WITH_VALUE = {
    *("-p", "--python", "--with", "--with-editable", "--with-requirements", "--env-file", "--project", "--directory"),
    *("--index", "--index-url", "--default-index", "--extra-index-url", "--extra", "--group", "--torch-backend"),
    *("--refresh-package", "--upgrade-package"),
}
_probed: dict[tuple[str, int], bool] = {}


def prepare(job: Job) -> tuple[list[str], dict[str, str], Mounts] | None:
    """Command, environment and volumes of a job; ``None``, and a line in its log, if it cannot start."""
    for name in ("home", "tmp", "work"):
        (job.dir / name).mkdir(parents=True, exist_ok=True)
    mounts: Mounts = {}
    for volume in job.spec.get("volumes") or []:
        source = job.hub.volume_dir(volume)
        if source is None:
            job.emit(f"Volume source not found: {volume['type']} {volume['source']}/{volume.get('path', '')}")
            return None
        read_only = volume["type"] != "bucket" or volume.get("readOnly", False)
        if not read_only and job.hub.late_writes:
            folder = job.dir / f"mount-{job.attempt}-{len(job.mounts)}"
            job.mounts.append(LateMount(source, folder, job.hub.late_writes))
            source = folder
        mounts[volume["mountPath"].rstrip("/") or "/"] = (source, read_only)
    argv = _command(job, [*(job.spec.get("command") or []), *(job.spec.get("arguments") or [])])
    if argv is None:
        return None
    env = _environment(job)
    if not job.hub.overlay:
        argv = [_real_paths(arg, mounts) for arg in argv]
        env = {k: v if k in ("PATH", "HOME") else _real_paths(v, mounts) for k, v in env.items()}
    return argv, env, mounts


def _environment(job: Job) -> dict[str, str]:
    hub, spec = job.hub, job.spec
    hardware: dict[str, Any] = HARDWARE.get(spec["flavor"]) or {"cpu": "2", "ram": "16", "accelerator": None}
    env = {
        "PATH": f"{Path(hub.python).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(job.dir / "home"),
        "LANG": "C.UTF-8",
        "TMPDIR": str(job.dir / "tmp"),
        "JOB_ID": job.id,
        "HF_ENDPOINT": hub.endpoint,
        **hub.cfg["jobEnv"],
        "ACCELERATOR": spec["flavor"] if hardware["accelerator"] else "none",
        "CPU_CORES": hardware["cpu"].split()[0],
        "MEMORY": hardware["ram"].split()[0] + "Gi",
    }
    if spec.get("network"):
        env |= hub.join_network(job)
        if not hub.overlay:
            env |= {"PYTHONPATH": str(NAMES), "HUBSIM_HOSTS": str(hub.hosts_file(job))}
    return env | (spec.get("environment") or {}) | (spec.get("secrets") or {})


def _real_paths(text: str, mounts: Mounts) -> str:
    """Without a mount namespace, every mention of a mount path becomes the real folder."""
    for mount_path, (source, _) in sorted(mounts.items(), key=lambda item: -len(item[0])):
        pattern = rf"(?<![\w./-]){re.escape(mount_path)}(?=$|[/\s:;,'\")\]])"
        text = re.sub(pattern, str(source).replace("\\", r"\\"), text)
    return text


def _command(job: Job, command: list[str]) -> list[str] | None:
    python = job.hub.python
    if command[:2] == ["uv", "run"] and job.hub.cfg["uv"] == "python":
        at = 2
        while at < len(command) and command[at].startswith("-") and command[at] != "--":
            at += 2 if command[at] in UV_FLAGS_WITH_VALUE else 1
        command = command[at + 1 :] if command[at : at + 1] == ["--"] else command[at:]
        if command and re.match(r"https?://", command[0]):
            if not re.match(r"http://(127\.|localhost)", command[0]):
                job.emit(f"error: hubsim fetches scripts from loopback only, not {command[0]}")
                return None
            script = job.dir / "script.py"
            with urllib.request.urlopen(command[0], timeout=10) as answer:
                script.write_bytes(answer.read())
            command = [str(script), *command[1:]]
        if command and command[0].endswith(".py"):
            command = [python, *command]
    if command and command[0] in ("python", "python3"):
        command = [python, *command[1:]]
    return command or None


def in_overlay(argv: list[str], folder: Path, mounts: Mounts, hosts: Path | None = None) -> list[str]:
    """Wrap a command: a mount namespace of its own, a copy-on-write root, the volumes at their real mount paths."""
    overlay = folder / "ov"
    overlay.mkdir(exist_ok=True)
    root = f"{overlay}/root"
    quote = shlex.quote
    lines = [
        "set -e",
        f"mount -t tmpfs hubsim {quote(str(overlay))}",
        f"mkdir {overlay}/upper {overlay}/work {root}",
        f"mount -t overlay hubsim -o lowerdir=/,upperdir={overlay}/upper,workdir={overlay}/work {root}",
        f"for d in proc dev sys; do mount --rbind /$d {root}/$d; done",
        f"mkdir -p {quote(root + str(folder))}",
        f"mount --bind {quote(str(folder))} {quote(root + str(folder))}",
    ]
    for mount_path, (source, read_only) in sorted(mounts.items()):
        target = quote(root + mount_path)
        lines.append(f"mkdir -p {target}")
        lines.append(f"mount --bind {quote(str(source))} {target}")
        if read_only:
            lines.append(f"mount -o remount,ro,bind {target}")
    if hosts is not None:
        lines.append(f"mount --bind {quote(str(hosts))} {root}/etc/hosts")
    chroot = shutil.which("chroot", path=SYSTEM_PATH)
    inside = f'/bin/sh -c \'cd "$0" && exec "$@"\' {quote(str(folder / "work"))} {shlex.join(argv)}'
    lines.append(f"exec {chroot} {root} {inside}")
    return ["unshare", "-m", "--propagation", "private", "/bin/sh", "-c", "\n".join(lines)]


def overlay_works(python: str, near: Path) -> bool:
    """Whether a job can run in an overlay here, found out by running one. It takes root, and more than that."""
    if os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("chroot", path=SYSTEM_PATH):
        return False
    key = (python, near.stat().st_dev)
    if key not in _probed:
        _probed[key] = _probe(python, near)
    return _probed[key]


def _probe(python: str, near: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=near) as folder:
        work = Path(folder).resolve()
        for name in ("work", "volume"):
            (work / name).mkdir()
        (work / "volume" / "probe.py").write_text("open('/data/out', 'w').write('works')")
        argv = in_overlay([python, "/data/probe.py"], work, {"/data": (work / "volume", False)})
        ended = subprocess.run(argv, capture_output=True, env={"PATH": SYSTEM_PATH}, check=False)
        return ended.returncode == 0 and (work / "volume" / "out").exists()
