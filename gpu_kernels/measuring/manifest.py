"""What each recorded file is: development rows, or rows measured after their prediction was committed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gpu_kernels.measuring.rows import SUFFIX
from sim.config import Strict, load_yaml, validate
from sim.errors import ConfigError

FILE = "manifest.yaml"


class Recorded(Strict):
    """One file of rows."""

    kind: Literal["development", "held_out"]
    note: str
    predicted_in: Annotated[str, Field(pattern=r"^[0-9a-f]{7,40}$")] | None = None  # the commit
    predictions: Annotated[str, Field(pattern=r"^predictions/[^/]+\.jsonl$")] | None = (
        None  # what was committed then
    )

    @model_validator(mode="after")
    def _predicted(self) -> Recorded:
        if (self.kind == "held_out") != (self.predicted_in is not None):
            raise ValueError("predicted_in, the commit with the prediction, goes with kind: held_out")
        if self.predictions is not None and self.kind != "held_out":
            raise ValueError("predictions go with kind: held_out")
        return self


class Manifest(Strict):
    """A folder's files of rows by name."""

    files: dict[str, Recorded]


def recorded_files(folder: Path) -> dict[str, Recorded]:
    """Read a folder's manifest, none if it has none; a file that is not there is an error."""
    path = folder / FILE
    if not path.is_file():
        return {}
    document = load_yaml(path)
    files = validate(Manifest, document).files
    for name, each in files.items():
        if not name.endswith(SUFFIX) or not (folder / name).is_file():
            raise ConfigError(document.where(("files", name)), "no such file of measurements")
        if each.predictions is not None and not (folder / each.predictions).is_file():
            raise ConfigError(document.where(("files", name, "predictions")), "no such file of predictions")
    return files
