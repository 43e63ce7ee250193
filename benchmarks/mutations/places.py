"""Damage to where things lie: links, pipes, folders for files, names; and the store's own files."""

import os
import random
import shutil
from pathlib import Path
from typing import Any

from mutations import CORE, Victim, mutation


def _move_out(path: Path, victim: Victim) -> Path:
    """Take something out of the store, as it is; where it lies then."""
    target = victim.outside / path.name
    if path.is_dir():
        shutil.copytree(path, target)
        shutil.rmtree(path)
    else:
        shutil.copyfile(path, target)
        path.unlink()
    return target


def _file(victim: Victim, random: random.Random) -> Path:
    return victim.folder / random.choice(victim.there())


@mutation()
def file_linked_out(victim: Victim, random: random.Random) -> Any:
    """A file is a link to one outside, which is as it should be."""
    path = _file(victim, random)
    target = _move_out(path, victim)
    path.symlink_to(target if random.random() < 0.5 else os.path.relpath(target, path.parent))
    return path.name


@mutation()
def folder_linked_out(victim: Victim, random: random.Random) -> Any:
    """The run, its task, or its timings."""
    places = [victim.folder, *([p] if (p := victim.folder / "timings").exists() else [])]
    path = random.choice(places)
    path.symlink_to(_move_out(path, victim), target_is_directory=True)
    return path.name


@mutation()
def link_in_a_circle(victim: Victim, random: random.Random) -> Any:
    """A link to itself, to nothing, or to the folder that it lies in."""
    path = random.choice([victim.folder, _file(victim, random)])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(random.choice([path.name, "nothing here", "."]))
    return path.name, os.readlink(path)


@mutation()
def linked_to_a_device(victim: Victim, random: random.Random) -> Any:
    """/dev/zero never ends."""
    path = _file(victim, random)
    path.unlink()
    path.symlink_to(random.choice(["/dev/zero", "/dev/stdin", "/proc/self/mem", "/etc/passwd"]))
    return path.name, os.readlink(path)


@mutation()
def pipe_for_a_file(victim: Victim, random: random.Random) -> Any:
    """A pipe that nobody writes to: whoever opens it waits for ever."""
    path = random.choice([victim.folder, _file(victim, random)])
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.mkfifo(path)
    return path.name


@mutation()
def folder_for_a_file(victim: Victim, random: random.Random) -> Any:
    """And a file for the folder."""
    if random.random() < 0.3:
        shutil.rmtree(victim.folder)
        victim.folder.write_text("x")
        return "file for the run"
    path = _file(victim, random)
    path.unlink()
    path.mkdir()
    return path.name


@mutation()
def odd_run_name(victim: Victim, random: random.Random) -> Any:
    """A name that is no run id: markup, control characters, bytes that are no text, too long."""
    name = random.choice(
        [
            b"<script>alert(1)<script>",
            b"**bold** [x](javascript:alert(1)) $x$ :bomb:",
            b"\x1b[2J\x1b]0;owned\x07",
            b"not utf-8 \xff\xfe",
            b"two\nlines\r\n# heading",
            b"x" * 255,
            "\u202egnp.exe".encode(),
            b" ",
            b"-rf",
            b"`code` www.example.com a@example.com",
            victim.folder.name.upper().encode(),
        ]
    )
    os.rename(victim.folder, os.path.join(os.fsencode(victim.folder.parent), name))
    return name[:40]


@mutation()
def odd_task_name(victim: Victim, random: random.Random) -> Any:
    """The folder of the task has such a name."""
    name = random.choice([b"\xff\xfe", b"\x1b[31mred", b"a\nb", b"<b>x", b"UPPER", b"..."])
    folder = os.path.join(os.fsencode(victim.root), name)
    os.mkdir(folder)
    os.rename(victim.folder, os.path.join(folder, os.fsencode(victim.folder.name)))
    return name


@mutation(must=False)
def many_timings(victim: Victim, random: random.Random) -> Any:
    """A folder of timings without end."""
    folder = victim.folder / "timings"
    folder.mkdir(exist_ok=True)
    count = random.choice([2, 3000])
    for number in range(count):
        (folder / f"m{number}.json").write_bytes(random.choice([b"", b"{}", b"["]))
    return count


@mutation(must=False)
def index_damaged(victim: Victim, random: random.Random) -> Any:
    """The cache of the listing: noise, a pipe, a folder, a link, a bomb, or a table that lies."""
    index = victim.root / ".index.parquet"
    if index.exists():
        index.unlink()
    kind = random.choice(["noise", "pipe", "folder", "link", "cut", "huge"])
    if kind == "noise":
        index.write_bytes(b"PAR1" + random.randbytes(500) + b"PAR1")
    elif kind == "pipe":
        os.mkfifo(index)
    elif kind == "folder":
        index.mkdir()
    elif kind == "link":
        (victim.outside / "index").write_bytes(b"x")
        index.symlink_to(victim.outside / "index")
    elif kind == "cut":
        data = (victim.folder / CORE[3]).read_bytes()
        index.write_bytes(data)
    else:
        index.touch()
        os.truncate(index, 2**34)
    return kind


@mutation(must=False)
def sweeps_damaged(victim: Victim, random: random.Random) -> Any:
    """States and logs of sweeps: noise, pipes, links out of the store."""
    folder = victim.root / ".sweeps"
    kind = random.choice(["noise", "pipe", "link", "folder link", "log link", "log pipe", "lock"])
    if kind == "folder link":
        (victim.outside / "sweeps").mkdir()
        (victim.outside / "sweeps" / "a.json").write_text("{}")
        folder.symlink_to(victim.outside / "sweeps")
        return kind
    launch = folder / "launched" / "20260101-000000-abcdef"
    launch.mkdir(parents=True)
    (victim.outside / "secret.json").write_text('{"secret": 1}')
    if kind == "noise":
        (folder / "a.json").write_bytes(random.randbytes(300))
        (launch / "launch.json").write_text("[" * 1000)
    elif kind == "pipe":
        os.mkfifo(folder / "a.json")
        os.mkfifo(folder / "a.lock")
        os.mkfifo(launch / "launch.json")
    elif kind == "link":
        (folder / "a.json").symlink_to(victim.outside / "secret.json")
        (launch / "launch.json").symlink_to(victim.outside / "secret.json")
    elif kind == "log link":
        (launch / "log.txt").symlink_to(victim.outside / "secret.json")
    elif kind == "log pipe":
        os.mkfifo(launch / "log.txt")
    else:
        (folder / "a.json").write_text("{}")
        (folder / "a.lock").symlink_to(victim.outside / "secret.json")
    return kind
