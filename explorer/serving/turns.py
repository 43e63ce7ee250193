"""Pages take turns: a few scripts at a time, each finished before the next begins.

All scripts of the app share one interpreter. Fifty at once would each take fifty times as long, and
the connections to the browsers with them.
"""

import contextlib
import threading
from collections.abc import Iterator

AT_ONCE = 4
"""Scripts of pages that run at the same time; those beyond wait for their turn."""

_TURNS = threading.BoundedSemaphore(AT_ONCE)


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Wait for a turn, and give it back, whatever ends the script."""
    with _TURNS:
        yield
