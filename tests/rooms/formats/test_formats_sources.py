"""XML, JSON and YAML: the same interface, places that the sender understands, and nothing read in part."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Misconfigured, Refused
from gateway.formats import json, jsonsource, paths, xmlsource, yaml

NS = {"": "urn:a", "p": "urn:b"}
XML = b"""<r xmlns="urn:a" xmlns:p="urn:b"><a id="1" p:k="z">ad<!--x-->min<b>1</b></a>
<a id="2"><p:b>2</p:b><b/></a></r>"""


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a/@id", [("1", "/r/a[1]/@id"), ("2", "/r/a[2]/@id")]),
        ("/r/a[2]/p:b", [("2", "/r/a[2]/p:b")]),
        ("a[@id='2']/p:b", [("2", "/r/a[2]/p:b")]),
        ("a[b='1']/@p:k", [("z", "/r/a[1]/@p:k")]),
        ("//b", [("1", "/r/a[1]/b")]),
        ("a/text()", [("admin", "/r/a[1]")]),
        ("*/@*", [("1", "/r/a[1]/@id"), ("z", "/r/a[1]/@p:k"), ("2", "/r/a[2]/@id")]),
        ("/x/a", []),
        (".", []),
    ],
)
def test_xml_paths(path: str, found: list[tuple[str, str]]) -> None:
    """A small part of XPath; a comment inside a value hides nothing of it."""
    source = xmlsource.read(XML)
    assert [(d.value, d.place.path) for d in source.get(paths.compile("xml", path, NS))] == found


def test_xml_parts_keep_their_places() -> None:
    """Elements given by `each` are sources whose leaves are those of the document."""
    source = xmlsource.read(XML)
    parts = source.each(paths.compile("xml", "a", NS))
    assert [part.here.path for part in parts] == ["/r/a[1]", "/r/a[2]"]
    inside = [d.leaf for part in parts for d in part.leaves()]
    assert inside == [d.leaf for d in source.leaves()]
    assert [d.value for d in parts[1].get(paths.compile("xml", "p:b", NS))] == ["2"]
    assert all(p.first <= d.leaf < p.first + p.size for p in parts for d in p.leaves())


@pytest.mark.parametrize("path", ["", "a/", "q:a", "a[", "a//", "@a/b", "a[0]", "a/./b", "..", "a[position()>1]"])
def test_wrong_xml_paths_are_told(path: str) -> None:
    """An undeclared prefix too."""
    with pytest.raises(Misconfigured):
        paths.compile("xml", path, NS)


JSON = b'{"a":{"b":[{"c":1.50},{"c":null},{"c":"x"}]},"odd k":true,"":"e","n":{},"l":[[1,2],[3]]}'


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$.a.b.c", [(Decimal("1.50"), "$.a.b[0].c"), ("", "$.a.b[1].c"), ("x", "$.a.b[2].c")]),
        ("a.b[*].c", [(Decimal("1.50"), "$.a.b[0].c"), ("", "$.a.b[1].c"), ("x", "$.a.b[2].c")]),
        ("a.b[2].c", [("x", "$.a.b[2].c")]),
        ("$['odd k']", [(True, "$['odd k']")]),
        ("l[0][1]", [(2, "$.l[0][1]")]),
        ("l", [(1, "$.l[0][0]"), (2, "$.l[0][1]"), (3, "$.l[1][0]")]),
        ("a.b[2]", [('{"c":"x"}', "$.a.b[2]")]),
        ("n", []),
        ("a.z", []),
    ],
)
def test_json_paths(path: str, found: list[tuple[object, str]]) -> None:
    """Arrays are walked through; decimals keep their digits; an object read whole is its text."""
    source = jsonsource.read(JSON)
    assert [(d.value, d.place.path) for d in source.get(paths.compile("json", path))] == found


def test_json_null_is_explicit() -> None:
    """`null` is a leaf: somebody wrote it."""
    source = jsonsource.read(JSON)
    assert [d.place.path for d in source.leaves() if d.null] == ["$.a.b[1].c"]


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(_TREES)
def test_every_json_leaf_is_found_by_its_place(tree: object) -> None:
    """Places are paths, numbers are unique, and nothing is left out, whatever the document."""
    source = jsonsource.read(json.write(tree))
    leaves = list(source.leaves())
    assert len({d.leaf for d in leaves}) == len(leaves)
    assert all(0 <= d.leaf < source.size for d in leaves)
    for datum in leaves:
        assert [d.leaf for d in source.get(paths.compile("json", datum.place.path))] == [datum.leaf]


@pytest.mark.parametrize("path", ["", "a..b", "a[", "a[-1]", "a b", "$x y", "[*"])
def test_wrong_json_paths_are_told(path: str) -> None:
    """When the mapping is compiled."""
    with pytest.raises(Misconfigured):
        paths.compile("json", path)


def test_an_unknown_notation_is_told() -> None:
    """A mapping for a format that nobody reads."""
    with pytest.raises(Misconfigured):
        paths.compile("morse", "a")


# --- YAML ----------------------------------------


def test_yaml_reads_what_an_analyst_wrote() -> None:
    """Codes with leading zeros, `no`, dates and times stay text; decimals keep their digits."""
    node = yaml.parse("code: 0012\nlist: [1, 2.50, no, true, 12:30, ~]\nday: 2026-01-01\nquoted: '7'\nempty:\n")
    assert node.value == {
        "code": "0012", "list": [1, Decimal("2.50"), "no", True, "12:30", None], "day": "2026-01-01",
        "quoted": "7", "empty": None,
    }  # fmt: skip


def test_every_yaml_node_knows_its_line_and_column() -> None:
    """A mapping error names file, line and column."""
    node = yaml.parse("a:\n  - b: 1\n    c: 2\n", "map.yaml")
    inner = node["a"].members[0]
    assert inner["c"].at == "map.yaml:3:8"
    assert (inner.key("c").line, inner.key("c").column) == (3, 5)
    assert [key for key, _ in inner.items()] == ["b", "c"]
    assert node.get("z") is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2", "2:1"), ("a: &x 1\nb: *x", None), ("a: !!python/object:os.system x", "1:4"),
        ("<<: {a: 1}", "1:1"),
        ("? [a]\n: 1", "1:3"), ("a: [", None), ("a: 1\n\tb: 2", None), ("--- 1\n--- 2", None), ("a: !!int '3'", "1:4"),
        ("[" * 500 + "]" * 500, None), ("a: \x07", None),
    ],
)  # fmt: skip
def test_dangerous_or_doubtful_yaml_is_refused_with_its_line(text: str, line: str | None) -> None:
    """Aliases, tags, merge keys and repeated keys say something else than an analyst sees."""
    with pytest.raises(Misconfigured) as error:
        yaml.parse(text, "map.yaml")
    assert error.value.code == "GW-FMT-080"
    assert error.value.args_["file"] == "map.yaml"
    assert line is None or error.value.args_["line"] == line


def test_yaml_files(tmp_path: Path) -> None:
    """Read from disk; an absent file and bytes that are no UTF-8 are configuration errors."""
    (tmp_path / "a.yaml").write_text("k: کلید\n", encoding="utf-8")
    assert yaml.load(tmp_path / "a.yaml").value == {"k": "کلید"}
    (tmp_path / "b.yaml").write_bytes(b"k: \xff")
    for name in ("b.yaml", "absent.yaml"):
        with pytest.raises(Misconfigured):
            yaml.load(tmp_path / name)
    assert yaml.parse("").value is None


@pytest.mark.parametrize("body", [b"", b"<a", b"<a/><b/>", b"<!DOCTYPE a><a/>"])
def test_xml_that_is_none_is_refused(body: bytes) -> None:
    """By the one parser."""
    with pytest.raises(Refused):
        xmlsource.read(body)
