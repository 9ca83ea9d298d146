"""A C-CDA document that says what the benched ADT^A01 says, for software that reads that and no HL7 v2.

The same invented patient, visit, two allergies, two problems, two vital signs and the insurance, in the sections of a
Continuity of Care Document (HL7 C-CDA R2.1), so that a converter's own templates do comparable work.
"""

from __future__ import annotations

from typing import Final

_ROOT: Final = "2.16.840.1.113883.10.20.22"
_LOINC, _SNOMED = "2.16.840.1.113883.6.1", "2.16.840.1.113883.6.96"


def _id(number: str) -> str:
    return f'<id root="1.2.3.4" extension="{number}"/>'


def _observation(template: str, number: str, *inner: str) -> str:
    head = f'<observation classCode="OBS" moodCode="EVN"><templateId root="{_ROOT}.{template}"/>{_id(number)}'
    return head + "".join(inner) + "</observation>"


def _value(code: str, system: str, name: str) -> str:
    return f'<value xsi:type="CD" code="{code}" codeSystem="{system}" displayName="{name}"/>'


_DONE: Final = '<statusCode code="completed"/>'
_SINCE: Final = '<effectiveTime><low value="20260105"/></effectiveTime>'
_ASSERTION: Final = '<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>'


def _act(template: str, number: str, observation: str) -> str:
    return (
        f'<act classCode="ACT" moodCode="EVN"><templateId root="{_ROOT}.{template}"/>{_id(number)}'
        f'<code code="CONC" codeSystem="2.16.840.1.113883.5.6"/><statusCode code="active"/>{_SINCE}'
        f'<entryRelationship typeCode="SUBJ">{observation}</entryRelationship></act>'
    )


def _allergy(number: str, code: str, name: str, reaction: str) -> str:
    manifested = _observation("4.9", f"{number}r", _ASSERTION, _DONE, _value("1", _SNOMED, reaction))
    culprit = f'<code code="{code}" codeSystem="2.16.840.1.113883.6.88" displayName="{name}"/>'
    observed = _observation(
        "4.7", f"{number}o", _ASSERTION, _DONE, _SINCE, _value("419511003", _SNOMED, "Propensity to adverse reaction"),
        '<participant typeCode="CSM"><participantRole classCode="MANU"><playingEntity classCode="MMAT">',
        f"{culprit}</playingEntity></participantRole></participant>",
        f'<entryRelationship typeCode="MFST" inversionInd="true">{manifested}</entryRelationship>',
    )  # fmt: skip
    return _act("4.30", number, observed)


def _problem(number: str, code: str, name: str) -> str:
    kind = f'<code code="55607006" codeSystem="{_SNOMED}" displayName="Problem"/>'
    value = _value(code, "2.16.840.1.113883.6.3", name)
    return _act("4.3", number, _observation("4.4", f"{number}o", kind, _DONE, _SINCE, value))


def _vital(code: str, name: str, value: str, unit: str) -> str:
    kind = f'<code code="{code}" codeSystem="{_LOINC}" displayName="{name}"/>'
    at, amount = '<effectiveTime value="20260105081500"/>', f'<value xsi:type="PQ" value="{value}" unit="{unit}"/>'
    return f"<component>{_observation('4.27', code, kind, _DONE, at, amount)}</component>"


def _vitals(*observations: str) -> str:
    return (
        f'<organizer classCode="CLUSTER" moodCode="EVN"><templateId root="{_ROOT}.4.26"/>{_id("vs")}'
        f'<code code="46680005" codeSystem="{_SNOMED}"/>{_DONE}<effectiveTime value="20260105081500"/>'
        f"{''.join(observations)}</organizer>"
    )


_DOCTOR: Final = f"{_id('D1')}<assignedPerson><name><given>Test</given><family>Doctor</family></name></assignedPerson>"
_VISIT: Final = (
    f'<encounter classCode="ENC" moodCode="EVN"><templateId root="{_ROOT}.4.49"/>{_id("V-5001")}'
    '<code code="IMP" codeSystem="2.16.840.1.113883.5.4"/><effectiveTime><low value="20260105081500"/></effectiveTime>'
    f"<performer><assignedEntity>{_DOCTOR}</assignedEntity></performer></encounter>"
)
_PLAN: Final = (
    f'<act classCode="ACT" moodCode="EVN"><templateId root="{_ROOT}.4.60"/>{_id("P")}'
    f'<code code="48768-6" codeSystem="{_LOINC}"/>{_DONE}<entryRelationship typeCode="COMP">'
    f'<act classCode="ACT" moodCode="EVN"><templateId root="{_ROOT}.4.61"/>{_id("P1")}'
    f'<code code="P1" displayName="Plan"/>{_DONE}<performer typeCode="PRF"><templateId root="{_ROOT}.4.87"/>'
    f"<assignedEntity>{_id('C1')}<representedOrganization><name>Insurer One</name></representedOrganization>"
    '</assignedEntity></performer><participant typeCode="COV"><time><low value="20260101"/><high value="20261231"/>'
    f'</time><participantRole>{_id("M")}<code code="SELF"/></participantRole></participant></act>'
    "</entryRelationship></act>"
)


def _section(template: str, code: str, *entries: str) -> str:
    return (
        f'<component><section><templateId root="{_ROOT}.{template}"/><code code="{code}" codeSystem="{_LOINC}"/><text/>'
        + "".join(f"<entry>{each}</entry>" for each in entries)
        + "</section></component>"
    )


_HEADER: Final = (
    '<realmCode code="US"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>'
    f'<templateId root="{_ROOT}.1.2"/>{_id("BENCH-1")}<code code="34133-9" codeSystem="{_LOINC}"/>'
    "<title>Summary</title>"
    '<effectiveTime value="20260110093000"/><confidentialityCode code="N"/><languageCode code="en"/>'
    '<recordTarget><patientRole><id root="1.2.3" extension="TEST-0001"/><id root="1.2.4" extension="TEST-NI-1"/>'
    "<addr><streetAddressLine>Test Street 1</streetAddressLine><city>Testville</city><postalCode>00000</postalCode>"
    '</addr><telecom value="tel:555-0001" use="HP"/><patient><name><given>Test</given><given>Invented</given>'
    '<family>Patient-One</family></name><administrativeGenderCode code="F" codeSystem="2.16.840.1.113883.5.1"/>'
    '<birthTime value="19800321"/><maritalStatusCode code="M" codeSystem="2.16.840.1.113883.5.2"/></patient>'
    '</patientRole></recordTarget><author><time value="20260110093000"/>'
    f"<assignedAuthor>{_DOCTOR}</assignedAuthor></author>"
    f"<custodian><assignedCustodian><representedCustodianOrganization>{_id('CENTRE')}<name>Centre</name>"
    "</representedCustodianOrganization></assignedCustodian></custodian>"
)
DOCUMENT: Final = (
    '<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
    f"{_HEADER}<component><structuredBody>"
    + _section("2.6.1", "48765-2", _allergy("A1", "P1", "Penicillin", "Rash"), _allergy("A2", "N1", "Nuts", "Swelling"))
    + _section("2.5.1", "11450-4", _problem("D1", "I10", "Hypertension"), _problem("D2", "E11.9", "Diabetes"))
    + _section(
        "2.4.1",
        "8716-3",
        _vitals(_vital("8302-2", "Body height", "171", "cm"), _vital("29463-7", "Body weight", "70.5", "kg")),
    )
    + _section("2.22.1", "46240-8", _VISIT)
    + _section("2.18", "48768-6", _PLAN)
    + "</structuredBody></component></ClinicalDocument>"
)
