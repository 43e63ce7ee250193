"""Small timing files with made-up numbers, and runs with a certificate."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from run_examples import ENVIRONMENT, make_config, make_result

from finegates_engine.parity import Certificate, Parity, to_bytes
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.latency import efficiency, latency, speedup
from finegates_engine.timing.stored import Machine, Setting, TimingCell, VariantTimes, this_machine

PARITY = Parity(
    rows=6,
    largest_logit=2.0,
    largest_difference=1e-7,
    bound=2e-5,
    ties=0,
    label_agreement=1.0,
    passed=True,
)
MACHINE: Machine = this_machine(ENVIRONMENT)


def make_certificate(run_id: str, **changes: Any) -> Certificate:
    plain = Certificate(
        run_id=run_id,
        kept_hash="a" * 64,
        options={"round_to": 16, "heads": "auto", "residual": "auto"},
        torch=PARITY,
        alone_difference=0.0,
        stored_difference=0.0,
        metrics={"validation": {"accuracy": 0.75}},
        stored_weight_fraction=0.6,
        file_bytes=700,
        dense_file_bytes=1000,
        environment=ENVIRONMENT,
        passed=True,
    )
    return dataclasses.replace(plain, **changes)


def certified_run(root: Path, **changes: Any) -> tuple[RunStore, StoredRun]:
    """A store with one run and its certificate."""
    store, result = RunStore(root), make_result(make_config(target=0.4))
    store.save(result)
    certificate = make_certificate(result.run_id, **changes)
    store.add_file(result.run_id, "certificate.json", to_bytes(certificate))
    return store, store.load(result.run_id)


def make_cell(*, gain: float = 1.5, seed: int = 0, **setting: Any) -> TimingCell:
    """Made-up times of dense, pruned (`gain` times as fast) and transformers."""
    noise = np.random.default_rng(seed).normal(1, 0.01, (3, 20))
    seconds = {
        name: tuple(float(value) for value in 0.01 * factor * row)
        for name, factor, row in zip(
            ("dense", "pruned", "transformers"), (1.0, 1 / gain, 1.2), noise, strict=True
        )
    }
    variants = {}
    for name, values in seconds.items():
        found = None if name == "dense" else speedup(seconds["dense"], values)
        variants[name] = VariantTimes(
            seconds=values,
            calls_per_value=1,
            latency=latency(values),
            speedup=found,
            verdict=None if found is None else found.verdict,
        )
    pruned = variants["pruned"].speedup
    assert pruned is not None
    return TimingCell(
        setting=Setting(**({"batch": 1, "tokens": 16} | setting)),
        variants=variants,
        mac_ratio=1.6,
        efficiency=efficiency(pruned.value, 1.6),
        inputs="evaluation texts of agreement",
        measured=datetime(2026, 11, 23, 7, 0, tzinfo=UTC),
        commit="c" * 40,
        load=0.5,
    )
