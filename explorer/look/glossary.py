"""One glossary, used by all tooltips: what each word means in a sentence or two; names of tasks."""

from finegates_engine.ladder import RUNGS
from finegates_engine.metrics import METRICS
from finegates_engine.tasks import TASKS

TERMS: dict[str, str] = {
    "gate": "A learned number in [0, 1] for one row or column of a weight matrix. 0 removes it.",
    "open": "A gate of exactly 1: its row or column stays as it is.",
    "soft": "A gate strictly between 0 and 1. It is kept, and still scales its row or column.",
    "closed": "A gate of exactly 0: its row or column leaves the model.",
    "kept": "A gate above 0, open or soft.",
    "target": (
        "The share that was asked for. Its unit is always said: weights that leave the encoder "
        "by folding, or gates closed."
    ),
    "gate_sparsity": "Closed gates divided by all trained gates.",
    "removed_weight_fraction": (
        "1 less the kept rows x kept columns, over the matrices that carry gates."
    ),
    "folded_encoder_fraction": (
        "What leaves when the gated model is folded into a smaller one, divided by all Linear "
        "weights of the encoder's blocks. Embeddings and pooler are not counted."
    ),
    "stored_weight_fraction": "What one compiled form of the smaller model really holds.",
    "removed_model_fraction": (
        "Folded weights removed, divided by all parameters of the model, embeddings included."
    ),
    "macs_per_token": (
        "Multiply-accumulates of the whole model for a token, both attention products included."
    ),
    "file_bytes": "Size of the smaller model's file.",
    "latency_ms": "Median time of one call on one machine; never compared across machines.",
    "point": "0.01 of the task's metric.",
    "interval": (
        "95%: evaluation rows resampled (2,000 draws, paired between methods), and the variance "
        "over seeds by Student's t. With one seed: rows only, since how seeds differ is unknown."
    ),
    "pareto": (
        "A level is on the Pareto front when no other level that is shown is at least as good on "
        "both axes and better on one."
    ),
    "path": (
        "A path trains level after level, each starting from the one before. Independent runs "
        "each start from the frozen backbone."
    ),
    "variant": "Runs of one method whose settings differ, other than target and seed.",
    "jaccard": "Gates kept in both runs, divided by gates kept in either. 1: the same gates.",
    "chance": (
        "What two runs would share if each vector kept as many gates, but picked at random."
    ),
    "nested": (
        "Levels are nested when every gate that is closed at a lower target stays closed at the "
        "higher ones."
    ),
    "keep_frequency": "In how many of the compared runs a dimension is kept.",
    "seed": "The number behind initial values, order of rows, dropout and gate noise of a run.",
    "fold": (
        "To build the smaller model: a pair of dimensions leaves together, such as a row of the "
        "query and the same row of the key. It computes the same as the gated model."
    ),
    "phase": (
        "A training with learned gates has three parts: all gates open, gates learned while the "
        "target rises, gates fixed at 0 or 1 while head, biases and updates go on."
    ),
    "penalty": "How far the expected share that is removed is from the target.",
    "mu": "A gate's learned location, between -1 and 1; without noise its value is mu + 0.5.",
    "noise": "Random numbers added to a gate in training, so that it tries both being 0 and not.",
    "kept_probability": "How likely a gate with its noise is above 0, so that its row is kept.",
    "gradient": "How the penalty changes when mu rises a little; training goes the other way.",
    "sweep": "Trainings over several targets and seeds; only those that the store lacks run.",
    "backbone": "The pretrained Transformer whose weights stay frozen.",
}


def explain(term: str) -> str:
    """The meaning of a word, of a rung of the ladder or of a metric, for a tooltip."""
    if term in TERMS:
        return TERMS[term]
    if term in METRICS:
        spec = METRICS[term]
        return f"{spec.label}: {spec.unit}, {spec.better} is better. One point is {spec.point:g}."
    return RUNGS[term].axis_title


def task_title(name: str) -> str:
    """A task's name as its authors write it."""
    return TASKS[name].title if name in TASKS else name
