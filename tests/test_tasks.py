"""The table of tasks, and specs made for tasks that are not in it."""

import subprocess
import sys

import pytest

from finegates_engine.config import TaskConfig
from finegates_engine.errors import UserError
from finegates_engine.metrics import METRICS
from finegates_engine.tasks import TASKS, complete_spec, resolve_task


def test_table_holds_the_eight_glue_tasks_and_the_generated_one():
    assert set(TASKS) == {
        "cola", "stsb", "mrpc", "rte", "sst2", "qnli", "mnli", "qqp", "agreement",
    }  # fmt: skip
    on_hub = {name: (t.hub_id, t.hub_config) for name, t in TASKS.items() if t.hub_id}
    assert on_hub == {name: ("nyu-mll/glue", name) for name in set(TASKS) - {"agreement"}}


# Class order from the dataset cards of nyu-mll/glue; metrics from arXiv 2412.12951.
@pytest.mark.parametrize(
    ("name", "fields", "labels", "metrics"),
    [
        ("cola", ("sentence",), ("unacceptable", "acceptable"), ("mcc",)),
        ("stsb", ("sentence1", "sentence2"), None, ("pearson", "spearman")),
        ("mrpc", ("sentence1", "sentence2"), ("not_equivalent", "equivalent"), ("accuracy", "f1")),
        ("rte", ("sentence1", "sentence2"), ("entailment", "not_entailment"), ("accuracy",)),
        ("sst2", ("sentence",), ("negative", "positive"), ("accuracy",)),
        ("qnli", ("question", "sentence"), ("entailment", "not_entailment"), ("accuracy",)),
        (
            "mnli",
            ("premise", "hypothesis"),
            ("entailment", "neutral", "contradiction"),
            ("accuracy",),
        ),
        ("qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1")),
        ("agreement", ("sentence",), ("ungrammatical", "grammatical"), ("accuracy",)),
    ],
)
def test_tasks_have_the_fields_classes_and_metrics_of_their_source(name, fields, labels, metrics):
    spec = resolve_task(TaskConfig(name=name))
    assert (spec.text_fields, spec.labels, spec.metrics) == (fields, labels, metrics)
    assert spec.headline == metrics[0]
    assert spec.kind == ("regression" if labels is None else "classification")
    assert set(metrics) <= set(METRICS)
    assert spec.title
    assert spec.sentence.endswith((".", "?"))


def test_only_mnli_has_two_validation_splits():
    several = {n: t.validation_splits for n, t in TASKS.items() if len(t.validation_splits) > 1}
    assert several == {"mnli": ("validation_matched", "validation_mismatched")}


def test_unknown_task_without_data_is_told_what_to_do():
    with pytest.raises(UserError) as caught:
        resolve_task(TaskConfig(name="mrcp"))
    text = str(caught.value)
    assert text.startswith("Unknown task 'mrcp'. Choose from: agreement, cola, mnli, mrpc,")
    assert text.endswith("or pass --data FOLDER with --text-fields.")


def test_own_task_needs_its_text_columns():
    with pytest.raises(UserError, match=r"Pass --text-fields with one or two columns of my\.csv"):
        resolve_task(TaskConfig(name="mine", data="my.csv"))


def test_own_task_stays_open_until_its_labels_are_seen():
    spec = resolve_task(TaskConfig(name="mine", data="my.csv", text_fields=("text",)))
    assert (spec.labels, spec.metrics, spec.kind, spec.hub_id) == (None, None, None, None)
    classes = complete_spec(spec, ("no", "yes"), ("validation",))
    assert (classes.kind, classes.metrics) == ("classification", ("accuracy", "mcc"))
    values = complete_spec(spec, None, ("validation",))
    assert (values.kind, values.metrics) == ("regression", ("pearson", "spearman"))


def test_completing_a_spec_of_the_table_keeps_its_metrics():
    spec = complete_spec(TASKS["cola"], TASKS["cola"].labels, ("validation",))
    assert spec == TASKS["cola"]


def test_known_task_can_read_other_columns():
    spec = resolve_task(TaskConfig(name="mrpc", text_fields=("a", "b")))
    assert spec.text_fields == ("a", "b")
    assert spec.labels == TASKS["mrpc"].labels
    assert TASKS["mrpc"].text_fields == ("sentence1", "sentence2")


def test_pair_task_with_one_column_is_refused():
    with pytest.raises(UserError, match=r"'mrpc' reads two text columns, got 1: sentence1\."):
        resolve_task(TaskConfig(name="mrpc", text_fields=("sentence1",)))
    with pytest.raises(UserError, match=r"'sst2' reads one text column, got 2: a, b\."):
        resolve_task(TaskConfig(name="sst2", text_fields=("a", "b")))


@pytest.mark.parametrize("fields", [("a", "b", "c"), ("a", "a")])
def test_three_columns_or_one_twice_are_refused(fields):
    with pytest.raises(UserError, match="must be one column, or two different ones, got a, "):
        resolve_task(TaskConfig(name="mine", data="my.csv", text_fields=fields))


def test_label_among_the_text_columns_is_refused():
    config = TaskConfig(name="mine", data="my.csv", text_fields=("a", "b"), label_field="b")
    with pytest.raises(UserError, match="Column 'b' is both a text field and the label"):
        resolve_task(config)


def test_tasks_import_no_torch():
    code = "import sys, finegates_engine.tasks; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
