"""The small model as a whole: its positions, its pooling and its logits."""

import pytest
import torch
from folded_examples import MODEL, model, rows

from finegates_engine.folded import FoldedClassifier


def test_classifier_is_for_inference_only():
    made = FoldedClassifier(MODEL)
    assert not made.training
    assert not any(parameter.requires_grad for parameter in made.parameters())


def test_positions_count_around_the_padding_token():
    made = model(padding_id=7, positions=20)
    ids = torch.tensor([[5, 7, 6, 7, 7], [7, 3, 3, 3, 7]])
    assert made._positions(ids).tolist() == [[8, 7, 9, 7, 7], [7, 8, 9, 10, 7]]
    assert model()._positions(ids).tolist() == [0, 1, 2, 3, 4]


def test_mean_is_over_tokens_that_are_seen():
    x, made = rows(), model()
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0]], dtype=torch.bool)
    expected = torch.stack([x[0].mean(0), x[1, [0, 2]].mean(0)])
    torch.testing.assert_close(made.classify(x, mask), made.classifier(expected))
    torch.testing.assert_close(made.classify(x, None), made.classifier(x.mean(1)))


@pytest.mark.parametrize(("name", "function"), [("tanh", torch.tanh), ("relu", torch.relu)])
def test_pooler_reads_the_first_token(name, function):
    made, x = model(pooling=name), rows()
    expected = made.classifier(function(made.pooler(x[:, 0])))
    torch.testing.assert_close(made.classify(x, None), expected)


def test_rows_longer_than_the_table_of_positions_are_refused():
    made = model()
    assert made(torch.ones(1, 12, dtype=torch.int64)).shape == (1, 3)
    with pytest.raises(ValueError, match=r"13 tokens, the model reads at most 12"):
        made(torch.ones(1, 13, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_logits_are_fp32_in_every_precision(dtype):
    made = model().to(dtype)
    logits = made(torch.tensor([[3, 4, 5], [6, 7, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()
