"""Put gates into a frozen model, walk the gated layers, name what is trained."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from finegates_engine.architectures import Architecture, GateKind, architecture_of, gate_kinds
from finegates_engine.config import GateConfig, ModelConfig
from finegates_engine.gates.gate import StochasticGates
from finegates_engine.gates.layers import GatedLinear

PARTS = ("gates", "biases", "low_rank", "head", "backbone")
"""Kinds of trained values, each with a learning rate of its own."""


class TextClassifier(nn.Module):
    """A frozen backbone with gated linear layers, a pooling and a trained head.

    `pooling="mean"` averages the last hidden states over unmasked tokens and applies one
    linear layer; `"model"` is Hugging Face's own sequence classifier. One output per class,
    or one for regression.
    """

    def __init__(
        self, network: nn.Module, architecture: Architecture, *, pooling: str, outputs: int
    ) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.pooling = pooling
        self.outputs = outputs
        config = cast(Any, network.config)
        self.head: nn.Linear | None = None
        if pooling == "mean":
            hidden = getattr(config, architecture.fields["hidden"])
            self.head = nn.Linear(hidden, outputs)
        self.gates: StochasticGates | None = None
        self.gate_dims: dict[str, int] = {}
        self.gate_kinds: dict[str, GateKind] = {}
        self.noise: torch.Generator | None = None
        self.gate_values: Tensor | None = None
        """Used in place of the gates' own values, (gates,), where it is set."""
        self._attached: list[tuple[GatedLinear, str, list[str]]] = []

    @property
    def base_model(self) -> nn.Module:
        """The backbone without any head."""
        return cast(nn.Module, getattr(self.network, "base_model", self.network))

    def blocks(self) -> list[nn.Module]:
        """The Transformer blocks, in order."""
        return list(cast(nn.ModuleList, self.base_model.get_submodule(self.architecture.blocks)))

    def dimension(self, name: str) -> int:
        """A size of the backbone: "hidden", "heads" or "ffn"."""
        return int(getattr(cast(Any, self.network.config), self.architecture.fields[name]))

    def enable_gradient_checkpointing(self) -> None:
        """Recompute activations in the backward pass instead of keeping them."""
        cast(Any, self.network).gradient_checkpointing_enable(
            gradient_checkpointing_kwargs={"use_reentrant": False}
        )

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """input_ids, attention_mask: (batch, tokens) -> logits (batch, outputs), fp32."""
        self._set_gates()
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        output = self.network(**inputs)
        if self.head is None:
            return cast(Tensor, output.logits).float()
        mask = attention_mask.unsqueeze(-1).to(output.last_hidden_state.dtype)
        total = (output.last_hidden_state * mask).sum(1)
        return cast(Tensor, self.head(total / mask.sum(1).clamp(min=1))).float()

    def _set_gates(self) -> None:
        if self.gates is None:
            return
        flat = self.gate_values
        if flat is None:
            flat = self.gates.sample(self.noise) if self.training else self.gates.value()
        values = self.gates.split(flat)
        for layer, side, keys in self._attached:
            gate = _joined(values, keys, self.gate_dims)
            if side == "rows":
                layer.row_gate = gate
            else:
                layer.column_gate = gate


def _joined(values: dict[str, Tensor], keys: list[str], dims: dict[str, int]) -> Tensor:
    """The product of the gates that act on one side of one matrix, (dimensions,)."""
    parts = [values[key].repeat_interleave(dims[key]) for key in keys]
    gate = parts[0]
    for part in parts[1:]:
        gate = gate * part
    return gate


