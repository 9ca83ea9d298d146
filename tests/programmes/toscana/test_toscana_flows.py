"""The region's flows: each layout with its example, made from what the gateway makes, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from toscana_lab import codes, options, taken

from gateway import workers
from gateway.errors import Misconfigured
from gateway.formats import layout as layouts
from gateway.formats import media, periods
from gateway.formats.layout import Wrong
from gateway.measure import fhir, measures
from gateway.measure.reports import Line, Report
from gateway.ports import Mapper
from gateway.settings import Settings

ROOT = Path(__file__).parents[3]
DATA = ROOT / "mappings" / "toscana"
EXAMPLES = DATA / "layouts" / "examples"
LAYOUTS = layouts.load(DATA / "layouts")
CANONICAL = "https://toscana.gateway.invalid/fhir"
EXCLUSIONS = ("screening", "controllo", "alpi", "fuori_elenco", "senza_classe", "senza_limite", "scelta")


@pytest.fixture(scope="module")
def home() -> tuple[Mapper, Any]:
    """The programme's mappings, and the programme."""
    settings = Settings(home=str(ROOT), programmes=("toscana",))
    programmes = workers.load_programmes(settings)
    return workers.load_mapper(settings, programmes), programmes["toscana"]


def report(home: tuple[Mapper, Any], name: str, period: str, *lines: Line) -> dict[str, Any]:
    """The document of a schedule, by the room that makes it."""
    measure = measures.read(ROOT / "profiles" / "toscana" / "measures" / f"{name}.toml", home[1])
    made = Report(
        measure=measure,
        period=periods.parse(period),
        day=date(2026, 7, 1),
        parameters={},
        feed=1,
        at=datetime(2026, 7, 6, tzinfo=UTC),
        lines=lines,
        total=lines[0],
    )
    return {**fhir.bundle([made], "it"), "timestamp": "2026-07-06T00:00:00Z"}


def excluded(**numbers: int) -> dict[str, int]:
    return {reason: numbers.get(reason, 0) for reason in EXCLUSIONS}


def stay(**extension: Any) -> dict[str, Any]:
    """A planned admission."""
    extensions = [{"url": f"{CANONICAL}/StructureDefinition/{name}", **value} for name, value in extension.items()]
    encounter = {
        "resourceType": "Encounter",
        "id": "e",
        "extension": extensions,
        "identifier": [{"system": f"{CANONICAL}/identifier/nosologico", "value": "N-2026-1"}],
        "status": "finished",
        "period": {"start": "2026-01-20T08:00:00+01:00", "end": "2026-01-22T10:00:00+01:00"},
    }
    return {"resourceType": "Bundle", "timestamp": "2026-02-01T00:00:00Z", "entry": [{"resource": encounter}]}


def delivery(start: str = "2026-01-16T11:05:00+01:00", contact: str = "primo") -> dict[str, Any]:
    """A booking that was delivered: its sample, with the encounter that ends it."""
    items = json.loads((DATA / "samples" / "prenotazioni.expected.json").read_text(encoding="utf-8"))
    resources = [dict(each) for each in items[0]["resources"]]
    text = json.dumps(resources).replace('"code": "primo"', f'"code": "{contact}"')
    resources = json.loads(text)
    named = {"azienda": "101", "struttura": "ST-01"}
    resources.append(
        {
            "resourceType": "Encounter",
            "id": "e",
            "extension": [
                {"url": f"{CANONICAL}/StructureDefinition/{k}", "valueIdentifier": {"value": v}}
                for k, v in named.items()
            ],
            "status": "finished",
            "type": [{"coding": [{"code": "89.7"}]}],
            "serviceType": {"coding": [{"code": "08"}]},
            "period": {"start": start, "end": "2026-01-16T11:25:00+01:00"},
        }
    )
    return {
        "resourceType": "Bundle",
        "timestamp": "2026-02-01T00:00:00Z",
        "entry": [{"resource": each} for each in resources],
    }


def documents(home: tuple[Mapper, Any]) -> Mapping[str, dict[str, Any]]:
    """What each example is made from."""
    return {
        "tat.csv": report(
            home,
            "ex-ante",
            "2026-06",
            Line(("101", "ST-01", "VISITA-01", "B"), 9, 10, None, excluded(alpi=2, scelta=1)),
            Line(("101", None, "STRUMENTALE-16", "D"), 7, 7, None, excluded()),
            Line(("101", "ST-02", None, None), 0, 0, None, excluded(senza_classe=3)),
        ),
        "uso-cup.csv": report(
            home,
            "uso-cup",
            "2026-06",
            Line(("101", "SSN"), 95, 100, None, {"urgenza": 4}),
            Line(("101", "ALPI"), 8, 10, None, {"urgenza": 0}),
        ),
        "sospensioni.json": report(
            home,
            "sospensioni",
            "2026-H1",
            Line(("101", "AG-01", "guasto"), 12, None, None, {}, {"spostati": 40}),
            Line(("101", "AG-02", "personale"), 3, None, None, {}, {"spostati": None}),
        ),
        "specialistica.xml": delivery(),
        "sdo.txt": stay(
            **{
                "azienda": {"valueIdentifier": {"value": "101"}},
                "classe-ricovero": {"valueCoding": {"code": "B"}},
                "regime": {"valueCoding": {"code": "ssn"}},
                "data-contatto": {"valueDateTime": "2025-12-03T12:00:00+01:00"},
            }
        ),
    }


