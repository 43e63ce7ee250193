"""Gated blocks computed head by head from the definition, and blocks to fold."""

import math

import numpy as np
import torch

from finegates_engine.fold.block import CANONICAL, fold_block
from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.fold.stored_matrix import GatedMatrix
from finegates_engine.folded.layers import BlockKind

LARGEST = 1e-10  # DESIGN section 4, fp64
AT_ZERO = {"sigmoid": 0.5}
ACT = {
    "relu": lambda x: x.clamp(min=0),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


# The truth: gates as they are defined, one head and one sum after the other.


def gated(matrix, x):
    """y = r * (W (c * x) + b)."""
    inner = x if matrix.columns is None else matrix.columns * x
    y = inner @ matrix.weight.T
    y = y if matrix.bias is None else y + matrix.bias
    return y if matrix.rows is None else matrix.rows * y


def rotated(x, base):
    """x: (batch, tokens, size); pair (j, j + size / 2) turns by token * base^(-2 j / size)."""
    size = x.shape[-1]
    rates = 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float32) / size))
    angle = torch.arange(x.shape[1], dtype=torch.float32)[:, None] * rates  # fp32: transformers
    cos, sin = angle.cos().double(), angle.sin().double()
    first, second = x[..., : size // 2], x[..., size // 2 :]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def gated_attention(shape, kind, matrices, x, seen):
    """seen: (batch, tokens, tokens), True where the first token sees the second."""
    query, key, value = (gated(matrices[role], x) for role in ("query", "key", "value"))
    size, group, contexts = shape.head_size, shape.heads // shape.key_value_heads, []
    for head in range(shape.heads):
        q = query[..., head * size : (head + 1) * size]
        shared = slice(head // group * size, (head // group + 1) * size)
        k, v = key[..., shared], value[..., shared]
        if kind.rotary_base:
            q, k = rotated(q, kind.rotary_base), rotated(k, kind.rotary_base)
        scores = q @ k.transpose(1, 2) / math.sqrt(size)
        weights = torch.exp(scores) * seen
        contexts.append(weights @ v / weights.sum(-1, keepdim=True))
    return gated(matrices["attention_output"], torch.cat(contexts, -1))


def gated_ffn(kind, matrices, x):
    inner = ACT[kind.activation](gated(matrices["ffn_in"], x))
    if kind.gated:
        inner = inner * gated(matrices["ffn_up"], x)
    return gated(matrices["ffn_out"], inner)


def normalised(norm, kind, x):
    if kind.norm == "rms":
        return x / (x.square().mean(-1, keepdim=True) + kind.norm_eps).sqrt() * norm.weight
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + kind.norm_eps).sqrt()
    return scaled * norm.weight + norm.bias


def gated_block(shape, kind, matrices, norms, x, seen):
    first, second = norms
    if kind.pre_norm:
        x = x + gated_attention(shape, kind, matrices, normalised(first, kind, x), seen)
        return x + gated_ffn(kind, matrices, normalised(second, kind, x))
    x = normalised(first, kind, x + gated_attention(shape, kind, matrices, x, seen))
    return normalised(second, kind, x + gated_ffn(kind, matrices, x))


# Blocks to fold.


def block_of(heads=2, shared=None, *, size=4, hidden=6, ffn=5, activation="gelu", **kind):
    """(shape, kind) of a small block."""
    block = BlockKind(hidden=hidden, activation=activation, head_size=size, norm_eps=1e-5, **kind)
    shape = EncoderShape(
        layers=1,
        hidden=hidden,
        heads=heads,
        key_value_heads=shared or heads,
        head_size=size,
        ffn=ffn,
        ffn_matrices=3 if block.gated else 2,
        model_parameters=1,
        act_at_zero_is_zero=activation not in AT_ZERO,
        rotary=bool(block.rotary_base),
    )
    return shape, block


def random_matrices(shape, generator, *, gates=None, biases=True):
    """gates: (role, "rows" or "columns") -> values."""
    gates = {
        place: torch.as_tensor(value, dtype=torch.float64) for place, value in (gates or {}).items()
    }
    matrices = {}
    for role, (rows, columns) in shape.matrices().items():
        weight = 1.5 * generator.standard_normal((rows, columns)) / math.sqrt(columns)
        matrices[role] = GatedMatrix(
            torch.from_numpy(weight),
            torch.from_numpy(generator.standard_normal(rows)) if biases else None,
            gates.get((role, "rows")),
            gates.get((role, "columns")),
        )
    return matrices


def largest_difference(shape, kind, matrices, options, *, seed=0, mask=None, tokens=5):
    """Of the folded and the gated block on random rows, over tokens that are seen."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(3, tokens, shape.hidden, generator=generator, dtype=torch.float64)
    block = fold_block(shape, kind, matrices, options, dtype=torch.float64)
    norms = (block.attention_norm, block.ffn_norm)
    for norm in norms:
        for parameter in norm.parameters():
            parameter.data.add_(torch.randn(parameter.shape, generator=generator).double() / 3)
    seen = torch.ones(3, tokens, tokens, dtype=torch.bool)
    seen = seen if mask is None else seen & mask[:, None, :]
    seen = seen.tril() if kind.causal else seen
    with torch.no_grad():
        expected = gated_block(shape, kind, matrices, norms, x, seen)
        folded = block(x, None if mask is None else mask[:, None, None, :])
    compared = seen.any(-1)
    assert torch.isfinite(folded).all()
    return float((folded - expected)[compared].abs().max())


def padding(lengths, *, tokens=5, left=False):
    steps = torch.arange(tokens)
    lengths = torch.tensor(lengths)[:, None]
    return steps >= tokens - lengths if left else steps < lengths


def folded_case(shape, kind, gates, *, options=CANONICAL, lengths=(5, 3, 1)):
    """The spec of a block with these gates, after a check of its outputs."""
    matrices = random_matrices(shape, np.random.default_rng(1), gates=gates)
    mask = padding(lengths)
    assert largest_difference(shape, kind, matrices, options, mask=mask) <= LARGEST
    assert largest_difference(shape, kind, matrices, options) <= LARGEST
    return fold_block(shape, kind, matrices, options).spec


def closed(size, *dimensions, value=1.0):
    gate = np.full(size, value)
    gate[list(dimensions)] = 0
    return gate


SIDES = ("open", "none", "closed", "soft", "binary", "mixed", "one_left", "one_closed", "blocks")


def gate_values(kind, size, unit, generator):
    """(size,) values of one side of a matrix; `unit` dimensions belong to a head (or half one)."""
    soft = generator.uniform(0.05, 0.95, size)
    kept = generator.random(size) < generator.choice([0.2, 0.5, 0.8])
    single = np.arange(size) == generator.integers(size)
    heads = np.repeat(generator.random(math.ceil(size / unit)) < 0.5, unit)[:size]
    values = {
        "open": np.ones(size),
        "closed": np.zeros(size),
        "soft": soft,
        "binary": 1.0 * kept,
        "mixed": soft * kept,
        "one_left": soft * single,
        "one_closed": 1.0 * ~single,
        "blocks": 1.0 * heads,
    }
    return values[kind]
