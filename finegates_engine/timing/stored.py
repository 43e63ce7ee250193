"""Stored timings of a run: what was measured, on which machine, of which certified fold. No torch.

One file for each machine and set of versions, `timings/<fingerprint>.json`. A timing is read and
written only beside a passing certificate, and only while it belongs to that certificate's fold.
"""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, Final, Literal, Self

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from finegates_engine.environment import Environment
from finegates_engine.errors import UserError
from finegates_engine.files import Damaged
from finegates_engine.parity import Certificate, read_certificate
from finegates_engine.runs.store import RunStore
from finegates_engine.runs.stored_run import StoredRun
from finegates_engine.timing.latency import LEAST_ROUNDS, Latency, Speedup, Verdict, latency
from finegates_engine.validation import explain

SCHEMA_VERSION: Final = 1
"""Raised whenever a timing file of this version cannot be read as one of the version before."""

MAX_ROUNDS = 300
"""Raw values kept of a variant: all that `benchmark.RaceLimits` allows."""

DENSE, PRUNED, TRANSFORMERS = "dense", "pruned", "transformers"
"""Variants: the fused dense model, the folded one, and Hugging Face's own module."""

DEVICES = ("cpu", "cuda")
BACKENDS = ("torch", "compile", "onnx")
PRECISIONS = ("fp32", "bf16")

_VERSIONS = ("python", "torch", "transformers", "finegates_engine")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_REASON_LENGTH = 300
_AGREE = 1e-6  # relative: stored medians and those of the stored raw values
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Machine:
    """What a timing depends on beside the model and the cell. Another one is another file."""

    platform: str
    cpu: str | None
    cores: int = Field(ge=1)
    """Logical cores that the process may use."""

    accelerator: str | None
    """Model of the GPU. None: the process saw none."""

    versions: dict[str, str | None]
    """Python, torch, transformers, onnxruntime and this engine. None: not installed."""

    wait_policy: str | None
    """OMP_WAIT_POLICY: how idle threads wait. None: not set."""


