"""Differences between model families, as data: where the gated matrices of a block are."""

from dataclasses import dataclass
from typing import Any

from finegates_engine.errors import UserError

ROLES = ("query", "key", "value", "attention_output", "ffn_in", "ffn_out")
"""The gated matrices of a block, in the order in which data pass them."""


@dataclass(frozen=True)
class Architecture:
    """One model type of transformers."""

    blocks: str
    """Path of the list of blocks in the base model."""

    attention: str
    """Path, in a block, of the module that splits heads by its `attention_head_size`."""

    modules: dict[str, str]
    """Role -> path of the linear layer in a block."""

    head: tuple[str, ...]
    """Parts of the sequence classifier that are trained with the model's own pooling."""

    fields: dict[str, str]
    """Name here -> name in the model's config: hidden, heads, ffn, activation."""

    base_options: dict[str, Any]
    """Options of the base model when tokens are averaged, so that no pooler is made."""

    embeddings: dict[str, str]
    """Path, in the base model, of the tables words, positions, types (where there are any), and
    of norm."""

    norms: dict[str, str]
    """Path, in a block, of the norms after the sums: attention_norm, ffn_norm."""

    pooler: tuple[str, str]
    """With the model's own pooling: path of the dense layer on the first token, and the
    activation after it."""

    classifier: str
    """Path of the last layer of the sequence classifier."""

    padded_positions: bool = False
    """Positions are counted over tokens that are no padding, from the padding token's id on."""


_BERT_MODULES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "ffn_in": "intermediate.dense",
    "ffn_out": "output.dense",
}
_BERT_FIELDS = {
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "ffn": "intermediate_size",
    "activation": "hidden_act",
}

_BERT_EMBEDDINGS = {
    "words": "embeddings.word_embeddings",
    "positions": "embeddings.position_embeddings",
    "types": "embeddings.token_type_embeddings",
    "norm": "embeddings.LayerNorm",
}
_BERT_NORMS = {"attention_norm": "attention.output.LayerNorm", "ffn_norm": "output.LayerNorm"}

ARCHITECTURES: dict[str, Architecture] = {
    "bert": Architecture(
        blocks="encoder.layer",
        attention="attention.self",
        modules=_BERT_MODULES,
        head=("bert.pooler", "classifier"),
        fields=_BERT_FIELDS,
        base_options={"add_pooling_layer": False},
        embeddings=_BERT_EMBEDDINGS,
        norms=_BERT_NORMS,
        pooler=("bert.pooler.dense", "tanh"),
        classifier="classifier",
    ),
    "roberta": Architecture(
        blocks="encoder.layer",
        attention="attention.self",
        modules=_BERT_MODULES,
        head=("classifier",),
        fields=_BERT_FIELDS,
        base_options={"add_pooling_layer": False},
        embeddings=_BERT_EMBEDDINGS,
        norms=_BERT_NORMS,
        pooler=("classifier.dense", "tanh"),
        classifier="classifier.out_proj",
        padded_positions=True,
    ),
    "distilbert": Architecture(
        blocks="transformer.layer",
        attention="attention",
        modules={
            "query": "attention.q_lin",
            "key": "attention.k_lin",
            "value": "attention.v_lin",
            "attention_output": "attention.out_lin",
            "ffn_in": "ffn.lin1",
            "ffn_out": "ffn.lin2",
        },
        head=("pre_classifier", "classifier"),
        fields={
            "hidden": "dim",
            "heads": "n_heads",
            "ffn": "hidden_dim",
            "activation": "activation",
        },
        base_options={},
        embeddings={
            "words": "embeddings.word_embeddings",
            "positions": "embeddings.position_embeddings",
            "norm": "embeddings.LayerNorm",
        },
        norms={"attention_norm": "sa_layer_norm", "ffn_norm": "output_layer_norm"},
        pooler=("pre_classifier", "relu"),
        classifier="classifier",
    ),
}
"""model_type of the config -> where things are. A new family is a new entry."""


def architecture_of(model_type: str) -> Architecture:
    """The entry for a model type. Raises UserError that lists the supported ones."""
    try:
        return ARCHITECTURES[model_type]
    except KeyError:
        raise UserError(
            f"Model type {model_type!r} is not supported. Supported: "
            f"{', '.join(sorted(ARCHITECTURES))}. Choose a backbone of one of these types."
        ) from None


@dataclass(frozen=True)
class GateKind:
    """One gate vector of a block: where it acts, and what a closed gate removes."""

    acts: tuple[tuple[str, str], ...]
    """(role, "rows" or "columns") that are multiplied by the gate."""

    removes: tuple[tuple[str, str], ...]
    """(role, side) that a closed gate takes away."""

    per_head: bool = False
    """One gate for each head's dimensions instead of one for each dimension."""


def _single(role: str, side: str) -> GateKind:
    return GateKind(acts=((role, side),), removes=((role, side),))


def _sides(*sides: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return sides


_OUT = ("attention_output", "columns")
TIED: dict[str, GateKind] = {
    "query_key": GateKind(
        acts=_sides(("query", "rows")), removes=_sides(("query", "rows"), ("key", "rows"))
    ),
    "value_output": GateKind(acts=_sides(_OUT), removes=_sides(("value", "rows"), _OUT)),
    "ffn": GateKind(
        acts=_sides(("ffn_out", "columns")),
        removes=_sides(("ffn_in", "rows"), ("ffn_out", "columns")),
    ),
    "attention_input": GateKind(
        acts=_sides(("query", "columns"), ("key", "columns"), ("value", "columns")),
        removes=_sides(("query", "columns"), ("key", "columns"), ("value", "columns")),
    ),
}
"""Gates that act once for all the dimensions that fold together (design, section 3)."""

HEADS = GateKind(
    acts=_sides(_OUT),
    removes=_sides(("query", "rows"), ("key", "rows"), ("value", "rows"), _OUT),
    per_head=True,
)

_INNER_UNTIED = ("query.rows", "key.rows", "value.rows", "attention_output.columns")
_ATTENTION_OUTER = ("query.columns", "key.columns", "value.columns", "attention_output.rows")


def gate_kinds(axes: str, *, tie: bool, head_gates: bool) -> dict[str, GateKind]:
    """Names and kinds of the gate vectors of one block.

    axes: inner, attention (the paper's "w/o" FFN) or all (design, section 4).
    """
    if tie:
        names = ["query_key", "value_output"]
        names += ["attention_input", "attention_output.rows"] if axes != "inner" else []
        names += ["ffn"] if axes != "attention" else []
        names += ["ffn_in.columns", "ffn_out.rows"] if axes == "all" else []
    else:
        names = list(_INNER_UNTIED)
        names += list(_ATTENTION_OUTER) if axes != "inner" else []
        names += ["ffn_in.rows", "ffn_out.columns"] if axes != "attention" else []
        names += ["ffn_in.columns", "ffn_out.rows"] if axes == "all" else []
    kinds = {}
    for name in names:
        role, _, side = name.partition(".")
        kinds[name] = TIED[name] if name in TIED else _single(role, side)
    if head_gates:
        kinds["heads"] = HEADS
    return kinds
