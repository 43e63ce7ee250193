"""The largest loss is named with its cause; only measured gains are advised."""

import dataclasses

import pytest
from explanations import explanation, half, layer, trial, with_trials

from finegates_engine.explain.advice import gap_text, largest_gap, remarks, worthwhile
from finegates_engine.explain.explanation import LayerForm


def text_of(*layers: LayerForm, stored: int = 50, **pruned_ms: float) -> str:
    work = {name: half(stored=stored) for name in pruned_ms if name not in ("take", "python")}
    found = explanation(work=work, **pruned_ms)
    return gap_text(dataclasses.replace(found, layers=layers or found.layers))


def test_a_run_that_loses_nothing_says_so() -> None:
    assert largest_gap(explanation()) is None
    assert "No part takes measurably longer" in gap_text(explanation())


def test_a_loss_within_its_error_is_none() -> None:
    assert largest_gap(explanation(error_ms=0.5, take=0.4)) is None
    found = largest_gap(explanation(error_ms=0.5, take=0.6))
    assert found is not None
    assert found.part == "take"


def test_the_largest_of_several_losses_is_named() -> None:
    found = largest_gap(explanation(take=0.3, attention=1.2))
    assert found is not None
    assert found.part == "attention"


@pytest.mark.parametrize(
    ("layers", "stored", "lost", "words"),
    [
        ((layer(spread=True), layer()), 50, {"take": 0.5}, "costs 0.5 of 6 ms, in 1 of 2 layers"),
        (
            (layer(query=(1, 4)), layer()),
            50,
            {"attention": 1.5},
            "18 rows as 24 in layer 0",
        ),
        ((layer(query=(1, 4)), layer()), 80, {"qkv": 3.0}, "18 rows to 24 in layer 0"),
        ((layer(), layer()), 50, {"attention": 1.5}, "softmax does not shrink"),
        ((layer(), layer()), 60, {"ffn_in": 1.5}, "20% more than is left"),
        ((layer(stored_ffn=13), layer()), 50, {"ffn_out": 1.5}, "FFN widths are odd"),
        ((layer(), layer()), 50, {"ffn_out": 1.5}, "small ones are multiplied less fast"),
        ((), 50, {"python": 2.0}, "takes 0.5 ms"),
        ((), 50, {"norm": 2.0}, "No weights are in it"),
    ],
)
def test_the_cause_is_that_of_the_run(
    layers: tuple[LayerForm, ...], stored: int, lost: dict[str, float], words: str
) -> None:
    assert words in text_of(*layers, stored=stored, **lost)


def test_only_gains_beyond_their_interval_are_advised_largest_first() -> None:
    found = with_trials(
        trial("unsure", 1.3, 0.9),
        trial("small", 1.01, 1.005),
        trial("good", 1.1, 1.05),
        trial("better", 1.4, 1.3),
        trial("worse", 0.7, 0.6),
    )
    assert [t.name for t in worthwhile(found)] == ["better", "good"]


def test_shares_are_remarked_on_where_they_weigh() -> None:
    assert remarks(explanation(python=0.2, attention=0.1)) == []
    lines = remarks(explanation(python=4.0, attention=3.0, embeddings=2.0))
    assert [line.split()[0] for line in lines] == ["Attention", "31%", "Embeddings"]
    assert "at 64 tokens" in lines[0]
