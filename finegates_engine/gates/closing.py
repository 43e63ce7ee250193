"""Which gates to close so that exactly the wanted share is removed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.sparsity import TOLERANCE, GatePlan, removed_share
from finegates_engine.gates.units import closing_units


@torch.no_grad()
def closed_at_target(gates: StochasticGates, plan: GatePlan, target: float) -> Tensor:
    """The gates to close, (gates,) bool, so that the share removed is nearest to `target`.

    Those with the lowest mu go first, those closed already stay closed. As one budget all
    gates of the model are in one order; otherwise each gate vector closes its own share (in
    encoder weights: all vectors up to one quantile). A gate whose step is too large to meet
    the target within half a point, such as a head's, is passed over. With `head_step`, gates
    close in units (`units.closing_units`).
    """
    order = torch.where(gates.closed, float("-inf"), gates.logit.detach()).cpu()
    closed = gates.closed.cpu().clone()
    if plan.config.allocation == "vector":
        order = torch.cat([_quantiles(part) for part in gates.split(order).values()])
    units, order = closing_units(gates, plan, order)
    if plan.config.allocation == "vector" and plan.config.target_unit == "gates":
        return closed | (order < target)
    return _Closing(gates, plan, units, target).nearest(closed, order)


@dataclass(frozen=True, eq=False)
class _Closing:
    """Closing the units of one model until a target is met."""

    gates: StochasticGates
    plan: GatePlan
    units: Tensor
    """Unit of each gate, (gates,)."""
    target: float

    def nearest(self, chosen: Tensor, order: Tensor) -> Tensor:
        """`chosen` and units in `order`, whose share is nearest to the target."""
        ranked = self._ranked(order, ~chosen)
        best, best_gap = chosen, self._gap(chosen)
        above: Tensor | None = None
        while len(ranked) and best_gap > TOLERANCE:
            count = self._largest_count(chosen, ranked)
            chosen = self._with(chosen, ranked[:count])
            for option in (chosen, self._with(chosen, ranked[count : count + 1])):
                gap = self._gap(option)
                if gap < best_gap:
                    best, best_gap = option, gap
            above = option if above is None and count < len(ranked) else above
            ranked = ranked[count + 1 :]
        if best_gap <= TOLERANCE or above is None:
            return best
        reopened = self._partly_reopened(above, order)
        return reopened if self._gap(reopened) < best_gap else best

    def _partly_reopened(self, closed: Tensor, order: Tensor) -> Tensor:
        """Of units that remove too much, the last ones open again, as far as that helps."""
        for unit in self._ranked(order, closed & ~self.gates.closed.cpu()).flip(0):
            option = closed & (self.units != unit)
            share = self._share(option)
            if share < self.target - TOLERANCE:
                continue  # too large a step
            closed = option
            if share <= self.target + TOLERANCE:
                break
        return closed

    def _largest_count(self, chosen: Tensor, ranked: Tensor) -> int:
        """How many of the ranked units can close before more than the target is removed."""
        low, high = 0, len(ranked) + 1  # the share removed rises with the count
        while high - low > 1:
            middle = (low + high) // 2
            if self._share(self._with(chosen, ranked[:middle])) <= self.target:
                low = middle
            else:
                high = middle
        return low

    def _ranked(self, order: Tensor, among: Tensor) -> Tensor:
        """The units that have gates `among`, in their order."""
        gates = torch.argsort(order, stable=True)
        return torch.as_tensor(list(dict.fromkeys(self.units[gates[among[gates]]].tolist())))

    def _with(self, chosen: Tensor, more: Tensor) -> Tensor:
        return chosen | torch.isin(self.units, more)

    def _share(self, closed: Tensor) -> float:
        return removed_share(self.gates, self.plan, closed)

    def _gap(self, closed: Tensor) -> float:
        return abs(self._share(closed) - self.target)


def _quantiles(values: Tensor) -> Tensor:
    """Middle of each value's rank in its vector, in (0, 1): `< q` holds for round(q n)."""
    ranks = torch.empty_like(values)
    ranks[torch.argsort(values, stable=True)] = (torch.arange(len(values)) + 0.5) / len(values)
    return ranks