def build_model(folder: Path, config: ModelConfig, *, outputs: int, seed: int) -> TextClassifier:
    """The frozen backbone with a head for `outputs` values, without gates.

    folder: the backbone's local files. The head's start values depend on `seed` alone.
    Raises UserError for a model type that is not in the table.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, logging

    model_type = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type
    architecture = architecture_of(model_type)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        safe = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
        if config.pooling == "mean":
            network = AutoModel.from_pretrained(folder, **safe, **architecture.base_options)
        else:
            network = AutoModelForSequenceClassification.from_pretrained(
                folder, **safe, num_labels=outputs
            )
        model = TextClassifier(network, architecture, pooling=config.pooling, outputs=outputs)
    model.requires_grad_(False)
    for _, parameter in head_parameters(model):
        parameter.requires_grad_(True)
    return model


def add_gates(
    model: TextClassifier, gates: GateConfig, config: ModelConfig, *, seed: int
) -> StochasticGates:
    """Wrap the gated matrices of every block, in place, and return the gates.

    All gates start open: logits in evaluation are those of the model without gates.
    """
    generator = torch.Generator().manual_seed(seed)
    kinds = gate_kinds(gates.axes, tie=gates.tie, head_gates=gates.head_gates)
    heads = model.dimension("heads")
    sizes: dict[str, int] = {}
    for index, block in enumerate(model.blocks()):
        layers = _wrap_block(block, model.architecture, kinds, config, generator)
        acting: dict[tuple[str, str], list[str]] = {}
        for name, kind in kinds.items():
            key = f"{index}/{name.replace('.', '_')}"
            role, side = kind.acts[0]
            weight = layers[role].base_layer.weight
            size = weight.shape[0 if side == "rows" else 1]
            sizes[key] = heads if kind.per_head else size
            model.gate_dims[key] = size // sizes[key]
            model.gate_kinds[key] = kind
            for place in kind.acts:
                acting.setdefault(place, []).append(key)
        model._attached += [(layers[role], side, keys) for (role, side), keys in acting.items()]
    bank = StochasticGates(
        sizes,
        noise_std=gates.noise_std,
        penalty_std=gates.penalty_std,
        hard=gates.relaxation == "hard",
        generator=generator,
    )
    model.gates = bank
    model.noise = torch.Generator()
    return bank


def _wrap_block(
    block: nn.Module,
    architecture: Architecture,
    kinds: dict[str, GateKind],
    config: ModelConfig,
    generator: torch.Generator,
) -> dict[str, GatedLinear]:
    roles = {role for kind in kinds.values() for role, _ in kind.removes}
    layers = {}
    for role, path in architecture.modules.items():
        if role not in roles:
            continue
        base = cast(nn.Linear, block.get_submodule(path))
        layer = GatedLinear(
            base,
            rank=config.low_rank,
            alpha=config.low_rank_alpha,
            dropout=config.low_rank_dropout,
            generator=generator,
        )
        if base.bias is not None:
            base.bias.requires_grad_(config.train_biases)
        parent, _, leaf = path.rpartition(".")
        setattr(block.get_submodule(parent), leaf, layer)
        layers[role] = layer
    return layers


def replace_linears(
    model: TextClassifier, make: Callable[[int, str, nn.Linear], nn.Module | None]
) -> None:
    """Put what `make` gives for (block, role, layer) in the place of each matrix of the blocks.

    None leaves it as it is.
    """
    for index, block in enumerate(model.blocks()):
        for role, path in model.architecture.modules.items():
            made = make(index, role, cast(nn.Linear, block.get_submodule(path)))
            if made is not None:
                parent, _, leaf = path.rpartition(".")
                setattr(block.get_submodule(parent), leaf, made)


def iter_gated_layers(model: TextClassifier) -> Iterator[tuple[int, str, GatedLinear]]:
    """(block, role, layer) of every gated matrix, in the order in which data pass them."""
    for index, block in enumerate(model.blocks()):
        for role, path in model.architecture.modules.items():
            module = block.get_submodule(path)
            if isinstance(module, GatedLinear):
                yield index, role, module


def head_parameters(model: TextClassifier) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and value of what comes after the blocks and is trained: pooler and classifier."""
    if model.head is not None:
        yield from model.head.named_parameters(prefix="head")
        return
    for path in model.architecture.head:
        module = model.network.get_submodule(path)
        yield from module.named_parameters(prefix=f"network.{path}")


def trained_parameters(model: TextClassifier) -> dict[str, dict[str, nn.Parameter]]:
    """Everything that is trained: part (see PARTS) -> name -> parameter."""
    parts: dict[str, dict[str, nn.Parameter]] = {part: {} for part in PARTS}
    if model.gates is not None:
        parts["gates"]["gates.logit"] = model.gates.logit
    parts["head"] = dict(head_parameters(model))
    for index, role, layer in iter_gated_layers(model):
        bias = layer.base_layer.bias
        if bias is not None and bias.requires_grad:
            parts["biases"][f"blocks.{index}.{role}.bias"] = bias
        for name in ("low_rank_down", "low_rank_up"):
            value = getattr(layer, name)
            if value is not None:
                parts["low_rank"][f"blocks.{index}.{role}.{name}"] = value
    known = {id(p) for part in parts.values() for p in part.values()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in known:
            parts["backbone"][name] = parameter
    return parts


def adapter_state(model: TextClassifier) -> dict[str, Tensor]:
    """All that was trained, and which gates are closed, as name -> CPU tensor."""
    state = {
        name: parameter.detach().cpu().contiguous()
        for part in trained_parameters(model).values()
        for name, parameter in part.items()
    }
    if model.gates is not None:
        state["gates.closed"] = model.gates.closed.cpu()
        state["gates.fixed"] = model.gates.fixed.cpu()
        state["gates.value"] = model.gates.value().detach().cpu()
    return state


@torch.no_grad()
def load_adapter_state(model: TextClassifier, state: dict[str, Tensor]) -> None:
    """Put back what `adapter_state` gave. Raises ValueError for a name or shape that is off."""
    targets: dict[str, Tensor] = {
        name: parameter
        for part in trained_parameters(model).values()
        for name, parameter in part.items()
    }
    if model.gates is not None:
        targets["gates.closed"], targets["gates.fixed"] = model.gates.closed, model.gates.fixed
    missing = sorted(targets.keys() - state.keys())
    extra = sorted(state.keys() - targets.keys() - {"gates.value"})
    if missing or extra:
        raise ValueError(f"adapter does not fit the model: missing {missing}, unknown {extra}")
    for name, target in targets.items():
        if target.shape != state[name].shape:
            raise ValueError(
                f"adapter tensor {name} has shape {tuple(state[name].shape)}, "
                f"the model needs {tuple(target.shape)}"
            )
        target.copy_(state[name])
    if model.gates is not None and model.gates.fixed:
        model.gates.logit.requires_grad_(False)
