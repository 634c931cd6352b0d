"""Boolean functions as Liberty writes them: ``(!((S A) + (!S B)))``, on arrays of bits, packed or not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Node = Callable[[Mapping[str, Array]], Array]
_TOKEN = re.compile(r"[A-Za-z_]\w*|\S")


@dataclass(frozen=True)
class Function:
    """A function of named inputs."""

    inputs: tuple[str, ...]
    of: Node


def compiled(text: str) -> Function:
    """Turn ``text`` into a function: ``+ |`` or, ``^`` exclusive or, ``* &`` or nothing and, ``!`` and ``'`` not."""
    tokens = _TOKEN.findall(text)
    node, rest = _either(tokens)
    if rest:
        raise ValueError(f"{text!r}: nothing may follow before {rest[0]!r}")
    return Function(tuple(dict.fromkeys(token for token in tokens if _is_name(token))), node)


def _is_name(token: str) -> bool:
    return token[0].isalpha() or token[0] == "_"


def _either(tokens: list[str]) -> tuple[Node, list[str]]:
    node, tokens = _exclusive(tokens)
    while tokens and tokens[0] in ("+", "|"):
        other, tokens = _exclusive(tokens[1:])
        node = _or(node, other)
    return node, tokens


def _exclusive(tokens: list[str]) -> tuple[Node, list[str]]:
    node, tokens = _both(tokens)
    while tokens and tokens[0] == "^":
        other, tokens = _both(tokens[1:])
        node = _xor(node, other)
    return node, tokens


def _both(tokens: list[str]) -> tuple[Node, list[str]]:
    node, tokens = _inverted(tokens)
    while tokens and tokens[0] not in ("+", "|", "^", ")"):
        other, tokens = _inverted(tokens[tokens[0] in ("*", "&") :])
        node = _and(node, other)
    return node, tokens


def _inverted(tokens: list[str]) -> tuple[Node, list[str]]:
    if not tokens:
        raise ValueError("a name is missing at the end")
    first, tokens = tokens[0], tokens[1:]
    if first == "!":
        node, tokens = _inverted(tokens)
        return _not(node), tokens
    if first == "(":
        node, tokens = _either(tokens)
        if tokens[:1] != [")"]:
            raise ValueError("a parenthesis is not closed")
        tokens = tokens[1:]
    elif _is_name(first):
        node = _pin(first)
    else:
        raise ValueError(f"a name is missing before {first!r}")
    while tokens[:1] == ["'"]:
        node, tokens = _not(node), tokens[1:]
    return node, tokens


def _pin(name: str) -> Node:
    return lambda pins: pins[name]


def _not(node: Node) -> Node:
    return lambda pins: ~node(pins)


def _and(left: Node, right: Node) -> Node:
    return lambda pins: left(pins) & right(pins)


def _or(left: Node, right: Node) -> Node:
    return lambda pins: left(pins) | right(pins)


def _xor(left: Node, right: Node) -> Node:
    return lambda pins: left(pins) ^ right(pins)
