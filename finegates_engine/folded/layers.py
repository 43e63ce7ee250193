"""Blocks of a folded model: dense layers, smaller than those they come from. Only torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .head_rows import MOST_TOKENS, attended

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_new": lambda x: functional.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
"""Activations under the names of transformers' configs."""


@dataclass(frozen=True, kw_only=True)
class MatrixSpec:
    """One stored matrix, with the dimensions that are picked before and after the product."""

    rows: int
    columns: int
    bias: bool
    take_in: int = 0
    """Inputs that are picked, the matrix's columns. 0: all, in their order."""
    take_out: int = 0
    """Outputs after the product's are spread, some of them zeros. 0: as they are."""


@dataclass(frozen=True, kw_only=True)
class BlockSpec:
    """The sizes of one folded block."""

    heads: int
    """Query heads that stay. 0: attention only adds its output bias."""
    key_value_heads: int
    width: int
    """Common width of query, key and value of a head in attention, zeros included."""
    ffn: int
    """Inner width of the FFN, zeros included. 0: it only adds its output bias."""
    qkv: MatrixSpec
    attention_output: MatrixSpec
    ffn_in: MatrixSpec
    ffn_out: MatrixSpec


@dataclass(frozen=True, kw_only=True)
class BlockKind:
    """What all blocks of a model share."""

    hidden: int
    activation: str
    head_size: int
    """Of the dense model; attention scores are divided by its square root."""
    norm_eps: float
    norm: str = "layer"
    """layer or rms."""
    pre_norm: bool = False
    """Normalise before attention and FFN, instead of after each residual sum."""
    causal: bool = False
    gated: bool = False
    """FFN out of act(gate(x)) * up(x), gate above up in one matrix."""
    rotary_base: float = 0.0
    """Query and key are rotated in pairs (j, j + width / 2), pair p of the dense head by
    base ** (-2 p / head_size) a token, in fp32 as in transformers. 0: not rotated."""


class Matrix(nn.Module):
    """y = x[..., take_in] @ weight.T + bias, then spread to y[..., take_out].

    Its tensors are read from nn.Module's own tables: by attribute, each costs a microsecond.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    take_in: Tensor | None
    take_out: Tensor | None

    def __init__(self, spec: MatrixSpec) -> None:
        super().__init__()
        self.weight = _frozen(spec.rows, spec.columns)
        self.register_parameter("bias", _frozen(spec.rows) if spec.bias else None)
        for name, size in (("take_in", spec.take_in), ("take_out", spec.take_out)):
            index = torch.zeros(size, dtype=torch.int64) if size else None
            self.register_buffer(name, index)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., inputs) -> (..., outputs), a new tensor."""
        index = self._buffers["take_in"]
        return self.product(x if index is None else take(x, index))

    def product(self, x: Tensor) -> Tensor:
        """x: (..., columns), picked already -> (..., outputs), a new tensor."""
        values, index = self._parameters, self._buffers["take_out"]
        y = functional.linear(x, cast(Tensor, values["weight"]), values["bias"])
        return y if index is None else take(y, index)

    def rows_of(self, x: Tensor) -> Tensor:
        """x: (tokens, inputs) -> (rows, tokens), not spread."""
        index, values = self._buffers["take_in"], self._parameters
        x = x if index is None else take(x, index)
        weight, bias = cast(Tensor, values["weight"]), values["bias"]
        return weight @ x.t() if bias is None else torch.addmm(bias[:, None], weight, x.t())


def take(x: Tensor, index: Tensor) -> Tensor:
    """x[..., index] for x (..., features), index (kept,) int64.

    On a CPU in eager mode `gather` is three to eight times as fast as indexing along the last
    dimension; compilers and GPUs do better with the plain form.
    """
    if not x.is_cpu or torch.compiler.is_compiling():  # as while exporting to ONNX
        return x.index_select(-1, index)
    return x.gather(-1, index.expand(*x.shape[:-1], -1))


