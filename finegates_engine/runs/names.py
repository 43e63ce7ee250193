"""Names of runs: which are safe, and which run a few letters mean."""

from collections.abc import Sequence

from finegates_engine.errors import UserError
from finegates_engine.runs.index import RUN_ID

_SHOWN = 5


def resolved(text: str, names: Sequence[str], *, where: str) -> str:
    """The one of `names` that is `text`, or begins or ends with it, or whose hash begins with it.

    Raises UserError where there is none, or more than one. where: of the runs, for the error.
    """
    if text in names:
        return text
    fitting = [
        name
        for name in names
        if text and (name.startswith(text) or name.endswith(text) or _hash(name, text))
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise UserError(
            f"No run id begins or ends with {text!r} in {where}. `finegates runs` lists all."
        )
    more = f", and {len(fitting) - _SHOWN} more" if len(fitting) > _SHOWN else ""
    raise UserError(
        f"{text!r} fits {len(fitting)} runs: {', '.join(fitting[:_SHOWN])}{more}. "
        "Give more of the id."
    )


def checked(run_id: str) -> str:
    """The run id itself. Raises UserError where it could not be one, as with a path in it."""
    if not RUN_ID.fullmatch(run_id):
        raise UserError(
            f"Run id {run_id!r} is not one: they look like "
            "mrpc-finegates-t0.40-s0-1a2b3c4d5e6f. `finegates runs` lists all."
        )
    return run_id


def _hash(run_id: str, text: str) -> bool:
    return run_id.rsplit("-", 1)[1].startswith(text)
