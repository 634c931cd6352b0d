"""Take README.md's pictures from its sweep, in few colours: ``readme_pictures.py [DIRECTORY]``, in the root."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

PICTURES = ("bounds", "roofline", "bank_conflicts")
COLOURS = 96  # text stays smooth, the file is a fifth


def main(directory: Path) -> None:
    """Write docs/img."""
    for name in PICTURES:
        with Image.open(directory / f"{name}.png") as picture:
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            small.save(Path("docs/img") / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/llama3_8b_decode"))
