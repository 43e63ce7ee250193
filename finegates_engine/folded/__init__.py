"""A folded text classifier: plain dense layers, smaller than the model they come from.

Needs torch, and safetensors and transformers to load a bundle; nothing else. Every bundle holds
this folder, so that its model runs anywhere:

    from finegates_model import load
    model, tokenizer = load(".")
    logits = model(**tokenizer(["a text"], return_tensors="pt"))
"""

from .classifier import FoldedClassifier, ModelSpec, load, spec_from_json, spec_to_json

__all__ = ["FoldedClassifier", "ModelSpec", "load", "spec_from_json", "spec_to_json"]
