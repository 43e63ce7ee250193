"""`finegates methods`: the methods that a sweep knows. No torch."""

import dataclasses
import json

from rich import box
from rich.table import Table
from rich.text import Text

from finegates_engine.cli.tables import output
from finegates_engine.method_options import OptionSpec
from finegates_engine.method_table import METHODS, MethodSpec

NEEDS_PEFT = " (needs the package peft)"


def print_methods() -> None:
    """The table of methods: what each does, removes and is cited by, and its options."""
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("Method", "What it does", "Removes", "Options", "Source"):
        table.add_column(title)
    for name, spec in METHODS.items():
        what = spec.text + (NEEDS_PEFT if spec.peft else "")
        table.add_row(name, what, spec.removes, "\n".join(_options(spec)) or "none", spec.source)
    console = output()
    console.print(table)
    lines = (
        "Train one with: finegates sweep --method NAME --method-options name=number,...",
        "A method that removes nothing takes --targets 0. docs/methods.md says more about each.",
    )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def methods_json() -> str:
    """The same as a JSON list of objects."""
    return json.dumps([_plain(name, spec) for name, spec in METHODS.items()], indent=1)


def _plain(name: str, spec: MethodSpec) -> dict[str, object]:
    return {
        "name": name,
        "label": spec.label,
        "source": spec.source,
        "text": spec.text,
        "removes": spec.removes,
        "removes_weights": spec.removes != "nothing",
        "needs_peft": spec.peft,
        "options": {option: dataclasses.asdict(value) for option, value in spec.options.items()},
    }


def _options(spec: MethodSpec) -> list[str]:
    def line(name: str, value: OptionSpec) -> str:
        return f"{name if value.default is None else f'{name}={value.default:g}'}: {value.text}"

    return [line(name, value) for name, value in spec.options.items()]
