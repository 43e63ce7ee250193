"""A folded text classifier: the model, and how it is loaded from a bundle."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Block, activation
from .spec import ModelSpec, spec_from_json, spec_to_json

__all__ = [
    "SPEC_FILE",
    "WEIGHTS_FILE",
    "FoldedClassifier",
    "ModelSpec",
    "load",
    "load_model",
    "spec_from_json",
    "spec_to_json",
]

SPEC_FILE, WEIGHTS_FILE = "folded.json", "model.safetensors"


class FoldedClassifier(nn.Module):
    """Embeddings, folded blocks, pooling and classifier; for inference only."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec, self.outputs = spec, spec.outputs
        hidden = spec.kind.hidden
        self.words = _table(spec.vocabulary, hidden)
        self.positions = _table(spec.positions, hidden)
        self.types = _table(spec.types, hidden) if spec.types else None
        self.embedding_norm = nn.LayerNorm(hidden, eps=spec.kind.norm_eps)
        self.blocks = nn.ModuleList(Block(block, spec.kind) for block in spec.blocks)
        self.pooler = nn.Linear(hidden, hidden) if spec.pooling != "mean" else None
        self.classifier = nn.Linear(hidden, spec.outputs)
        self.requires_grad_(False)
        self.eval()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """input_ids, attention_mask, token_type_ids: (batch, tokens) -> (batch, outputs), fp32.

        attention_mask: 1 is seen. None: every token is. Raises ValueError for rows that are
        longer than the model's table of positions.
        """
        if not torch.compiler.is_compiling() and input_ids.shape[1] > self.most_tokens:
            raise ValueError(
                f"rows have {input_ids.shape[1]} tokens, the model reads at most "
                f"{self.most_tokens}; pass truncation=True to the tokenizer"
            )
        x = self.embed(input_ids, token_type_ids)
        mask = None if attention_mask is None else attention_mask.bool()
        if mask is not None and mask.device.type == "cpu" and not torch.compiler.is_compiling():
            mask = None if bool(mask.all()) else mask  # without one attention is faster
        seen = None if mask is None else mask[:, None, None, :]
        for block in self.blocks:
            x = block(x, seen)
        return self.classify(x, mask).float()

    @property
    def most_tokens(self) -> int:
        """The longest row that the model reads."""
        offset = 0 if self.spec.padding_id is None else self.spec.padding_id + 1
        return self.spec.positions - offset

    def embed(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """(batch, tokens) -> (batch, tokens, hidden)."""
        x = self.words(input_ids) + self.positions(self._positions(input_ids))
        if self.types is not None:
            kinds = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            x = x + self.types(kinds)
        result: Tensor = self.embedding_norm(x)
        return result

    def classify(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (batch, tokens, hidden), mask: (batch, tokens), True is seen -> (batch, outputs)."""
        if self.pooler is not None:
            pooled = activation(self.spec.pooling)(self.pooler(x[:, 0]))
        elif mask is None:
            pooled = x.mean(1)
        else:
            weight = mask.unsqueeze(-1).to(x.dtype)
            pooled = (x * weight).sum(1) / weight.sum(1).clamp(min=1)
        result: Tensor = self.classifier(pooled)
        return result

    def _positions(self, input_ids: Tensor) -> Tensor:
        if self.spec.padding_id is None:
            return torch.arange(input_ids.shape[1], device=input_ids.device)
        words = (input_ids != self.spec.padding_id).long()
        return words.cumsum(1) * words + self.spec.padding_id


def load(folder: Path | str, *, device: str = "cpu") -> tuple[FoldedClassifier, Any]:
    """The model and the tokenizer of a bundle.

    Raises ValueError for a folder that is none, or whose files do not fit each other.
    """
    from transformers import AutoTokenizer

    model = load_model(folder).to(device)
    return model, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def load_model(folder: Path | str) -> FoldedClassifier:
    """The model of a bundle, on the CPU. Raises ValueError as `load` does."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    spec_file = Path(folder) / SPEC_FILE
    if not spec_file.is_file():
        raise ValueError(f"{str(folder)!r} has no {SPEC_FILE}. Choose a folder made by prune.")
    try:
        values = json.loads(spec_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{SPEC_FILE} is damaged: {error}") from error
    spec = spec_from_json(values)
    try:
        state = load_file(Path(folder) / WEIGHTS_FILE)
        with torch.device("meta"):  # nothing is allocated before the sizes are those of the file
            FoldedClassifier(spec).load_state_dict(state, assign=True)
        model = FoldedClassifier(spec)
        model.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ValueError(f"{WEIGHTS_FILE} is missing, damaged or of another model") from error
    _check_indices(model)
    return model


def _check_indices(model: FoldedClassifier) -> None:
    """Raises ValueError for an index into nothing, which would fail only in a forward pass."""
    hidden, half = model.spec.kind.hidden, model.spec.kind.head_size // 2
    for number, block in enumerate(model.spec.blocks):
        limits = {
            "attention.qkv.take_in": hidden,
            "attention.qkv.take_out": block.qkv.rows,
            "attention.output.take_in": block.heads * block.width,
            "attention.output.take_out": block.attention_output.rows,
            "attention.group": block.key_value_heads,
            "attention.pairs": half,
            "ffn.input.take_in": hidden,
            "ffn.input.take_out": block.ffn_in.rows,
            "ffn.output.take_in": block.ffn,
            "ffn.output.take_out": block.ffn_out.rows,
        }
        found = dict(model.blocks[number].named_buffers())
        for name, index in found.items():
            if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < limits[name]:
                raise ValueError(
                    f"{WEIGHTS_FILE}: blocks.{number}.{name} picks what is not there; its "
                    f"numbers must be in [0, {limits[name]})"
                )


def _table(rows: int, columns: int) -> nn.Embedding:
    return nn.Embedding(rows, columns, _weight=torch.zeros(rows, columns))
