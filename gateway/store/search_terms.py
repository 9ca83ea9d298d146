"""A search as one statement: each term becomes the set of positions that fulfil it.

Where a condition has few enough matches (that is asked first, and costs at most `FEW` index entries), the statement
starts from them; every other condition is then a look-up by position. Where none has, the versions of the type are
walked in order until the page is full. So a page costs what its rarest condition matches, not what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, and_, false, func, literal, not_, or_, select

from gateway.formats.search import (
    AnyOf,
    Chained,
    Has,
    HasId,
    IsDate,
    IsNumber,
    IsText,
    IsToken,
    RefersTo,
    Reversed,
    Scope,
    Shared,
    Term,
)
from gateway.store import search_tables as tables
from gateway.store.group import PLACES
from gateway.store.search_tables import clip

FEW: Final = 20_000
_LAST: Final = "\U0010ffff"

Positions = tuple[Select[Any], ColumnElement[Any]]
"""A statement, and its column that holds positions."""


def as_it_stood(table: Any, feed: int, walk: bool = True) -> ColumnElement[bool]:
    """The versions that were the newest of their resource when that feed number had been committed."""
    end = literal((feed + 1) * PLACES, BigInteger)
    position = table.c.position if walk else table.c.position + literal(0, BigInteger)
    return and_(position < end, table.c.until >= end, table.c.deleted == 0)


def of_type(table: Any, type: str, walk: bool = True, types: Sequence[str] = ()) -> ColumnElement[bool]:
    """The type, or one of `types`. For `walk` see `in_scope`."""
    walk = walk and not types
    column = table.c.type if walk else table.c.type.concat("")
    same: ColumnElement[bool] = column.in_(types) if types else column == type
    return same


def in_scope(table: Any, scope: Scope, walk: bool = True) -> ColumnElement[bool]:
    """Whose they are, or what a rule shares. An empty scope sees nothing.

    Without `walk` the programme is compared as an expression, which no index answers: where the id is known, a
    database without statistics must not prefer to walk through everything of the programme. Neither where there are
    several programmes or rules: in the order of the feed one can only walk through one of them.
    """
    walk = walk and len(scope.programmes) == 1 and not scope.shares
    seen = [_own(table, scope, walk)]
    seen += [_shared(table, each, walk) for each in scope.shares if each.senders]
    return or_(*seen) if len(seen) > 1 else seen[0]


def _own(table: Any, scope: Scope, walk: bool) -> ColumnElement[bool]:
    if not scope.programmes or (scope.senders is not None and not scope.senders):
        return false()
    programme = table.c.programme if walk else table.c.programme.concat("")
    seen: ColumnElement[bool] = programme.in_(scope.programmes)
    return seen if scope.senders is None else and_(seen, table.c.sender.in_(scope.senders))


def _shared(table: Any, share: Shared, walk: bool) -> ColumnElement[bool]:
    """The conditions look at the version alone, so they need neither a scope nor a feed number."""
    terms = Terms(Scope(programmes=()), 0)
    programme = table.c.programme if walk else table.c.programme.concat("")
    mine = (programme == share.programme, of_type(table, share.type, False), table.c.sender.in_(share.senders))
    return and_(*mine, *(terms.holds(each, table) for each in share.where))


class Terms:
    """Terms as statements, for one scope and feed number."""

    def __init__(self, scope: Scope, feed: int, near: bool = False) -> None:
        self.scope, self.feed, self.near = scope, feed, near

    def positions(self, term: Term) -> Positions:
        """The positions that fulfil one term, of whatever version or scope."""
        return _STATEMENTS[type(term)](self, term)

    def holds(self, condition: AnyOf, version: Any) -> ColumnElement[bool]:
        """The condition as a look-up for one version."""
        ids = [term.id for term in condition.terms if isinstance(term, HasId)]
        found = [self._exists(term, version) for term in condition.terms if not isinstance(term, HasId)]
        if ids:
            found.append(version.c.id.in_(ids))
        whole = or_(false(), *found)
        return not_(whole) if condition.negated else whole

    def _exists(self, term: Term, version: Any) -> ColumnElement[bool]:
        if isinstance(term, IsDate) and term.parameter == "_lastUpdated":
            return _updated(term, version)
        asked, position = Terms(self.scope, self.feed, near=True).positions(term)
        return asked.where(position == version.c.position).correlate(version).exists()

    def starts(self, condition: AnyOf) -> Select[Any] | None:
        """All positions of a condition, where they can be found by an index."""
        if condition.negated or not condition.terms or any(_unfit(term) for term in condition.terms):
            return None
        found = [self.positions(term)[0] for term in condition.terms if not isinstance(term, RefersTo)]
        found += _referring([term for term in condition.terms if isinstance(term, RefersTo)])
        first, *rest = found
        return select(first.union_all(*rest).subquery()) if rest else first

    # --- one way each ----------------------------------------

    def _mine(self, table: Any, parameter: str) -> ColumnElement[bool]:
        """The rows of a parameter. For one known version (`near`) no index by value may be taken for them: a database
        without statistics prefers the one that reads every version with that value."""
        column = table.c.parameter.concat("") if self.near else table.c.parameter
        mine: ColumnElement[bool] = column == parameter
        return mine

    def _token(self, term: IsToken) -> Positions:
        table = tables.tokens.alias()
        terms = [self._mine(table, term.parameter)]
        if term.system is not None:
            terms.append(table.c.system == clip(term.system))
        if term.under:
            start = clip(term.code or "")
            terms += [table.c.code >= start, table.c.code < start + _LAST]
        elif term.code is not None:
            terms.append(table.c.code == clip(term.code))
        return select(table.c.position).where(*terms), table.c.position

    def _text(self, term: IsText) -> Positions:
        table = tables.strings.alias()
        mine, text = self._mine(table, term.parameter), clip(term.text)
        if term.how == "starts":
            fits = and_(
                table.c.text >= text, table.c.text < text + _LAST, func.substr(table.c.text, 1, len(text)) == text
            )
        elif term.how == "contains":
            fits = table.c.text.contains(text, autoescape=True)
        else:
            fits = table.c.exact == text
        return select(table.c.position).where(mine, fits), table.c.position

    def _reference(self, term: RefersTo) -> Positions:
        table = tables.references.alias()
        terms = [self._mine(table, term.parameter), table.c.target == clip(term.id)]
        if term.type is not None:
            terms.append(table.c.target_type == clip(term.type))
        return select(table.c.position).where(*terms), table.c.position

    def _date(self, term: IsDate) -> Positions:
        table = tables.dates.alias()
        fits = _span(term.prefix, table.c.low, table.c.high, term.low, term.high)
        return select(table.c.position).where(self._mine(table, term.parameter), fits), table.c.position

    def _number(self, term: IsNumber) -> Positions:
        table = tables.numbers.alias()
        terms = [self._mine(table, term.parameter), _amount(term, table)]
        if term.system is not None:
            terms.append(table.c.system == clip(term.system))
        if term.code is not None:
            terms.append(table.c.code == clip(term.code))
        return select(table.c.position).where(*terms), table.c.position

    def _id(self, term: HasId) -> Positions:
        table = tables.versions.alias()
        return select(table.c.position).where(table.c.id == term.id), table.c.position

    def _has(self, term: Has) -> Positions:
        table = tables.KINDS[term.kind].alias()
        return select(table.c.position).where(self._mine(table, term.parameter)), table.c.position

    def _seen(self, target: Any, type: str, where: tuple[AnyOf, ...]) -> list[ColumnElement[bool]]:
        """A version of the type that may be seen, as it stood, with all conditions."""
        found: list[ColumnElement[bool]] = []
        walk = True
        for each in where:
            starts = self.starts(each)
            walk = walk and starts is None
            found.append(target.c.position.in_(starts) if starts is not None else self.holds(each, target))
        seen = (of_type(target, type, walk), as_it_stood(target, self.feed, walk))
        return [*seen, in_scope(target, self.scope, False), *found]

    def _chained(self, term: Chained) -> Positions:
        """The targets first: there are few of them, and many references."""
        table, target = tables.references.alias(), tables.versions.alias()
        ids = select(target.c.id).where(*self._seen(target, term.type, term.where))
        mine = (table.c.parameter == term.parameter, table.c.target_type == term.type, table.c.target.in_(ids))
        return select(table.c.position).where(*mine), table.c.position

    def _reversed(self, term: Reversed) -> Positions:
        table, source, own = tables.references.alias(), tables.versions.alias(), tables.versions.alias()
        asked = (
            select(own.c.position)
            .select_from(source)
            .join(table, and_(table.c.position == source.c.position, table.c.parameter == term.parameter))
            .join(own, and_(own.c.type == table.c.target_type, own.c.id == table.c.target))
        )
        return asked.where(*self._seen(source, term.type, term.where)), own.c.position


_STATEMENTS: Final[Mapping[type[Any], Callable[[Terms, Any], Positions]]] = {
    IsToken: Terms._token,
    IsText: Terms._text,
    RefersTo: Terms._reference,
    IsDate: Terms._date,
    IsNumber: Terms._number,
    HasId: Terms._id,
    Has: Terms._has,
    Chained: Terms._chained,
    Reversed: Terms._reversed,
}


def _referring(terms: Sequence[RefersTo]) -> list[Select[Any]]:
    """References to many things at once: databases bound how many parts a statement has, not how long a list is."""
    groups: dict[tuple[str, str | None], list[str]] = {}
    for term in terms:
        groups.setdefault((term.parameter, term.type), []).append(clip(term.id))
    found = []
    for (parameter, type), ids in groups.items():
        table = tables.references.alias()
        mine = [table.c.parameter == parameter, table.c.target.in_(ids)]
        mine += [] if type is None else [table.c.target_type == clip(type)]
        found.append(select(table.c.position).where(*mine))
    return found


def _unfit(term: Term) -> bool:
    """Whether finding all its positions could mean to read far more than its matches."""
    if isinstance(term, IsText):
        return term.how != "starts"
    return isinstance(term, Has | HasId) or (isinstance(term, IsDate) and term.parameter == "_lastUpdated")


def _updated(term: IsDate, version: Any) -> ColumnElement[bool]:
    """A version's time is one microsecond long."""
    at = version.c.at
    low, high = (literal(each, BigInteger) for each in (term.low, term.high))
    plain: dict[str, ColumnElement[bool]] = {
        "eq": and_(at >= low, at < high),
        "ne": or_(at < low, at >= high),
        "gt": at >= high,
        "lt": at < low,
        "ge": at >= low,
        "le": at < high,
        "sa": at >= high,
        "eb": at < low,
        "ap": and_(at >= low, at < high),
    }
    return plain[term.prefix]


def _span(prefix: str, low: Any, high: Any, begin: int, end: int) -> ColumnElement[bool]:
    """FHIR R4 3.1.1.5.5: spans contain, overlap, or lie beside each other."""
    inside = and_(low >= begin, low < end, high <= end)
    table: dict[str, ColumnElement[bool]] = {
        "eq": inside,
        "ne": or_(low < begin, high > end),
        "gt": high > end,
        "lt": low < begin,
        "ge": or_(high > end, inside),
        "le": or_(low < begin, inside),
        "sa": low >= end,
        "eb": high <= begin,
        "ap": and_(low < end, high > begin),
    }
    return table[prefix]


def _amount(term: IsNumber, table: Any) -> ColumnElement[bool]:
    low, high = table.c.low, table.c.high
    inside = and_(low >= term.low, low < term.high, high < term.high)
    found: dict[str, ColumnElement[bool]] = {
        "eq": inside,
        "ne": not_(inside),
        "gt": high > term.value,
        "lt": low < term.value,
        "ge": high >= term.value,
        "le": low <= term.value,
        "sa": low > term.value,
        "eb": high < term.value,
        "ap": and_(low <= term.high, high >= term.low),
    }
    return found[term.prefix]
