"""A user's text through the models of tiny runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import places, tiny_run

from finegates_engine.errors import UserError
from finegates_engine.explain.certified import CertifiedRun
from finegates_engine.explain.part_counts import mac_ratio
from finegates_engine.fold.block import DEFAULT
from finegates_engine.live.inputs import Inputs, check_width, read_text, tokenizer_of
from finegates_engine.live.results import (
    ABLATION,
    EFFECTS,
    LEVELS,
    PREDICTIONS,
    TEXT_RACE,
    Shape,
)
from finegates_engine.live.text import (
    ablate_text,
    effects_on_text,
    levels_of_text,
    logits_of,
    predict_text,
    race_text,
)
from finegates_engine.prune.compiled import CompiledRun, compile_run
from finegates_engine.timing.benchmark import RaceLimits
from finegates_engine.timing.latency import LEAST_ROUNDS

ROWS = (("the film was great",), ("the meal was awful and dull",))
NAMES = ("bad", "good")
QUICK = RaceLimits(min_rounds=LEAST_ROUNDS, budget_seconds=0.0)


@pytest.fixture
def compiled(tmp_path: Path) -> CompiledRun:
    _, run = tiny_run(tmp_path)
    return compile_run(run, places()[0])


def read(rows: tuple[tuple[str, ...], ...] = ROWS, *, tokens: int | None = None) -> Inputs:
    return read_text(rows, tokenizer_of(places()[0]), most=32, tokens=tokens)


def test_predictions_are_those_of_both_models(compiled: CompiledRun) -> None:
    inputs = read()
    found = predict_text(compiled, None, inputs, NAMES)
    assert found.dense_run_id is None
    assert np.sum(found.pruned, axis=1) == pytest.approx([1, 1])
    logits = logits_of(compiled.folded, inputs)
    expected = torch.softmax(torch.from_numpy(logits), 1).numpy()
    np.testing.assert_allclose(found.pruned, expected, atol=1e-6)
    dense = torch.softmax(torch.from_numpy(logits_of(compiled.dense, inputs)), 1).numpy()
    np.testing.assert_allclose(found.dense, dense, atol=1e-6)
    assert PREDICTIONS.validate_python(PREDICTIONS.dump_python(found, mode="json")) == found


def test_dense_is_the_reference_run_where_there_is_one(compiled: CompiledRun) -> None:
    found = predict_text(compiled, compiled, read(), NAMES)
    assert found.dense_run_id == compiled.run.run_id
    assert found.dense == found.pruned


def test_row_says_the_same_alone_in_a_batch_and_padded(compiled: CompiledRun) -> None:
    alone = logits_of(compiled.folded, read((ROWS[0],)))
    batched = logits_of(compiled.folded, read())
    padded = logits_of(compiled.folded, read(tokens=30))
    np.testing.assert_allclose(batched[:1], alone, atol=1e-5)
    np.testing.assert_allclose(padded, batched, atol=1e-5)


def test_long_rows_are_cut_and_said_to_be() -> None:
    inputs = read((("good " * 50_000,), ("bad",)))
    assert inputs.tensors["input_ids"].shape == (2, 32)
    assert inputs.reading.tokens == (50_002, 3)
    assert inputs.reading.cut == (1,)


def test_rows_are_padded_to_the_length_asked_for() -> None:
    inputs = read(tokens=20)
    assert inputs.tensors["input_ids"].shape == (2, 20)
    assert inputs.reading.width == 20
    assert inputs.tensors["attention_mask"].sum(1).tolist() == list(inputs.reading.tokens)


def test_pair_is_read_as_one_row_of_two_texts() -> None:
    one, two = read((("good film",),)), read((("good film", "bad film"),))
    assert two.rows == 1
    assert two.reading.tokens == (one.reading.tokens[0] + 3,)


def test_more_tokens_than_the_backbone_reads_are_refused() -> None:
    check_width(places()[0], 256)
    with pytest.raises(UserError, match="at most 256 tokens a row, got 512"):
        check_width(places()[0], 512)


def test_batch_repeats_the_rows() -> None:
    inputs = read().repeated(5)
    ids = inputs.tensors["input_ids"]
    assert ids.shape[0] == 5
    assert torch.equal(ids[0], ids[4])
    assert read().repeated(1).rows == 1


def test_stream_holds_no_padding() -> None:
    inputs = read(tokens=20)
    assert len(inputs.stream().ids) == sum(inputs.reading.tokens)


def test_race_is_of_the_batch_that_was_asked_for(compiled: CompiledRun) -> None:
    told: list[int] = []
    found = race_text(
        CertifiedRun(compiled, DEFAULT),
        ROWS,
        tokenizer_of(places()[0]),
        Shape(batch=3, tokens=16),
        limits=QUICK,
        on_progress=lambda now: told.append(now.rounds),
    )
    assert set(found.seconds) == {"dense", "pruned", "transformers"}
    assert found.batch == 3
    assert found.reading.width == 16
    lengths = found.reading.tokens
    assert found.filled == pytest.approx((2 * lengths[0] + lengths[1]) / 48)
    assert found.mac_ratio == mac_ratio(compiled, 16)
    assert found.efficiency == pytest.approx(found.speedup["pruned"].value / found.mac_ratio)
    assert told == list(range(1, LEAST_ROUNDS + 1))
    assert TEXT_RACE.validate_python(TEXT_RACE.dump_python(found, mode="json")) == found


def test_race_that_was_stopped_at_once_says_so(compiled: CompiledRun) -> None:
    with pytest.raises(UserError, match="stopped after 0 of at least 8 rounds"):
        race_text(
            CertifiedRun(compiled, DEFAULT),
            ROWS,
            tokenizer_of(places()[0]),
            Shape(),
            limits=QUICK,
            stop=lambda: True,
        )


def test_device_that_is_not_there_is_said(compiled: CompiledRun) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    certified, shape = CertifiedRun(compiled, DEFAULT), Shape(device="cuda")
    with pytest.raises(UserError, match="'cuda' is not there"):
        race_text(certified, ROWS, tokenizer_of(places()[0]), shape)


def test_level_is_what_its_pruned_model_says(compiled: CompiledRun) -> None:
    inputs = read()
    found = levels_of_text([compiled.run, compiled.run], places()[0], inputs, NAMES)
    pruned = predict_text(compiled, None, inputs, NAMES).pruned
    assert [level.run_id for level in found.levels] == [compiled.run.run_id] * 2
    for level in found.levels:
        np.testing.assert_allclose(level.outputs, pruned, atol=1e-5)
        assert level.removed == pytest.approx(0.4, abs=0.02)
    assert LEVELS.validate_python(LEVELS.dump_python(found, mode="json")) == found


def test_part_is_closed_beside_random_groups_of_its_size(compiled: CompiledRun) -> None:
    inputs = read()
    found = ablate_text(compiled, inputs, NAMES, ["0", "1.head.1"])
    assert 0 < found.size < found.of
    assert len(found.random) == 20
    np.testing.assert_allclose(found.before, logits_of(compiled.folded, inputs), atol=1e-5)
    assert not np.allclose(found.after, found.before)
    assert ABLATION.validate_python(ABLATION.dump_python(found, mode="json")) == found


def test_nothing_closed_changes_nothing(compiled: CompiledRun) -> None:
    found = ablate_text(compiled, read(), NAMES, [])
    assert found.size == 0
    assert found.after == found.before == found.random[0]


def test_effects_are_those_of_each_part_alone(compiled: CompiledRun) -> None:
    inputs = read()
    told: list[float | None] = []
    found = effects_on_text(compiled, inputs, NAMES, tell=lambda _, share: told.append(share))
    one = next(effect for effect in found.effects if effect.part == "1.ffn")
    alone = ablate_text(compiled, inputs.repeated(1), NAMES, ["1.ffn"])
    assert one.size == alone.size
    np.testing.assert_allclose(one.logits, alone.after[0], atol=1e-6)
    assert told[0] == 0
    assert EFFECTS.validate_python(EFFECTS.dump_python(found, mode="json")) == found
