"""What `finegates bench` is asked for, from the text of its options. No torch."""

import dataclasses
from collections.abc import Sequence

from finegates_engine.errors import UserError, unknown
from finegates_engine.timing.stored import BACKENDS, DEVICES, PRECISIONS

MOST = {"--batch": 4096, "--tokens": 16384, "--threads": 1024}
"""Largest values that are taken: above them is a slip of the keyboard."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choices:
    """What is to be timed, checked as far as that needs no torch."""

    device: str
    backends: tuple[str, ...]
    precisions: tuple[str, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    tokens: tuple[int, ...]
    budget_seconds: float


def parse_choices(
    *,
    device: str,
    batch: str,
    tokens: str,
    threads: str,
    backend: str,
    precision: str,
    budget: float,
) -> Choices:
    """The options as values. Raises UserError for what cannot be timed anywhere."""
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if not 0 < budget < 1e7:
        raise UserError(f"--budget must be seconds above 0, got {budget:g}.")
    return Choices(
        device=device,
        backends=_names(backend, "backend", BACKENDS),
        precisions=_names(precision, "precision", PRECISIONS),
        threads=_counts(threads, "--threads"),
        batches=_counts(batch, "--batch"),
        tokens=_counts(tokens, "--tokens"),
        budget_seconds=budget,
    )


def _names(text: str, kind: str, allowed: Sequence[str]) -> tuple[str, ...]:
    names = listed(text)
    for name in names:
        if name not in allowed:
            raise unknown(kind, name, allowed)
    if not names:
        raise UserError(f"--{kind} names nothing. Choose from: {', '.join(allowed)}.")
    return names


def _counts(text: str, option: str) -> tuple[int, ...]:
    most = MOST[option]
    found = listed(text)
    if found and all(p.isdecimal() and len(p) < 9 and 1 <= int(p) <= most for p in found):
        return tuple(int(part) for part in found)
    raise UserError(
        f"{option} must be whole numbers from 1 to {most:,} with commas between them, such as "
        f"1,8, got {text!r}."
    )


def parse_shares(text: str) -> tuple[float, ...]:
    """`0.2,0.4` as shares. Raises UserError for others than in [0, 1)."""
    try:
        shares = tuple(float(part) for part in listed(text))
    except ValueError:
        shares = (-1.0,)
    if not all(0 <= share < 1 for share in shares):
        raise UserError(
            f"--rates must be shares in [0, 1) with commas between them, such as 0.2,0.4, "
            f"got {text!r}."
        )
    return shares


def listed(text: str) -> tuple[str, ...]:
    """The parts between commas, each once, in their order."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
