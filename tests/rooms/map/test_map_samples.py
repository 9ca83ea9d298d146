"""Promise: every mapping has samples with their expected output, and gives exactly that."""

from __future__ import annotations

from pathlib import Path

import pytest
from map_expected import expected, samples
from maplab import HOME, MAPPINGS, OURS, Apply, shown

from gateway.formats import json, yaml


@pytest.mark.parametrize("path", samples(), ids=lambda p: str(p.relative_to(HOME / "mappings")))
def test_a_sample_gives_its_expected_output(path: Path, apply: Apply) -> None:
    """A changed mapping shows in a diff of the expected files, never only in production."""
    results = apply(path.parent.parent.name, path.read_bytes(), path.suffix)
    assert shown(results) == json.read(expected(path).read_bytes())


def test_every_mapping_has_a_sample(apply: Apply) -> None:
    """A mapping that no sample runs is a mapping that nobody has seen working."""
    used = {r.mapping for path in samples() for r in apply(path.parent.parent.name, path.read_bytes(), path.suffix)}
    mappings = {
        f"{path.parent.name}/{path.stem}"
        for path in MAPPINGS.glob("*/*.yaml")
        if path.name != "checks.yaml" and "resources" in yaml.load(path) and path.parent.name in OURS
    }
    assert mappings == used


def test_samples_lose_nothing_unseen(apply: Apply) -> None:
    """Our own samples are the example that people copy: nothing in them is unread."""
    for path in samples():
        for result in apply(path.parent.parent.name, path.read_bytes(), path.suffix):
            unread = [loss.place.path for loss in result.loss if loss.fate == "unread"]
            assert not unread, (path.name, result.label, unread)
            assert not result.refused
