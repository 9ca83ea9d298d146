"""The measures of a month, counted plainly from the facts: no SQL, no tables of the gateway, no shared code with it.

Every function gives {grain: {"numerator": …, "denominator": …, excluded reasons …}}.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from toscana_mese import FIRST, LAST, NOW, ORGANISATIONS, PLAN, ROME, SERVICES, Month, Offer, Request

Table = dict[tuple[Any, ...], Counter[str]]
BOOKED = ("booked", "cancelled", "noshow", "fulfilled")


def today() -> date:
    return min(LAST, NOW.date())


def voce(request: Request) -> str | None:
    return SERVICES[request.service][0] or None


def kind(request: Request) -> str:
    return request.contact_kind or "successivo"


def deadline(request: Request, start: datetime) -> datetime | None:
    """The last second in which the maximum is kept, counted from `start`; nothing where there is no maximum."""
    if kind(request) != "primo" or request.screening or not request.cls:
        return None
    if request.cls == "U":
        return (start.astimezone(UTC) + timedelta(hours=72)) if voce(request) else None
    days = {"B": SERVICES[request.service][4], "D": SERVICES[request.service][5], "P": 0}[request.cls]
    if not days or not voce(request):
        return None
    last = start.date() + timedelta(days=days)
    return datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=ROME)


def reason(request: Request, limit: datetime | None) -> str:
    if request.screening:
        return "screening"
    if kind(request) != "primo":
        return "controllo"
    if request.regime in ("ALPI", "ART55"):
        return "alpi"
    if voce(request) is None:
        return "fuori_elenco"
    if not request.cls:
        return "senza_classe"
    return "" if limit else "senza_limite"


def plan(request: Request, everywhere: bool) -> set[str]:
    """Structures of the plan for the service on the day of the contact: the company's, or the Area Vasta's too."""
    area = {key: av for key, _, av, _ in ORGANISATIONS}
    day = request.contact.date().isoformat()
    return {
        structure
        for company, service, structure, _, start, end in PLAN
        if service == voce(request)
        and start <= day <= end
        and (company == request.company or (everywhere and area[company] == area[request.company]))
    }


def offered_in_time(request: Request, limit: datetime) -> bool:
    """R26: first availability in the company's offer (level AV: in the Area Vasta). R27: or a recorded refusal."""
    own = plan(request, SERVICES[request.service][3] == "AV")
    wide = plan(request, True)
    joint = {key: cup for key, _, _, cup in ORGANISATIONS}[request.company] in ("av", "interaziendale")
    for offer in request.offers:
        if offer.start > limit:
            continue
        if offer.structure in own or (joint and offer.state == "refused" and offer.structure in wide):
            return True
    return False


def in_month(day: date | datetime | None) -> bool:
    if day is None:
        return False
    return FIRST <= (day.date() if isinstance(day, datetime) else day) <= LAST


def proportion(
    cases: Iterable[tuple[tuple[Any, ...], str, bool]],
) -> Table:
    """From (grain, reason for exclusion, whether it counts)."""
    made: Table = defaultdict(Counter)
    for grain, why, yes in cases:
        line = made[grain]
        if why:
            line[why] += 1
        else:
            line["denominator"] += 1
            line["numerator"] += yes
    return dict(made)


def offers_made(month: Month, cls: str) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for each in month.requests:
            if each.cls != cls or not in_month(each.contact):
                continue
            limit = deadline(each, each.contact)
            why = reason(each, limit)
            if not why and not plan(each, SERVICES[each.service][3] == "AV"):
                why = "fuori_piano"
            yield (each.company, voce(each)), why, not why and limit is not None and offered_in_time(each, limit)

    return proportion(cases())


def each_offer(month: Month, wanted: Callable[[Offer], bool]) -> Iterable[tuple[Request, Offer]]:
    return ((r, o) for r in month.requests for o in r.offers if wanted(o))


def ex_ante(month: Month) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for r, o in each_offer(month, lambda o: o.state in BOOKED and in_month(o.created)):
            limit = deadline(r, o.created)
            why = reason(r, limit)
            yield (r.company, o.structure, voce(r), r.cls or None), why, limit is not None and o.start <= limit

    return proportion(cases())


def ex_post(month: Month) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for r, o in each_offer(month, lambda o: in_month(o.delivered)):
            limit = deadline(r, o.created)
            done = o.delivered is not None and limit is not None and o.delivered <= limit
            yield (r.company, o.structure, voce(r), r.cls or None), reason(r, limit), done

    return proportion(cases())


def pathway_phase(month: Month, phase: int) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for each in month.pathways:
            start = each.first if phase == 1 else each.indicated
            done = each.diagnosed if phase == 1 else each.therapy
            if start is None or not in_month(start + timedelta(days=30)):
                continue
            why = "non_attivo" if each.pathway in ("scompenso", "diabete") else "interrotto" if each.interrupted else ""
            yield (each.company, each.pathway), why, done is not None and done <= start + timedelta(days=30)

    return proportion(cases())


def operations(month: Month) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for each in month.operations:
            limit = each.listed.date() + timedelta(days=90)
            if in_month(limit):
                done = each.done is not None and each.done.date() <= limit
                yield (each.company, each.regime, each.cls), "uscito" if each.removed else "", done

    return proportion(cases())


