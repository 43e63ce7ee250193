"""Calls of the command line in this process, and the options of a tiny sweep."""

from pathlib import Path

from typer.testing import CliRunner, Result

from finegates_engine.cli import entry as cli


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def refused(*arguments: str | Path) -> str:
    """What stands on stderr when the input is wrong; there must be no traceback."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def options(backbone: Path, task: Path, store: Path) -> list[str]:
    """`finegates sweep` over two levels, seconds long."""
    return [
        "sweep", "--task", "reviews", "--data", str(task), "--text-fields", "text",
        "--backbone", str(backbone), "--epochs", "2", "--batch-size", "16",
        "--open-start", "0.2", "--ramp", "0.2", "--finish", "0.3",
        "--store", str(store), "--targets", "0,0.4",
    ]  # fmt: skip
