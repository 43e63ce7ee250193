"""Width that the heads of a block have in attention."""

from collections.abc import Sequence

from finegates_engine.fold.stored_matrix import rounded_up

HEAD_MULTIPLE, LEAST_HEAD = 8, 16
"""Widths of heads in attention are multiples of the first and at least the second, or the dense
width: attention over heads of 8 dimensions takes longer than over 16."""

LEAST_ALIKE = 12
"""Heads that have one width of at least this keep it."""


def head_width(kept: Sequence[int], most: int) -> int:
    """The width of all heads of a block, at most `most`.

    kept: dimensions that stay of each head, of its keys and its values.
    """
    widest = max(kept, default=0)
    if len(set(kept)) == 1 and widest >= LEAST_ALIKE:
        return widest  # nothing to fill up
    return min(most, max(LEAST_HEAD, rounded_up(widest, HEAD_MULTIPLE)))
