"""Options of methods: named numbers, read from text and checked against their ranges. No torch."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from finegates_engine.errors import UserError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST, _MESSAGE = 100, 300
Options = tuple[tuple[str, float], ...]
"""Names and values of a method's options, in the order of the names."""


@dataclass(frozen=True)
class OptionSpec:
    """One option of a method: a number in [low, high]."""

    default: float | None
    """None: another part of the config decides, as `text` says."""

    low: float
    high: float
    text: str
    """What it is, with its unit."""

    whole: bool = False
    """Only whole numbers."""


def read_options(value: Any) -> Any:
    """Options as a config keeps them, from `rank=16,rate=0.01`, a mapping or pairs.

    Raises ValueError for text that is none of this, or a name that comes twice.
    """
    if isinstance(value, str):
        value = [_pair(part) for part in value.split(",") if part.strip()]
    elif isinstance(value, Mapping):
        value = value.items()
    if not isinstance(value, Iterable):
        return value
    pairs = [tuple(pair) if isinstance(pair, (list, tuple)) else pair for pair in value]
    if all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        pairs.sort(key=lambda pair: str(pair[0]))
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError(f"an option is given twice in {pairs}"[:_MESSAGE])
        if len(pairs) > _MOST or not all(_NAME.fullmatch(str(name)) for name, _ in pairs):
            text = f"options are at most {_MOST} names in lower case, got {pairs}"
            raise ValueError(text[:_MESSAGE])
    return tuple(pairs)


def _pair(text: str) -> tuple[str, float]:
    name, mark, number = (part.strip() for part in text.partition("="))
    try:
        if not mark:
            raise ValueError
        return name, float(number)
    except ValueError:
        raise ValueError(
            f"options are name=number with commas between them, got {text!r}"
        ) from None


def checked_options(
    owner: str, specs: Mapping[str, OptionSpec], given: Options
) -> dict[str, float]:
    """Every option of `specs`: what is given, else its default where it has one.

    owner: whose options they are, for messages. Raises UserError for an option that is not there,
    or a value out of its range.
    """
    values = {n: spec.default for n, spec in specs.items() if spec.default is not None}
    for name, value in given:
        if name not in specs:
            has = f"It has {', '.join(specs)}" if specs else "It has none"
            raise UserError(f"{owner[:1].upper()}{owner[1:]} has no option {name!r}. {has}.")
        spec = specs[name]
        if not spec.low <= value <= spec.high:
            raise UserError(
                f"Option {name!r} of {owner} must be in [{spec.low:g}, {spec.high:g}], "
                f"got {value:g}."
            )
        if spec.whole and value != int(value):
            raise UserError(f"Option {name!r} of {owner} must be a whole number, got {value:g}.")
        values[name] = value
    return values
