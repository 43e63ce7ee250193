"""Points through peft: which matrices they sit on, what is trained, and bad options."""

from typing import Any

import pytest
import torch
from tiny_models import backbone_folder, dense_model, inputs

from finegates_engine.config import from_json
from finegates_engine.errors import UserError
from finegates_engine.gates.model import TextClassifier, build_model, trained_parameters
from finegates_engine.method_table import METHODS
from finegates_engine.methods import CLASSES, method_of
from finegates_engine.methods.peft_table import CONFIGS, PeftPoint

FITTING = {"velora": {"groups": 8}, "vera": {"rank": 8}}


def prepared(name: str, *, family: str = "bert", pooling: str = "mean", **options: float) -> Any:
    options = options or FITTING.get(name, {})
    config = from_json({"method": name, "method_options": options, "model": {"pooling": pooling}})
    model = build_model(backbone_folder(family), config.model, outputs=2, seed=0)
    method = method_of(config)
    method.prepare(model)
    return model.eval()


def adapted(model: TextClassifier) -> int:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return sum(isinstance(module, BaseTunerLayer) for module in model.modules())


def test_every_row_of_the_table_that_needs_peft_has_a_config() -> None:
    assert set(CONFIGS) == {name for name, spec in METHODS.items() if spec.peft}
    assert all(issubclass(CLASSES[name], PeftPoint) for name in CONFIGS)


@pytest.mark.parametrize("name", CONFIGS)
def test_an_adapter_starts_as_the_model_and_trains_the_head_with_it(name: str) -> None:
    model = prepared(name)
    assert adapted(model) == (6 if name == "ia3" else 12)
    torch.testing.assert_close(model(**inputs()), dense_model()(**inputs()), atol=1e-4, rtol=1e-4)
    parts = trained_parameters(model)
    assert all(p.requires_grad for p in parts["head"].values())
    assert parts["backbone"]
    assert all("base_layer" not in n for n in parts["backbone"])


def test_lora_fa_trains_the_second_of_the_two_matrices_alone() -> None:
    for name, kinds in (("lora", {"lora_A", "lora_B"}), ("lora-fa", {"lora_B"})):
        trained = trained_parameters(prepared(name))["backbone"]
        assert {part for n in trained for part in n.split(".") if part in kinds} == kinds
        assert len(trained) == 12 * len(kinds)


@pytest.mark.parametrize("family", ["roberta", "distilbert"])
@pytest.mark.parametrize("pooling", ["mean", "model"])
def test_the_same_matrices_are_found_in_every_family(family: str, pooling: str) -> None:
    model = prepared("lora", family=family, pooling=pooling)
    assert adapted(model) == 12
    assert all(p.requires_grad for p in trained_parameters(model)["head"].values())


def test_an_adapters_start_values_are_those_of_the_seed() -> None:
    a, b = (trained_parameters(prepared("lora"))["backbone"] for _ in range(2))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("7 groups"),
            "Method 'lora' does not fit this backbone with options .*7 groups",
        ),
        (ImportError("no Lora"), "Method 'lora' needs a newer package peft: no Lora"),
    ],
)
def test_what_peft_refuses_is_a_users_error(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise error

    monkeypatch.setitem(CONFIGS, "lora", refuse)
    with pytest.raises(UserError, match=message):
        prepared("lora")
