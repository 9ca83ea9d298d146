"""A seeded month of a fictitious company, as facts: what happened, without any rule applied to it.

`month(seed, count)` gives requests with their offers, and `rows` writes them as a CUP would send them.
The rules are applied by the measures, and once more, plainly, in `toscana_conto.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from gateway.formats.identifiers import codice_fiscale_digit

ROME: Final = ZoneInfo("Europe/Rome")
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
NOW: Final = datetime(2026, 7, 20, 8, 0, tzinfo=ROME)

# voce, code, discipline, level, days of B, days of D; the last is in no list
SERVICES: Final = (
    ("VISITA-01", "89.7", "08", "A", 7, 15),
    ("VISITA-02", "89.7", "14", "AV", 10, 30),
    ("VISITA-04", "89.13", "32", "A", 7, 15),
    ("STRUM-16", "87.41", "", "A", 10, 60),
    ("STRUM-27", "88.71.4", "", "A", 10, 30),
    ("STRUM-34", "45.23", "", "A", 10, 30),
    ("", "90.27.1", "", "", 0, 0),
)
ORGANISATIONS: Final = (  # key, type, Area Vasta, kind of CUP
    ("101", "asl", "AV-TEST", "av"),
    ("102", "asl", "AV-TEST", "aziendale"),
    ("103", "asl", "AV-ALTRA", "aziendale"),
)
PLAN: Final = (  # company, voce, structure, channel, from, to
    ("101", "VISITA-01", "ST-01", "diretta", "2026-01-01", "2026-12-31"),
    ("101", "VISITA-01", "ST-90", "ospedaliera", "2026-01-01", "2026-12-31"),
    ("101", "VISITA-04", "ST-01", "diretta", "2026-01-01", "2026-12-31"),
    ("101", "STRUM-27", "ST-02", "diretta", "2026-01-01", "2026-12-31"),
    ("101", "STRUM-27", "ST-91", "privata", "2026-01-01", "2026-12-31"),
    ("101", "STRUM-34", "ST-01", "diretta", "2026-03-15", "2026-12-31"),
    ("102", "VISITA-01", "ST-11", "diretta", "2026-01-01", "2026-12-31"),
    ("102", "VISITA-02", "ST-11", "av", "2026-01-01", "2026-12-31"),
    ("102", "STRUM-16", "ST-11", "diretta", "2026-01-01", "2026-12-31"),
    ("103", "VISITA-02", "ST-31", "diretta", "2026-01-01", "2026-12-31"),
)
STRUCTURES: Final = ("ST-01", "ST-02", "ST-11", "ST-31", "ST-90", "ST-91")
PATHWAYS: Final = ("mammella", "polmone", "colon-retto", "bypass", "ischemia-arti", "scompenso")


class Offer(msgspec.Struct, kw_only=True):
    """A place that the CUP offered, and what became of it."""

    number: str
    structure: str
    created: datetime
    start: datetime
    state: str  # proposed, refused, booked, cancelled, noshow, fulfilled
    cancelled: datetime | None = None
    delivered: datetime | None = None
    channel: str = "cup"
    report: datetime | None = None
    collected: datetime | None = None


class Request(msgspec.Struct, kw_only=True):
    """A line of a prescription that came to a CUP."""

    number: int
    company: str
    patient: int
    residence: str
    service: int
    cls: str  # U, B, D, P or nothing
    contact_kind: str  # primo, successivo or nothing: not stated
    screening: bool
    regime: str
    prescribed: date
    contact: datetime
    prescriber: int
    question: bool
    flare: bool
    offers: list[Offer]

    @property
    def nre(self) -> str:
        return f"0900A{self.number:010}"


class Pathway(msgspec.Struct, kw_only=True):
    number: int
    company: str
    pathway: str
    first: date
    indicated: date | None
    diagnosed: date | None
    therapy: date | None
    interrupted: bool


class Operation(msgspec.Struct, kw_only=True):
    number: int
    company: str
    regime: str
    cls: str
    listed: datetime
    done: datetime | None
    removed: bool


class Suspension(msgspec.Struct, kw_only=True):
    company: str
    agenda: str
    reason: str
    start: date
    end: date | None
    moved: int


class Month(msgspec.Struct, kw_only=True):
    requests: list[Request]
    pathways: list[Pathway]
    operations: list[Operation]
    suspensions: list[Suspension]


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ROME)


def later(start: datetime, days: int, hour: int, minute: int = 0) -> datetime:
    return at(start.date() + timedelta(days=days), hour, minute)


def _offers(dice: random.Random, number: int, contact: datetime, service: int) -> list[Offer]:
    made: list[Offer] = []
    created = contact
    limits = [n for n in SERVICES[service][4:6] if n] or [10]
    for turn in range(dice.choices((0, 1, 2, 3), (5, 60, 25, 10))[0]):
        # often near a limit, because that is where rules are broken
        days = dice.choice([*limits, *(n + 1 for n in limits), *(n - 1 for n in limits), dice.randrange(0, 80), 2, 3])
        minute = contact.minute if dice.random() < 0.2 else dice.choice((0, 30))
        hour = contact.hour if dice.random() < 0.2 else dice.randrange(8, 20)
        offer = Offer(
            number=f"P{number:07}-{turn}",
            structure=dice.choice(STRUCTURES),
            created=created,
            start=later(created, days, hour, minute),
            state=dice.choice(("refused", "refused", "proposed")),
            channel=dice.choices(("cup", "cup-av", "diretta", "urgenza", "altro"), (60, 20, 10, 5, 5))[0],
        )
        made.append(offer)
        created = later(created, dice.randrange(0, 4), contact.hour, contact.minute)
    if made and dice.random() < 0.9:
        _settle(dice, made[-1])
    return made


def _settle(dice: random.Random, last: Offer) -> None:
    last.state = dice.choices(("booked", "cancelled", "noshow", "fulfilled"), (20, 12, 8, 60))[0]
    if last.state == "cancelled":
        hours = dice.choice((1, 10, 47, 48, 49, 60, 100))
        last.cancelled = (last.start.astimezone(ZoneInfo("UTC")) - timedelta(hours=hours)).astimezone(ROME)
    if last.state == "fulfilled":
        last.delivered = last.start + timedelta(minutes=dice.choice((0, 5, 60 * 24)))
        if dice.random() < 0.3:
            last.report = last.delivered + timedelta(days=1)
            days = dice.choice((None, 2, 29, 30, 31))
            last.collected = None if days is None else last.report + timedelta(days=days)


def _request(dice: random.Random, number: int, people: int) -> Request:
    service = dice.randrange(len(SERVICES))
    day = date(2025, 9, 15) + timedelta(days=dice.randrange(0, 150)) if dice.random() < 0.4 else (
        FIRST + timedelta(days=dice.randrange(0, 31))
    )  # fmt: skip
    contact = at(day, dice.randrange(8, 19), dice.randrange(60))
    kind = dice.choices(("primo", "successivo", ""), (70, 24, 6))[0]
    screening = dice.random() < 0.05
    cls = dice.choices("UBDP", (8, 25, 45, 22))[0]
    if (kind != "primo" and dice.random() < 0.8) or screening:
        cls = ""
    if cls == "P" and kind != "primo":
        cls = "D"
    return Request(
        number=number,
        company=dice.choices(("101", "102", "103"), (70, 20, 10))[0],
        patient=dice.randrange(people),
        residence=dice.choices(("101", "102", "999"), (70, 20, 10))[0],
        service=service,
        cls=cls,
        contact_kind=kind,
        screening=screening,
        regime=dice.choices(("", "SSN", "ALPI", "ART55"), (50, 35, 12, 3))[0],
        prescribed=day - timedelta(days=dice.randrange(0, 10)),
        contact=contact,
        prescriber=dice.randrange(20),
        question=dice.random() < 0.9,
        flare=dice.random() < 0.03,
        offers=_offers(dice, number, contact, service),
    )


def month(seed: int, count: int) -> Month:
    """So many requests, and what belongs to a company of that size. The same seed gives the same month."""
    dice = random.Random(seed)
    people = max(20, count // 5)
    requests = [_request(dice, number, people) for number in range(count)]
    homes: dict[int, str] = {}  # a person lives in one place
    for each in requests:
        each.residence = homes.setdefault(each.patient, each.residence)
    return Month(
        requests=requests,
        pathways=[_pathway(dice, number) for number in range(max(30, count // 50))],
        operations=[_operation(dice, number) for number in range(max(30, count // 50))],
        suspensions=[_suspension(dice, number) for number in range(12)],
    )


def _pathway(dice: random.Random, number: int) -> Pathway:
    first = date(2026, 1, 20) + timedelta(days=dice.randrange(0, 60))
    diagnosed = first + timedelta(days=dice.choice((5, 29, 30, 31, 45))) if dice.random() < 0.9 else None
    indicated = diagnosed + timedelta(days=dice.randrange(0, 5)) if diagnosed and dice.random() < 0.9 else None
    return Pathway(
        number=number,
        company=dice.choice(("101", "102")),
        pathway=dice.choice(PATHWAYS),
        first=first,
        indicated=indicated,
        diagnosed=diagnosed,
        therapy=indicated + timedelta(days=dice.choice((10, 29, 30, 31)))
        if indicated and dice.random() < 0.8
        else None,
        interrupted=dice.random() < 0.05,
    )


def _operation(dice: random.Random, number: int) -> Operation:
    listed = at(date(2025, 11, 25) + timedelta(days=dice.randrange(0, 50)), 9)
    removed = dice.random() < 0.06
    days = dice.choice((30, 89, 90, 91, 120, None))
    return Operation(
        number=number,
        company=dice.choice(("101", "102")),
        regime=dice.choice(("SSN", "ALPI")),
        cls=dice.choice("ABCD"),
        listed=listed,
        done=None if days is None or removed else later(listed, days, 8),
        removed=removed,
    )


def _suspension(dice: random.Random, number: int) -> Suspension:
    start = date(2025, 12, 20) + timedelta(days=dice.randrange(0, 220))
    return Suspension(
        company=dice.choice(("101", "102")),
        agenda=f"AG-{number}",
        reason=dice.choice(("guasto", "manutenzione", "non-tecnico")),
        start=start,
        end=None if dice.random() < 0.2 else start + timedelta(days=dice.randrange(0, 30)),
        moved=dice.randrange(20),
    )


# --- as a CUP sends it ----------------------------------------


def person(number: int) -> str:
    """A codice fiscale of nobody: the letters spell a test, the digits count."""
    bare = f"TST{_letters(number)}80A01D612"
    return bare + codice_fiscale_digit(bare)


def _letters(number: int) -> str:
    return "".join("BCDFGHJKLMNPQRSTVWXYZ"[number // 21**place % 21] for place in (2, 1, 0))


def _italian(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%d/%m/%Y %H:%M")


STATES: Final = {"proposed": "proposta", "refused": "rifiutata", "booked": "prenotata", "cancelled": "disdetta",
                 "noshow": "non presentato", "fulfilled": "erogata"}  # fmt: skip
CHANNELS: Final = {"cup": "CUP", "cup-av": "CUP AV", "diretta": "diretta", "urgenza": "urgenza", "altro": "altro"}


def rows(request: Request) -> Iterator[dict[str, str]]:
    """A row for each offer; a request without any stands alone on the waiting list."""
    _, code, discipline, *_rest = SERVICES[request.service]
    whole = {
        "nre": request.nre,
        "codice fiscale": person(request.patient),
        "cognome": "Prova",
        "nome": f"Paziente {request.patient}",
        "asl residenza": request.residence,
        "prestazione": code,
        "disciplina": discipline,
        "classe": request.cls,
        "tipo contatto": {"primo": "P", "successivo": "C", "": ""}[request.contact_kind],
        "screening": "si" if request.screening else "",
        "quesito diagnostico": "Quesito di prova" if request.question else "",
        "riacutizzazione": "si" if request.flare else "",
        "data prescrizione": request.prescribed.strftime("%d/%m/%Y"),
        "data prima richiesta": _italian(request.contact),
        "azienda": request.company,
        "prescrittore": person(9000 + request.prescriber),
        "regime": request.regime,
    }
    if not request.offers:
        yield {
            **whole, "numero prenotazione": f"P{request.number:07}", "stato": "in attesa",
            "data contatto": _italian(request.contact),
        }  # fmt: skip
    for offer in request.offers:
        yield {
            **whole,
            "numero prenotazione": offer.number,
            "struttura": offer.structure,
            "data contatto": _italian(offer.created),
            "data appuntamento": _italian(offer.start),
            "stato": STATES[offer.state],
            "canale": CHANNELS[offer.channel],
            "data disdetta": _italian(offer.cancelled),
            "motivo disdetta": "prova" if offer.cancelled else "",
            "data erogazione": _italian(offer.delivered),
            "data referto": _italian(offer.report),
            "data ritiro referto": _italian(offer.collected),
        }


def pathway_row(each: Pathway) -> dict[str, str]:
    def day(value: date | None) -> str:
        return value.strftime("%d/%m/%Y") if value else ""

    return {
        "numero percorso": f"PDT-{each.number}", "percorso": each.pathway, "azienda": each.company,
        "codice fiscale": person(each.number), "cognome": "Prova", "nome": "Paziente",
        "data prima visita": day(each.first), "data indicazione clinica": day(each.indicated),
        "data fine diagnosi": day(each.diagnosed), "data inizio terapia": day(each.therapy),
        "stato": "interrotto" if each.interrupted else "",
    }  # fmt: skip


def operation_row(each: Operation) -> dict[str, str]:
    return {
        "numero lista": f"L-{each.number}", "intervento": "81.51", "classe ricovero": each.cls, "azienda": each.company,
        "struttura": "ST-01", "regime": each.regime, "codice fiscale": person(each.number), "cognome": "Prova",
        "nome": "Paziente", "diagnosi": "prova", "data inserimento": _italian(each.listed),
        "data intervento": _italian(each.done), "data uscita": _italian(NOW) if each.removed else "",
    }  # fmt: skip


def suspension_row(each: Suspension) -> dict[str, str]:
    return {
        "agenda": each.agenda, "azienda": each.company, "struttura": "ST-01", "prestazione": "88.71.4",
        "attiva": "si", "giorno": "01/03/2026", "sospesa dal": each.start.strftime("%d/%m/%Y"),
        "sospesa al": each.end.strftime("%d/%m/%Y") if each.end else "", "motivo": each.reason,
        "pazienti spostati": str(each.moved),
    }  # fmt: skip


def reference() -> str:
    """The reference data as an installation imports them."""
    lines = ["kind;key;valid_from;valid_to;name;type;area_vasta;cup;azienda;voce;struttura;canale"]
    lines += [
        f"organisation;{k};2010-01-01;;Azienda di prova {k};{t};{av};{cup};;;;" for k, t, av, cup in ORGANISATIONS
    ]
    lines += [f"organisation;{s};2010-01-01;;Struttura di prova {s};struttura;;;;;;" for s in STRUCTURES]
    lines += [f"paa;{a}/{v}/{s};{start};{end};;;;;{a};{v};{s};{c}" for a, v, s, c, start, end in PLAN]
    return "\n".join(lines) + "\n"
