"""What papers claim of their matmuls: published numbers with their source, and what is to be computed for each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sim.config import Strict, load_yaml, validate
from workloads.files import bundled_names, find_file
from workloads.shapes import MAX_SIZE

FOLDER = "claims"
Size = Annotated[int, Field(strict=True, ge=1, le=MAX_SIZE)]
Value = Annotated[float, Field(gt=0, le=1e9)]
Text = Annotated[str, Field(min_length=1, max_length=400)]
Line = Annotated[str, Field(max_length=400)]


class Method(Strict):
    """One way to compute: a scheme with its options on a GPU, or a stand-alone accelerator."""

    scheme: str = ""
    options: dict[str, int | str] = Field(default_factory=dict)
    tile: str | None = None  # of the scheme's kernel; None: the fastest
    accelerator: str = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Method:
        if bool(self.scheme) == bool(self.accelerator):
            raise ValueError("got a method with both or none of scheme and accelerator, allowed: one of them")
        return self


class Matmuls(Strict):
    """Matmuls Y[m, n] = X[m, k] · W[n, k]^T: every m with every [n, k]."""

    m: tuple[Size, ...] = Field(min_length=1)
    shapes: tuple[tuple[Size, Size], ...] = Field(min_length=1)


class Decode(Strict):
    """One step of token generation: every sequence of the batch gets one token more."""

    model: str
    batch: Size = 1
    context_tokens: Annotated[int, Field(strict=True, ge=0, le=MAX_SIZE)]


class Prefill(Strict):
    """Every matmul of reading the tokens, once per model; ``models``: name -> groups of channels."""

    models: dict[str, Size] = Field(min_length=1)
    tokens: Size


class Claim(Strict):
    """One published number, or the two ends of a range.

    Of several matmuls or models the simulated counterpart is the geometric mean. ``bars`` are the numbers of the
    single models of a ``prefill``, whose own ``published`` is that of all.
    """

    name: Text
    machine: str = ""  # a GPU; accelerators name themselves
    quantity: Literal["speedup", "time_us", "step_ms", "energy_ratio"]
    method: Method
    against: Method | None = None  # what a ratio is taken to
    matmuls: Matmuls | None = None
    decode: Decode | None = None
    prefill: Prefill | None = None
    published: Value | tuple[Value, Value]
    bars: dict[str, Value] = Field(default_factory=dict)
    source: Text
    note: Line = ""  # why simulated and published differ, where that is known

    @property
    def ends(self) -> tuple[float, float]:
        """Return the published number twice, or the ends of the range."""
        return self.published if isinstance(self.published, tuple) else (self.published, self.published)

    @model_validator(mode="after")
    def _whole(self) -> Claim:
        works = [each for each in (self.matmuls, self.decode, self.prefill) if each is not None]
        if len(works) != 1:
            raise ValueError(f"got {len(works)} of matmuls, decode and prefill, allowed: one")
        ratio = self.quantity in ("speedup", "energy_ratio")
        if ratio != (self.against is not None):
            raise ValueError(f"got quantity {self.quantity} {'without' if ratio else 'with'} a key 'against'")
        methods = [self.method, *([self.against] if self.against else [])]
        if any(bool(each.accelerator) != bool(self.prefill) for each in methods):
            raise ValueError(
                "got a mixture, allowed: accelerators with prefill, schemes with matmuls or decode"
            )
        if bool(self.machine) == bool(self.prefill):
            raise ValueError("got no machine for a scheme, or one for an accelerator")
        if self.bars and set(self.bars) != set(self.prefill.models if self.prefill else ()):
            raise ValueError("got bars of other models than prefill has")
        if self.ends[0] > self.ends[1]:
            raise ValueError(f"got a range from {self.ends[0]} to {self.ends[1]}")
        return self


class Unknown(Strict):
    """An input that a paper does not say; ``values`` are those that one could take for it."""

    name: Text
    # dotted paths of the accelerators' YAML, tokens or attention (0 or 1), which have the same value
    fields: tuple[str, ...] = Field(min_length=1)
    values: tuple[float, ...] = Field(min_length=2)
    only: tuple[str, ...] = ()  # accelerators that it is about; none: all
    why: Text


class Paper(Strict):
    """One paper's claims."""

    title: Text
    reference: Text
    how: Annotated[str, Field(min_length=1, max_length=1200)]  # what stands for what in the simulation
    claims: tuple[Claim, ...] = Field(min_length=1)
    unknowns: tuple[Unknown, ...] = ()


def available_papers() -> tuple[str, ...]:
    """Name the papers whose claims are bundled."""
    return bundled_names(FOLDER)


def load_paper(name_or_path: str, where: str = "") -> Paper:
    """Load the claims of a bundled paper, or of a YAML file."""
    return validate(Paper, load_yaml(find_file("paper", FOLDER, name_or_path, where)))
