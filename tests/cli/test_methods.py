"""The list of methods on the command line."""

import json
import re

import pytest

from finegates_engine.cli.methods import methods_json, print_methods
from finegates_engine.method_table import METHODS


def test_the_table_names_every_method_with_its_source_and_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_methods()
    printed = capsys.readouterr().out
    words = " ".join(printed.split())
    for name, spec in METHODS.items():
        assert re.search(rf"^ +{name} ", printed, re.MULTILINE)
        assert spec.source.split(",")[0] in words
        for option, value in spec.options.items():
            default = "" if value.default is None else f"={value.default:g}"
            assert f"{option}{default}: " in printed
    assert "--method-options name=number" in words


def test_json_holds_the_whole_table() -> None:
    listed = {entry["name"]: entry for entry in json.loads(methods_json())}
    assert list(listed) == list(METHODS)
    taylor = listed["taylor"]
    assert taylor["removes_weights"] is True
    assert taylor["options"]["rows"]["default"] == 1024
    assert listed["lora"]["removes_weights"] is False
    assert listed["lora"]["needs_peft"] is True
