"""More of a pruned model closed for a moment: heads, layers, parts of the FFN, random groups."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finegates_engine.errors import UserError
from finegates_engine.fold.dimensions import EncoderShape, kept_dimensions
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.sparsity import encoder_shape
from finegates_engine.prune.compiled import gated_blocks

FFN_GROUPS = 4
"""Groups that the FFN's inner dimensions of a layer are cut into, in their order."""

RANDOM_GROUPS = 20
"""Random groups beside one that was chosen."""

_SITES = {"context": "attention_output", "ffn": "ffn_out"}
"""Kind of inner dimension -> the matrix whose columns close with it."""

Logits = NDArray[np.float32]
Run = Callable[[], Logits]


@dataclass(frozen=True)
class Group:
    """Inner dimensions of a model, (layers, dimensions) bool each."""

    context: NDArray[np.bool_]
    """Of the heads' values, as attention output reads them."""

    ffn: NDArray[np.bool_]

    @property
    def size(self) -> int:
        """How many there are."""
        return int(self.context.sum() + self.ffn.sum())

    def __and__(self, other: "Group") -> "Group":
        return Group(self.context & other.context, self.ffn & other.ffn)

    def __or__(self, other: "Group") -> "Group":
        return Group(self.context | other.context, self.ffn | other.ffn)


def kept_group(model: TextClassifier) -> Group:
    """The inner dimensions that a gated model still has."""
    shape = encoder_shape(model)
    kept = [
        kept_dimensions(shape, {role: matrix.masks() for role, matrix in block.items()})
        for block in gated_blocks(model)
    ]
    repeats = shape.heads // shape.key_value_heads
    values = [np.repeat(k.value, repeats, axis=0) & k.heads[:, None] for k in kept]
    return Group(np.stack([v.reshape(-1) for v in values]), np.stack([k.ffn for k in kept]))


def part_names(shape: EncoderShape) -> list[str]:
    """Codes of all parts: layer "0", "0.attention", "0.head.3", "0.ffn", "0.ffn.1"."""
    names = []
    for layer in range(shape.layers):
        names += [f"{layer}", f"{layer}.attention", f"{layer}.ffn"]
        names += [f"{layer}.head.{head}" for head in range(shape.heads)]
        names += [f"{layer}.ffn.{group}" for group in range(FFN_GROUPS)]
    return names


def part_group(shape: EncoderShape, part: str) -> Group:
    """The dimensions of a part in the dense model. Raises UserError for one that is none."""
    if part not in part_names(shape):
        raise UserError(f"The model has no part {part[:40]!r}. Choose a head, a layer or its FFN.")
    context = np.zeros((shape.layers, shape.heads * shape.head_size), dtype=np.bool_)
    ffn = np.zeros((shape.layers, shape.ffn), dtype=np.bool_)
    layer, kind, number = (*part.split("."), "", "")[:3]
    row = int(layer)
    if kind in ("", "attention"):
        context[row] = True
    if kind == "" or (kind == "ffn" and not number):
        ffn[row] = True
    if kind == "head":
        context[row, int(number) * shape.head_size : (int(number) + 1) * shape.head_size] = True
    if kind == "ffn" and number:
        edges = np.linspace(0, shape.ffn, FFN_GROUPS + 1).astype(int)
        ffn[row, edges[int(number)] : edges[int(number) + 1]] = True
    return Group(context, ffn)


def random_group(kept: Group, like: Group, generator: np.random.Generator) -> Group:
    """As many of the kept dimensions of each kind as in `like`, from the whole model."""
    return Group(
        _drawn(kept.context, int(like.context.sum()), generator),
        _drawn(kept.ffn, int(like.ffn.sum()), generator),
    )


@contextlib.contextmanager
def closed(model: TextClassifier, group: Group) -> Iterator[None]:
    """The model with these dimensions closed too, as if their gates were 0; as before afterwards.

    Columns of attention output and of FFN out: what they read is multiplied by 0.
    """
    handles = []
    try:
        for layer, block in enumerate(model.blocks()):
            for kind, role in _SITES.items():
                mask = getattr(group, kind)[layer]
                if mask.any():
                    module = block.get_submodule(model.architecture.modules[role])
                    handles.append(module.register_forward_pre_hook(_Closing(mask)))
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass
class AblationBench:
    """One gated model and one batch, to close parts of."""

    model: TextClassifier
    run: Run
    """The batch through the model: logits (rows, outputs)."""

    shape: EncoderShape = field(init=False)
    kept: Group = field(init=False)

    def __post_init__(self) -> None:
        self.shape, self.kept = encoder_shape(self.model), kept_group(self.model)

    def group(self, parts: Sequence[str]) -> Group:
        """What is left of these parts together."""
        nothing = Group(np.zeros_like(self.kept.context), np.zeros_like(self.kept.ffn))
        for part in parts:
            nothing = nothing | part_group(self.shape, part)
        return nothing & self.kept

    def without(self, group: Group) -> Logits:
        """Logits with a group closed."""
        with closed(self.model, group):
            return self.run()

    def random(self, like: Group, *, groups: int = RANDOM_GROUPS, seed: int = 0) -> list[Logits]:
        """Logits with random groups of the same size closed, one after the other."""
        generator = np.random.default_rng(seed)
        return [self.without(random_group(self.kept, like, generator)) for _ in range(groups)]


class _Closing:
    """Forward pre-hook: the chosen columns read 0."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self._open = torch.from_numpy((~mask).astype(np.float32))

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, *rest = inputs
        return (first * self._open.to(first), *rest)


def _drawn(
    kept: NDArray[np.bool_], count: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    places = generator.permutation(np.flatnonzero(kept))[:count]
    drawn = np.zeros(kept.size, dtype=np.bool_)
    drawn[places] = True
    return drawn.reshape(kept.shape)
