"""How a folded model is laid out for where it runs, where the options leave that open."""

from dataclasses import replace

from finegates_engine.fold.block import FoldOptions


def onnx_options(options: FoldOptions) -> FoldOptions:
    """How a model is laid out for ONNX Runtime.

    Its Gather costs more than the zeros that spread heads save: MiniLM at 40% removed, one thread,
    was 1.55 and 1.53 times as fast as dense with padded heads (1 x 64 and 8 x 64 tokens), 1.41 and
    1.36 times with spread ones.
    """
    return replace(options, heads="padded") if options.heads == "auto" else options


def device_options(options: FoldOptions, device: str) -> FoldOptions:
    """How a model is laid out for a device, "cpu" or "cuda".

    On a GPU a short call takes the time of launching its operations, and what picks or spreads
    dimensions is one more of them.
    """
    if device == "cpu":
        return options
    heads = "padded" if options.heads == "auto" else options.heads
    residual = "zeros" if options.residual == "auto" else options.residual
    return replace(options, heads=heads, residual=residual)
