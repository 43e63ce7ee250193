"""Configs: JSON round trip, errors that name their field, identity."""

import dataclasses
import json
import re
from typing import Any

import pytest

from finegates_engine import identity
from finegates_engine.config import RunConfig, from_json, to_json
from finegates_engine.errors import UserError
from finegates_engine.identity import cell_hash, run_id

BASE: dict[str, Any] = {
    "task": {"name": "mrpc"},
    "gates": {
        "target": 0.4,
        "relaxation": "hard",
        "controller": "fixed",
        "start": "equal",
        "open_start": 0.1,
        "ramp": 0.2,
        "finish": 0.2,
    },
}
HASHES = {"data_hash": "d", "weights_hash": "w"}

CHANGES: dict[str, Any] = {
    "task.name": "rte",
    "task.data": "folder",
    "task.text_fields": ["a", "b"],
    "task.label_field": "class",
    "task.max_train_samples": 7,
    "task.max_eval_samples": 7,
    "task.max_tokens": 32,
    "model.backbone": "other/model",
    "model.pooling": "model",
    "model.train_biases": False,
    "model.low_rank": 3,
    "model.low_rank_alpha": 3.5,
    "model.low_rank_dropout": 0.25,
    "model.precision": "bf16",
    "gates.target": 0.3,
    "gates.target_unit": "gates",
    "gates.axes": "all",
    "gates.tie": False,
    "gates.head_gates": True,
    "gates.head_step": 4,
    "gates.allocation": "vector",
    "gates.learn": "fisher",
    "gates.relaxation": "clip",
    "gates.noise_std": 0.77,
    "gates.penalty_std": 0.77,
    "gates.penalty_weight": 7.0,
    "gates.controller": "dual",
    "gates.ramp": 0.33,
    "gates.open_start": 0.15,
    "gates.start": "fisher",
    "gates.anneal": True,
    "gates.finish": 0.25,
    "gates.path_ramp": 0.1,
    "gates.path_open_start": 0.1,
    "gates.path_finish": 0.1,
    "gates.kurtosis": True,
    "gates.distill": 0.7,
    "gates.history_frames": 7,
    "train.epochs": 7.0,
    "train.path_epochs": 7.0,
    "train.path_rate": 0.7,
    "train.batch_size": 7,
    "train.accumulate": 7,
    "train.gate_lr": 0.7,
    "train.bias_lr": 0.7,
    "train.low_rank_lr": 0.7,
    "train.head_lr": 0.7,
    "train.backbone_lr": 0.7,
    "train.lr_schedule": "constant",
    "train.warmup": 0.7,
    "train.weight_decay": 0.7,
    "train.max_grad_norm": 0.7,
    "train.dropout": False,
    "train.gradient_checkpointing": True,
    "train.early_stop": 7,
    "method": "random",
    "method_options": [["after", 0.5]],
    "seed": 7,
    "path": [0.2],
    "threads": 2,
    "processes": 2,
}
"""Every field with a value that is valid and not its default."""

OTHER = {
    "dual": "fixed",
    "all": "inner",
    "gates": "encoder_weights",
    "vector": "budget",
    "model": "mean",
    "bf16": "fp32",
    "constant": "linear",
    "clip": "hard",
}
"""A second value, for the case that the first one becomes the default."""

IGNORED = {"task.data", "model.backbone", "gates.history_frames"}
OF_PATHS = {"train.path_epochs", "train.path_rate"}
OF_PATHS |= {"gates.path_open_start", "gates.path_ramp", "gates.path_finish"}
"""Fields that only levels of a path after its first use."""


def changed(name: str, value: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(BASE))
    part, _, field = name.rpartition(".")
    (values.setdefault(part, {}) if part else values)[field] = value
    return values


def differs(name: str) -> dict[str, Any]:
    """A changed value that is not the one of BASE, whatever the default is."""
    part, _, field = name.rpartition(".")
    base = to_json(from_json(BASE))
    before = base[part][field] if part else base[field]
    value = CHANGES[name]
    if value == before:  # the default became this value
        value = not value if isinstance(value, bool) else OTHER[value]
    return changed(name, value)


def all_fields() -> set[str]:
    names = set()
    for field in dataclasses.fields(RunConfig):
        value = getattr(RunConfig(), field.name)
        if dataclasses.is_dataclass(value):
            names |= {f"{field.name}.{inner.name}" for inner in dataclasses.fields(value)}
        else:
            names.add(field.name)
    return names


def test_every_field_is_tried_here() -> None:
    assert set(CHANGES) == all_fields()


@pytest.mark.parametrize("name", CHANGES)
def test_json_round_trip(name: str) -> None:
    config = from_json(differs(name))
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    assert config != from_json(BASE)


@pytest.mark.parametrize("name", CHANGES)
def test_identity_changes_with_what_changes_the_result_alone(name: str) -> None:
    before = cell_hash(from_json(BASE), **HASHES)
    after = cell_hash(from_json(differs(name)), **HASHES)
    assert (before == after) == (name in IGNORED | OF_PATHS)


@pytest.mark.parametrize("name", sorted(OF_PATHS))
def test_what_only_later_levels_use_changes_their_identity_alone(name: str) -> None:
    later = {"path": [0.1]}
    before = cell_hash(from_json({**BASE, **later}), **HASHES)
    assert cell_hash(from_json({**differs(name), **later}), **HASHES) != before


