"""Bundles of tiny runs."""

from pathlib import Path
from typing import Any

from tiny_runs import places, tiny_run

from finegates_engine.bundle.pruned import BundleOptions, Pruned, prune_run
from finegates_engine.parity import Certificate, to_bytes
from finegates_engine.prune.certify import task_of


def make(
    folder: Path, *, pooling: str = "mean", target: Path | None = None, **options: Any
) -> Pruned:
    """A tiny run pruned; its bundle is written to `target`, if that is given."""
    store, run = tiny_run(folder, pooling=pooling)
    force = options.pop("force", False)

    def keep(certificate: Certificate) -> None:
        store.add_file(run.run_id, "certificate.json", to_bytes(certificate))

    return prune_run(
        run,
        places()[0],
        task_of(run),
        options=BundleOptions(**options),
        target=target,
        force=force,
        keep=keep,
    )
