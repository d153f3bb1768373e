"""Local files by their content: digests that others can check, names that lead nowhere, what is kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from hfjobs_trainer import contents
from hfjobs_trainer.contents import (
    cache_home,
    file_name,
    find_kept,
    hash_file,
    keep_file,
    keep_link,
    pinned,
    read_file,
    read_folder,
    split_pin,
)
from hfjobs_trainer.rendering.runtime.local_data import find_data

DIGEST = "ab" * 32


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("rows.jsonl", "rows.jsonl"),
        ("./data/rows.jsonl", "./data/rows.jsonl"),
        ("../rows.jsonl", "../rows.jsonl"),
        ("/home/me/rows.jsonl", "rows.jsonl"),
        ("~/data/rows.jsonl", "rows.jsonl"),
        ("C:\\data\\rows.jsonl", "rows.jsonl"),
        ("\\\\server\\rows.jsonl", "rows.jsonl"),
        ("/", "data"),
    ],
)
def test_a_name_says_nothing_of_this_machine(path: str, named: str) -> None:
    assert pinned(path, DIGEST) == f"{named}@sha256:{DIGEST}"
    assert split_pin(pinned(path, DIGEST)) == (named, DIGEST)
    assert pinned(pinned(path, DIGEST), "cd" * 32) == pinned(path, DIGEST)


@pytest.mark.parametrize("text", ["rows.jsonl", "a@sha256:", f"@sha256:{DIGEST}", f"a@sha256:{DIGEST[1:]}", "me/x@y"])
def test_other_text_has_no_digest(text: str) -> None:
    assert split_pin(text) == (text, None)


def test_names_in_a_bucket_are_no_patterns() -> None:
    assert [file_name(name) for name in ("a b[1]*.jsonl", "/x/..", ".env", "ü.csv", "é")] == [
        "a-b-1-.jsonl",
        "data",
        "env",
        "csv",
        "data",
    ]


def test_the_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "b").mkdir(parents=True)
    for name in ("a.txt", "b/c.txt"):
        (folder / name).write_text(name * 1000)
    listed = subprocess.run(["sha256sum", "a.txt", "b/c.txt"], cwd=folder, capture_output=True, check=True).stdout
    found = read_folder(folder, {name: folder / name for name in ("b/c.txt", "a.txt")})
    assert (found.digest, found.size, found.is_folder) == (hashlib.sha256(listed).hexdigest(), 12000, True)
    alone = read_file(folder / "a.txt")
    assert (alone.digest, alone.name) == (listed.split()[0].decode(), "a.txt")
    with pytest.raises(ValueError, match="folder holds no file"):
        read_folder(folder, {})


def test_a_file_is_read_again_whatever_its_size_and_time_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_SETTLED", 0.0)
    file = tmp_path / "rows.jsonl"
    file.write_text("one")
    before, first = file.stat(), hash_file(file)
    assert hash_file(file) == first
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert hash_file(file) == hashlib.sha256(b"two").hexdigest()


def test_what_is_kept_is_found_by_its_digest(tmp_path: Path, home: Path) -> None:
    digest = keep_file("rows.jsonl", lambda stream: stream.write(b"{}\n") and None)
    assert digest == hashlib.sha256(b"{}\n").hexdigest()
    kept = find_kept(digest)
    assert kept == home / "data" / digest / "rows.jsonl"
    assert kept.read_bytes() == b"{}\n"

    def fail(stream: object) -> None:
        raise ValueError("a value that cannot be written")

    with pytest.raises(ValueError, match="cannot be written"):
        keep_file("rows.jsonl", fail)
    assert [path.name for path in (home / "data").iterdir()] == [digest]

    file = tmp_path / "a [1].csv"
    file.write_text("x")
    assert find_kept(DIGEST) is None
    keep_link(file, DIGEST)
    linked = find_kept(DIGEST)
    assert linked is not None
    assert (linked.name, linked.read_text()) == ("a-1-.csv", "x")
    moved = tmp_path / "b.csv"
    file.rename(moved)
    file.write_text("what is there now is something else")
    keep_link(moved, DIGEST)
    assert [path.name for path in (home / "data" / DIGEST).iterdir()] == ["b.csv"]
    moved.unlink()
    assert find_kept(DIGEST) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "file"))
    keep_link(tmp_path, DIGEST)
    assert find_kept(DIGEST) is None


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HFT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_home() == tmp_path / "xdg" / "hfjobs_trainer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_home() == tmp_path / ".cache" / "hfjobs_trainer"


# -- as a script finds it


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in; the script is elsewhere."""
    find_data.cache_clear()
    for name in ("work", "script"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "script" / "train.py")])
    monkeypatch.delenv("HFT_DATA_DIR", raising=False)
    return tmp_path


def name_of(text: str) -> str:
    return f"rows.jsonl@sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def test_a_script_looks_at_the_mount_first_then_by_path_then_in_the_cache(
    empty: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, digest = name_of("x"), hashlib.sha256(b"x").hexdigest()
    keep_file("rows.jsonl", lambda stream: stream.write(b"x") and None)
    mounted = empty / "mount" / digest / "other-name.jsonl"
    mounted.parent.mkdir(parents=True)
    places = [
        ("x", home / "data" / digest / "rows.jsonl", home / "data" / digest / "rows.jsonl"),
        ("x", empty / "script" / "rows.jsonl", empty / "script" / "rows.jsonl"),
        ("x", empty / "work" / "rows.jsonl", Path("rows.jsonl")),
        ("whatever", mounted, mounted),
    ]
    monkeypatch.setenv("HFT_DATA_DIR", str(empty / "mount"))
    for text, place, found in places:
        place.write_text(text)
        find_data.cache_clear()
        assert find_data(name) == str(found)


def test_a_script_tells_of_a_file_that_has_changed(empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty / "work" / "rows.jsonl").write_text("y")
    assert find_data(name_of("x")) == "rows.jsonl"
    assert '"event": "hft.warning"' in (told := capsys.readouterr().out)
    now = hash_file(empty / "work" / "rows.jsonl")
    assert f"rows.jsonl has changed since the script was made: its SHA-256 is {now}" in told
    find_data.cache_clear()
    assert find_data(name_of("y")) == "rows.jsonl"
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("empty")
def test_a_script_says_what_is_missing() -> None:
    with pytest.raises(SystemExit, match=rf"^rows\.jsonl \(SHA-256 {DIGEST}\) is not on this machine"):
        find_data(f"rows.jsonl@sha256:{DIGEST}")
