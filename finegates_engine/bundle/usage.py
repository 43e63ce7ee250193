"""How a bundle is used, as the code of its model card. No torch."""

from typing import Literal

from finegates_engine.text.format import share_text

_SINGLE, _PAIR = '"a text of yours"', '"a first text", "a second text"'

_FOLDED = """In this folder; it needs torch, transformers and safetensors, and nothing else:

```python
from finegates_model import class_names, load

model, tokenizer = load(".")
inputs = tokenizer({texts}, truncation=True, return_tensors="pt")
logits = model(**inputs)  # (1, outputs)
print(logits.tolist(), class_names("."))  # no names: the output is a score
```

`python -m finegates_model` checks files and logits on your machine, and
`python -m finegates_model . {shell}` asks the model. `finegates_model` is a
plain Python folder: copy it beside your own code. Weights are safetensors; nothing is unpickled."""

_TRANSFORMERS = """With plain transformers:

```python
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer({texts}, truncation=True, return_tensors="pt")
logits = model(**inputs).logits  # (1, outputs)
print(logits.tolist(), model.config.id2label)
```

Whether it gives the expected logits on your machine:

```python
import json

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model = AutoModelForSequenceClassification.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
for row in json.load(open("expected.json"))["rows"]:
    with torch.inference_mode():
        logits = model(**tokenizer(*row["texts"], return_tensors="pt")).logits[0]
    torch.testing.assert_close(logits, torch.tensor(row["logits"]), rtol=1e-4, atol=1e-4)
print("OK")
```"""

_ONNX = """In ONNX Runtime, any batch and length (`model.onnx` is the folded model):

```python
import onnxruntime
from transformers import AutoTokenizer

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer({batch}, truncation=True, padding=True, return_tensors="np")
none = 0 * inputs["input_ids"]  # token types, where the tokenizer gives none
names = [value.name for value in session.get_inputs()]
(logits,) = session.run(["logits"], {{name: inputs.get(name, none) for name in names}})
print(logits)
```"""


def usage(*, form: Literal["folded", "transformers"], pair: bool, onnx: bool) -> str:
    """The part of the card that says how the model is loaded and asked."""
    texts = _PAIR if pair else _SINGLE
    batch = '["a first text"], ["a second text"]' if pair else '["a text of yours", "another"]'
    main = _FOLDED if form == "folded" else _TRANSFORMERS
    parts = [main.replace("{texts}", texts).replace("{shell}", texts.replace(",", ""))]
    return "\n\n".join([*parts, _ONNX.format(batch=batch)] if onnx else parts)


def why_this_form(
    run_id: str,
    *,
    form: Literal["folded", "transformers"],
    pooling: str,
    stored: float,
    folded: float,
) -> str:
    """What the form saves, or why transformers alone cannot load it.

    stored: encoder weights in this form, over dense. folded: share that folding takes out.
    """
    if form == "transformers":
        return (
            "## What this form saves\n\n"
            "Transformers has one width for all layers in its config, and whole attention heads. "
            "So closed dimensions of attention are kept here as zeros, and every layer has the FFN "
            "width of the widest one, filled up with zeros. The outputs are the same. It saves "
            f"part of the FFN alone: {share_text(1 - stored)} of the encoder's weights, where "
            f"folding takes {share_text(folded)} (`finegates prune {run_id} --out DIR`)."
        )
    if pooling == "mean":
        why = (
            "it averages over tokens before the classifier, and no sequence classifier of "
            "transformers does. A run trained with `--pooling model` can be written in a form that "
            "it loads (`finegates prune RUN --out DIR --compatible`)"
        )
    else:
        why = (
            "its layers have other widths than each other, and than a config can say. "
            f"`finegates prune {run_id} --out DIR --compatible` writes a form that it loads, which "
            "saves part of the FFN alone"
        )
    return (
        "`AutoModelForSequenceClassification.from_pretrained` cannot load this model: "
        f"{why}. Its config has no `model_type`, so that the attempt fails instead of giving "
        "random weights."
    )