NAMES = ("tat.csv", "uso-cup.csv", "sospensioni.json", "specialistica.xml", "sdo.txt")


@pytest.mark.parametrize("name", NAMES)
def test_each_layout_has_an_example_that_the_gateway_makes(home: tuple[Mapper, Any], name: str) -> None:
    """Byte for byte, from the document that its schedule or its case makes."""
    made = home[0].render(documents(home)[name], f"toscana/{name.partition('.')[0]}", {})
    assert made == (EXAMPLES / name).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_each_example_is_read_back_by_its_layout(name: str) -> None:
    """And written again it is the same."""
    layout = layouts.pick(LAYOUTS, name.partition(".")[0], "2026-06-30")
    body = (EXAMPLES / name).read_bytes()
    rows = layouts.read(layout, body)
    assert rows
    assert all(each.source for each in [layout]), "a layout says where it comes from"


def test_every_layout_is_used_and_has_an_example() -> None:
    """A layout that nothing writes would only look like support."""
    used = {name.partition(".")[0] for name in NAMES}
    assert {each.name for each in LAYOUTS} == used
    assert {path.name for path in EXAMPLES.iterdir()} == set(NAMES)


def test_a_flow_of_before_the_first_version_is_refused(home: tuple[Mapper, Any]) -> None:
    """The version of the day decides, and there is none: no record is guessed."""
    with pytest.raises(Misconfigured):
        home[0].render(documents(home)["tat.csv"], "toscana/tat", {"day": "2019-06-30"})


@pytest.mark.parametrize(
    ("start", "digit"),
    [("2026-01-19T23:59:59+01:00", "0"), ("2026-01-20T00:00:00+01:00", "1")],
    ids=["the last legal second", "a second later"],
)
def test_the_guarantee_is_judged_at_the_deadline(home: tuple[Mapper, Any], start: str, digit: str) -> None:
    """What the digits mean is a table; when they change is the request's own deadline."""
    rows = home[0].rows(delivery(start), "toscana/specialistica", {})
    assert [each["garanziaTempiMax"] for each in rows] == [digit]


@pytest.mark.parametrize(("contact", "digit"), [("primo", "1"), ("successivo", "0")])
def test_the_kind_of_access_is_said_as_sistema_ts_says_it(home: tuple[Mapper, Any], contact: str, digit: str) -> None:
    """The letters P and C never leave their own field."""
    assert [r["tipoAccesso"] for r in home[0].rows(delivery(contact=contact), "toscana/specialistica", {})] == [digit]


def test_public_field_names_stand_as_they_are(home: tuple[Mapper, Any]) -> None:
    """Read by nothing of ours: times have nineteen characters, local and without offset."""
    root = etree.fromstring(home[0].render(delivery(), "toscana/specialistica", {}))
    space = {"s": "urn:gateway:toscana:specialistica"}
    told = {each: root.findtext(f".//s:{each}", namespaces=space) for each in ("dataPrenotazione", "dataIniErog")}
    assert told == {"dataPrenotazione": "2026-01-12 09:30:00", "dataIniErog": "2026-01-16 11:05:00"}


def test_an_outpatient_class_is_refused_in_a_discharge(home: tuple[Mapper, Any]) -> None:
    """U, B, D, P and A, B, C, D share letters and mean different things (X1, X2)."""
    wrong = stay(
        **{"azienda": {"valueIdentifier": {"value": "101"}}, "classe-ricovero": {"valueCoding": {"code": "U"}}}
    )
    with pytest.raises(Wrong):
        home[0].render(wrong, "toscana/sdo", {})


def test_the_booking_date_of_a_stay_is_where_the_sender_declares_it(home: tuple[Mapper, Any]) -> None:
    """R70: the wait is counted from the record. PV2-8 is the expected day and never taken for the booking."""
    message = (DATA / "samples" / "adt-a03-programmato.hl7").read_bytes()
    ((result, said),) = taken(message, media.HL7V2, **options())
    assert not codes(said, "error")
    bundle = {"resourceType": "Bundle", "entry": [{"resource": each} for each in result.resources]}
    rows = home[0].rows({**bundle, "timestamp": "2026-02-07T00:00:00Z"}, "toscana/sdo", {})
    assert [(r["dataPrenotazione"], r["dataRicovero"]) for r in rows] == [("2025-12-03", "2026-02-03")]
    silent = {name: place for name, place in options().items() if name != "prenotazione_ricovero"}
    ((result, said),) = taken(message, media.HL7V2, **silent)
    assert not codes(said, "error")
    bundle["entry"] = [{"resource": each} for each in result.resources]
    rows = home[0].rows({**bundle, "timestamp": "2026-02-07T00:00:00Z"}, "toscana/sdo", {})
    assert [r.get("dataPrenotazione") for r in rows] == [None]


def test_the_message_for_cart_is_an_element_of_its_own(home: tuple[Mapper, Any]) -> None:
    """What goes into an e-Gov envelope, and the claims about the person for the health record."""
    root = etree.fromstring(home[0].render(delivery(), "toscana/cart-prenotazione", {}))
    assert etree.QName(root).namespace == "urn:gateway:toscana:prenotazione"
    assert root.findtext("{urn:gateway:toscana:prenotazione}classePriorita") == "B"
    claims = json.loads(home[0].render(delivery(), "toscana/fse-claims", {}))
    assert claims == {"person_id": "TSTPNT80A01D612O^^^&2.16.840.1.113883.2.9.4.3.2&ISO"}
