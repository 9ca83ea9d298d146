"""e-Gov envelopes: what is built is read back, and what could be read in two ways is not read at all."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import GatewayError
from gateway.formats import egov
from gateway.formats.egov import Envelope, Failure, Hop, Malformed, Party, Receipt

NOW = datetime(2026, 3, 2, 9, 30, 15, tzinfo=UTC)
US, THEM = Party(name="AziendaTest"), Party(name="RegioneTest", kind="AOO", address="http://porta.invalid/pd")
ID = "AziendaTest_AziendaTestSPCoopIT_0000001_2026-03-02_10:30"


def envelope(**more: Any) -> Envelope:
    values: dict[str, Any] = {
        "sender": US,
        "receiver": THEM,
        "profile": egov.SYNCHRONOUS,
        "service": "Prenotazioni",
        "action": "invia",
        "id": ID,
        "recorded_at": NOW,
        "forwarding": "EGOV_IT_ALPIUUNAVOLTA",
    }
    return Envelope(**(values | more))


def payload() -> etree._Element:
    return etree.fromstring("<p:dati xmlns:p='urn:test'><p:n>1</p:n></p:dati>")


def message(**more: Any) -> bytes:
    return egov.build(envelope(**more), payload())


_words = st.text("ABCDEFabcdef0123456789-./", min_size=1, max_size=20)
_instants = (
    st.integers(0, 4_000_000_000)
    .map(lambda n: datetime.fromtimestamp(n, UTC))
    .filter(
        lambda at: at.astimezone(egov.ROME).fold == 0  # the repeated hour of October has one way to be written
    )
)
_parties = st.builds(Party, name=_words, kind=_words, address=st.just("") | _words)
_timings = st.sampled_from(["EGOV_IT_SPC", "EGOV_IT_Locale"])
_envelopes = st.builds(
    Envelope,
    sender=_parties,
    receiver=_parties,
    profile=st.none() | st.sampled_from(egov.PROFILES),
    service=_words,
    service_kind=_words,
    action=st.just("") | _words,
    collaboration=st.just("") | _words,
    id=_words,
    recorded_at=_instants,
    timing=_timings,
    reference=st.just("") | _words,
    expires_at=st.none() | _instants,
    forwarding=st.sampled_from(["EGOV_IT_ALPIUUNAVOLTA", "EGOV_IT_PIUDIUNAVOLTA"]),
    confirm=st.booleans(),
    sequence=st.none() | st.integers(0, 10**9 - 1),
    receipts=st.lists(st.builds(Receipt, id=_words, at=_instants, timing=_timings), max_size=3).map(tuple),
    hops=st.lists(st.builds(Hop, origin=_parties, target=_parties, at=_instants, timing=_timings), max_size=3).map(
        tuple
    ),
    failures=st.lists(
        st.builds(
            Failure,
            code=st.integers(0, 999).map(lambda n: f"EGOV_IT_{n:03}"),
            severity=st.sampled_from(["GRAVE", "LIEVE", "INFO"]),
            place=st.just("") | _words,
            context=_words,
        ),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=150, deadline=None)
@given(_envelopes)
def test_what_is_built_is_read_back(one: Envelope) -> None:
    """Every field, every list, with the body beside them."""
    read = egov.parse(egov.build(one, payload()))
    assert read.envelope == one
    assert [each.tag for each in read.body] == ["{urn:test}dati"]


def test_the_header_is_as_the_specification_has_it() -> None:
    """Namespace, prefix, actor, mustUnderstand and the order of the elements, read by nothing of ours."""
    root = etree.fromstring(message(collaboration=ID, hops=(Hop(origin=US, target=THEM, at=NOW),)))
    block = root[0][0]
    assert block.prefix == "eGov_IT"
    assert block.tag == "{http://www.cnipa.it/schemas/2003/eGovIT/Busta1_0/}Intestazione"
    soap = "{http://schemas.xmlsoap.org/soap/envelope/}"
    assert dict(block.attrib) == {
        f"{soap}actor": "http://www.cnipa.it/eGov_it/portadominio",
        f"{soap}mustUnderstand": "1",
    }
    names = [etree.QName(each).localname for each in block[0]]
    assert names == [
        "Mittente",
        "Destinatario",
        "ProfiloCollaborazione",
        "Collaborazione",
        "Servizio",
        "Azione",
        "Messaggio",
        "ProfiloTrasmissione",
    ]
    assert block[0][6][1].text == "2026-03-02T10:30:15"  # local time, as gateways write it
    assert [etree.QName(each).localname for each in block] == ["IntestazioneMessaggio", "ListaTrasmissioni"]


def test_an_identifier_has_seven_digits_and_the_local_minute() -> None:
    """Across the change to summer time too."""
    at = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert egov.identifier("A", "APdD", 7, at) == "A_APdD_0000007_2026-03-29_03:30"


def _edited(edit: str, by: str, count: int = 1) -> bytes:
    text = message(collaboration=ID, reference=ID, expires_at=NOW + timedelta(days=1), sequence=1).decode()
    assert edit in text
    return text.replace(edit, by, count).encode()


_BLOCK = '<eGov_IT:Intestazione xmlns:eGov_IT="http://www.cnipa.it/schemas/2003/eGovIT/Busta1_0/"'


@pytest.mark.parametrize(
    ("edit", "by", "code"),
    [
        ("actor=", "role=", "EGOV_IT_001"),
        ('mustUnderstand="1"', 'mustUnderstand="0"', "EGOV_IT_001"),
        ("Busta1_0/", "Busta2_0/", "EGOV_IT_001"),
        ("</SOAP_ENV:Header>", f"{_BLOCK}/></SOAP_ENV:Header>", "EGOV_IT_001"),
        ("<SOAP_ENV:Body>", f"<SOAP_ENV:Body><x>{_BLOCK}/></x>", "EGOV_IT_001"),
        ("<eGov_IT:Mittente>", "<eGov_IT:Mittente/><eGov_IT:Mittente>", "EGOV_IT_101"),
        (">AziendaTest<", "><", "EGOV_IT_101"),
        (">AziendaTest<", "><!-- c -->AziendaTest<", "EGOV_IT_101"),
        ('tipo="SPC">AziendaTest', ">AziendaTest", "EGOV_IT_101"),
        (">RegioneTest<", "> <", "EGOV_IT_102"),
        ("EGOV_IT_ServizioSincrono", "EGOV_IT_Altro", "EGOV_IT_103"),
        ("<eGov_IT:Collaborazione>", "<eGov_IT:Collaborazione/><eGov_IT:Collaborazione>", "EGOV_IT_104"),
        (">Prenotazioni<", "><", "EGOV_IT_105"),
        (">invia<", "><", "EGOV_IT_106"),
        ("OraRegistrazione tempo=", "OraRegistrazione tempi=", "EGOV_IT_002"),
        ("2026-03-02T10:30:15", "ieri", "EGOV_IT_002"),
        ("2026-03-03T10:30:15", "9999-99-99T00:00:00", "EGOV_IT_111"),
        ("EGOV_IT_ALPIUUNAVOLTA", "EGOV_IT_SEMPRE", "EGOV_IT_112"),
        ('confermaRicezione="false"', 'confermaRicezione="forse"', "EGOV_IT_112"),
        ('numeroProgressivo="1"', 'numeroProgressivo="-1"', "EGOV_IT_113"),
        ("<eGov_IT:Sequenza", "<eGov_IT:Altro/><eGov_IT:Sequenza", "EGOV_IT_002"),
        ("<eGov_IT:Mittente>", "<Mittente/><eGov_IT:Mittente>", "EGOV_IT_002"),
    ],
)
def test_what_the_specification_refuses_is_refused_with_its_code(edit: str, by: str, code: str) -> None:
    """Also a second header where another reader would find it first."""
    with pytest.raises(Malformed) as caught:
        egov.parse(_edited(edit, by))
    assert code in {each.code for each in caught.value.failures}
    assert caught.value.code == "GW-FMT-130"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"id": "AziendaTest_x_1_2026-03-02_10:30"}, "EGOV_IT_109"),
        ({"id": ID.replace("AziendaTest", "AltraAzienda", 1)}, "EGOV_IT_109"),
        ({"reference": "qualcosa"}, "EGOV_IT_110"),
        ({"expires_at": NOW}, "EGOV_IT_301"),
        ({"profile": egov.SYMMETRIC}, "EGOV_IT_104"),
    ],
)
def test_what_can_be_read_and_must_still_be_refused(more: dict[str, Any], code: str) -> None:
    """By the receiver of an envelope."""
    assert [each.code for each in egov.faults(envelope(**more), NOW)] == [code]
    assert not list(egov.faults(envelope(), NOW))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a/>",
        b"not xml",
        b"<!DOCTYPE a [<!ENTITY e 'x'>]>" + message()[38:],
        message().replace(b"<SOAP_ENV:Header>", b"<SOAP_ENV:Body/><SOAP_ENV:Header>"),
        message().replace(b"soap/envelope/", b"soap/other/"),
        b"<a>" * 300 + b"</a>" * 300,
    ],
)
def test_what_is_no_envelope_is_refused_and_breaks_nothing(body: bytes) -> None:
    """By an error of the table, whatever it is."""
    with pytest.raises(GatewayError):
        egov.parse(body)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_envelopes_are_read_or_refused(data: st.DataObject) -> None:
    """Any byte changed, cut or doubled: a value or an error of the table, never anything else."""
    body = bytearray(message(collaboration=ID, reference=ID, hops=(Hop(origin=US, target=THEM, at=NOW),)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "twice"]))
        if kind == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del body[at : at + data.draw(st.integers(1, 30))]
            body = body or bytearray(b"<")
        else:
            body[at:at] = body[at : at + data.draw(st.integers(1, 60))]
    with contextlib.suppress(GatewayError):
        egov.parse(bytes(body))


def test_an_answer_names_its_request_and_turns_the_parties() -> None:
    """And says nothing of the request's own lists."""
    request = envelope(receipts=(Receipt(id=ID, at=NOW),), expires_at=NOW + timedelta(days=1))
    back = egov.answering(request, ID.replace("AziendaTest", "RegioneTest"), NOW)
    assert (back.sender, back.receiver, back.reference) == (THEM, US, ID)
    assert not back.receipts
    assert back.expires_at is None
    fault = egov.parse(egov.refusal(back)).body[0]
    assert fault.findtext("faultcode") == "SOAP_ENV:Client"
