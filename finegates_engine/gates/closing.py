"""Which gates to close so that exactly the wanted share is removed."""

import torch
from torch import Tensor

from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.sparsity import TOLERANCE, GatePlan, removed_share


@torch.no_grad()
def closed_at_target(gates: StochasticGates, plan: GatePlan, target: float) -> Tensor:
    """The gates to close, (gates,) bool, so that the share removed is nearest to `target`.

    Those with the lowest mu go first, those closed already stay closed. As one budget all
    gates of the model are in one order; otherwise each gate vector closes its own share (in
    encoder weights: all vectors up to one quantile). A gate whose step is too large to meet
    the target within half a point, such as a head's, is passed over.
    """
    order = torch.where(gates.closed, float("-inf"), gates.logit.detach()).cpu()
    chosen = gates.closed.cpu().clone()
    if plan.config.allocation == "vector":
        order = torch.cat([_quantiles(part) for part in gates.split(order).values()])
        if plan.config.target_unit == "gates":
            return chosen | (order < target)
    ranked = torch.argsort(order, stable=True)
    ranked = ranked[~chosen[ranked]]
    best, best_gap = chosen, abs(removed_share(gates, plan, chosen) - target)
    above: Tensor | None = None
    while len(ranked) and best_gap > TOLERANCE:
        count = _largest_count(gates, plan, chosen, ranked, target)
        chosen = _with(chosen, ranked[:count])
        for option in (chosen, _with(chosen, ranked[count : count + 1])):
            gap = abs(removed_share(gates, plan, option) - target)
            if gap < best_gap:
                best, best_gap = option, gap
        above = option if above is None and count < len(ranked) else above
        ranked = ranked[count + 1 :]
    if best_gap <= TOLERANCE or above is None:
        return best
    reopened = _partly_reopened(gates, plan, above, order, target)
    gap = abs(removed_share(gates, plan, reopened) - target)
    return reopened if gap < best_gap else best


def _partly_reopened(
    gates: StochasticGates, plan: GatePlan, closed: Tensor, order: Tensor, target: float
) -> Tensor:
    """Of gates that remove too much, those with the highest mu open again, as far as that helps."""
    again = torch.argsort(order, descending=True, stable=True)
    again = again[(closed & ~gates.closed.cpu())[again]]
    for gate in again:
        option = closed.index_fill(0, gate, False)
        share = removed_share(gates, plan, option)
        if share < target - TOLERANCE:
            continue  # too large a step
        closed = option
        if share <= target + TOLERANCE:
            break
    return closed


def _largest_count(
    gates: StochasticGates, plan: GatePlan, chosen: Tensor, ranked: Tensor, target: float
) -> int:
    """How many of the ranked gates can close before more than the target is removed."""
    low, high = 0, len(ranked) + 1  # the share removed rises with the count
    while high - low > 1:
        middle = (low + high) // 2
        if removed_share(gates, plan, _with(chosen, ranked[:middle])) <= target:
            low = middle
        else:
            high = middle
    return low


def _with(chosen: Tensor, more: Tensor) -> Tensor:
    return chosen.index_fill(0, more, True)


def _quantiles(values: Tensor) -> Tensor:
    """Middle of each value's rank in its vector, in (0, 1): `< q` holds for round(q n)."""
    ranks = torch.empty_like(values)
    ranks[torch.argsort(values, stable=True)] = (torch.arange(len(values)) + 0.5) / len(values)
    return ranks
