"""The model card says what the run's files say."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from run_examples import make_config
from timing_examples import MACHINE, PARITY, certified_run, make_cell, make_certificate

from finegates_engine.bundle.model_card import CardFacts, base_licence, model_card
from finegates_engine.bundle.usage import usage
from finegates_engine.tasks import TASKS
from finegates_engine.text.markdown import plain, table
from finegates_engine.timing.stored import TimingFile, fold_hash


def make_facts(folder: Path, **changes: Any) -> CardFacts:
    _, run = certified_run(folder)
    facts = CardFacts(
        run=run,
        task=TASKS["agreement"],
        train_rows=1500,
        certificate=make_certificate(run.run_id),
        form="folded",
        licence="apache-2.0",
        model_bytes=700,
        onnx_bytes=None,
        stored_weight_fraction=0.625,
        timings={},
    )
    return dataclasses.replace(facts, **changes)


def header_of(card: str) -> dict[str, Any]:
    _, header, _ = card.split("---\n", 2)
    values: dict[str, Any] = yaml.safe_load(header)
    return values


def test_header_holds_licence_base_model_and_scores(tmp_path: Path) -> None:
    header = header_of(model_card(make_facts(tmp_path)))
    assert header["license"] == "apache-2.0"
    assert header["base_model"] == "hub/tiny"
    assert header["pipeline_tag"] == "text-classification"
    (result,) = header["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.75}]
    assert result["dataset"]["split"] == "validation"


def test_unknown_licence_is_left_out_and_said(tmp_path: Path) -> None:
    card = model_card(make_facts(tmp_path, licence=None))
    assert "license" not in header_of(card)
    assert "look it up before you pass this on" in card


def test_scores_have_their_interval_and_what_it_is_of(tmp_path: Path) -> None:
    card = model_card(make_facts(tmp_path))
    line = next(line for line in card.splitlines() if line.startswith("| Accuracy"))
    assert "| 0.750 | 0.750 |" in line
    assert " to " in line
    assert "95% interval, rows only" in card
    assert "It is of one seed" in card


def test_ladder_names_every_rung_with_its_unit(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    card = model_card(facts)
    for text in (
        "| Target | 40.0% of encoder weights |",
        "| Gates closed | 40.0% (4 of 10) |",
        "| Weights stored | 62.5% of dense",
        "| Size on disk | 700 B (dense: 1 kB) |",
        "Latency was not measured: `finegates bench",
    ):
        assert text in card


def test_known_timings_are_shown_with_machine_and_interval(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    file = TimingFile(
        schema_version=1,
        run_id=facts.run.run_id,
        fold=fold_hash(facts.certificate),
        machine=MACHINE,
        cells=(make_cell(batch=1, tokens=64),),
    )
    card = model_card(dataclasses.replace(facts, timings={"f" * 16: file}))
    assert "| Tiny CPU | torch, fp32, 1 thread | 1 x 64 |" in card
    assert "x (1." in card
    assert "not measured: `finegates bench" not in card


def test_parity_of_each_form_is_a_row(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    certificate = dataclasses.replace(facts.certificate, onnx=PARITY, transformers=PARITY)
    card = model_card(dataclasses.replace(facts, certificate=certificate))
    for name in ("Folded model", "ONNX model", "Transformers model"):
        assert f"| {name} | 6 | 1.0e-07 (at most 2.0e-05) | 100.00%" in card


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("folded", "cannot load this model: it averages over tokens"),
        ("transformers", "37.5% of the encoder's weights, where folding takes"),
    ],
)
def test_card_says_why_not_or_what_the_form_saves(tmp_path: Path, form: str, text: str) -> None:
    assert text in model_card(make_facts(tmp_path, form=form))


def test_own_pooling_is_told_of_the_other_form(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    model = dataclasses.replace(make_config().model, pooling="model")
    config = dataclasses.replace(facts.run.config, model=model)
    record = dataclasses.replace(facts.run.record, config=config)
    run = dataclasses.replace(facts.run, record=record)
    card = model_card(dataclasses.replace(facts, run=run))
    assert "widths than each other" in card
    assert f"finegates prune {run.run_id} --out DIR --compatible" in card


def test_names_from_outside_stay_text(tmp_path: Path) -> None:
    facts = make_facts(tmp_path)
    task = dataclasses.replace(
        facts.task, title="a|b <img>", labels=("`x`", "# title\n\n| y"), sentence="*why*?"
    )
    card = model_card(dataclasses.replace(facts, task=task))
    assert r"# a\|b \<img\>, " in card
    assert r"\`x\`, \# title \| y" in card
    assert plain("a\n# b") == r"a \# b"
    assert header_of(card)["model-index"][0]["results"][0]["dataset"]["name"] == "a|b <img>"


def test_table_has_a_line_a_row() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_usage_of_pairs_gives_two_texts() -> None:
    assert 'tokenizer("a first text", "a second text"' in usage(
        form="folded", pair=True, onnx=False
    )
    assert "onnxruntime" in usage(form="transformers", pair=False, onnx=True)


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\n# A model", "mit"),
        ("# no header", None),
        ("---\nlicense: [a, b]\n---\n", None),
        ("---\nlicense: '](http://x)'\n---\n", None),
        ("---\n{broken: [\n---\n", None),
        (None, None),
    ],
)
def test_licence_of_the_base_model_comes_from_its_card(
    text: str | None, licence: str | None, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    assert base_licence(tmp_path) == licence
