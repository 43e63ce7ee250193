"""Transformers' own Llama layer, fp64, with gates around its seven linear layers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

from finegates_engine.fold.block import FoldOptions, fold_block
from finegates_engine.fold.dimensions import EncoderShape
from finegates_engine.fold.stored_matrix import GatedMatrix
from finegates_engine.folded.layers import Block, BlockKind
from finegates_engine.gates.layers import GatedLinear

PATHS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.o_proj",
    "ffn_in": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_out": "mlp.down_proj",
}
HIDDEN, SIZE, FFN = 12, 12, 9

Gates = Mapping[tuple[str, str], Tensor]
"""(role, "rows" or "columns") -> values, fp64."""


class GatedLlama:
    """One layer, and the same one folded."""

    def __init__(self, heads: int, shared: int, gates: Gates, *, rank: int = 0) -> None:
        self.config = LlamaConfig(
            hidden_size=HIDDEN,
            intermediate_size=FFN,
            num_attention_heads=heads,
            num_key_value_heads=shared,
            head_dim=SIZE,
            rope_parameters={"rope_type": "default", "rope_theta": 50.0},
            attn_implementation="sdpa",  # the eager one computes its softmax in fp32
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(heads + 10 * shared)
            self.layer: Any = LlamaDecoderLayer(self.config, 0).double().eval()
            for parameter in self.layer.parameters():
                parameter.data = torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
            for norm in ("input_layernorm", "post_attention_layernorm"):
                setattr(self.layer, norm, _norm(HIDDEN, self.config.rms_norm_eps))
            for role, path in PATHS.items():
                self._wrap(role, path, gates, rank)
        self.layer.requires_grad_(False)

    def _wrap(self, role: str, path: str, gates: Gates, rank: int) -> None:
        parent, _, name = path.rpartition(".")
        layer = GatedLinear(self.layer.get_submodule(path), rank=rank).double()
        layer.base_layer.requires_grad_(False)
        if rank:
            nn.init.normal_(layer.low_rank_up, std=0.2)
        layer.row_gate, layer.column_gate = gates.get((role, "rows")), gates.get((role, "columns"))
        setattr(self.layer.get_submodule(parent), name, layer)

    @property
    def shape(self) -> EncoderShape:
        """Its sizes."""
        return EncoderShape(
            layers=1,
            hidden=HIDDEN,
            heads=self.config.num_attention_heads,
            key_value_heads=self.config.num_key_value_heads,
            head_size=SIZE,
            ffn=FFN,
            ffn_matrices=3,
            model_parameters=1,
            rotary=True,
        )

    def folded(self, options: FoldOptions) -> Block:
        """The smaller block, with the layer's norms."""
        kind = BlockKind(
            hidden=HIDDEN,
            activation="silu",
            head_size=SIZE,
            norm_eps=self.config.rms_norm_eps,
            norm="rms",
            pre_norm=True,
            causal=True,
            gated=True,
            rotary_base=self.config.rope_parameters["rope_theta"],
        )
        block = fold_block(self.shape, kind, self.matrices(), options, dtype=torch.float64)
        block.attention_norm.load_state_dict(self.layer.input_layernorm.state_dict())
        block.ffn_norm.load_state_dict(self.layer.post_attention_layernorm.state_dict())
        return block

    def matrices(self) -> dict[str, GatedMatrix]:
        """Its matrices with their gates; the low-rank updates are merged."""
        result = {}
        for role, path in PATHS.items():
            layer = self.layer.get_submodule(path)
            weight = layer.base_layer.weight
            if layer.low_rank_up is not None:
                update = layer.low_rank_up @ layer.low_rank_down
                weight = weight + layer.scale * update
            result[role] = GatedMatrix(weight, None, layer.row_gate, layer.column_gate)
        return result

    def __call__(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (batch, tokens, hidden); mask: (batch, tokens), True is seen."""
        tokens = x.shape[1]
        turns = LlamaRotaryEmbedding(self.config)(x, torch.arange(tokens)[None])
        seen = None
        if mask is not None:
            seen = mask[:, None, None, :] & torch.ones(tokens, tokens, dtype=torch.bool).tril()
        result: Tensor = self.layer(x, attention_mask=seen, position_embeddings=turns)
        return result


def _norm(size: int, eps: float) -> nn.RMSNorm:
    """Llama's norm computes in fp32 whatever its input is; this one in the input's own dtype."""
    norm = nn.RMSNorm(size, eps=eps, dtype=torch.float64)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    return norm
