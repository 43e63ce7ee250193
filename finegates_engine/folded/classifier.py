"""A folded text classifier: sizes, model, and how it is loaded from a bundle."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .layers import Block, BlockKind, BlockSpec, MatrixSpec, activation

FORMAT, VERSION = "finegates-folded", 1
SPEC_FILE, WEIGHTS_FILE = "folded.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A folded classifier's sizes, as its JSON file holds them."""

    kind: BlockKind
    blocks: tuple[BlockSpec, ...]
    vocabulary: int
    positions: int
    types: int
    """Token types; 0: none."""
    padding_id: int | None
    """Token that positions are counted around, as RoBERTa does. None: they count from 0."""
    pooling: str
    """mean over tokens, or the activation after a dense layer on the first one: tanh, relu."""
    outputs: int


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

        attention_mask: 1 is seen. None: every token is.
        """
        x = self.embed(input_ids, token_type_ids)
        mask = None if attention_mask is None else attention_mask.bool()
        if mask is not None and mask.device.type == "cpu" and not torch.compiler.is_compiling():
            mask = None if bool(mask.all()) else mask  # without one attention is faster
        seen = None if mask is None else mask[:, None, None, :]
        for block in self.blocks:
            x = block(x, seen)
        return self.classify(x, mask).float()

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
    """The model and the tokenizer of a bundle. Raises ValueError for a folder that is none."""
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    spec_file = Path(folder) / SPEC_FILE
    if not spec_file.is_file():
        raise ValueError(f"{str(folder)!r} has no {SPEC_FILE}. Choose a folder made by prune.")
    model = FoldedClassifier(spec_from_json(json.loads(spec_file.read_text(encoding="utf-8"))))
    model.load_state_dict(load_file(Path(folder) / WEIGHTS_FILE))
    return model.to(device), AutoTokenizer.from_pretrained(folder)


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:
    """A model's sizes as plain JSON values."""
    return {"format": FORMAT, "version": VERSION, **asdict(spec)}


def spec_from_json(values: Mapping[str, Any]) -> ModelSpec:
    """Sizes from plain JSON values. Raises ValueError for another format or a missing field."""
    if (values.get("format"), values.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"not a {FORMAT} file of version {VERSION}")
    try:
        plain = {key: value for key, value in values.items() if key not in ("format", "version")}
        plain["kind"] = BlockKind(**plain["kind"])
        plain["blocks"] = tuple(_block_spec(block) for block in plain["blocks"])
        return ModelSpec(**plain)
    except (KeyError, TypeError) as error:
        raise ValueError(f"a field of the {FORMAT} file is missing or unknown: {error}") from error


def _block_spec(values: Mapping[str, Any]) -> BlockSpec:
    matrices = {name: MatrixSpec(**v) for name, v in values.items() if isinstance(v, Mapping)}
    return BlockSpec(**{**values, **matrices})


def _table(rows: int, columns: int) -> nn.Embedding:
    return nn.Embedding(rows, columns, _weight=torch.zeros(rows, columns))
