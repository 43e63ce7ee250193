"""How long each part of a folded model takes in one call, of the time without any instrument.

Each function of torch that the model calls is timed by itself; matrices are told by their tensors,
what follows them by its place. A skeleton, a model that calls the same functions on next to
nothing, is timed alike: what a function takes there is the cost of calling it, not of its work,
and the clock's own cost is in both. So the time of a part is that of its work alone; what is left
of the plain model's time is Python, dispatch, and what lies between functions.

Where the CPU's thread does all the work, shares are of its own time, which other processes on a
busy machine do not lengthen. Whole times are the wall's.

Held against a model that leaves attention out (MiniLM, 60% removed, one thread), its part was right
to 4% at 1 x 64 tokens and to 1% at 8 x 64. The activation's was off by up to a third of itself, 2%
of the call: leaving it out also spares memory that others pay for.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from finegates_engine.explain.explanation import PARTS
from finegates_engine.folded import FoldedClassifier, ModelSpec
from finegates_engine.folded.head_rows import MOST_TOKENS
from finegates_engine.folded.layers import BlockSpec, MatrixSpec

Clock = Callable[[], float]

_MATRICES = {
    "attention.qkv": "qkv",
    "attention.output": "attention_output",
    "ffn.input": "ffn_in",
    "ffn.output": "ffn_out",
}
_AFTER = {"qkv": "attention", "ffn_in": "activation"}
_NAMED = {
    "gather": "take",
    "index_select": "take",
    "layer_norm": "norm",
    "rms_norm": "norm",
    "embedding": "embeddings",
    "mean": "head",
}
_TINY = 2  # width of everything in a skeleton; rotated pairs need an even one
_INTERVAL = 1.96


class PartTimer(TorchFunctionMode):
    """Adds up the time of each part of one call of a model."""

    def __init__(self, model: FoldedClassifier, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._known = _tensors_of(model)
        self.seconds: dict[str, float] = {}
        self._last = ""

    def begin(self) -> None:
        """Forget the call before."""
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._last = ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        begun = self._clock()
        result = func(*args, **kwargs)
        spent = self._clock() - begun
        part = _NAMED.get(getattr(func, "__name__", ""))
        if part is None:
            values = (*args, *kwargs.values())
            part = next((self._known[id(v)] for v in values if id(v) in self._known), None)
            if part is not None:
                self._last = part
            else:
                part = _AFTER.get(self._last, "elementwise")
        self.seconds[part] += spent
        return result


def _tensors_of(model: FoldedClassifier) -> dict[int, str]:
    """Identity of each tensor of a matrix -> its part."""
    known: dict[int, str] = {}

    def add(module: nn.Module, part: str) -> None:
        known.update((id(tensor), part) for tensor in module.parameters())
        known.update((id(tensor), part) for tensor in module.buffers())

    for block in model.blocks:
        modules = dict(block.named_modules())
        for path, part in _MATRICES.items():
            if path in modules:
                add(modules[path], part)
    for module in (model.classifier, model.pooler):
        if module is not None:
            add(module, "head")
    return known


@dataclass(frozen=True)
class Recorder:
    """A model's calls, plain and with its parts timed, for a race; and what they took."""

    model: FoldedClassifier
    inputs: tuple[Tensor, Tensor]
    clock: Clock
    plain_seconds: list[float]
    """Of each plain call, by the clock."""

    part_seconds: list[dict[str, float]]
    """Of each timed call: part -> seconds; "all" is the whole call."""

    @staticmethod
    def of(model: FoldedClassifier, inputs: tuple[Tensor, Tensor], clock: Clock) -> "Recorder":
        """With nothing recorded."""
        return Recorder(model, inputs, clock, [], [])

    def plain(self) -> None:
        """The call as it is."""
        begun = self.clock()
        self.model(*self.inputs)
        self.plain_seconds.append(self.clock() - begun)

    def timed(self) -> Callable[[], None]:
        """The call with its parts timed."""
        timer = PartTimer(self.model, self.clock)

        def call() -> None:
            timer.begin()
            begun = self.clock()
            with timer:
                self.model(*self.inputs)
            whole = self.clock() - begun
            self.part_seconds.append({**timer.seconds, "all": whole})

        return call

    def plain_mean(self) -> float:
        """Mean seconds of a plain call, over the faster half of them."""
        return float(np.mean(_faster_half(self.plain_seconds)))

    def slowed(self) -> float:
        """How many times as long a call takes while its parts are timed."""
        timed = [call["all"] for call in self.part_seconds]
        return float(np.mean(_faster_half(timed))) / self.plain_mean()

    def means(self) -> dict[str, tuple[float, float]]:
        """Part -> mean seconds and half its 95% interval, over the faster half of the calls."""
        whole = np.array([call["all"] for call in self.part_seconds])
        chosen = np.flatnonzero(whole <= np.median(whole))
        found = {}
        for part in PARTS:
            values = np.array([self.part_seconds[index][part] for index in chosen])
            error = _INTERVAL * float(values.std()) / np.sqrt(len(values))
            found[part] = (float(values.mean()), float(error))
        return found