def test_phases_are_no_part_of_the_identity_where_there_are_no_gates() -> None:
    phases = {"gates": {"open_start": 0.3, "ramp": 0.1, "finish": 0.1}}
    for method, same in {"full": True, "lora": True, "svd": True, "random": False}.items():
        one, other = (from_json({"method": method, **parts}) for parts in ({}, phases))
        assert (cell_hash(one, **HASHES) == cell_hash(other, **HASHES)) == same


def test_identity_changes_with_the_content_of_data_and_weights() -> None:
    config = from_json(BASE)
    digests = {cell_hash(config, data_hash=d, weights_hash=w) for d in "ab" for w in "ab"}
    assert len(digests) == 4


def test_identity_does_not_depend_on_the_order_of_keys() -> None:
    turned = {part: BASE[part] for part in reversed(BASE)}
    assert cell_hash(from_json(turned), **HASHES) == cell_hash(from_json(BASE), **HASHES)


def test_run_id_is_readable_and_ends_in_the_hash() -> None:
    config = from_json({**BASE, "seed": 3})
    digest = cell_hash(config, **HASHES)
    assert re.fullmatch("[0-9a-f]{12}", digest)
    assert run_id(config, **HASHES) == f"mrpc-finegates-t0.40-s3-{digest}"
    on_path = from_json({**BASE, "path": [0.1, 0.2]})
    assert run_id(on_path, **HASHES).startswith("mrpc-finegates-path-t0.40-s0-")


BAD: list[tuple[str, Any, str]] = [
    ("gates.target", 1.2, "gates.target: input should be less than 1, got 1.2"),
    ("gates.target", -0.1, "gates.target: input should be greater than or equal to 0, got -0.1"),
    ("gates.target", "many", "gates.target: "),
    ("gates.target", float("nan"), "gates.target: "),
    ("gates.axes", "outer", "gates.axes: input should be 'inner', 'attention' or 'all'"),
    ("gates.penalty_std", 0, "gates.penalty_std: "),
    ("gates.history_frames", 33, "gates.history_frames: "),
    ("gates.finish", 1.0, "gates.finish: "),
    ("gates.speed", 1, "gates.speed: "),
    ("model.pooling", "max", "model.pooling: input should be 'mean' or 'model', got 'max'"),
    ("model.low_rank", -1, "model.low_rank: "),
    ("model.precision", "fp8", "model.precision: "),
    ("train.batch_size", 0, "train.batch_size: "),
    ("train.epochs", 0, "train.epochs: "),
    ("train.lr_schedule", "step", "train.lr_schedule: "),
    ("task.max_train_samples", 0, "task.max_train_samples: "),
    ("task.max_tokens", 1, "task.max_tokens: "),
    ("task.name", "../mrpc", "task.name: "),
    ("seed", -1, "seed: "),
    ("threads", 0, "threads: "),
    ("method", "Fine Gates", "method: "),
    ("colour", "red", "colour: "),
]


@pytest.mark.parametrize(("name", "value", "text"), BAD)
def test_error_names_field_value_and_what_is_allowed(name: str, value: Any, text: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(changed(name, value))
    assert str(caught.value).startswith(text)
    assert f"got {value!r}" in str(caught.value)


def test_every_bad_field_has_a_line_of_its_own() -> None:
    with pytest.raises(UserError) as caught:
        from_json({"gates": {"target": 2}, "seed": -1})
    lines = str(caught.value).splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["gates.target", "seed"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"gates": {"open_start": 0.5, "ramp": 0.5, "finish": 0.4}},
            "open_start + ramp + finish must be at most 1, got 1.4",
        ),
        (
            {"gates": {"path_open_start": 0.5}},
            "path_open_start + path_ramp + path_finish must be at most 1, got 1.3",
        ),
        ({"gates": {"path_finish": 0}}, "controller 'shift' needs path_finish > 0"),
        ({"gates": {"path_open_start": 0}}, "start 'fisher' needs relaxation 'hard' and path_open"),
        ({"gates": {"controller": "shift", "finish": 0}}, "controller 'shift' needs finish > 0"),
        ({"gates": {"learn": "fisher", "finish": 0}}, "learn 'fisher' needs finish > 0"),
        ({"gates": {"learn": "fisher", "open_start": 0}}, "learn 'fisher' needs open_start > 0"),
        ({"gates": {"head_step": 4, "axes": "all"}}, "head_step 4 needs axes 'inner', tie and no"),
        ({"gates": {"learn": "fisher", "kurtosis": True}}, "kurtosis weights the penalty"),
        ({"gates": {"target": 0.2}, "path": [0.3]}, "targets of a path must rise, got [0.3, 0.2]"),
        ({"gates": {"target": 0.2}, "path": [0.1, 0.1]}, "targets of a path must rise"),
    ],
)
def test_fields_that_do_not_fit_together_are_named(values: dict[str, Any], text: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(values)
    assert text in str(caught.value)


def test_configs_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RunConfig().seed = 1  # type: ignore[misc]


def test_identity_changes_with_the_numerics(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cell_hash(from_json(BASE), **HASHES)
    monkeypatch.setattr(identity, "NUMERICS_VERSION", -1)
    assert cell_hash(from_json(BASE), **HASHES) != before


def test_kurtosis_without_a_penalty_is_refused() -> None:
    with pytest.raises(UserError, match="kurtosis weights the penalty"):
        from_json({"gates": {"controller": "shift", "kurtosis": True}})
