"""The environment says what ran, and nothing about who or where."""

import getpass
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

from finegates_engine import __version__, environment
from finegates_engine.environment import collect_environment


def test_versions_are_those_installed_and_none_where_not(monkeypatch):
    monkeypatch.setattr(environment, "PACKAGES", ("numpy", "no-such-package"))
    versions = collect_environment().versions
    assert versions["numpy"] == np.__version__
    assert versions["no-such-package"] is None
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["finegates_engine"] == __version__


def test_nothing_names_a_person_a_host_or_a_folder(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-host")
    text = json.dumps(asdict(collect_environment(accelerator="Some GPU")))
    assert "Some GPU" in text
    home, here = str(Path.home()), str(Path(environment.__file__).parent)
    names = [os.uname().nodename, home, here]
    names += [getpass.getuser()] if getpass.getuser() != "root" else []
    for name in names:
        assert name not in text or len(name) < 2


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def make_checkout(folder, text=""):
    source = folder / "engine"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text(text)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    return source


def test_commit_and_changes_are_those_of_the_engine_alone(tmp_path):
    source = make_checkout(tmp_path)
    head = git(tmp_path, "rev-parse", "HEAD")
    assert environment._checkout(source) == (head, False)
    (tmp_path / "notes.txt").write_text("beside the engine")
    assert environment._checkout(source) == (head, False)
    (source / "new.py").write_text("in the engine")
    assert environment._checkout(source) == (head, True)


def test_source_that_git_does_not_track_has_no_commit(tmp_path):
    make_checkout(tmp_path)
    installed = tmp_path / "venv" / "engine"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert environment._checkout(installed) == (None, None)


def test_git_hook_does_not_lend_its_repository(tmp_path, monkeypatch):
    source = make_checkout(tmp_path / "ours")
    make_checkout(tmp_path / "other", text="x = 1")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    commit, _ = environment._checkout(source)
    monkeypatch.delenv("GIT_DIR")
    assert commit == git(source, "rev-parse", "HEAD")


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    source = make_checkout(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert environment._checkout(source) == (None, None)


def test_what_a_system_does_not_tell_is_none_or_counted_otherwise(monkeypatch):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert environment.load_average() is None
    assert collect_environment().cores == 1


def test_a_machine_without_proc_has_the_name_that_python_knows(monkeypatch):
    def missing(*_, **__):
        raise OSError

    monkeypatch.setattr(environment.Path, "read_text", missing)
    monkeypatch.setattr(environment.platform, "processor", lambda: "some cpu")
    assert environment._cpu_model() == "some cpu"
