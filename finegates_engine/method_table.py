"""Every method of the engine: name, citation, what it removes, its options. No torch.

A row says all that can be known before a training; `methods` holds what each one computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from finegates_engine.errors import unknown
from finegates_engine.method_options import Options, OptionSpec, checked_options

Removes = Literal["rows and columns", "rank", "nothing"]


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """One method."""

    label: str
    """Name for readers."""

    source: str
    """Citation."""

    text: str
    """What it does, in one sentence."""

    removes: Removes = "nothing"
    """What leaves the encoder at inference."""

    learns_gates: bool = False
    """Gates are trained, not computed once."""

    starts_trained: bool = False
    """Begins with the FineGates run of the same config at target 0, and trains no further."""

    trains: Literal["gates", "biases", "low_rank", "head"] = "head"
    """Kind under which its trained values are counted, those of gates and head apart."""

    options: Mapping[str, OptionSpec] = field(default_factory=dict)
    """Name -> option; those of the config, such as the learning rates, are not listed."""

    peft: bool = False
    """Needs the package peft."""

    @property
    def has_gates(self) -> bool:
        """Whether it removes rows and columns through gates."""
        return self.removes == "rows and columns"


def _rows(count: int) -> OptionSpec:
    return OptionSpec(count, 1, 1_000_000, "training rows that are scored", whole=True)


def _rate(default: float) -> OptionSpec:
    return OptionSpec(default, 0, 10, "learning rate of what it adds or moves")


def _rank(default: int, text: str = "rank of each update") -> OptionSpec:
    return OptionSpec(default, 1, 1024, text, whole=True)


_WHEN = OptionSpec(
    None, 0, 0.95, "share of the training before the gates are scored and closed, else --open-start"
)


def _peft(label: str, source: str, text: str, rate: float, **more: OptionSpec) -> MethodSpec:
    """A method of the package peft, on all six matrices of a block."""
    options = {"rank": _rank(8), "rate": _rate(rate)} | more
    return MethodSpec(
        label=label, source=source, text=text, trains="low_rank", options=options, peft=True
    )


_CHUNK = OptionSpec(8, 1, 4096, "rows of one gradient", whole=True)

MAGNITUDE = "Li et al. 2017, arXiv 1608.08710"
ACTIVATION = "Wang et al. 2025 (CFSP), arXiv 2409.13199; score of Sun et al. 2024, arXiv 2306.11695"
TAYLOR = "Ma et al. 2023 (LLM-Pruner), arXiv 2305.11627; Molchanov et al. 2017, arXiv 1611.06440"

METHODS: dict[str, MethodSpec] = {
    "finegates": MethodSpec(
        label="FineGates",
        source="arXiv 2412.12951; 2602.09169",
        text="Stochastic gates on rows and columns, ranked, learned, then fixed at the target.",
        removes="rows and columns",
        learns_gates=True,
    ),
    "random": MethodSpec(
        label="Random gates",
        source="control",
        text="Gates closed at random.",
        removes="rows and columns",
        options={"after": _WHEN},
    ),
    "magnitude": MethodSpec(
        label="Magnitude",
        source=MAGNITUDE,
        text="Closes the gates whose rows and columns have the smallest L2 norm.",
        removes="rows and columns",
        options={"after": _WHEN},
    ),
    "activation": MethodSpec(
        label="Activation-weighted magnitude",
        source=ACTIVATION,
        text="Closes the gates of smallest norm, each weight times the size of its input.",
        removes="rows and columns",
        options={"after": _WHEN, "rows": _rows(512)},
    ),
    "taylor": MethodSpec(
        label="First-order Taylor",
        source=TAYLOR,
        text="Closes the gates whose derivative of the loss, at 1, is smallest in size.",
        removes="rows and columns",
        options={"after": _WHEN, "rows": _rows(1024), "chunk": _CHUNK},
    ),
}
"""Name -> method. A new one is a row here and a class or row in `methods`."""

METHODS |= {
    f"{name}-posthoc": MethodSpec(
        label=f"{METHODS[name].label}, no training after",
        source=METHODS[name].source,
        text=f"The gates of {name!r} on the run trained with nothing removed; no training after.",
        removes="rows and columns",
        starts_trained=True,
        options={k: v for k, v in METHODS[name].options.items() if k != "after"},
    )
    for name in ("random", "magnitude", "activation", "taylor")
}

METHODS |= {
    "movement": MethodSpec(
        label="Movement",
        source="Sanh et al. 2020, arXiv 2005.07683; Lagunas et al. 2021, arXiv 2109.04838",
        text="Scores learned through a straight-through mask of the best gates, rising target.",
        removes="rows and columns",
        learns_gates=True,
    ),
    "l0": MethodSpec(
        label="L0 masks",
        source="Xia et al. 2022 (CoFi), arXiv 2204.00408; Louizos et al. 2018, arXiv 1712.01312",
        text="Hard-concrete gates whose expected share is held at the target by multipliers.",
        removes="rows and columns",
        learns_gates=True,
        options={
            "rate": OptionSpec(0.1, 0, 10, "learning rate of the gates"),
            "ascent": OptionSpec(10.0, 0, 1e6, "rise of the multipliers a step, per missed share"),
        },
    ),
    "group-lasso": MethodSpec(
        label="Group lasso",
        source="Wen et al. 2016 (SSL), arXiv 1608.03665",
        text="Takes a constant off the norm of each gate's rows and columns after each step.",
        removes="rows and columns",
        learns_gates=True,
        options={
            "rate": OptionSpec(0.02, 0, 1, "learning rate of the gates"),
            "strength": OptionSpec(1.0, 0, 1e3, "shrinkage over the learning phase, in mean norms"),
        },
    ),
    "svd": MethodSpec(
        label="Low-rank SVD",
        source="Guo et al. 2024 (PELA), arXiv 2310.10700",
        text="Replaces each matrix by two thin ones from its SVD, and trains all weights.",
        removes="rank",
        options={"rate": _rate(1e-4)},
    ),
    "full": MethodSpec(
        label="Full finetuning",
        source="reference",
        text="Trains all weights.",
    ),
    "probe": MethodSpec(
        label="Linear probe",
        source="control",
        text="Trains the head alone.",
    ),
    "bitfit": MethodSpec(
        label="BitFit",
        source="Ben Zaken et al. 2022, arXiv 2106.10199",
        text="Trains every bias of the backbone.",
        trains="biases",
        options={"rate": _rate(3e-3)},
    ),
    "rocoft": MethodSpec(
        label="RoCoFT",
        source="Kowsher et al. 2024, arXiv 2410.10075",
        text="Trains the first rows or columns of each matrix.",
        trains="low_rank",
        options={
            "rows": OptionSpec(3, 0, 1_000_000, "rows of each matrix", whole=True),
            "columns": OptionSpec(0, 0, 1_000_000, "columns of each matrix", whole=True),
            "rate": _rate(1e-3),
        },
    ),
    "lora-xs": MethodSpec(
        label="LoRA-XS",
        source="Balazy et al. 2024, arXiv 2405.17604",
        text="Trains a small square matrix between the frozen singular vectors of each matrix.",
        trains="low_rank",
        options={"rank": _rank(16), "rate": _rate(3e-3)},
    ),
    "lora": _peft("LoRA", "Hu et al. 2022, arXiv 2106.09685", "Adds B A, two thin matrices.", 1e-3),
    "lora-fa": _peft("LoRA-FA", "Zhang et al. 2023, arXiv 2308.03303", "LoRA with A frozen.", 2e-3),
    "velora": _peft(
        "VeLoRA",
        "Miles et al. 2024, arXiv 2405.17991",
        "LoRA that keeps compressed activations for the backward pass.",
        1e-3,
        groups=OptionSpec(64, 1, 65536, "groups of features of one activation", whole=True),
    ),
    "adalora": _peft(
        "AdaLoRA",
        "Zhang et al. 2023, arXiv 2303.10512",
        "Low-rank updates in the form of an SVD whose ranks are shared out by importance.",
        2e-3,
    ),
    "vera": _peft(
        "VeRA",
        "Kopiczko et al. 2024, arXiv 2310.11454",
        "One pair of random matrices for all layers, trained vectors between them.",
        1e-2,
        rank=_rank(256, "rank of the shared random matrices"),
    ),
    "ia3": MethodSpec(
        label="(IA)3",
        source="Liu et al. 2022 (T-Few), arXiv 2205.05638",
        text="Scales keys, values and FFN activations by trained vectors.",
        trains="low_rank",
        options={"rate": _rate(1e-2)},
        peft=True,
    ),
    "glora": _peft(
        "GLoRA",
        "Chavan et al. 2023, arXiv 2306.07967",
        "Scales and shifts of weights and biases, each of low rank.",
        1e-3,
    ),
}


def spec_of(name: str) -> MethodSpec:
    """The row of a method. Raises UserError that lists the names."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]


def options_of(method: str, given: Options) -> dict[str, float]:
    """Every option of a method: what is given, else its default where it has one.

    Raises UserError for an option that the method has not, or a value out of its range.
    """
    return checked_options(f"method {method!r}", spec_of(method).options, given)


def without_defaults(method: str, given: Options) -> Options:
    """The options that differ from their defaults, so that one training has one identity."""
    specs = spec_of(method).options
    values = options_of(method, given)
    return tuple((name, values[name]) for name, _ in given if values[name] != specs[name].default)