def six_months_before(day: date) -> date:
    month, year = (day.month - 6, day.year) if day.month > 6 else (day.month + 6, day.year - 1)
    for dom in range(day.day, 0, -1):
        try:
            return date(year, month, dom)
        except ValueError:
            continue
    raise AssertionError


def is_visit(request: Request) -> bool:
    return SERVICES[request.service][1].startswith("89.")


def accuracy(month: Month) -> Table:
    seen: dict[tuple[int, str, str], list[tuple[date, int]]] = defaultdict(list)
    for r, o in each_offer(month, lambda o: o.delivered is not None):
        if is_visit(r) and o.delivered:
            seen[r.patient, SERVICES[r.service][2], r.company].append((o.delivered.date(), r.number))

    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for r in month.requests:
            if not is_visit(r) or kind(r) != "primo" or r.screening or not in_month(r.prescribed):
                continue
            discipline = SERVICES[r.service][2]
            since = six_months_before(r.prescribed)
            before = any(
                since <= day < r.prescribed and number != r.number
                for day, number in seen[r.patient, discipline, r.company]
            )
            yield (r.company, discipline), "riacutizzazione" if r.flare else "", not before

    return proportion(cases())


def intramoenia(month: Month, by_service: bool) -> Table:
    made: Table = defaultdict(Counter)
    for r, o in each_offer(month, lambda o: in_month(o.delivered)):
        grain = (r.company, o.structure, SERVICES[r.service][1]) if by_service else (r.company, o.structure)
        made[grain][{"ALPI": "numerator", "ART55": "art55"}.get(r.regime, "denominator")] += 1
    return dict(made)


def suspended(month: Month, first: date, last: date, day: date) -> Table:
    made: Table = defaultdict(Counter)
    for each in month.suspensions:
        end = min(each.end or day, last)
        start = max(each.start, first)
        if each.start <= last and (each.end or day) >= first:
            made[each.company, each.agenda, each.reason]["numerator"] += (end - start).days + 1
    return dict(made)


def missed(month: Month) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for r, o in each_offer(month, lambda o: o.state in BOOKED and in_month(o.start)):
            yield (r.company, voce(r)), "", duty(o) is not None

    return proportion(cases())


def duty(offer: Offer) -> str | None:
    """R37: nobody came, or less than 48 hours' notice."""
    if offer.state == "noshow":
        return "R37-assente"
    late = (
        offer.cancelled is not None
        and (offer.start.astimezone(UTC) - offer.cancelled.astimezone(UTC)).total_seconds() < 48 * 3600
    )
    return "R37-tardiva" if offer.state == "cancelled" and late else None


def cup_use(month: Month) -> Table:
    def cases() -> Iterable[tuple[tuple[Any, ...], str, bool]]:
        for r, o in each_offer(month, lambda o: o.state in BOOKED and in_month(o.created)):
            yield (r.company, r.regime or "SSN"), "urgenza" if r.cls == "U" else "", o.channel in ("cup", "cup-av")

    return proportion(cases())


def no_offer(month: Month) -> Table:
    wanted = [r for r in month.requests if in_month(r.contact) and kind(r) == "primo" and not r.screening]
    return proportion(((r.company, voce(r)), "", not r.offers) for r in wanted)


def completeness(month: Month, sender: str) -> Table:
    made: Table = defaultdict(Counter)
    for r in month.requests:
        if not in_month(r.contact):
            continue
        present = {
            "quesito": r.question, "tipo-contatto": bool(r.contact_kind), "nre": True, "prescrittore": True,
            "data-prescrizione": True, "data-contatto": True,
        }  # fmt: skip
        if kind(r) == "primo" and not r.screening:
            present["classe"] = bool(r.cls)
        if SERVICES[r.service][1] == "89.7":
            present["disciplina"] = bool(SERVICES[r.service][2])
        for name, there in present.items():
            made[sender, name]["denominator"] += 1
            made[sender, name]["numerator"] += there
    return dict(made)


def compensations(month: Month) -> set[tuple[str, date]]:
    """R34 to R36: residents whose term passed without any place in time, as (NRE, day of the term)."""
    found = set()
    for r in month.requests:
        limit = deadline(r, r.contact)
        if reason(r, limit) or limit is None or r.residence != r.company:
            continue
        day = limit.astimezone(ROME).date()
        if in_month(day) and limit < NOW and not any(o.start <= limit for o in r.offers):
            found.add((r.nre, day))
    return found


def duties(month: Month) -> set[tuple[str, str]]:
    booked = each_offer(month, lambda o: in_month(o.start))
    return {(o.number, said) for _, o in booked if (said := duty(o)) is not None}


def uncollected(month: Month) -> Counter[tuple[str, date]]:
    found: Counter[tuple[str, date]] = Counter()
    for r, o in each_offer(month, lambda o: o.report is not None):
        assert o.report is not None
        due = o.report.date() + timedelta(days=30)
        if in_month(due) and (o.collected is None or o.collected.date() > due):
            found[r.company, due] += 1
    return found
