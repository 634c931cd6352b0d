"""Take a command out of README.md, which alone says it: the code block under ``<!-- ci: NAME -->``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

BLOCK = r"^<!-- ci: {name} -->\n+```sh\n(.*?)^```$"


def command(readme: str, name: str) -> str:
    """Return the block's text, without its last newline; one block must have this name."""
    found: list[str] = re.findall(BLOCK.format(name=re.escape(name)), readme, re.MULTILINE | re.DOTALL)
    if len(found) != 1 or not found[0].strip():
        raise ValueError(f"README.md has {len(found)} code blocks under <!-- ci: {name} -->, wanted one")
    return found[0].strip()


if __name__ == "__main__":
    try:
        sys.stdout.write(command(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]) + "\n")
    except ValueError as error:
        sys.exit(str(error))
