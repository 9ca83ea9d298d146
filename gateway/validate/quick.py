"""Invariants that can be seen to hold at a glance, so that the expression need not be run.

Each entry belongs to one expression of the specification, word for word, and answers true only where the expression
surely holds; false means "look properly". What an invariant says is never decided here against the sender.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.message import Json

Glance = Callable[[Json], bool]


def _without(name: str) -> Glance:
    return lambda value: name not in value and "_" + name not in value


def _any_of(*names: str) -> Glance:
    return lambda value: any(name in value for name in names)


def _if_then(name: str, needed: str) -> Glance:
    other = "_" + name
    return lambda value: needed in value or (name not in value and other not in value)


def _not_home(value: Json) -> bool:
    return value.get("use") != "home"


def _period(value: Json) -> bool:
    start, end = value.get("start"), value.get("end")
    if start is None or end is None:
        return True
    if type(start) is not str or type(end) is not str:
        return False
    return len(start) == len(end) and start[10:] == end[10:] and start <= end


def _kinds(bundle: Json, *kinds: str) -> bool:
    return bundle.get("type") in kinds


def _entries(bundle: Json) -> list[Any]:
    entries = bundle.get("entry")
    return entries if type(entries) is list else []


def _each_has(name: str, *kinds: str) -> Glance:
    def glance(bundle: Json) -> bool:
        wanted = bundle.get("type") in kinds
        return all(type(each) is dict and (name in each) is wanted for each in _entries(bundle))

    return glance


def _distinct(bundle: Json) -> bool:
    urls = [each.get("fullUrl") for each in _entries(bundle) if type(each) is dict]
    return all(type(each) is str for each in urls) and len(set(urls)) == len(urls)


def _not_versioned(entry: Json) -> bool:
    url = entry.get("fullUrl")  # without one nothing is version specific
    return ("fullUrl" not in entry and "_fullUrl" not in entry) or (type(url) is str and "/_history/" not in url)


HOLDS: Final[Mapping[str, Glance]] = {
    "start.hasValue().not() or end.hasValue().not() or (start <= end)": _period,
    "code.empty() or system.exists()": _if_then("code", "system"),
    "value.empty() or system.exists()": _if_then("value", "system"),
    "data.empty() or contentType.exists()": _if_then("data", "contentType"),
    "orderDetail.empty() or code.exists()": _if_then("orderDetail", "code"),
    "detail.empty() or reference.empty()": lambda value: "detail" not in value or "reference" not in value,
    "name.exists() or telecom.exists() or address.exists() or organization.exists()": _any_of(
        "name", "telecom", "address", "organization"
    ),
    "(identifier.count() + name.count()) > 0": _any_of("identifier", "name"),
    "where(use = 'home').empty()": _not_home,
    "low.exists() or high.exists() or text.exists()": _any_of("low", "high", "text"),
    "dataAbsentReason.empty() or value.empty()": _without("dataAbsentReason"),
    "total.empty() or (type = 'searchset') or (type = 'history')": _without("total"),
    "entry.search.empty() or (type = 'searchset')": lambda bundle: (
        _kinds(bundle, "searchset") or not any("search" in each for each in _entries(bundle) if type(each) is dict)
    ),
    (
        "entry.all(request.exists() = (%resource.type = 'batch' or %resource.type = 'transaction' "
        "or %resource.type = 'history'))"
    ): _each_has("request", "batch", "transaction", "history"),
    (
        "entry.all(response.exists() = (%resource.type = 'batch-response' or %resource.type = 'transaction-response' "
        "or %resource.type = 'history'))"
    ): _each_has("response", "batch-response", "transaction-response", "history"),
    (
        "(type = 'history') or entry.where(fullUrl.exists()).select(fullUrl&resource.meta.versionId).isDistinct()"
    ): _distinct,
    "type = 'document' implies (identifier.system.exists() and identifier.value.exists())": lambda bundle: _kinds(
        bundle, "message", "transaction", "batch", "collection", "searchset", "history"
    ),
    "type = 'document' implies (timestamp.hasValue())": lambda bundle: _kinds(
        bundle, "message", "transaction", "batch", "collection", "searchset", "history"
    ),
    "type = 'document' implies entry.first().resource.is(Composition)": lambda bundle: _kinds(
        bundle, "message", "transaction", "batch", "collection", "searchset", "history"
    ),
    "type = 'message' implies entry.first().resource.is(MessageHeader)": lambda bundle: _kinds(
        bundle, "document", "transaction", "batch", "collection", "searchset", "history"
    ),
    "resource.exists() or request.exists() or response.exists()": _any_of("resource", "request", "response"),
    "fullUrl.contains('/_history/').not()": _not_versioned,
}
