"""How close a folded model's outputs are to those of the gated one, as certificate.json. No torch.

The bounds are those of the design, section 4.
"""

import dataclasses
import json
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from finegates_engine.environment import Environment
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.validation import explain

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Form = Literal["torch", "onnx", "transformers"]

RELATIVE_BOUND: dict[Form, float] = {"torch": 1e-5, "onnx": 1e-4, "transformers": 1e-5}
"""Largest logit difference in fp32, as a share of the largest logit, or of 1."""

FORM_NAMES: dict[Form, str] = {
    "torch": "the folded model",
    "onnx": "the ONNX model",
    "transformers": "the transformers model",
}

LABELS_AGREE = 0.999
"""Share of rows outside ties whose label must be the same."""

SCORE_BOUND = 1e-4
"""Largest difference of a regression score."""

STORED_BOUND = 1e-2
"""Largest difference of a probability or score from the one stored with the run, which another
machine or precision of arithmetic may have computed."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Parity:
    """One form of the folded model against the gated model, over all validation rows."""

    rows: int = Field(ge=1)
    """Validation rows, of all splits."""

    largest_logit: float = Field(ge=0)
    """Largest absolute logit of the gated model."""

    largest_difference: float = Field(ge=0)
    """Largest absolute difference of a logit."""

    bound: float = Field(gt=0)
    """What `largest_difference` may be."""

    ties: int = Field(ge=0)
    """Rows whose two best classes differ by less than twice the bound; not counted as labels."""

    label_agreement: float | None = Field(ge=0, le=1)
    """Share of the other rows with the same label. None: regression, or ties alone."""

    passed: bool
    """Whether difference and labels are within the bounds."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Certificate:
    """The parity certificate of a folded run."""

    schema_version: Literal[1] = 1
    run_id: str
    kept_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the kept indices."""

    options: dict[str, str | int]
    """How the folded model is laid out (`fold.FoldOptions`)."""

    torch: Parity
    """The folded model in torch, fp32."""

    onnx: Parity | None = None
    """The folded model in ONNX Runtime, laid out as is fast there where the options leave that
    open. None: not exported."""

    transformers: Parity | None = None
    """The form that transformers loads by itself, with a narrower FFN. None: not made."""

    alone_difference: float = Field(ge=0)
    """Largest difference of a logit between a row alone and in a padded batch, folded."""

    stored_difference: float = Field(ge=0)
    """Largest difference of the gated model's probabilities or scores from the stored ones."""

    metrics: dict[str, dict[str, float | None]]
    """Scores of the folded model: split to metric to score."""

    stored_weight_fraction: float = Field(ge=0)
    """Weights in the folded blocks, zeros that fill them up included, over the dense encoder's."""

    file_bytes: int = Field(ge=0)
    """Bytes of the folded model's weights on disk, embeddings included."""

    dense_file_bytes: int = Field(ge=0)
    """The same of the model with nothing removed."""

    environment: Environment
    passed: bool
    """Whether every form is within its bounds, and the gated model is the one that was stored."""


CERTIFICATE: TypeAdapter[Certificate] = TypeAdapter(Certificate)


def compare(gated: NDArray[np.float32], folded: NDArray[np.float32], *, form: Form) -> Parity:
    """Parity of two arrays of logits, (rows, outputs); one output is a regression score.

    Raises UserError for logits that are not finite.
    """
    for name, logits in (("the gated model", gated), (FORM_NAMES[form], folded)):
        if not np.isfinite(logits).all():
            raise UserError(
                f"Some logits of {name} are not finite, so nothing can be said of its parity. "
                "Train the run again, or choose another."
            )
    largest = float(np.abs(gated).max())
    bound = RELATIVE_BOUND[form] * max(1.0, largest)
    difference = float(np.abs(gated.astype(np.float64) - folded).max())
    ties, agreement = 0, None
    if gated.shape[1] == 1:
        bound = min(bound, SCORE_BOUND)
    else:
        best = np.sort(gated, axis=1)
        clear = best[:, -1] - best[:, -2] >= 2 * bound
        ties = int((~clear).sum())
        if clear.any():
            agreement = float((gated.argmax(1) == folded.argmax(1))[clear].mean())
    return Parity(
        rows=len(gated),
        largest_logit=largest,
        largest_difference=difference,
        bound=bound,
        ties=ties,
        label_agreement=agreement,
        passed=difference <= bound and (agreement is None or agreement >= LABELS_AGREE),
    )


def to_bytes(certificate: Certificate) -> bytes:
    """The content of certificate.json."""
    plain = CERTIFICATE.dump_python(certificate, mode="json")
    return json.dumps(plain, indent=1, allow_nan=False).encode() + b"\n"


def read_certificate(run: StoredRun) -> Certificate | None:
    """The certificate of a run. None: it was not folded yet. Raises Damaged for a bad file."""
    plain = run.certificate
    if plain is None:
        return None
    try:
        certificate = CERTIFICATE.validate_python(plain)
    except ValidationError as error:
        raise Damaged(f"certificate.json of {run.run_id}: {explain(error)}") from error
    if certificate.run_id != run.run_id:
        raise Damaged(f"certificate.json is that of {certificate.run_id!r}, not of {run.run_id!r}")
    return certificate


def with_onnx(certificate: Certificate, onnx: Parity) -> Certificate:
    """The certificate with the parity of the exported model."""
    return dataclasses.replace(certificate, onnx=onnx, passed=certificate.passed and onnx.passed)


def with_transformers(certificate: Certificate, parity: Parity) -> Certificate:
    """The certificate with the parity of the form that transformers loads."""
    passed = certificate.passed and parity.passed
    return dataclasses.replace(certificate, transformers=parity, passed=passed)


def alone_bound(parity: Parity) -> float:
    """What a logit may differ by between a row alone and in a padded batch."""
    return RELATIVE_BOUND["torch"] * max(1.0, parity.largest_logit)


def problems(certificate: Certificate) -> list[str]:
    """What is out of its bounds, and by how much; empty for a certificate that passed."""
    found = []
    for form in FORM_NAMES:
        parity: Parity | None = getattr(certificate, form)
        found += [] if parity is None else _parity_problems(FORM_NAMES[form], parity)
    limit = alone_bound(certificate.torch)
    if certificate.alone_difference > limit:
        found.append(
            f"a row alone and in a padded batch differ by {certificate.alone_difference:.2g} in a "
            f"logit, at most {limit:.2g} is allowed"
        )
    if certificate.stored_difference > STORED_BOUND:
        found.append(
            f"the rebuilt gated model differs by {certificate.stored_difference:.2g} from the "
            f"predictions stored with the run, at most {STORED_BOUND:g} is allowed"
        )
    return found


def _parity_problems(name: str, parity: Parity) -> list[str]:
    found = []
    if parity.largest_difference > parity.bound:
        found.append(
            f"a logit of {name} differs by {parity.largest_difference:.2g} from the gated model, "
            f"at most {parity.bound:.2g} is allowed"
        )
    if parity.label_agreement is not None and parity.label_agreement < LABELS_AGREE:
        found.append(
            f"{name} gives the gated model's label on {parity.label_agreement:.2%} of "
            f"{parity.rows:,} rows, at least {LABELS_AGREE:.1%} are required"
        )
    return found


def options_of(options: Any) -> dict[str, str | int]:
    """Fold options as plain values."""
    plain: dict[str, str | int] = dataclasses.asdict(options)
    return plain
