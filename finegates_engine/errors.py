"""The one exception for mistakes that a user can mend. No torch."""

from collections.abc import Iterable

MOST_CHARACTERS = 2000
"""Of an error that names something of a file."""


def printable(text: str, most: int = MOST_CHARACTERS) -> str:
    """Text of others as one line: what is no visible character is written as its code.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    cut = text if len(text) <= most else f"{text[:most]}..."
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


class UserError(ValueError):
    """Something the user asked for cannot be done; the text says what, why, and what to do.

    The command line prints it without a traceback.
    """


class DiskError(UserError):
    """A place that cannot be written now, as on a full disk; what was to be written is sound."""


def unknown(kind: str, value: str, allowed: Iterable[str], *, hint: str = "") -> UserError:
    """The error for a name that is in no table, with the names that are.

    >>> str(unknown("task", "mrcp", ["cola", "mrpc"]))
    "Unknown task 'mrcp'. Choose from: cola, mrpc."
    """
    listed = ", ".join(sorted(allowed))
    return UserError(f"Unknown {kind} {value!r}. Choose from: {listed}{hint}.")
