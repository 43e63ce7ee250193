"""Methods that close gates once, by a score: random, magnitude, activation, Taylor.

All are given what FineGates is given: the same head, biases and low-rank update, trained for the
same number of steps. Gates are scored and closed when FineGates begins to close its own, or after
the share of the steps that `after` says; what follows is trained with the gates at their final
values. A `-posthoc` method starts from the trained FineGates run with nothing removed and trains
no further.
"""

import torch
from torch import Tensor, nn

from finegates_engine.gates.compact import widen
from finegates_engine.gates.layers import GatedLinear
from finegates_engine.gates.model import TextClassifier, iter_gated_layers
from finegates_engine.gates.schedule import Moment
from finegates_engine.methods.base import GateMethod
from finegates_engine.methods.calibration import TrainingRows, gate_gradients, moved

ACTIVATION_BATCH = 32
"""Rows of one forward pass that collects activations."""

Places = dict[tuple[int, str], Tensor]
"""(block, role) -> a value for each weight or dimension of that matrix."""


class OneShot(GateMethod):
    """Gates at 1 until they are scored; then fixed."""

    rows: TrainingRows

    def prepare(self, model: TextClassifier) -> None:
        """Gates are not learned: they cost no gradient."""
        super().prepare(model)
        assert model.gates is not None
        model.gates.noise_std = 0.0
        model.gates.logit.requires_grad_(False)

    def start(self, model: TextClassifier, rows: TrainingRows) -> None:
        """Keeps the rows for calibration."""
        assert model.gates is not None
        model.gates.logit.requires_grad_(False)
        self.rows = rows

    def moment(self, done: float, *, start: float) -> Moment:
        """Open until the gates are scored, then fixed."""
        if done < self.options.get("after", self.config.phases.open_start):
            return Moment("open", start, 1.0)
        return Moment("fixed", self.config.gates.target, 1.0)


class RandomGates(OneShot):
    """Gates closed at random: the control that every score must beat."""

    def importance(self, model: TextClassifier) -> Tensor:
        """Numbers drawn by the seed, (gates,)."""
        assert model.gates is not None
        logit, generator = model.gates.logit, torch.Generator().manual_seed(self.config.seed)
        return torch.rand(logit.shape, generator=generator).to(logit.device)


class Magnitude(OneShot):
    """L2 norm of the rows and columns that a gate removes (Li et al. 2017, arXiv 1608.08710)."""

    def importance(self, model: TextClassifier) -> Tensor:
        """Norms, (gates,)."""
        squares = {place: effective_weight(layer) ** 2 for place, layer in _layers(model).items()}
        return removed_norms(model, squares)


class Activation(OneShot):
    """The norm of the removed weights, each times the root mean square of its input.

    The score of a weight is that of Wanda (arXiv 2306.11695), its sum over a structure and its
    one forward pass are CFSP's (arXiv 2409.13199), whose coarse budgets of blocks are not taken:
    the target is one budget here, as for every method.
    """

    def importance(self, model: TextClassifier) -> Tensor:
        """Norms, (gates,)."""
        widen(model)
        means = input_squares(
            model, self.rows, count=int(self.options["rows"]), seed=self.config.seed
        )
        squares = {
            place: effective_weight(layer) ** 2 * means[place]
            for place, layer in _layers(model).items()
        }
        return removed_norms(model, squares)


class Taylor(OneShot):
    """Mean over batches of |d loss / d gate| at 1.

    The derivative by a gate is the sum of weight times gradient over what it scales, so that this
    is the first-order change of the loss when the group goes (LLM-Pruner, arXiv 2305.11627, by
    vector; absolute values before the mean over batches, Molchanov et al. 2017, arXiv 1611.06440:
    their signed mean vanishes where the model is trained).
    """

    def importance(self, model: TextClassifier) -> Tensor:
        """Mean absolute derivatives, (gates,)."""
        assert model.gates is not None
        total = torch.zeros_like(model.gates.logit)
        count, size = int(self.options["rows"]), int(self.options["chunk"])
        seed = self.config.seed
        for gradient in gate_gradients(model, self.rows, count=count, size=size, seed=seed):
            total += gradient.abs()
        return total


def _layers(model: TextClassifier) -> dict[tuple[int, str], GatedLinear]:
    return {(index, role): layer for index, role, layer in iter_gated_layers(model)}


@torch.no_grad()
def effective_weight(layer: GatedLinear) -> Tensor:
    """W + s B A of a gated layer, (out, in), without its gates."""
    weight = layer.base_layer.weight.detach()
    if layer.low_rank_down is None or layer.low_rank_up is None:
        return weight
    return torch.addmm(weight, layer.low_rank_up, layer.low_rank_down, alpha=layer.scale)


@torch.no_grad()
def removed_norms(model: TextClassifier, squares: Places) -> Tensor:
    """Root of the sum of `squares` over the weights that each gate removes, (gates,).

    squares: (out, in) of each gated matrix.
    """
    assert model.gates is not None
    norms = []
    for key, size in model.gates.sizes.items():
        block = int(key.partition("/")[0])
        total = sum(
            squares[block, role].sum(1 if side == "rows" else 0)
            for role, side in model.gate_kinds[key].removes
        )
        assert isinstance(total, Tensor)
        norms.append(total.view(size, -1).sum(1).sqrt())
    return torch.cat(norms)


@torch.no_grad()
def input_squares(model: TextClassifier, rows: TrainingRows, *, count: int, seed: int) -> Places:
    """Mean square of each input of the gated matrices over unmasked tokens, (in,) each.

    From one forward pass without dropout, with the gates as they are.
    """
    sums: Places = {}
    mask = torch.empty(0)
    hooks = []

    def watch(place: tuple[int, str]) -> None:
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            square = (inputs[0][mask].double() ** 2).sum(0)
            sums[place] = sums[place] + square if place in sums else square

        hooks.append(_layers(model)[place].register_forward_hook(add))

    for place in _layers(model):
        watch(place)
    was_training, tokens = model.training, 0
    model.eval()
    try:
        for batch in rows.batches(count, ACTIVATION_BATCH, seed=seed):
            inputs = moved(batch, next(model.parameters()).device)
            del inputs["labels"]
            mask = inputs["attention_mask"].bool()
            tokens += int(mask.sum())
            model(**inputs)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return {place: (total / tokens).float() for place, total in sums.items()}
