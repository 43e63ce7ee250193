"""What `benchmarks/controls.py` compares: every method, and some closed at other moments too."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from finegates_engine.config import RunConfig
from finegates_engine.method_options import Options
from finegates_engine.method_table import METHODS, MethodSpec

EARLY = {"open_start": 0.2, "ramp": 0.2, "finish": 0.6}
"""Phases with which gates are closed in the first two fifths of the training."""

FIRST: Options = (("after", 0.0),)


@dataclass(frozen=True)
class Curve:
    """A method with its settings; a point for one that removes nothing."""

    method: str
    label: str
    phases: Mapping[str, float] = field(default_factory=dict)
    """Changes of the gates' settings."""

    options: Options = ()
    """Options of the method."""

    @property
    def spec(self) -> MethodSpec:
        """The row of its method."""
        return METHODS[self.method]

    def config(self, base: RunConfig) -> RunConfig:
        """The settings of its runs."""
        gates = replace(base.gates, **self.phases)
        return replace(base, method=self.method, method_options=self.options, gates=gates)

    @property
    def words(self) -> dict[str, str]:
        """Options of `finegates sweep` -> values."""
        words = {"method": self.method}
        words |= {name.replace("_", "-"): f"{value:g}" for name, value in self.phases.items()}
        if self.options:
            words["method-options"] = ",".join(f"{name}={value:g}" for name, value in self.options)
        return words


CURVES: dict[str, Curve] = {name: Curve(name, spec.label) for name, spec in METHODS.items()}
CURVES |= {
    f"{name}-early": Curve(name, f"{METHODS[name].label}, closed early", EARLY)
    for name in ("finegates", "taylor", "movement", "l0", "group-lasso")
}
CURVES |= {
    f"{name}-first": Curve(name, f"{METHODS[name].label}, closed first", EARLY, FIRST)
    for name in ("random", "magnitude", "activation")
}
"""Name on the command line -> curve."""

COMPARED = tuple(
    name
    for name, curve in CURVES.items()
    if curve.spec.removes != "nothing"
    and name != "finegates"
    and (not curve.spec.starts_trained or name == "taylor-posthoc")
)
"""Curves whose difference to FineGates is reported, each trained for the same steps; of those that
close their gates only after them, the best."""
