"""How much of a table that others wrote is read. No torch."""

from dataclasses import dataclass


class BadTable(ValueError):  # noqa: N818
    """A file that is not read; the text is the reason."""


@dataclass(frozen=True)
class TableLimits:
    """What a table may hold; more is refused before it is in memory."""

    unpacked_bytes: int
    rows: int
    columns: int = 2000

    def check(self, *, rows: int = 0, columns: int = 0) -> None:
        """Raises BadTable for more than is read."""
        for count, most, what in ((columns, self.columns, "columns"), (rows, self.rows, "rows")):
            if count > most:
                raise BadTable(f"it has {count:,} {what}, at most {most:,} are read")
