"""Bounds of parity, and certificates as files."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from timing_examples import PARITY, certified_run, make_certificate

from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.parity import (
    compare,
    problems,
    read_certificate,
    to_bytes,
    with_onnx,
    with_transformers,
)

LOGITS = np.array([[2.0, -1.0], [0.5, 1.5], [-4.0, 4.0]], dtype=np.float32)


def test_equal_logits_pass() -> None:
    parity = compare(LOGITS, LOGITS.copy(), form="torch")
    assert parity.passed
    assert parity.largest_difference == 0
    assert parity.label_agreement == 1
    assert parity.largest_logit == 4


@pytest.mark.parametrize(("form", "bound"), [("torch", 4e-5), ("onnx", 4e-4)])
def test_bound_grows_with_the_largest_logit(form: str, bound: float) -> None:
    within, beyond = LOGITS.copy(), LOGITS.copy()
    within[0, 0] += 0.9 * bound
    beyond[0, 0] += 1.1 * bound
    assert compare(LOGITS, within, form=form).bound == pytest.approx(bound)  # type: ignore[arg-type]
    assert compare(LOGITS, within, form=form).passed  # type: ignore[arg-type]
    assert not compare(LOGITS, beyond, form=form).passed  # type: ignore[arg-type]


def test_regression_scores_have_a_bound_that_does_not_grow() -> None:
    scores = np.array([[50.0], [1.0]], dtype=np.float32)
    parity = compare(scores, scores, form="onnx")
    assert parity.bound == 1e-4
    assert parity.label_agreement is None


def test_rows_whose_best_classes_are_tied_are_not_counted_as_labels() -> None:
    gated = np.array([[1.0, 1.0 + 1e-6], [3.0, 0.0]], dtype=np.float32)
    folded = np.array([[1.0 + 2e-6, 1.0], [3.0, 0.0]], dtype=np.float32)
    parity = compare(gated, folded, form="torch")
    assert parity.ties == 1
    assert parity.label_agreement == 1
    assert parity.passed


def test_all_ties_leave_no_label_agreement() -> None:
    tied = np.zeros((3, 2), dtype=np.float32)
    assert compare(tied, tied, form="torch").label_agreement is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_named(value: float) -> None:
    broken = LOGITS.copy()
    broken[1, 0] = value
    with pytest.raises(UserError, match="Some logits of the folded model are not finite"):
        compare(LOGITS, broken, form="torch")
    with pytest.raises(UserError, match="Some logits of the gated model"):
        compare(broken, LOGITS, form="onnx")


@given(st.floats(1e-3, 1e3), st.integers(0, 5))
def test_a_swapped_label_outside_ties_never_passes(scale: float, row: int) -> None:
    gated = np.tile(np.array([[1.0, -1.0]], dtype=np.float32) * np.float32(scale), (6, 1))
    folded = gated.copy()
    folded[row] = folded[row][::-1]
    assert not compare(gated, folded, form="torch").passed


def test_another_form_that_fails_fails_the_certificate() -> None:
    certificate = make_certificate("a-run")
    bad = dataclasses.replace(PARITY, largest_difference=0.5, passed=False)
    assert with_onnx(certificate, PARITY).passed
    assert not with_onnx(certificate, bad).passed
    assert with_transformers(certificate, PARITY).passed
    assert not with_transformers(certificate, bad).passed


def test_problems_say_what_differs_and_by_how_much() -> None:
    good = make_certificate("a-run")
    assert problems(good) == []
    bad = dataclasses.replace(
        PARITY, largest_difference=0.25, label_agreement=0.5, rows=10, passed=False
    )
    text = "; ".join(
        problems(
            make_certificate(
                "a-run", torch=bad, onnx=bad, alone_difference=0.125, stored_difference=0.75
            )
        )
    )
    assert "a logit of the folded model differs by 0.25 from the gated model, at most 2e-05" in text
    assert "a logit of the ONNX model differs" in text
    assert "label on 50.00% of 10 rows, at least 99.9% are required" in text
    assert "a row alone and in a padded batch differ by 0.12" in text
    assert "differs by 0.75 from the predictions stored with the run, at most 0.01" in text


def test_certificate_comes_back_from_the_store(tmp_path: Path) -> None:
    _, run = certified_run(tmp_path, onnx=PARITY, transformers=PARITY)
    certificate = read_certificate(run)
    assert certificate == make_certificate(run.run_id, onnx=PARITY, transformers=PARITY)


def test_certificate_without_the_newer_forms_is_read(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    text = to_bytes(make_certificate(run.run_id)).replace(b' "transformers": null,\n', b"")
    assert b'transformers": null' not in text
    store.add_file(run.run_id, "certificate.json", text)
    found = read_certificate(run)
    assert found is not None
    assert found.transformers is None


def test_certificate_of_another_run_is_damaged(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    store.add_file(run.run_id, "certificate.json", to_bytes(make_certificate("agreement-other")))
    with pytest.raises(Damaged, match="is that of 'agreement-other'"):
        read_certificate(run)


def test_certificate_with_a_wrong_field_is_damaged(tmp_path: Path) -> None:
    store, run = certified_run(tmp_path)
    text = to_bytes(make_certificate(run.run_id)).replace(b'"kept_hash": "aa', b'"kept_hash": "xx')
    store.add_file(run.run_id, "certificate.json", text)
    with pytest.raises(Damaged, match="kept_hash"):
        read_certificate(run)
