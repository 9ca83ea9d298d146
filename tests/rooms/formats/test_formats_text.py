"""Character set names, digits and folding: for comparison only, never for storage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import plausible, text


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("UNICODE UTF-8", "utf-8"), ("utf8", "utf-8"), ("8859/6", "iso8859_6"), ("ISO-8859-1", "iso8859_1"),
        ("ISO IR100", "iso8859_1"), ("Windows-1256", "cp1256"), ("CP1256", "cp1256"), ("GB 18030-2000", "gb18030"),
        ("gb18030", "gb18030"), ("GB2312", "gb2312"), ("BIG-5", "big5"), ("Big5", "big5"), ("KS X 1001", "euc_kr"),
        ("ISO IR87", "iso2022_jp"), ("ASCII", "ascii"), ("us-ascii", "ascii"), ("ISO IR6", "ascii"),
    ],
)  # fmt: skip
def test_names_of_table_0211_of_iana_and_of_vendors(name: str, codec: str) -> None:
    """However a sender writes it."""
    found = text.charset(name)
    assert found is not None
    assert found.codec == codec


@pytest.mark.parametrize("name", ["", "KLINGON", "rot13", "idna", "zlib_codec", "unicode_escape", "CNS 11643-1992"])
def test_other_names_are_not_known(name: str) -> None:
    """Python's own codecs are not character sets, and some sets have no codec here: that is said, not guessed."""
    assert text.charset(name) is None


def test_every_supported_charset_has_a_codec() -> None:
    """A table entry that cannot decode would fail on the first message."""
    for name in text.supported():
        found = text.charset(name)
        assert found is not None
        assert "A".encode(found.codec)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("علي كاظمي", "علی کاظمی"), ("می‌رود", "میرود"), ("کدِ مِلّی", "کد ملی"), ("۱۲۳", "١٢٣"), ("１２３", "123"),
        ("CLASSE ", "classe"), ("Città", "citta"), ("a\u00a0b", "a b"), ("ـنامـ", "نام"),
    ],
)  # fmt: skip
def test_what_people_read_as_the_same_folds_to_the_same(one: str, other: str) -> None:
    """Keyboards differ in ye, kaf, joiners, marks and digits."""
    assert text.fold(one) == text.fold(other)


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(words: str) -> None:
    """A key of a key is the key, for any text."""
    assert text.fold(text.fold(words)) == text.fold(words)


@pytest.mark.parametrize(
    "words", ["Éprouvé Noël", "Łucja Żółć", "Şule Işıl", "بیمار آزمایشی", "Проверкин Тест", "测试患者"]
)
def test_ordinary_names_are_not_suspicious(words: str) -> None:
    """The check must not cry wolf."""
    assert plausible.suspicion(words, "") == ""
