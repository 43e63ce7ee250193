"""Points at nothing removed through the package peft: a table of its configs.

peft is imported inside functions: it takes seconds.
"""

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finegates_engine.errors import UserError
from finegates_engine.gates.model import TextClassifier, trained_parameters
from finegates_engine.gates.schedule import Moment
from finegates_engine.methods.base import Method

if TYPE_CHECKING:
    from finegates_engine.train.trainer import GateTrainer

ADAPTER = "default"
ALPHA = 2.0
"""Scale of a low-rank update: alpha / rank, as FineGates' own update has by default."""

INITIAL_RANK = 1.5
"""AdaLoRA: rank before any is taken away, over the mean rank at the end (arXiv 2303.10512)."""

ADALORA_PHASES = (0.1, 0.3)
"""AdaLoRA: shares of the steps before ranks are taken away, and after."""

Targets = Mapping[str, str]
"""Role -> pattern of the full names of that matrix in all blocks."""

Values = Mapping[str, float]
"""The method's options, and `dropout`."""


def _lora(targets: Targets, values: Values, **more: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=int(values["rank"]),
        lora_alpha=ALPHA * values["rank"],
        lora_dropout=values["dropout"],
        target_modules=_any(targets),
        **more,
    )


def _velora(targets: Targets, values: Values) -> Any:
    from peft import VeloraConfig

    return _lora(targets, values, velora_config=VeloraConfig(num_groups=int(values["groups"])))


def _adalora(targets: Targets, values: Values) -> Any:
    from peft import AdaLoraConfig

    rank = int(values["rank"])
    return AdaLoraConfig(
        init_r=max(rank + 1, round(INITIAL_RANK * rank)),
        target_r=rank,
        lora_alpha=ALPHA * rank,
        lora_dropout=values["dropout"],
        target_modules=_any(targets),
        total_step=2**31,  # set when the number of steps is known
    )


def _vera(targets: Targets, values: Values) -> Any:
    from peft import VeraConfig

    return VeraConfig(
        r=int(values["rank"]), vera_dropout=values["dropout"], target_modules=_any(targets)
    )


def _ia3(targets: Targets, values: Values) -> Any:
    from peft import IA3Config

    chosen = {role: targets[role] for role in ("key", "value", "ffn_out")}
    return IA3Config(target_modules=_any(chosen), feedforward_modules=targets["ffn_out"])


def _glora(targets: Targets, values: Values) -> Any:
    from peft import GloraConfig

    return GloraConfig(r=int(values["rank"]), target_modules=_any(targets))


CONFIGS: dict[str, Callable[[Targets, Values], Any]] = {
    "lora": _lora,
    "lora-fa": _lora,
    "velora": _velora,
    "adalora": _adalora,
    "vera": _vera,
    "ia3": _ia3,
    "glora": _glora,
}
"""Method -> its peft config."""

FROZEN = {"lora-fa": "lora_A"}
"""Method -> part of the names of what it adds and does not train."""


class PeftPoint(Method):
    """A method of peft on the same matrices as the gates, with the same head."""

    def prepare(self, model: TextClassifier) -> None:
        """Puts the adapter into the backbone. Raises UserError where its options do not fit."""
        values = {**self.options, "dropout": self.config.model.low_rank_dropout}
        head = list(trained_parameters(model)["head"].values())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            try:
                self._inject(model, values)
            except ImportError as error:
                raise UserError(
                    f"Method {self.config.method!r} needs a newer package peft: {error}. "
                    "Run: pip install -U peft"
                ) from error
            except (ValueError, TypeError) as error:
                raise UserError(
                    f"Method {self.config.method!r} does not fit this backbone with options "
                    f"{self.options}: {error}"
                ) from error
        frozen = FROZEN.get(self.config.method)
        for name, parameter in model.network.named_parameters():
            if frozen is not None and frozen in name:
                parameter.requires_grad_(False)
        for parameter in head:  # peft freezes all that it has not added
            parameter.requires_grad_(True)

    def _inject(self, model: TextClassifier, values: Values) -> None:
        """By the tuner itself, on which some methods keep what their layers share."""
        from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

        self.settings: Any = CONFIGS[self.config.method](_targets(model), values)
        kind = PEFT_TYPE_TO_TUNER_MAPPING[self.settings.peft_type]
        self.tuner: Any = kind(model.network, self.settings, ADAPTER)


class AdaLora(PeftPoint):
    """AdaLoRA: its ranks are shared out during the training, and its factors kept orthogonal."""

    def begin_step(self, trainer: "GateTrainer", now: Moment, before: Moment | None) -> None:
        """Its schedule needs the number of steps."""
        steps = trainer.state.max_steps
        first, last = (int(share * steps) for share in ADALORA_PHASES)
        self.settings.total_step, self.settings.tinit = steps, first
        self.settings.tfinal = max(1, last)

    def penalty(self, trainer: "GateTrainer") -> Tensor:
        """Mean distance of the factors from orthogonal ones, weighted as in peft."""
        distances = []
        for name, factor in trainer.classifier.network.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                rows = factor if "lora_A" in name else factor.T
                eye = torch.eye(len(rows), device=factor.device)
                distances.append(torch.linalg.matrix_norm(rows @ rows.T - eye))
        return float(self.settings.orth_reg_weight) * torch.stack(distances).mean()

    def end_step(self, trainer: "GateTrainer") -> None:
        """Shares out the ranks, which takes three steps."""
        if self.settings.total_step > 2:
            self.tuner.update_and_allocate(trainer.state.global_step)

    def state(self) -> dict[str, Tensor]:
        """Running importances, and the ranks that are left."""
        allocator = self.tuner.rankallocator
        state = {
            f"{kind}.{name}": value.cpu()
            for kind in _RUNNING
            for name, value in getattr(allocator, kind).items()
        }
        for name, kept in (self.settings.rank_pattern or {}).items():
            state[f"ranks.{name}"] = torch.tensor(kept)
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        parts: dict[str, dict[str, Tensor]] = {kind: {} for kind in (*_RUNNING, "ranks")}
        for name, value in state.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = value
        for kind in _RUNNING:
            getattr(self.tuner.rankallocator, kind).update(parts[kind])
        if parts["ranks"]:
            ranks = {name: value.tolist() for name, value in parts["ranks"].items()}
            self.settings.rank_pattern = ranks


_RUNNING = ("ipt", "exp_avg_ipt", "exp_avg_unc")


def _targets(model: TextClassifier) -> dict[str, str]:
    """Pattern of the full names of each role's matrices in the network."""
    blocks = re.escape(model.architecture.blocks)
    return {
        role: rf"(?:.*\.)?{blocks}\.\d+\.{re.escape(path)}"
        for role, path in model.architecture.modules.items()
    }


def _any(targets: Targets) -> str:
    return "|".join(f"(?:{pattern})" for pattern in targets.values())
