"""Which cells may be trained next: those whose start is there, the longest road ahead first."""

from collections import Counter
from collections.abc import Collection, Sequence

from finegates_engine.sweep.plan import Job
from finegates_engine.train.opening import opening_key


class JobQueue:
    """Cells that are left, each of which waits for the one that it starts from."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.left = {job.run_id: job for job in jobs}
        self._ahead = _epochs_ahead(jobs)
        self._turn = _turns(jobs)

    def next(self, *, but: Collection[str] = (), longest_first: bool = False) -> Job | None:
        """A cell that could be trained now, without those of `but`. None: there is none.

        In the order of the plan; longest_first: one after which most is left on its path, so that
        several workers end together, and cells that begin alike not at once, so that the first
        can leave its opening to the others.
        """
        ready = [
            job for name, job in self.left.items() if name not in but and job.after not in self.left
        ]
        if not longest_first:
            return ready[0] if ready else None
        return max(
            ready, key=lambda j: (self._ahead[j.run_id], -self._turn[j.run_id]), default=None
        )

    def settle(self, run_id: str) -> None:
        """Nothing is left to do for a cell: those that start from it may begin."""
        del self.left[run_id]


def _turns(jobs: Sequence[Job]) -> dict[str, int]:
    """Number of cells before each one that have the same opening; 0 for a cell with none."""
    seen: Counter[str] = Counter()
    turns = {}
    for job in jobs:
        key = opening_key(job.config)
        turns[job.run_id] = 0 if key is None else seen[key]
        seen.update(() if key is None else (key,))
    return turns


def _epochs_ahead(jobs: Sequence[Job]) -> dict[str, float]:
    """Epochs from the start of each cell to the end of the longest chain that begins with it."""
    ahead: dict[str, float] = {}
    longest: dict[str | None, float] = {}
    for job in reversed(jobs):  # those that start from a cell stand behind it
        ahead[job.run_id] = job.epochs + longest.get(job.run_id, 0.0)
        longest[job.after] = max(longest.get(job.after, 0.0), ahead[job.run_id])
    return ahead
