"""The JSON reader against input that wants to be read twice: strict, lossless, bounded.

Invariant of the fuzzing below: whatever `read` accepts, the standard library reads to the same value, and writing
and reading again changes nothing; whatever it refuses is `Unreadable` or `TooLarge`.
"""

# ruff: noqa: E501 - a table reads better with one row a line

from __future__ import annotations

import json as standard
import pickle
import time
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Refused, TooLarge, Unreadable
from gateway.formats import json


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (b'{"a":1,"a":2}', 7),
        (b'{"a":{"b":1,"b":1}}', 12),
        (b'[{"a":1},{"a":1,"b":2,"a":3}]', 22),
        (b'{"a":1,"\\u0061":2}', 7),
        (b'{"x":"\\u003a","a":1,"a":2}', 20),
        (b'{"x":"\\u003A","a":{},"b":{},"a":{}}', 28),
        (b'{"a:":1,"a:":2}', 8),
        ('{"é":"ü","a":1,"a":2}'.encode(), 17),
        (b'{"a" : 1 , "a" : 2}', 11),
        (b'{"\\"":1,"\\"":2}', 8),
        (b'{"":1,"":2}', 6),
    ],
)
def test_a_repeated_key_is_refused_with_its_place(text: bytes, offset: int) -> None:
    """Two readers that pick different ones of two equal keys see two different patients."""
    with pytest.raises(Unreadable) as caught:
        json.read(text)
    assert "repeated" in caught.value.args_["detail"]
    assert caught.value.place is not None
    assert caught.value.place.path == str(offset)


@pytest.mark.parametrize(
    "text",
    [
        b"NaN", b"Infinity", b"-Infinity", b"[NaN]", b'"\\ud800"', b'"\\udc00"', b'"\\ud800\\u0041"', b'"\xed\xa0\x80"', b'"\xff"',
        b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"", b" ", b"{", b"[1,]", b'{"a":1,}', b"[01]", b"[1.]", b"[.5]", b"[+1]", b"[1e]", b'"\x01"', b"'a'",
        b"{a:1}", b"[1] 2", b"// x\n1", b"tru", b'"\\x41"', b'{"a" 1}', b'{1:2}', b'{"a":1 "b":2}', b"\x00", b"[1]\x00",
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused(text: bytes) -> None:
    """RFC 8259, and nothing beside it."""
    with pytest.raises(Unreadable):
        json.read(text)


@pytest.mark.parametrize(
    "text",
    [
        b"0.10", b"1.0", b"1e3", b"1E+5", b"1E-7", b"0.0000001", b"-0.0", b"12345678901234567890.123456789012345678901234567890",
        b"[1e3,{\"a\":1.50}]", b"123456789012345678901234567890", b'{"a":"\xc3\xa9"}', b'{"b":1,"a":2}', b"100E0", b"1.0e-10",
    ],
)  # fmt: skip
def test_numbers_keep_their_digits(text: bytes) -> None:
    """FHIR R4 2.24.0.1: the precision of a decimal is significant."""
    assert json.write(json.read(text)) == text


def test_a_decimal_that_remembers_is_still_a_decimal() -> None:
    """Arithmetic, equality and the way to a worker process go on working."""
    value = json.read(b"1e3")
    assert value == 1000
    assert value + 1 == 1001
    assert isinstance(value, Decimal)
    assert json.write(pickle.loads(pickle.dumps(value))) == b"1e3"


@pytest.mark.parametrize("depth", [201, 1_000, 100_000, 1_000_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")])
def test_depth_is_bounded(depth: int, opening: bytes, closing: bytes) -> None:
    """A hundred thousand brackets are a finding, not a crash; closed or not."""
    for text in (opening * depth + b"1" + closing * depth, opening * depth):
        start = time.perf_counter()
        with pytest.raises(Refused):
            json.read(text)
        assert time.perf_counter() - start < 5


def test_depth_up_to_the_limit_is_read() -> None:
    """The limit is the one that is published."""
    json.read(b"[" * 200 + b"]" * 200)
    json.read(b'["[[{{"' + b",[]" * 300 + b"]")


def test_a_long_array_and_a_long_number_are_bounded() -> None:
    """Size costs what it costs once, never its square."""
    start = time.perf_counter()
    assert len(json.read(b"[" + b"0," * 999_999 + b"0]")) == 1_000_000
    with pytest.raises(TooLarge):
        json.read(b"1" * 5_000)
    with pytest.raises(TooLarge):
        json.read(b"1e9999999999999999999999")
    with pytest.raises(TooLarge):
        json.read(b" " * 101, max_bytes=100)
    assert time.perf_counter() - start < 10


def test_fifty_megabytes_are_read_in_bounded_time() -> None:
    """One long string, many repeated keys in different objects."""
    start = time.perf_counter()
    json.read(b'"' + b"x" * 50_000_000 + b'"')
    json.read(b"[" + b'{"a":1},' * 1_000_000 + b"{}]")
    assert time.perf_counter() - start < 30


def _reference(text: bytes) -> Any:
    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) != len(found):
            raise ValueError("repeated")
        return dict(found)

    def constant(name: str) -> Any:
        raise ValueError(name)

    return standard.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_float=Decimal, parse_constant=constant)


_keys = st.sampled_from(["a", "b", ":", "a:", '"', "\\", "é", ""])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([Decimal("1.10"), Decimal("0.5")]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_what_we_write_we_read(value: Any) -> None:
    """A round trip through our own writer changes nothing."""
    assert json.read(json.write(value)) == value


@settings(max_examples=400)
@given(
    st.lists(
        st.sampled_from(
            [
                '{"a":',
                '{"b":',
                "}",
                "[",
                "]",
                ",",
                ":",
                '"a":',
                '"\\u003a"',
                "1",
                "1.50",
                '"x:"',
                " ",
                '"\\ud83d\\ude00"',
            ]
        ),
        max_size=14,
    )
)
def test_fuzzing_agrees_with_the_standard_library(parts: list[str]) -> None:
    """See the invariant at the top of this file."""
    text = "".join(parts).encode()
    try:
        ours = json.read(text)
    except Refused:
        with pytest.raises(ValueError):
            _reference(text)
        return
    assert ours == _reference(text)
    assert json.read(json.write(ours)) == ours