class Attention(nn.Module):
    """Attention over heads of one common width."""

    group: Tensor
    """(heads,): which key and value head each query head uses, where heads are grouped."""
    pairs: Tensor
    """(key heads, width / 2): number of each rotated pair in the dense head."""

    def __init__(self, spec: BlockSpec, kind: BlockKind) -> None:
        super().__init__()
        self.spec, self.kind = spec, kind
        self.output = Matrix(spec.attention_output)
        if not spec.heads:
            return
        self.qkv = Matrix(spec.qkv)
        self.grouped = spec.heads != spec.key_value_heads
        if self.grouped:
            self.register_buffer("group", torch.zeros(spec.heads, dtype=torch.int64))
        if kind.rotary_base:
            pairs = torch.zeros(spec.key_value_heads, spec.width // 2, dtype=torch.int64)
            self.register_buffer("pairs", pairs)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (batch, tokens, hidden). mask: (batch, 1, 1 or tokens, tokens), True is seen.

        Causal attention adds its own mask to the one given.
        """
        if not self.spec.heads:
            return _bias_alone(self.output, x)
        if self.kind.causal and mask is not None:
            mask = mask & mask.new_ones(x.shape[1], x.shape[1]).tril()
        if mask is None and self._by_rows(x):
            return self._attended_by_rows(x)
        query, key, value = self._heads(self.qkv.forward(x))
        context = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            is_causal=self.kind.causal and mask is None,
            scale=self.kind.head_size**-0.5,
        )
        return self.output.forward(context.transpose(1, 2).flatten(2))

    def _by_rows(self, x: Tensor) -> bool:
        """Whether spread heads are attended by rows of features, see `head_rows`.

        Only in fp32 and fp64: fused attention sums in fp32 whatever the dtype is.
        """
        plain = not (self.grouped or self.kind.causal or self.kind.rotary_base)
        spread = self.qkv._buffers["take_out"] is not None
        short = x.shape[0] == 1 and 0 < x.shape[1] <= MOST_TOKENS
        known = x.is_cpu and x.dtype in (torch.float32, torch.float64)
        return plain and spread and short and known and not torch.compiler.is_compiling()

    def _attended_by_rows(self, x: Tensor) -> Tensor:
        rows, index = self.qkv.rows_of(x[0]), cast(Tensor, self.qkv.take_out)
        scale = self.kind.head_size**-0.5
        contexts = attended(rows, index, heads=self.spec.heads, scale=scale)
        picks = self.output.take_in
        contexts = contexts if picks is None else contexts.index_select(0, picks)
        return self.output.product(contexts.t())[None]

    def _heads(self, y: Tensor) -> Sequence[Tensor]:
        """(batch, tokens, rows) -> query, key and value, (batch, heads, tokens, width) each."""
        spec = self.spec
        if not self.grouped and not self.kind.rotary_base:
            shaped = y.view(*y.shape[:-1], 3, spec.heads, spec.width)
            return shaped.permute(2, 0, 3, 1, 4).unbind(0)
        counts = (spec.heads, spec.key_value_heads, spec.key_value_heads)
        query, key, value = (
            part.view(*part.shape[:-1], -1, spec.width).transpose(1, 2)
            for part in torch.split(y, [count * spec.width for count in counts], -1)
        )
        group = self.group if self.grouped else torch.arange(spec.heads, device=y.device)
        if self.kind.rotary_base:
            turn = _turns(self.kind, y)[..., self.pairs].transpose(1, 2)
            query, key = _rotated(query, turn[:, group]), _rotated(key, turn)
        return query, key.index_select(1, group), value.index_select(1, group)


class FeedForward(nn.Module):
    """Two matrices around an activation, or three of a gated FFN."""

    def __init__(self, spec: BlockSpec, kind: BlockKind) -> None:
        super().__init__()
        self.spec, self.gated = spec, kind.gated
        self.act = activation(kind.activation)
        self.output = Matrix(spec.ffn_out)
        if spec.ffn:
            self.input = Matrix(spec.ffn_in)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, tokens, hidden) -> the same shape."""
        if not self.spec.ffn:
            return _bias_alone(self.output, x)
        inner = self.input.forward(x)
        if self.gated:
            gate, up = inner.chunk(2, -1)
            inner = self.act(gate) * up
        else:
            inner = self.act(inner)
        return self.output.forward(inner)


class Block(nn.Module):
    """Attention and FFN with their residual sums and norms.

    Parts are called by their `forward`: in a call of one short row, what nn.Module does around
    one costs more than some of the operations themselves.
    """

    def __init__(self, spec: BlockSpec, kind: BlockKind) -> None:
        super().__init__()
        self.spec, self.pre_norm = spec, kind.pre_norm
        self.attention, self.ffn = Attention(spec, kind), FeedForward(spec, kind)
        self.attention_norm, self.ffn_norm = _norm(kind), _norm(kind)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (batch, tokens, hidden) -> the same shape."""
        if self.pre_norm:
            x = x + self.attention.forward(self.attention_norm(x), mask)
            return x + self.ffn.forward(self.ffn_norm(x))
        x = _normed(self.attention_norm, x + self.attention.forward(x, mask))
        return _normed(self.ffn_norm, x + self.ffn.forward(x))


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """An activation by its name. Raises ValueError for one that is not in the table."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation {name!r} is not one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _norm(kind: BlockKind) -> nn.Module:
    norm = nn.RMSNorm if kind.norm == "rms" else nn.LayerNorm
    return norm(kind.hidden, eps=kind.norm_eps)


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    if isinstance(norm, nn.LayerNorm):
        values = norm._parameters
        return torch.layer_norm(
            x, norm.normalized_shape, values["weight"], values["bias"], norm.eps
        )
    result: Tensor = norm(x)
    return result


def _bias_alone(matrix: Matrix, x: Tensor) -> Tensor:
    """What a part without inner dimensions adds to the residual stream."""
    bias: Tensor = torch.zeros_like(x[..., :1]) if matrix.bias is None else matrix.bias
    return bias.expand_as(x)


def _turns(kind: BlockKind, y: Tensor) -> Tensor:
    """Cosine and sine of every pair of the dense head, (2, tokens, head_size / 2), y's dtype."""
    exponents = torch.arange(0, kind.head_size, 2, dtype=torch.float32, device=y.device)
    rates = 1.0 / (kind.rotary_base ** (exponents / kind.head_size))
    angle = torch.arange(y.shape[1], device=y.device).float()[:, None] * rates
    return torch.stack((angle.cos(), angle.sin())).to(y.dtype)


def _rotated(x: Tensor, turn: Tensor) -> Tensor:
    """x: (batch, heads, tokens, width), pairs (j, j + width / 2).

    turn: (2, heads, tokens, width / 2), cosine and sine.
    """
    first, second = x.chunk(2, -1)
    cos, sin = turn
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


def _frozen(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*shape), requires_grad=False)
