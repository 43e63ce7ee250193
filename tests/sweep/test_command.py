"""The command in a card trains the same run again."""

import shlex
from typing import Any

import pytest
from typer.testing import CliRunner

from finegates_engine.cli import entry as cli
from finegates_engine.config import from_json
from finegates_engine.sweep.command import sweep_command

CONFIGS: dict[str, dict[str, Any]] = {
    "default": {},
    "path": {"path": [0.0, 0.1], "gates": {"target": 0.25}, "seed": 3},
    "many options": {
        "task": {"name": "sst2", "max_train_samples": 4000},
        "model": {"pooling": "model", "train_biases": False, "low_rank_alpha": 8.5},
        "gates": {"tie": False, "axes": "all", "noise_std": 0.125},
        "train": {"epochs": 1.5, "dropout": False, "gate_lr": 1e-5},
        "threads": 2,
    },
    "another method": {"method": "random", "gates": {"target": 0.5}},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_command_gives_the_config_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config = from_json(CONFIGS[name])
    plans: list[Any] = []
    monkeypatch.setattr(cli, "carry_out", lambda plan, **_: plans.append(plan))
    words = shlex.split(sweep_command(config))
    done = CliRunner().invoke(cli.app, words[1:])
    assert done.exit_code == 0, done.output
    (plan,) = plans
    assert plan.targets == (*config.path, config.gates.target)
    assert plan.seeds == (config.seed,)
    assert plan.strategy == ("path" if config.path else "independent")
    assert (plan.base.task, plan.base.model) == (config.task, config.model)
    assert (plan.base.train, plan.base.method) == (config.train, config.method)
    assert plan.base.threads == config.threads


def test_other_levels_take_the_place_of_the_runs_own() -> None:
    config = from_json({"path": [0.0, 0.1], "gates": {"target": 0.25}})
    command = sweep_command(config, targets=(0.0, 0.5))
    assert "--targets 0.0,0.5 " in command


def test_folders_of_this_machine_are_left_out() -> None:
    config = from_json(
        {
            "task": {"name": "mine", "data": "/home/me/rows", "text_fields": ["a b", "c"]},
            "model": {"backbone": "/home/me/model"},
            "method_options": {"rank": 4},
        }
    )
    command = sweep_command(config)
    assert "/home" not in command
    assert "--data DIR/rows" in command
    assert "--backbone BACKBONE" in command
    assert "--method-options rank=4.0" in command
    assert "--text-fields 'a b,c'" in command
