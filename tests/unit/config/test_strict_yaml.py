"""The strict YAML loader: what it accepts, and that it refuses all else with a ConfigError of one line."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import Field, model_validator

from sim.config import MAX_FILE_BYTES, Strict, load_yaml, parse_yaml, validate
from sim.errors import ConfigError, unknown

ORIGIN = Path("file.yaml")


class Inner(Strict):
    size_bytes: int = Field(ge=1)
    rate: float = 1.0
    title: str = ""


class Outer(Strict):
    name: str
    inner: Inner
    items: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Outer:
        if self.inner.size_bytes == 13:
            raise ValueError("13 with this name")
        return self


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(Outer, parse_yaml(text, ORIGIN))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_scalars_follow_the_core_schema() -> None:
    text = "[1e3, -4, 0.5, .5, 5., true, ~, yes, 1:30, 2024-01-01, 1_000, 010, '7']"
    got = parse_yaml(text, ORIGIN).data
    assert got == [1000.0, -4, 0.5, 0.5, 5.0, True, None, "yes", "1:30", "2024-01-01", "1_000", 10, "7"]
    assert [type(value) for value in got[:2]] == [float, int]


def test_empty_value_is_none() -> None:
    assert parse_yaml("a:\nb: 1\n", ORIGIN).data == {"a": None, "b": 1}


def test_lines_are_those_of_the_keys() -> None:
    document = parse_yaml("a: 1\nb:\n  c:\n    - 1\n    - 2\n", ORIGIN)
    assert document.line(("b", "c")) == 3
    assert document.line(("b", "c", 1)) == 5
    assert document.where(("b", "nothing")) == "file.yaml:2: b.nothing"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: a\nname: b", "file.yaml:2: name: stands twice in this mapping"),
        (
            "name: a\ninner: {size_byte: 1}",
            "file.yaml:2: inner.size_byte: unknown key 'size_byte'. Did you mean 'size_bytes'?",
        ),
        ("name: a", "file.yaml:1: inner: missing; it has no default"),
        ("name: a\ninner: {size_bytes: 4kB}", "allowed: a plain number in bytes"),
        ("name: a\ninner: {size_bytes: true}", "got True, allowed: a plain number in bytes"),
        ("name: a\ninner: {size_bytes: '12'}", "got '12', allowed: a plain number in bytes"),
        (
            "name: a\ninner: {size_bytes: 0}",
            "file.yaml:2: inner.size_bytes: got 0, allowed: greater than or equal to 1",
        ),
        ("name: a\ninner: {size_bytes: .inf}", "got .inf, allowed: a finite number"),
        ("name: a\ninner: {size_bytes: 1e999}", "got 1e999, allowed: a finite number"),
        ("name: a\ninner: {size_bytes: -.nan}", "got '-.nan', allowed: a plain number in bytes"),
        ("name: a\ninner: {size_bytes: 9999999999999999999}", "got a number beyond 2^62"),
        (f"name: a\ninner: {{size_bytes: {'9' * 5000}}}", "got a number of 5000 characters"),
        ("name: a\ninner: {size_bytes: 13}", "file.yaml:1: 13 with this name"),
        ("- 1", "file.yaml:1: got [1], allowed: a mapping of keys"),
        ("", "file.yaml: got None, allowed: a mapping of keys"),
        ("a: [1", "not valid YAML"),
        ("a: b: c", "file.yaml:1: not valid YAML"),
        ("--- 1\n--- 2", "not valid YAML"),
        ("? [1]\n: 2", "a key must be plain text"),
        ("a: !!python/object/apply:os.system ['true']", "got the tag"),
        ("a: !!int x", "got 'x', allowed: what its tag says"),
        ("a: !!int ''", "got '', allowed: what its tag says"),
        ("a: !!bool maybe", "got 'maybe'"),
        ("a: !!timestamp nothing", "got the tag"),
        ("a: !!set {b}", "got the tag"),
        ("a: &a [*a]", "nested deeper than 64 levels"),
        ("a: *b", "not valid YAML"),
        ('"a\\nb": 1', "a key must be printable"),
        ('a: "\\uD800"', "half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "not valid YAML"),
        ("a: \x07", "not valid YAML"),
        (f"{'k' * 500}: 1", "a key must be printable, at most 128 characters"),
    ],
)
def test_mistakes_are_one_line_with_the_place(text: str, expected: str) -> None:
    assert expected in message(text)


def test_alias_bomb_is_refused_quickly() -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 30)]
    begin = time.perf_counter()
    assert "more than 100000 values" in message("\n".join(["l0: &l0 [1, 1]", *levels]))
    assert time.perf_counter() - begin < 10


def test_alias_bomb_of_text_is_refused() -> None:
    text = f'a: &a "{"x" * 200_000}"\nb: [{"*a," * 15_000}]'
    assert "more than 4194304 characters" in message(text)


@pytest.mark.parametrize("text", ["[" * 20_000, "- " * 20_000, "{a: " * 5_000, "? " * 5_000])
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.yaml: nested deeper than 64 levels"):
        parse_yaml(text, ORIGIN)


def test_aliases_of_reasonable_size_are_kept() -> None:
    assert parse_yaml("a: &x {b: 1}\nc: *x\n", ORIGIN).data == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xff\xfe", "cannot be read"),
        (b"a: \x00", "not valid YAML"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_unreadable_content(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=expected):
        load_yaml(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (Path("/"), "cannot be read"),
        (Path("nul\0"), "cannot be read"),
        (Path("none.yaml"), "no such file"),
        (Path("/dev/zero"), "larger than"),
    ],
)
def test_paths_that_are_no_file(path: Path, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_yaml(path)


def test_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path).data == {"a": 1}


def test_unknown_lists_only_the_nearest_of_many_names() -> None:
    text = str(unknown("path", "b7", [f"sm.b{i}" for i in range(100)]))
    assert "Did you mean 'sm.b7'?" in text
    assert "(100 in all)" in text
    assert len(text) < 200


def parsed_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        document = load_yaml(path)
        validate(Outer, document)
    except ConfigError as error:
        assert str(error).isprintable()
        str(error).encode()


FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
YAML_PIECES = st.sampled_from(
    [
        *("a", "name", ":", ": ", "\n", " ", "  ", "- ", "? ", "[", "]", "{", "}", ",", "&x", "*x", "<<"),
        *("!!int", "!!float", "!!bool", "!!binary", "!!null", "!!str", "!", "!<", "%YAML 1.1", "%TAG ! x"),
        *(">", "|", "|2", "'", '"', "\\u", "\\x", "\\UFFFFFFFF", "...", "0x", "1e9", "-", "~", ".nan"),
        *("---", "=", "#", "1:2:3"),
        *("99999999999999999999", "\t", "\ufeff", "\u2028", "\x85", "inner", "size_bytes"),
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.integers(), children, max_size=3)
    ),
    max_leaves=12,
)


@FUZZ
@given(content=st.binary(max_size=200))
def test_fuzz_bytes(tmp_path: Path, content: bytes) -> None:
    parsed_or_refused(content, tmp_path / "x.yaml")


@FUZZ
@given(pieces=st.lists(YAML_PIECES, max_size=25))
@example(pieces=["!!int", "\n"])
@example(pieces=["!!float", " ", "''"])
def test_fuzz_yaml_text(tmp_path: Path, pieces: list[str]) -> None:
    parsed_or_refused("".join(pieces).encode(), tmp_path / "x.yaml")


@FUZZ
@given(text=st.text(max_size=100))
def test_fuzz_text(tmp_path: Path, text: str) -> None:
    parsed_or_refused(text.encode("utf-8", "surrogatepass"), tmp_path / "x.yaml")


@FUZZ
@given(tree=TREES)
def test_fuzz_trees(tmp_path: Path, tree: object) -> None:
    parsed_or_refused(yaml.safe_dump(tree).encode("utf-8", "surrogatepass"), tmp_path / "x.yaml")


PLAIN_VALUES = st.integers(-(2**62), 2**62) | st.booleans() | st.none() | st.text("abc xyz", max_size=8)


@given(
    tree=st.dictionaries(
        st.text("abcdef", min_size=1, max_size=5), PLAIN_VALUES | st.lists(PLAIN_VALUES), max_size=5
    )
)
def test_round_trip_of_plain_data(tree: dict[str, object]) -> None:
    assert parse_yaml(yaml.safe_dump(tree), ORIGIN).data == tree
