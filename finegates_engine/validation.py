"""Bounds of stored texts and numbers, and wrong values in a reader's words. No torch."""

import reprlib
from typing import Any

from pydantic import ConfigDict, ValidationError

PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*$"
"""Text of one line in which nothing steers a terminal or turns the direction of writing."""

MOST_COUNT = 2**53
"""The largest whole number that a table of floats holds exactly."""

MOST_PROBLEMS = 100
"""Of one file that are told one by one."""

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of a config's dataclasses: unknown fields and numbers that are none are refused."""

_SHOWN = 80


def explain(error: ValidationError) -> str:
    """A pydantic error as one line a problem: field, value, what is allowed."""
    if error.error_count() > MOST_PROBLEMS:
        return f"{error.title}: {error.error_count():,} values are wrong"
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        field = ".".join(str(part)[:_SHOWN] for part in problem["loc"]) or "config"
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "string_pattern_mismatch":
            text = "characters that are not allowed here"
        silent = problem["type"] in ("value_error", "missing")
        shown = "" if silent else f", got {brief(problem['input'])}"
        lines.append(f"{field}: {text[:1].lower()}{text[1:]}{shown}")
    return "\n".join(lines)


def brief(value: Any) -> str:
    """A value as code, cut: a file may hold megabytes in its place."""
    return repr(value[:_SHOWN]) if isinstance(value, str) else reprlib.repr(value)
