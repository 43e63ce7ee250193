"""What a sweep is asked for in the form: checked, and as words of the command line. No torch."""

import dataclasses
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic.dataclasses import dataclass

from explorer.loading.uploads import UPLOAD, in_users_words, upload_path
from finegates_engine.cli.entry import DEMO
from finegates_engine.config import TaskConfig, TrainConfig
from finegates_engine.data.load import TaskData, load_task
from finegates_engine.errors import UserError
from finegates_engine.method_table import spec_of
from finegates_engine.tasks import TASKS
from finegates_engine.validation import explain

MOST_CELLS = 200
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
_Column = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class SweepRequest:
    """One sweep, as the form asks for it."""

    task: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    targets: tuple[Annotated[float, Field(ge=0, lt=1)], ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(min_length=1)
    method: str = "finegates"
    strategy: Literal["path", "independent"] = "path"
    max_rows: int | None = Field(default=None, ge=1)
    epochs: float = Field(default=3.0, gt=0, le=1000)
    backbone: str | None = Field(default=None, max_length=1000)
    """None: the engine's own."""

    upload: str | None = Field(default=None, pattern=UPLOAD)
    """Name of an uploaded file, from `uploads.save_upload`. None: rows of the task's table."""

    folder: str | None = Field(default=None, max_length=1000)
    """Folder of this machine with the splits of a task of the table. None: from the hub."""

    text_fields: tuple[_Column, ...] = Field(default=(), max_length=2)
    label_field: _Column = "label"

    def words(self, root: Path) -> list[str]:
        """Arguments after `finegates`; values are joined by "=", so that none can be an option."""
        words = ["sweep", f"--store={root}", f"--task={self.task}", f"--method={self.method}"]
        words += [f"--strategy={self.strategy}", f"--epochs={self.epochs!r}"]
        words += ["--targets=" + ",".join(f"{target!r}" for target in self.targets)]
        words += ["--seeds=" + ",".join(map(str, self.seeds))]
        if self.task == DEMO.task.name:
            words += [f"--path-epochs={self.epochs!r}", *_demo_words()]
        if self.max_rows is not None:
            words.append(f"--max-train-samples={self.max_rows}")
        if self.backbone is not None:
            words.append(f"--backbone={self.backbone}")
        if (place := self.place(root)) is not None:
            words.append(f"--data={place}")
        if self.upload is not None:
            words.append("--text-fields=" + ",".join(self.text_fields))
            words.append(f"--label-field={self.label_field}")
        return words

    def place(self, root: Path) -> Path | None:
        """Where its rows lie. None: they are the task's own."""
        if self.upload is not None:
            return upload_path(root, self.upload)
        return None if self.folder is None else Path(self.folder)


def request(**values: Any) -> SweepRequest:
    """A checked request. Raises UserError that says which field is wrong."""
    try:
        made = SweepRequest(**values)
    except ValidationError as error:
        raise UserError(explain(error)) from error
    spec_of(made.method)
    if made.upload is None and made.task not in TASKS:
        raise UserError(f"Task {made.task!r} is not in the table. Upload a file with its rows.")
    if made.upload is not None and made.task in TASKS:
        raise UserError(
            f"{made.task!r} is the name of a task of the table. Give your rows another name."
        )
    if made.upload is not None and not made.text_fields:
        raise UserError("Choose the column, or the two columns, that hold the text.")
    if made.folder is not None:
        _check_folder(made)
    for name in made.text_fields:
        if "," in name or name != name.strip():
            raise UserError(
                f"The column name {name!r} has a comma in it, or spaces around it. Rename the "
                "column in the file, and upload it again."
            )
    cells = len(made.targets) * len(made.seeds)
    if cells > MOST_CELLS:
        raise UserError(f"{cells} trainings are too many for one sweep: at most {MOST_CELLS}.")
    return made


def _check_folder(made: SweepRequest) -> None:
    """Raises UserError unless the folder can hold the task's splits; `check_rows` reads them."""
    folder = Path(made.folder or "")
    if made.upload is not None:
        raise UserError("Rows come from a file or from a folder, not from both.")
    if "\0" in str(folder) or not folder.is_absolute():
        raise UserError(f"Give the whole path of the folder, from /; {str(folder)[:80]!r} is none.")
    if not os.path.isdir(folder):
        raise UserError(
            f"There is no folder {str(folder)[:200]!r} on the machine that this app runs on."
        )
    scored = TASKS[made.task].validation_splits
    if not _has_split(folder, "train") or not any(
        _has_split(folder, name) for name in (*scored, "validation")
    ):
        wanted = " and ".join(f"{name}.parquet" for name in ("train", *scored))
        raise UserError(
            f"The folder {str(folder)[:200]!r} must hold {wanted}, as the hub has them."
        )


def _has_split(folder: Path, name: str) -> bool:
    return os.path.isfile(folder / f"{name}.parquet")


def numbers(text: str, what: str, *, percent: bool) -> tuple[Any, ...]:
    """Numbers with commas between them: shares from percents, or whole numbers, sorted.

    Raises UserError that names what they are.
    """
    example = "0, 30, 50" if percent else "0, 1, 2"
    parts = [part.strip().removesuffix("%").strip() for part in re.split(r"[,;\s]+", text.strip())]
    values = []
    for part in filter(None, parts):
        try:
            value = float(part) / 100 if percent else int(part)
        except ValueError:
            raise UserError(
                f"{what} must be numbers with commas between them, such as {example}; "
                f"{part[:40]!r} is none."
            ) from None
        if percent and not 0 <= value < 1:
            raise UserError(f"{what} must be at least 0% and below 100%, got {part[:40]}%.")
        if not percent and not 0 <= value < 2**31:
            raise UserError(f"{what} must be 0 or more, got {part[:40]}.")
        values.append(round(value, 6) if percent else value)
    if not values:
        raise UserError(f"{what} are missing. Write one or more, such as {example}.")
    return tuple(sorted(set(values)))


def check_rows(root: Path, asked: SweepRequest, name: str) -> TaskData:
    """The rows as the sweep will read them. Raises UserError for what would spoil it."""
    place = asked.place(root)
    assert place is not None
    with in_users_words(place, name):
        return load_task(
            TaskConfig(
                name=asked.task,
                data=str(place),
                text_fields=asked.text_fields,
                label_field=asked.label_field,
                max_train_samples=asked.max_rows,
            )
        )


def task_name(file: str) -> str:
    """A name for the task, from that of the file: lower case, safe."""
    stem = re.sub(r"[^a-z0-9_.-]+", "-", Path(file).stem.lower()).strip("-._")[:40]
    return stem if stem and stem not in TASKS else f"my-{stem or 'task'}"


def _demo_words() -> list[str]:
    """The rates of `finegates demo`, with which a small backbone learns the generated task."""
    words, usual = [], TrainConfig()
    for field in dataclasses.fields(TrainConfig):
        value, option = getattr(DEMO.train, field.name), field.name.replace("_", "-")
        if field.name in ("epochs", "path_epochs") or value == getattr(usual, field.name):
            continue
        switch = f"--{option}" if value else f"--no-{option}"
        words.append(switch if isinstance(value, bool) else f"--{option}={value!r}")
    return words