@dataclass(frozen=True, kw_only=True, order=True, config=_STRICT)
class Setting:
    """How models are called in one cell. Measured again, a cell replaces that of equal setting."""

    device: Literal["cpu", "cuda"] = "cpu"
    backend: Literal["torch", "compile", "onnx"] = "torch"
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = Field(default=1, ge=1)
    """Threads inside an operation."""

    batch: int = Field(ge=1)
    tokens: int = Field(ge=1)
    """Tokens of each row; there is no padding."""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class VariantTimes:
    """One variant in one cell."""

    seconds: tuple[float, ...] = Field(min_length=LEAST_ROUNDS, max_length=MAX_ROUNDS)
    """Raw values: seconds of one call in each round. Equal places of variants are of one round."""

    calls_per_value: int = Field(ge=1)
    """Calls whose mean one value is: short calls are timed several at a time."""

    latency: Latency
    speedup: Speedup | None
    """How many times as fast as dense. None: this is dense."""

    verdict: Verdict | None

    @model_validator(mode="after")
    def _check(self) -> Self:
        found = latency(self.seconds)
        for name in ("median", "p95"):
            said, computed = getattr(self.latency, name), getattr(found, name)
            if not math.isclose(said, computed, rel_tol=_AGREE):
                raise ValueError(f"latency.{name} is {said}, that of the raw values {computed}")
        if self.verdict != (None if self.speedup is None else self.speedup.verdict):
            raise ValueError(f"verdict {self.verdict!r} is not that of its interval")
        return self


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TimingCell:
    """Variants that were timed against each other, in one setting."""

    setting: Setting
    variants: dict[str, VariantTimes]
    """dense and pruned, and transformers for backend torch."""

    mac_ratio: float = Field(gt=0)
    """Multiply-accumulates of dense / of pruned, in rows of this many tokens."""

    efficiency: float = Field(gt=0)
    """The pruned model's speed-up / mac_ratio."""

    inputs: str = Field(max_length=_REASON_LENGTH)
    """Where the token ids came from."""

    measured: AwareDatetime
    commit: str | None
    """Git commit of the engine. None: not run from a checkout."""

    load: float | None = Field(ge=0)
    """Processes that wanted to run when the cell began (1-minute average). None: not known."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if {DENSE, PRUNED} - set(self.variants):
            raise ValueError(f"variants must have dense and pruned, got {sorted(self.variants)}")
        if len({len(times.seconds) for times in self.variants.values()}) > 1:
            raise ValueError("variants must have the same number of rounds")
        without = [name for name, times in self.variants.items() if times.speedup is None]
        if without != [DENSE]:
            raise ValueError(f"all variants but dense have a speed-up, got none for {without}")
        if not math.isclose(self.efficiency * self.mac_ratio, self.speedup.value, rel_tol=_AGREE):
            raise ValueError("efficiency is not speed-up / mac_ratio")
        return self

    @property
    def speedup(self) -> Speedup:
        """Of the pruned model."""
        result = self.variants[PRUNED].speedup
        assert result is not None, "checked when made"
        return result

    def rows_per_second(self, variant: str) -> float:
        """Rows that one caller gets through at the median latency."""
        return self.setting.batch / self.variants[variant].latency.median


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TimingFile:
    """The content of timings/<fingerprint>.json."""

    schema_version: Literal[1]
    run_id: str
    fold: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Which certified fold was timed (`fold_hash`)."""

    machine: Machine
    cells: tuple[TimingCell, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len({cell.setting for cell in self.cells}) < len(self.cells):
            raise ValueError("a cell is there twice")
        return self


TIMING_FILE: TypeAdapter[TimingFile] = TypeAdapter(TimingFile)


def this_machine(environment: Environment) -> Machine:
    """The machine of this process. environment: with the accelerator, where one is seen."""
    versions = {name: environment.versions.get(name) for name in _VERSIONS}
    return Machine(
        platform=environment.platform,
        cpu=environment.cpu,
        cores=environment.cores,
        accelerator=environment.accelerator,
        versions=versions | {"onnxruntime": _runtime_version()},
        wait_policy=os.environ.get("OMP_WAIT_POLICY"),
    )


def fingerprint(machine: Machine) -> str:
    """16 hex digits of a machine and its versions; timings of different ones are never mixed."""
    return hashlib.sha256(_canonical(dataclasses.asdict(machine))).hexdigest()[:16]


def passing_certificate(run: StoredRun) -> Certificate:
    """The run's certificate. No timing is made, kept or shown without.

    Raises UserError where there is none or it did not pass, Damaged where it cannot be read.
    """
    certificate = read_certificate(run)
    if certificate is not None and certificate.passed:
        return certificate
    if certificate is None:
        problem = "has no certificate that its pruned model gives the gated model's outputs"
    else:
        problem = "has a certificate that did not pass: its pruned model gives other outputs"
    raise UserError(
        f"Run {run.run_id!r} {problem}, so no timing of it is made or shown. "
        f"Make one: finegates prune {run.run_id}"
    )


def fold_hash(certificate: Certificate) -> str:
    """Which fold a timing belongs to, 64 hex digits: the kept indices and how they are laid out."""
    plain = {"kept_hash": certificate.kept_hash, "options": certificate.options}
    return hashlib.sha256(_canonical(plain)).hexdigest()


def read_timings(run: StoredRun) -> dict[str, TimingFile]:
    """Fingerprint to the timings of the run as it is certified now; those of another fold are left.

    Raises UserError without a passing certificate, Damaged for a file that cannot be used.
    """
    fold = fold_hash(passing_certificate(run))
    files = {name: _parsed(run, name, values) for name, values in run.timings.items()}
    return {name: file for name, file in files.items() if file.fold == fold}


def save_cells(
    store: RunStore, run: StoredRun, machine: Machine, cells: Iterable[TimingCell]
) -> str:
    """Add cells to the run's file for this machine, replacing equal ones; its fingerprint.

    Cells of a fold that is no longer the certified one are dropped. Raises UserError without a
    passing certificate, Damaged where the file is there and cannot be used.
    """
    name = fingerprint(machine)
    before = read_timings(run).get(name)
    merged = {cell.setting: cell for cell in (() if before is None else before.cells)}
    merged |= {cell.setting: cell for cell in cells}
    file = TimingFile(
        schema_version=SCHEMA_VERSION,
        run_id=run.run_id,
        fold=fold_hash(passing_certificate(run)),
        machine=machine,
        cells=tuple(merged[key] for key in sorted(merged)),
    )
    store.add_file(run.run_id, f"timings/{name}.json", TIMING_FILE.dump_json(file) + b"\n")
    return name


def _parsed(run: StoredRun, name: str, values: Mapping[str, Any]) -> TimingFile:
    where = f"timings/{name}.json of run {run.run_id!r}"
    if values.get("schema_version") != SCHEMA_VERSION:
        found = repr(values.get("schema_version"))[:40]
        raise Damaged(
            f"{where} has schema version {found}, this version of the engine reads {SCHEMA_VERSION}"
        )
    try:
        file = TIMING_FILE.validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        reason = "; ".join(explain(error).split("\n"))[:_REASON_LENGTH]
        raise Damaged(f"{where} has wrong values: {reason}. Delete it and time again.") from error
    if file.run_id != run.run_id:
        raise Damaged(f"{where} is that of {file.run_id[:100]!r}. Delete it and time again.")
    if fingerprint(file.machine) != name:
        raise Damaged(f"{where} is that of another machine than its name says. Delete it.")
    return file


def _runtime_version() -> str | None:
    for package in _RUNTIMES:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def _canonical(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
