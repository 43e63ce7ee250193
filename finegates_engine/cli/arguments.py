"""Arguments and options that several commands take. No torch."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_STORE = Path("cached_runs")

RunArgument = Annotated[
    str, typer.Argument(help="Id of a run, its beginning, its end or its hash.")
]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of the run store.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results.")]
DeviceOption = Annotated[str, typer.Option(help="cpu or cuda.")]
