"""Named configs to start from. No torch."""

from finegates_engine.config import GateConfig, ModelConfig, RunConfig, TrainConfig
from finegates_engine.errors import unknown

PRESETS = ("default", "reference")


def preset(name: str) -> RunConfig:
    """A named starting point: "default", or "reference" for the paper's released code.

    Raises UserError for another name.
    """
    if name == "default":
        return RunConfig()
    if name != "reference":
        raise unknown("preset", name, PRESETS)
    # arXiv 2602.09169, released code: jsvir/FineGates, commit 5ab6421
    return RunConfig(
        model=ModelConfig(pooling="model", train_biases=True, low_rank=0),
        gates=GateConfig(
            target=0.4,
            target_unit="gates",
            axes="all",
            tie=False,
            allocation="vector",
            relaxation="clip",
            noise_std=0.1,
            penalty_std=0.5,
            penalty_weight=50.0,
            controller="fixed",
            start="equal",
            ramp=0.0,
            open_start=0.0,
            anneal=False,
            finish=0.0,
            path_ramp=0.0,
            path_open_start=0.0,
            path_finish=0.0,
            distill=0.0,
        ),
        train=TrainConfig(
            epochs=100.0,
            gate_lr=1e-3,
            bias_lr=1e-3,
            head_lr=1e-3,
            lr_schedule="constant",
            warmup=0.0,
        ),
    )
