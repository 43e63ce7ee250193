"""The gated model of a run with as many gates closed, at random."""

import copy

import torch
from torch import nn

from finegates_engine.gates.closing import closed_at_target
from finegates_engine.gates.model import TextClassifier
from finegates_engine.gates.sparsity import plan_gates
from finegates_engine.prune.compiled import CompiledRun


def with_random_gates(compiled: CompiledRun) -> TextClassifier:
    """The same model with as much removed, by gates that are closed at random."""
    model = copy.deepcopy(compiled.gated)
    assert model.gates is not None
    plan = plan_gates(model, compiled.run.config.gates)
    model.gates.learn_again()
    model.gates.closed.zero_()
    nn.init.uniform_(model.gates.logit, generator=torch.Generator().manual_seed(0))
    share = compiled.run.ladder.folded_encoder_fraction
    model.gates.fix(closed_at_target(model.gates, plan, share))
    return model
