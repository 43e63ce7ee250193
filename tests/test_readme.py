"""The README's commands exist, with the options that it names."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from finegates_engine.cli.entry import app

README = (Path(__file__).parents[1] / "README.md").read_text()


def finegates_lines() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line[line.index("finegates ") :] for line in lines if "finegates " in line]


def command(name: str) -> Any:
    group: Any = typer.main.get_command(app)
    return group.commands[name]


@pytest.mark.parametrize("line", finegates_lines())
def test_command_and_options_exist(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    known = {option for parameter in command(name).params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_readme_has_the_commands_of_a_fresh_machine() -> None:
    assert re.search(r"<!-- explorer -->\n```bash\n.*streamlit run explorer/app.py\n```", README)
    assert re.search(r"<!-- demo -->\n```bash\n.*finegates demo\n```", README)
    assert re.search(r"<!-- tests -->\n```bash\n.*-m pytest\n```", README)


def test_every_named_option_outside_code_blocks_exists() -> None:
    prose = re.sub(r"```bash\n.*?```", "", README, flags=re.S)
    named = set(re.findall(r"`(--[a-z-]+)", prose)) - {"--quick"}
    commands = ("sweep", "prune", "bench", "explain")
    known = {option for name in commands for p in command(name).params for option in p.opts}
    assert named
    assert named <= known


def test_linked_files_exist() -> None:
    root = Path(__file__).parents[1]
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (root / target).exists(), target
