"""The table of methods: complete, readable, and its options checked before any training."""

import re
from typing import Any

import pytest

from finegates_engine import identity
from finegates_engine.config import RunConfig, from_json, to_json
from finegates_engine.errors import UserError
from finegates_engine.identity import cell_hash
from finegates_engine.method_table import METHODS, options_of, without_defaults
from finegates_engine.sweep.options import apply_options
from finegates_engine.sweep.plan import plan_sweep


@pytest.mark.parametrize("name", METHODS)
def test_every_row_says_what_readers_need(name: str) -> None:
    spec = METHODS[name]
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", name)
    assert spec.text.endswith(".")
    assert spec.source
    for option, values in spec.options.items():
        assert re.fullmatch(r"[a-z_]+", option)
        assert values.default is None or values.low <= values.default <= values.high
        assert values.text


def test_labels_are_unique() -> None:
    labels = [spec.label for spec in METHODS.values()]
    assert len(labels) == len(set(labels))


def test_every_method_has_a_class_and_every_class_a_row() -> None:
    from finegates_engine.methods import CLASSES, method_of

    for name in METHODS:
        assert method_of(RunConfig(method=name)).spec is METHODS[name]
    assert set(CLASSES) <= set(METHODS)


@pytest.mark.parametrize("form", ["rows=64, after=0.3", {"after": 0.3, "rows": 64}])
def test_options_are_read_in_any_form_and_order(form: object) -> None:
    config = from_json({"method": "taylor", "method_options": form})
    assert config.method_options == (("after", 0.3), ("rows", 64.0))
    assert from_json(to_json(config)) == config
    assert options_of("taylor", config.method_options) == {"after": 0.3, "rows": 64, "chunk": 8}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rows", "options are name=number with commas between them, got 'rows'"),
        ("rows=many", "options are name=number with commas between them, got 'rows=many'"),
        ("rows=1,rows=2", "an option is given twice"),
    ],
)
def test_text_that_is_no_option_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_json({"method_options": text})


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        (
            "taylor",
            {"speed": 1},
            "Method 'taylor' has no option 'speed'. It has after, rows, chunk.",
        ),
        ("full", {"rows": 1}, "Method 'full' has no option 'rows'. It has none."),
        ("taylor", {"after": 1}, "Option 'after' of method 'taylor' must be in [0, 0.95], got 1."),
        ("taylor", {"rows": 1.5}, "Option 'rows' of method 'taylor' must be a whole number"),
        ("random-posthoc", {"after": 0}, "has no option 'after'. It has none."),
    ],
)
def test_a_bad_option_is_refused_before_any_training(
    method: str, given: dict[str, float], message: str
) -> None:
    config = from_json({"method": method, "method_options": given})
    with pytest.raises(UserError, match=re.escape(message)):
        plan_sweep(config, (0.0,), (0,))


def test_an_option_at_its_default_is_the_same_run() -> None:
    plain, said = (
        plan_sweep(from_json({"method": "taylor", "method_options": options}), (0.3,), (0,))[0]
        for options in ("", "rows=1024,chunk=8")
    )
    assert plain == said
    assert without_defaults("taylor", (("after", 0.3), ("rows", 1024.0))) == (("after", 0.3),)


def test_options_that_are_left_out_are_no_part_of_the_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(identity.json, "dumps", lambda value, **_: seen.append(value) or "")
    for options in ("", "rows=2"):
        config = from_json({"method": "taylor", "method_options": options})
        cell_hash(config, data_hash="d", weights_hash="w")
    assert "method_options" not in seen[0]["config"]
    assert seen[1]["config"]["method_options"] == [["rows", 2.0]]


def test_methods_without_training_follow_the_run_with_nothing_removed() -> None:
    cells = plan_sweep(RunConfig(method="taylor-posthoc"), (0.4, 0.2), (0, 1))
    assert [(c.config.method, c.config.gates.target, c.config.seed) for c in cells[:3]] == [
        ("finegates", 0.0, 0),
        ("taylor-posthoc", 0.2, 0),
        ("taylor-posthoc", 0.4, 0),
    ]
    assert [c.after for c in cells[:3]] == [None, cells[0].config, cells[0].config]
    assert cells[3].config == plan_sweep(RunConfig(), (0.0,), (1,))[0].config


@pytest.mark.parametrize("method", ["full", "taylor-posthoc"])
def test_a_path_needs_gates_that_are_trained_on(method: str) -> None:
    with pytest.raises(UserError, match=f"Method '{method}' cannot go along a path"):
        plan_sweep(RunConfig(method=method), (0.0,), (0,), strategy="path")


def test_a_method_without_an_open_phase_cannot_be_distilled() -> None:
    config = from_json({"method": "random", "gates": {"distill": 1.0}})
    with pytest.raises(UserError, match="Leave --distill out"):
        plan_sweep(config, (0.0,), (0,))


def test_the_command_line_takes_options_as_text() -> None:
    given = {("", "method"): "taylor", ("", "method_options"): "chunk=4,rows=64"}
    config = apply_options(RunConfig(), given)
    assert options_of(config.method, config.method_options)["chunk"] == 4
