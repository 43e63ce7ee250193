"""Every benchmark runs with --quick, and its last line is one JSON object with its figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIGURES = {
    "compare.py": ("closing", {"scores"}),
    "controls.py": ("", {"scores", "differences", "largest_miss"}),
    "layout.py": (
        "",
        {"gather_over_index_select", "take_macs", "attention_ms", "onednn_over_linear"},
    ),
    "path.py": ("", {"path_cost_in_single_runs", "largest_score_gap"}),
    "explorer.py": (
        "",
        {"first_curve_s_1000_runs", "rerun_s_1000_runs", "index_s_10000_runs"},
    ),
    "half.py": ("", {"logit_change", "probability_change", "labels_changed", "rows"}),
    "inference.py": (
        "",
        {
            "speedup_b1_t64_r40",
            "efficiency_b1_t64_r40",
            "efficiency_b8_t64_r40",
            "cells_slower_than_dense",
            "cells_slower_than_dense_onnx",
        },
    ),
    "load.py": (
        "",
        {"sessions", "errors", "page_p95_s", "race_interval_covers_quiet", "peak_memory_mb"},
    ),
    "damage.py": ("", {"mutations", "crashes", "unnamed", "outside"}),
    "kills.py": ("", {"kills", "lost", "differing"}),
    "store.py": ("", {"listing_10000_runs_s"}),
    "driver.py": ("", {"ms_per_message", "ms_per_cell", "state_bytes", "listing_s"}),
    "workers.py": ("", {"time_vs_serial", "cpu_vs_serial", "free_cores", "same_bits"}),
    "training.py": ("", {"time_vs_lora", "memory_vs_lora", "time_vs_full"}),
}


def test_every_benchmark_is_listed_here() -> None:
    assert {path.name for path in (ROOT / "benchmarks").glob("*.py")} == set(FIGURES)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FIGURES))
def test_quick_benchmark_ends_in_its_figures(name: str, tmp_path: Path) -> None:
    words, figures = FIGURES[name]
    command = [sys.executable, str(ROOT / "benchmarks" / name), *words.split(), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert figures <= set(json.loads(done.stdout.strip().splitlines()[-1]))