def split_up(real: Recorder, skeleton: Recorder, whole_ms: float) -> dict[str, tuple[float, float]]:
    """Part -> ms of one call and half its 95% interval; they sum up to `whole_ms`.

    real, skeleton: both with calls. whole_ms: of a plain call, by the wall. Where the parts come
    out longer than the whole, by noise, they are scaled to it and nothing is left for Python.
    """
    empty, scale = skeleton.means(), whole_ms / real.plain_mean()
    found = {
        part: (max(0.0, mean - empty[part][0]) * scale, error * scale)
        for part, (mean, error) in real.means().items()
    }
    work = sum(ms for part, (ms, _) in found.items() if part != "python")
    if work > whole_ms:
        found = {part: (ms * whole_ms / work, error) for part, (ms, error) in found.items()}
        work = whole_ms
    values = _faster_half(real.plain_seconds)
    error = _INTERVAL * float(values.std()) / np.sqrt(len(values)) * scale
    found["python"] = (whole_ms - work, float(np.hypot(error, max(e for _, e in found.values()))))
    return found


def _faster_half(seconds: Iterable[float]) -> NDArray[np.float64]:
    values = np.asarray(list(seconds))
    half: NDArray[np.float64] = values[values <= np.median(values)]
    return half


def clock_for(device: str, threads: int) -> tuple[Clock, bool]:
    """The clock of shares, and whether it is the thread's own."""
    if torch.device(device).type == "cuda":

        def synchronised() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return synchronised, False
    return (time.thread_time, True) if threads == 1 else (time.perf_counter, False)


def skeleton_of(model: FoldedClassifier) -> FoldedClassifier:
    """A model that calls the same functions, with next to no work; for rows of one token."""
    spec = model.spec
    kind = dataclasses.replace(spec.kind, hidden=_TINY)
    blocks = tuple(_tiny_block(block, gated=kind.gated) for block in spec.blocks)
    positions = 1 if spec.padding_id is None else spec.padding_id + 2
    changes: Mapping[str, Any] = {"kind": kind, "blocks": blocks, "positions": positions}
    tiny = FoldedClassifier(dataclasses.replace(spec, vocabulary=_vocabulary(spec), **changes))
    return tiny.to(model.words.weight.device, model.words.weight.dtype)


def skeleton_inputs(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of one token, with their mask, that take the same way through a model as `ids`."""
    short = ids.shape[0] == 1 and ids.shape[1] <= MOST_TOKENS
    tiny = torch.zeros(1 if short else 2, 1, dtype=torch.int64, device=ids.device)
    return tiny, torch.ones_like(tiny)


def _vocabulary(spec: ModelSpec) -> int:
    return 1 if spec.padding_id is None else spec.padding_id + 2


def _tiny_block(block: BlockSpec, *, gated: bool) -> BlockSpec:
    grouped = block.heads != block.key_value_heads
    key_heads = min(1, block.heads)
    heads = key_heads * (2 if grouped else 1)
    ffn = min(_TINY, block.ffn)
    return dataclasses.replace(
        block,
        heads=heads,
        key_value_heads=key_heads,
        width=_TINY,
        ffn=ffn,
        qkv=_tiny_matrix(block.qkv, (heads + 2 * key_heads) * _TINY, _TINY),
        attention_output=_tiny_matrix(block.attention_output, _TINY, heads * _TINY),
        ffn_in=_tiny_matrix(block.ffn_in, ffn * (2 if gated else 1), _TINY),
        ffn_out=_tiny_matrix(block.ffn_out, _TINY, ffn),
    )


def _tiny_matrix(matrix: MatrixSpec, rows: int, columns: int) -> MatrixSpec:
    return dataclasses.replace(
        matrix,
        rows=rows,
        columns=columns,
        take_in=columns if matrix.take_in else 0,
        take_out=rows if matrix.take_out else 0,
    )
