"""Stored gate vectors by the matrices they belong to: order, sides, dimensions. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from finegates_engine.architectures import GateKind, gate_kinds
from finegates_engine.config import GateConfig
from finegates_engine.errors import UserError
from finegates_engine.fold.dimensions import EncoderShape

Values = NDArray[np.float32]
Masks = Mapping[str, NDArray[np.bool_]]

SIDES = ("rows", "columns")
_HEADED = {
    ("query", "rows"),
    ("key", "rows"),
    ("value", "rows"),
    ("attention_output", "columns"),
}


@dataclass(frozen=True)
class VectorKind:
    """One kind of gate vector, the same in every layer."""

    name: str
    """As in names of stored vectors: `<layer>/<name>`."""
    sides: tuple[tuple[str, str], ...]
    """(role, rows or columns) that a closed gate removes."""
    size: int
    """Gates in each layer."""
    headed: bool
    """Its gates lie head by head, `head_size` each."""
    per_head: bool
    """One gate for each head."""

    @property
    def label(self) -> str:
        """Its name for readers: query·key, FFN, inputs of attention."""
        return _LABELS.get(self.name, self.name.replace("_", " "))

    @property
    def matrices(self) -> str:
        """What leaves with a closed gate: "rows of query and key"."""
        by_side: dict[str, list[str]] = {}
        for role, side in self.sides:
            by_side.setdefault(side, []).append(role_label(role))
        return ", ".join(f"{side} of {' and '.join(roles)}" for side, roles in by_side.items())


_LABELS = {
    "attention_input": "Attention inputs",
    "query_columns": "Query inputs",
    "query_rows": "Query rows",
    "key_columns": "Key inputs",
    "key_rows": "Key rows",
    "value_columns": "Value inputs",
    "value_rows": "Value rows",
    "query_key": "Query and key",
    "heads": "Heads",
    "value_output": "Value and output",
    "attention_output_columns": "Output inputs",
    "attention_output_rows": "Attention outputs",
    "ffn_in_columns": "FFN inputs",
    "ffn_in_rows": "FFN in rows",
    "ffn": "FFN inside",
    "ffn_out_columns": "FFN out inputs",
    "ffn_out_rows": "FFN outputs",
}
_FLOW = tuple(_LABELS)
"""Vectors in the order in which data pass them; per matrix, inputs first."""

_ROLE_LABELS = {
    "attention_output": "attention output",
    "ffn_in": "FFN in",
    "ffn_out": "FFN out",
    "ffn_up": "FFN up",
}


def role_label(role: str) -> str:
    """A matrix's name for readers: FFN in."""
    return _ROLE_LABELS.get(role, role)


def vector_kinds(config: GateConfig, shape: EncoderShape) -> list[VectorKind]:
    """The gate vectors of one layer, in the order in which data pass them."""
    kinds = gate_kinds(config.axes, tie=config.tie, head_gates=config.head_gates)
    named = {name.replace(".", "_"): kind for name, kind in kinds.items()}
    ordered = sorted(named, key=lambda n: _FLOW.index(n) if n in _FLOW else len(_FLOW))
    return [_kind(name, named[name], shape) for name in ordered]


def _kind(name: str, kind: GateKind, shape: EncoderShape) -> VectorKind:
    role, side = kind.acts[0]
    size = shape.matrices()[role][SIDES.index(side)]
    return VectorKind(
        name=name,
        sides=kind.removes,
        size=shape.heads if kind.per_head else size,
        headed=(role, side) in _HEADED and not kind.per_head,
        per_head=kind.per_head,
    )


def check_vectors(
    values: Mapping[str, Values], kinds: Sequence[VectorKind], shape: EncoderShape
) -> None:
    """Raises UserError where stored gates are not those that the config describes."""
    wanted = {f"{layer}/{kind.name}": kind.size for layer in range(shape.layers) for kind in kinds}
    got = {name: len(vector) for name, vector in values.items()}
    if got != wanted:
        wrong = sorted(wanted.items() ^ got.items())[0][0]
        raise UserError(
            f"The run's gates are not those of its config: they differ in {wrong!r}. "
            "Train it again, or look at another run."
        )


def side_values(
    values: Mapping[str, Values],
    kinds: Sequence[VectorKind],
    shape: EncoderShape,
    layer: int,
    role: str,
) -> tuple[Values | None, Values | None]:
    """(row gates, column gates) of one matrix; None: that side has none.

    Where a head's gate and a dimension's act on one side, their product. What a closed gate of
    the other member of a tied pair removes counts as closed here too.
    """
    sides: list[Values | None] = []
    for number, side in enumerate(SIDES):
        product: Values | None = None
        for kind in kinds:
            if (role, side) not in kind.sides:
                continue
            vector = values[f"{layer}/{kind.name}"]
            if kind.per_head:
                vector = np.repeat(vector, shape.matrices()[role][number] // len(vector))
            product = vector if product is None else product * vector
        sides.append(product)
    return sides[0], sides[1]


def dimension_table(
    values: Mapping[str, Values],
    kinds: Sequence[VectorKind],
    shape: EncoderShape,
    others: Sequence[Masks] = (),
) -> pd.DataFrame:
    """A row a gate: layer and head from 1, vector, dimension from 0, value, state, runs keeping it.

    `head` is missing where gates do not lie in heads; `kept_in` counts this run and `others`.
    """
    parts = []
    for layer in range(shape.layers):
        for kind in kinds:
            name = f"{layer}/{kind.name}"
            vector = values[name]
            index = np.arange(len(vector))
            head = np.full(len(vector), np.nan)
            if kind.per_head:
                head = index + 1.0
            elif kind.headed:
                head = index // shape.head_size + 1.0
            kept = (vector > 0).astype(int) + sum(other[name].astype(int) for other in others)
            parts.append(
                pd.DataFrame(
                    {
                        "layer": layer + 1,
                        "vector": kind.name,
                        "head": head,
                        "dimension": index,
                        "value": vector,
                        "state": gate_states(vector),
                        "kept_in": kept,
                    }
                )
            )
    table = pd.concat(parts, ignore_index=True)
    table["head"] = table["head"].astype("Int64")
    return table


def gate_states(values: Values) -> NDArray[np.str_]:
    """(size,): "closed", "soft" or "open"."""
    return np.where(values == 0, "closed", np.where(values == 1, "open", "soft"))


def comparable(a: Mapping[str, Values], b: Mapping[str, Values]) -> bool:
    """Whether two runs have the same gate vectors, so that their gates can be compared."""
    return {n: len(v) for n, v in a.items()} == {n: len(v) for n, v in b.items()}
