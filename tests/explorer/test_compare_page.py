"""Compare: two runs row by row, and where the rows' texts come from."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from explorer_stores import run_of
from page_reader import address, texts

from explorer.loading import loaders
from explorer.words import compare_words
from finegates_engine.data.agreement import generate
from finegates_engine.data.load import Split, text_hashes
from finegates_engine.runs.store import RunStore

PAGE = "compare"


def run_named(store: Path, **wanted) -> str:
    frame = RunStore(store).frame()
    for column, one in wanted.items():
        frame = frame[frame[column] == one]
    return str(frame["run_id"].iloc[0])


def with_hashes(result, rows: list[tuple[str, ...]]):
    """The run over other rows."""
    hashes = text_hashes(Split(rows, np.zeros(len(rows)), np.arange(len(rows))))
    return dataclasses.replace(result, predictions=result.predictions.assign(text_hash=hashes))


def test_first_answer_is_what_goes_wrong(full, open_app):
    app = open_app(full, PAGE)
    assert not app.exception
    assert "go wrong and" in app.subheader[0].value
    assert "McNemar's exact test" in texts(app)
    lost = int(app.subheader[0].value.split(" ")[0])
    assert len(app.dataframe[0].value) == lost
    assert {"Larger sure", "Smaller sure", "Label"} <= set(app.dataframe[0].value)


def test_smaller_run_is_compared_with_nothing_removed_of_its_seed(full, open_app):
    run = run_named(full, task="sst2", method="finegates", target=0.7, seed=2)
    app = open_app(full, PAGE, run=run)
    larger = app.selectbox(key="pick:with").value
    assert larger == run_named(full, task="sst2", method="finegates", target=0.0, seed=2)


def test_every_kind_of_change_opens(full, open_app):
    for change in ("lost", "won", "both wrong", "both right"):
        app = open_app(full, PAGE, change=change)
        assert not app.exception
        assert not app.error


def test_swap_exchanges_the_sides(full, open_app):
    app = open_app(full, PAGE)
    before = [app.selectbox(key=f"pick:{name}").value for name in ("run", "with")]
    next(button for button in app.button if button.label == "Swap").click().run()
    after = [app.selectbox(key=f"pick:{name}").value for name in ("run", "with")]
    assert after == before[::-1]
    assert "removes less than the other one" in texts(app)


def test_values_are_compared_by_distance(full, open_app):
    app = open_app(full, PAGE, task="stsb")
    assert not app.exception
    assert "further off on" in app.subheader[0].value
    assert app.dataframe[0].value["Further off by"].is_monotonic_decreasing


def test_run_without_gates_is_compared_row_by_row_all_the_same(full, open_app):
    app = open_app(full, PAGE, **{"with": run_named(full, method="full")})
    assert not app.exception
    assert "Gates can be compared only where both runs have gates" in texts(app)


@pytest.mark.parametrize("text", ["sst2-full-t0.00-s0-000000000000", "../../etc/passwd", "<b>"])
def test_other_run_that_is_not_there_is_said_and_left_out(text, full, open_app):
    app = open_app(full, PAGE, **{"with": text})
    assert not app.exception
    assert "The address asks for the with" in app.warning[0].value
    assert "with" not in app.query_params


def test_run_compared_with_itself_takes_another(full, open_app):
    run = run_named(full, task="sst2", method="finegates", target=0.5, seed=0)
    app = open_app(full, PAGE, run=run, **{"with": run})
    assert not app.exception
    assert app.selectbox(key="pick:with").value != run


def test_run_of_another_task_is_not_dragged_along(full, open_app):
    run = run_named(full, task="stsb", target=0.5)
    app = open_app(full, PAGE, task="sst2", run=run)
    assert not app.exception
    assert app.selectbox(key="pick:run").value.startswith("sst2-")


def test_compared_run_deleted_meanwhile_is_said(full, open_app, tmp_path):
    copy = Path(shutil.copytree(full, tmp_path / "copy"))
    other = run_named(copy, task="sst2", method="random", target=0.3, seed=1)
    app = open_app(copy, PAGE, **{"with": other})
    assert address(app, "with") == other
    RunStore(copy).delete(other)
    loaders._version.clear()
    app = app.run()
    assert not app.exception
    assert other in texts(app)


def test_one_run_says_that_two_are_needed(one, open_app):
    app = open_app(one, PAGE)
    assert not app.exception
    assert "Two runs of a task are needed" in texts(app)
    assert app.code[0].value.startswith("finegates sweep --task sst2 --targets 0.0,0.3,0.5,0.7")
    assert app.code[0].value.endswith(f"--store {one}")


def test_runs_on_other_rows_are_an_error_in_words(one, open_app):
    other = run_of(target=0.0)
    rows = other.predictions.assign(text_hash=[f"{n:09x}" for n in range(60)])
    RunStore(one).save(dataclasses.replace(other, predictions=rows))
    loaders._version.clear()
    app = open_app(one, PAGE)
    assert not app.exception
    assert "different evaluation rows" in app.error[0].value.replace("\\", "")


def test_texts_of_the_generated_task_are_shown(tmp_path, open_app):
    sentences = [(str(row["sentence"]),) for row in generate()["validation"][:60]]
    store = RunStore(tmp_path / "agreement")
    for target in (0.0, 0.5):
        store.save(with_hashes(run_of(task="agreement", target=target), sentences))
    app = open_app(store.root, PAGE)
    assert not app.exception
    assert "Texts of 60 of 60 rows, matched by their hashes" in texts(app)
    shown = app.dataframe[0].value
    assert set(shown["Text (sentence)"]) <= {text for (text,) in sentences}
    row = shown.iloc[0]
    assert row["Text (sentence)"] == sentences[int(row["Row"])][0]


@pytest.fixture
def film(tmp_path):
    """A store of two runs over 60 texts that are markup, and the file of those texts."""
    rows = [(f"*film* {n} <b>$x$</b> :smile:",) for n in range(60)]
    store = RunStore(tmp_path / "film")
    for target in (0.0, 0.5):
        store.save(with_hashes(run_of(target=target), rows))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"sentence": text}) + "\n" for (text,) in rows))
    return store.root, file


def test_user_points_to_the_rows(film, open_app):
    root, file = film
    app = open_app(root, PAGE)
    assert "A run keeps only hashes of its rows" in texts(app)
    assert "Text (sentence)" not in app.dataframe[0].value
    app.text_input(key="at-sst2").set_value(str(file)).run()
    assert not app.exception
    shown = app.dataframe[0].value
    assert shown["Text (sentence)"].str.startswith("*film* ").all()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "The file is empty."),
        (b"a,b\n1,2\n", "no column 'sentence'"),
        (b"sentence\nx\n", "other rows"),
    ],
)
def test_upload_that_does_not_fit_says_why(content, said, film, open_app):
    app = open_app(film[0], PAGE)
    app.file_uploader(key="rows-sst2").upload("rows.csv", content, "text/csv").run()
    assert not app.exception
    assert said in texts(app)


def test_tooltips_hold_no_markup():
    from finegates_engine.data.row_texts import RowTexts

    texts = RowTexts(("a",), {"1": ("<b>" + "x" * 500,)}, "here")
    shown = compare_words.hover_texts(texts)["1"]
    assert shown.startswith("&lt;b&gt;")
    assert len(shown) < 130
