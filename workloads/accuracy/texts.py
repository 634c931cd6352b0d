"""Real English text that every Python has: sentences of its language reference (module ``pydoc_data.topics``).

The reference is under the Python Software Foundation's licence. Its wording changes a little from one version of
Python to the next, and with it the last digits of the study.
"""

from __future__ import annotations

import importlib
import platform

SHORTEST, LONGEST = 60, 150  # characters
LETTERS = 0.97  # of a sentence's characters, spaces and the commonest marks included
SOURCE = f"sentences of the language reference of Python {platform.python_version()}"


def sentences(count: int) -> tuple[str, ...]:
    """Return ``count`` sentences, evenly spaced among those that are plain prose."""
    topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    paragraphs = (" ".join(part.split()) for name in sorted(topics) for part in topics[name].split("\n\n"))
    found = [each for each in dict.fromkeys(paragraphs) if _is_prose(each)]
    return tuple(found[index * len(found) // count] for index in range(min(count, len(found))))


def _is_prose(text: str) -> bool:
    if not (SHORTEST <= len(text) <= LONGEST and text[0].isupper() and text.endswith(".")):
        return False
    return sum(each.isalpha() or each in " ,.-" for each in text) >= LETTERS * len(text)
