"""Sizes of encoders that tests count with."""

from finegates_engine.fold.dimensions import EncoderShape

MINILM = EncoderShape(
    layers=6,
    hidden=384,
    heads=12,
    key_value_heads=12,
    head_size=32,
    ffn=1536,
    model_parameters=22_713_216,
)
