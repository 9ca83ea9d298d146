"""Reading threads that all read for the first time: the moment after a restart with much to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
import msgspec
from gateway.errors import Code
from gateway.message import AuditRecord, Conformity, ItemResult, RegistryEntry
start = threading.Barrier(8)
def work():
    start.wait()
    for kind in (ItemResult, AuditRecord, RegistryEntry, Conformity, Code):
        try:
            msgspec.convert({}, kind)
        except msgspec.ValidationError:
            pass
threads = [threading.Thread(target=work) for _ in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
"""


@pytest.mark.parametrize("run", range(6))
def test_the_first_conversions_may_happen_in_many_threads_at_once(run: int) -> None:
    """msgspec builds what it knows of a type without a lock; two threads doing it at once ended the process."""
    ended = subprocess.run([sys.executable, "-c", RACE], timeout=60, check=False)
    assert ended.returncode == 0
