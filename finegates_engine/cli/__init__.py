"""The command line: finegates ..."""

from finegates_engine.cli.entry import main

__all__ = ["main"]
