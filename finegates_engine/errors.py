"""The one exception for mistakes that a user can mend. No torch."""

from collections.abc import Iterable


class UserError(ValueError):
    """Something the user asked for cannot be done; the text says what, why, and what to do.

    The command line prints it without a traceback.
    """


def unknown(kind: str, value: str, allowed: Iterable[str], *, hint: str = "") -> UserError:
    """The error for a name that is in no table, with the names that are.

    >>> str(unknown("task", "mrcp", ["cola", "mrpc"]))
    "Unknown task 'mrcp'. Choose from: cola, mrpc."
    """
    listed = ", ".join(sorted(allowed))
    return UserError(f"Unknown {kind} {value!r}. Choose from: {listed}{hint}.")
