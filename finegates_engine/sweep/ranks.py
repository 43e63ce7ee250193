"""One training on several processes: the first decides which cell comes next, the others follow.

For `accelerate launch` and `torchrun`, which start the same command once for each GPU. No torch
until a process speaks to another.
"""

import os
from collections.abc import Callable


def count() -> int:
    """Processes of this training; 1 where none of the launchers started it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Whether another process decides and writes the store."""
    return count() > 1 and int(os.environ.get("RANK", "0")) > 0


def announce(run_id: str | None) -> None:
    """Tell the followers the next cell; None: there is none. Does nothing in a single process."""
    if count() > 1:
        _share(run_id)


def follow(train: Callable[[str], None]) -> None:
    """Train every cell that the first process announces, until there is none."""
    while (run_id := _share(None)) is not None:
        train(run_id)


def _share(run_id: str | None) -> str | None:
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    PartialState(cpu=not torch.cuda.is_available())
    told: list[str | None] = [run_id]
    broadcast_object_list(told)
    return told[0]
