"""A folded classifier's sizes, and how a JSON file holds them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from .layers import ACTIVATIONS, BlockKind, BlockSpec, MatrixSpec

FORMAT, VERSION = "finegates-folded", 1
LARGEST = 2**31
"""No number of the file is this large."""


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


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:
    """A model's sizes as plain JSON values."""
    return {"format": FORMAT, "version": VERSION, **asdict(spec)}


def spec_from_json(values: Mapping[str, Any]) -> ModelSpec:
    """Sizes from plain JSON values.

    Raises ValueError, with the name of the field, for another format, a field that is missing,
    unknown or of another type, and for sizes that do not fit each other.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"not a {FORMAT} file")
    if (values.get("format"), values.get("version")) != (FORMAT, VERSION):
        raise ValueError(f"not a {FORMAT} file of version {VERSION}")
    plain = {key: value for key, value in values.items() if key not in ("format", "version")}
    plain["kind"] = _read(BlockKind, plain.get("kind"), "kind")
    blocks = plain.get("blocks")
    if not isinstance(blocks, list | tuple):
        raise ValueError("blocks is missing or no list")
    plain["blocks"] = tuple(_block(block, f"blocks[{n}]") for n, block in enumerate(blocks))
    spec = _read(ModelSpec, plain, "")
    _check_model(spec)
    for number, block in enumerate(spec.blocks):
        _check_block(block, spec.kind, f"blocks[{number}]")
    return spec


def _block(values: Any, name: str) -> BlockSpec:
    if isinstance(values, Mapping):
        values = {
            field: _read(MatrixSpec, value, f"{name}.{field}")
            if isinstance(value, Mapping)
            else value
            for field, value in values.items()
        }
    return _read(BlockSpec, values, name)


_Spec = TypeVar("_Spec", ModelSpec, BlockKind, BlockSpec, MatrixSpec)


def _read(kind: type[_Spec], values: Any, name: str) -> _Spec:
    """A dataclass from a mapping with a value of the right type for each of its fields."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} is missing or no object")
    prefix = f"{name}." if name else ""
    known = {field.name: field for field in fields(kind)}
    for key in values:
        if key not in known:
            raise ValueError(f"{prefix}{key} is unknown. Known: {', '.join(known)}")
    for key, field in known.items():
        if key not in values:
            raise ValueError(f"{prefix}{key} is missing")
        expected = int | float if field.type is float else field.type
        plain: Any = tuple if key == "blocks" else expected
        value = values[key]
        if not isinstance(value, plain) or (isinstance(value, bool) and field.type is not bool):
            raise ValueError(f"{prefix}{key} is {value!r}, of another type than it must be")
        if isinstance(value, int | float) and not 0 <= value < LARGEST:
            raise ValueError(f"{prefix}{key} is {value!r}, it must be in [0, {LARGEST})")
    return kind(**values)


def _check_model(spec: ModelSpec) -> None:
    kind = spec.kind
    half = 2 if kind.rotary_base else 1
    _require("kind.hidden", kind.hidden, kind.hidden >= 1)
    _require("kind.head_size", kind.head_size, kind.head_size >= 1 and kind.head_size % half == 0)
    _require("kind.norm_eps", kind.norm_eps, kind.norm_eps > 0)
    _require("kind.norm", kind.norm, kind.norm in ("layer", "rms"))
    _require("kind.activation", kind.activation, kind.activation in ACTIVATIONS)
    _require("pooling", spec.pooling, spec.pooling in ("mean", *ACTIVATIONS))
    _require("vocabulary", spec.vocabulary, spec.vocabulary >= 1)
    _require("outputs", spec.outputs, spec.outputs >= 1)
    first = 0 if spec.padding_id is None else spec.padding_id + 1
    _require("padding_id", spec.padding_id, first <= spec.vocabulary)
    _require("positions", spec.positions, spec.positions > first)


def _check_block(block: BlockSpec, kind: BlockKind, name: str) -> None:
    heads, shared, width = block.heads, block.key_value_heads, block.width
    _require(f"{name}.key_value_heads", shared, (1 if heads else 0) <= shared <= heads)
    half = 2 if kind.rotary_base else 1
    _require(f"{name}.width", width, 1 <= width <= kind.head_size and width % half == 0)
    sizes = {
        "qkv": (kind.hidden if heads else 0, (heads + 2 * shared) * width),
        "attention_output": (heads * width, kind.hidden),
        "ffn_in": (kind.hidden if block.ffn else 0, block.ffn * (2 if kind.gated else 1)),
        "ffn_out": (block.ffn, kind.hidden),
    }
    for role, (inputs, outputs) in sizes.items():
        matrix: MatrixSpec = getattr(block, role)
        place = f"{name}.{role}"
        expected = matrix.take_in or inputs
        _require(f"{place}.columns", matrix.columns, matrix.columns == expected)
        made = matrix.take_out or matrix.rows
        _require(f"{place}.rows", made, made == outputs)
        _require(f"{place}.take_in", matrix.take_in, bool(inputs) or not matrix.take_in)
        _require(f"{place}.take_out", matrix.take_out, bool(inputs) or not matrix.take_out)


def _require(name: str, value: Any, fits: bool) -> None:
    if not fits:
        raise ValueError(f"{name} is {value!r}, which does not fit the other sizes")
