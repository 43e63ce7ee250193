"""Stochastic gates: value, sample and probability of being kept. Maths only.

Section 3 of the design; Gaussian relaxation of arXiv 2412.12951, section 3.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

LOGIT_MEAN = 1.0  # released code of arXiv 2602.09169: logits start at N(1, 0.1)
LOGIT_STD = 0.1
RANK_SPREAD = 0.3  # of logits that are ranked; half of them then lie within 0.2 of the middle
OPEN_LOGIT = 0.55  # tanh gives 0.5005: one start value in 300,000 would leave its gate soft
OFFSET = 0.5  # z = clip(mu + 0.5 + noise, 0, 1)


def kept_probability(mu: Tensor, std: float) -> Tensor:
    """Probability that a gate with location mu and Gaussian noise `std` is above 0.

    mu: any shape. Returns the same shape, in (0, 1).
    """
    return 0.5 * (1 + torch.erf((mu + OFFSET) / (std * math.sqrt(2))))


class StochasticGates(nn.Module):
    """Named gate vectors, kept in one flat parameter.

    sizes: name -> number of gates. `mu = tanh(logit)`. A closed gate (see `close`) is 0 for
    good; fixed gates (see `fix`) are 0 or 1 and no longer learned.
    """

    logit: nn.Parameter
    closed: Tensor
    fixed: Tensor

    def __init__(
        self,
        sizes: Mapping[str, int],
        *,
        noise_std: float = 0.1,
        penalty_std: float = 0.5,
        hard: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.sizes = dict(sizes)
        self.noise_std = noise_std
        self.penalty_std = penalty_std
        self.hard = hard
        total = sum(self.sizes.values())
        start = LOGIT_MEAN + LOGIT_STD * torch.randn(total, generator=generator)
        self.logit = nn.Parameter(start.clamp(min=OPEN_LOGIT))
        self.register_buffer("closed", torch.zeros(total, dtype=torch.bool))
        self.register_buffer("fixed", torch.zeros((), dtype=torch.bool))

    def extra_repr(self) -> str:
        """Shown by print(model)."""
        return f"{len(self.sizes)} vectors, {self.logit.numel()} gates"

    @property
    def mu(self) -> Tensor:
        """Locations, (gates,), in (-1, 1)."""
        return torch.tanh(self.logit)

    def value(self) -> Tensor:
        """Values in evaluation, (gates,), in [0, 1]."""
        if self.fixed:
            return (~self.closed).to(self.logit.dtype)
        return self.with_noise(torch.zeros_like(self.logit))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Values with training noise, (gates,), in [0, 1].

        The noise is drawn on the generator's device (the CPU without one), so that a seed
        means the same numbers on every device.
        """
        if self.fixed:
            return self.value()
        device = generator.device if generator is not None else torch.device("cpu")
        noise = torch.randn(self.logit.shape, generator=generator, device=device)
        return self.with_noise(self.noise_std * noise.to(self.logit.device))

    def with_noise(self, noise: Tensor) -> Tensor:
        """Values with the given noise, (gates,), already scaled.

        A hard gate is 1 wherever a clipped one is above 0; its gradient is that of the
        argument (the straight-through estimator, arXiv 1308.3432).
        """
        location = self.mu + OFFSET + noise
        if self.hard:
            value = (location > 0).to(location.dtype) + (location - location.detach())
        else:
            value = location.clamp(0, 1)
        return value.masked_fill(self.closed, 0)

    def kept_probability(self) -> Tensor:
        """Probability of each gate to be above 0 under `penalty_std`, (gates,)."""
        return kept_probability(self.mu, self.penalty_std).masked_fill(self.closed, 0)

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """A flat tensor over all gates as name -> view, in the order of `sizes`."""
        return dict(zip(self.sizes, flat.split_with_sizes(list(self.sizes.values())), strict=True))

    @torch.no_grad()
    def rank(self, importance: Tensor) -> None:
        """Spread the logits by the order of `importance`, (gates,): normal quantiles.

        Gates that are closed keep out of the order.
        """
        alive = (~self.closed).nonzero().squeeze(1)
        order = torch.argsort(importance.to(self.logit.device)[alive], stable=True)
        share = (torch.arange(len(alive), device=order.device) + 0.5) / max(1, len(alive))
        quantiles = math.sqrt(2) * torch.erfinv(2 * share - 1)
        self.logit[alive[order]] = LOGIT_MEAN + RANK_SPREAD * quantiles

    @torch.no_grad()
    def close(self, closed: Tensor) -> None:
        """Close the gates marked True, (gates,), for good; those closed before stay closed."""
        self.closed |= closed.to(self.closed.device)

    @torch.no_grad()
    def fix(self, closed: Tensor) -> None:
        """Set every gate to 0 (where `closed`) or 1; nothing is learned or drawn any more."""
        self.close(closed)
        self.fixed.fill_(True)
        self.logit.requires_grad_(False)

    def learn_again(self) -> None:
        """Undo `fix`: gates that are still open are learned from their logits; closed stay so."""
        self.fixed.fill_(False)
        self.logit.requires_grad_(True)


class ScoredGates(StochasticGates):
    """Gates that are 0 where `masked` or closed and 1 elsewhere; `logit` holds scores, 0 at first.

    The gradient of a score is that of its gate, whether it is masked or not. Nothing is drawn.
    """

    masked: Tensor

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__(sizes, noise_std=0.0, hard=True)
        nn.init.zeros_(self.logit)
        self.register_buffer("masked", torch.zeros_like(self.closed), persistent=False)

    def with_noise(self, noise: Tensor) -> Tensor:
        """Values, (gates,); the noise is not used."""
        value = (~self.masked).to(self.logit.dtype) + (self.logit - self.logit.detach())
        return value.masked_fill(self.closed, 0)
