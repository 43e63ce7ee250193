"""What each method of the table computes: a file for each kind, and the registry here."""

from finegates_engine.config import RunConfig
from finegates_engine.method_table import spec_of
from finegates_engine.methods.base import Method
from finegates_engine.methods.finegates import FineGates
from finegates_engine.methods.fisher import FisherGates
from finegates_engine.methods.group_lasso import GroupLasso
from finegates_engine.methods.hard_concrete import HardConcrete
from finegates_engine.methods.movement import Movement
from finegates_engine.methods.one_shot import Activation, Magnitude, RandomGates, Taylor
from finegates_engine.methods.peft_table import CONFIGS, AdaLora, PeftPoint
from finegates_engine.methods.plain import BitFit, Full, LoraXS, RoCoFT
from finegates_engine.methods.svd import LowRank

CLASSES: dict[str, type[Method]] = {
    "finegates": FineGates,
    "random": RandomGates,
    "magnitude": Magnitude,
    "activation": Activation,
    "taylor": Taylor,
    "movement": Movement,
    "l0": HardConcrete,
    "group-lasso": GroupLasso,
    "svd": LowRank,
    "full": Full,
    "probe": Method,
    "bitfit": BitFit,
    "rocoft": RoCoFT,
    "lora-xs": LoraXS,
    **dict.fromkeys(CONFIGS, PeftPoint),
    "adalora": AdaLora,
}
"""Name -> class; a `-posthoc` method has that of the method it is made of."""


def method_of(config: RunConfig) -> Method:
    """The method of a config, for one training. Raises UserError for a bad name or option."""
    spec_of(config.method)
    if config.method == "finegates" and config.gates.learn == "fisher":
        return FisherGates(config)
    return CLASSES[config.method.removesuffix("-posthoc")](config)
