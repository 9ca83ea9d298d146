"""The quick look before signed XML is read: it may send to the slow look without need, never past it."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import GatewayError, Refused
from gateway.sign import certificates, xmlshape
from gateway.sign.dev_ca import Authority, name

_PATTERN = re.compile(rb"[\s:][iI][dD]\s*=")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from([b" ", b"\n", b":", b"i", b"I", b"d", b"D", b"id", b"=", b"x", b"id=", b" " * 40])))
def test_ids_are_counted_as_the_pattern_counts_them(pieces: list[bytes]) -> None:
    """Or higher where white space is very long: that only costs the slow look."""
    body = b"".join(pieces)
    assert xmlshape.ids_written(body) >= min(len(_PATTERN.findall(body)), 2)


def test_ids_everywhere_are_counted_by_the_pattern() -> None:
    """A hostile document does not make the quick look slow."""
    assert xmlshape.ids_written(b"id" * 100_000) == 0
    assert xmlshape.ids_written(b"id" * 100_000 + b" id = '1' iD='2'") == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<a><!-- c --></a>",
        b"<a><?p x?></a>",
        b"<?p x?><a/>",
        b"<?xml-stylesheet href='x'?><a/>",
        b"<?xml version='1.0'?><?p x?><a/>",
        b"<?xml version='1.0'?><!-- c --><a/>",
        b"\xef\xbb\xbf<?xml version='1.0'?><a><?p x?></a>",
        b"<a/><!-- c -->",
        "<?xml version='1.0' encoding='UTF-16'?><a><!-- c --></a>".encode("utf-16"),
        b"<a id='1'><b ID='1'/></a>",
        b"<a x:id='1' xmlns:x='u'><b Id  =  '1'/></a>",
        "<?xml version='1.0' encoding='UTF-16'?><a id='1'><b id='1'/></a>".encode("utf-16"),
    ],
)
def test_what_can_hide_is_found_in_every_spelling(body: bytes) -> None:
    """Comments, processing instructions and repeated ids, whatever the encoding."""
    with pytest.raises(Refused):
        xmlshape.strict_root(body)


def test_a_name_that_is_a_bit_string_is_refused_and_breaks_nothing() -> None:
    """The library answers such a certificate with an error of its own kind, as fuzzing found."""
    now = datetime(2026, 3, 14, tzinfo=UTC)
    der = Authority.create("Test root", now).issue(name("Test Signer-One"), "p256", now).der
    said = b"\x0c\x0fTest Signer-One"
    assert said in der
    with pytest.raises(ValueError, match="oid"):
        certificates.load(der.replace(said, b"\x03" + said[1:2] + b"\x00" + said[3:]))


@pytest.mark.parametrize(
    "body",
    [
        b"<?xml version='1.0' encoding='UTF-8'?><a><b id='1'/><b id='2'/></a>",
        b"\xef\xbb\xbf<?xml version='1.0'?><a/>",
        b"<a><![CDATA[<!-- no comment --> <?none?> id='1' id='1']]></a>",
    ],
)
def test_what_only_looks_like_it_is_read(body: bytes) -> None:
    """The slow look decides."""
    assert xmlshape.strict_root(body).tag == "a"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60).map(lambda b: b"<a>" + b + b"</a>"))
def test_the_quick_look_agrees_with_the_slow_ones(body: bytes) -> None:
    """Whatever the bytes: what the tree holds is what decides."""
    try:
        root = xmlshape.strict_root(body)
    except GatewayError:
        return
    named = [
        (etree.QName(name).localname.lower(), value) for each in root.iter() for name, value in each.attrib.items()
    ]
    ids = [value for name, value in named if name == "id"]
    assert len(ids) == len(set(ids))
