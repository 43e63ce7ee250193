"""A folded text classifier: plain dense layers, smaller than the model they come from.

Needs torch, and safetensors and transformers to load a bundle; nothing else. Every bundle holds
this folder, so that its model runs anywhere:

    from finegates_model import load
    model, tokenizer = load(".")
    logits = model(**tokenizer(["a text"], return_tensors="pt"))

`python -m finegates_model` checks that it gives the expected logits on this machine.
"""

from .check import check, class_names
from .classifier import FoldedClassifier, load, load_model
from .spec import ModelSpec, spec_from_json, spec_to_json

__all__ = [
    "FoldedClassifier",
    "ModelSpec",
    "check",
    "class_names",
    "load",
    "load_model",
    "spec_from_json",
    "spec_to_json",
]
