"""What townships, health centres and hospitals send: sheets, character sets, JSON, FHIR, HL7 v2; and what is said."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from district_ledger import ROOT, House, context, submission

from gateway.formats import media
from gateway.message import Finding, ItemResult, RegistryEntry

SAMPLES = ROOT / "mappings" / "chongqing" / "samples"
FAMILY = "https://chongqing.gateway.invalid/fhir"


@pytest.fixture(scope="module")
def house() -> House:
    return House()


def rows(name: str) -> list[dict[str, str]]:
    body = (SAMPLES / f"{name}.csv").read_bytes()
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        text = body.decode("gb18030")
    return list(csv.DictReader(io.StringIO(text)))


SHEET = {"members": "成员", "contacts": "联系人", "visits": "走访", "contracts": "签约", "cards": "服务卡",
         "green-channel": "绿色通道", "referrals": "转诊", "prescriptions": "处方", "emergencies": "紧急医疗",
         "facilities": "机构", "ledger": "台账", "phases": "阶段", "surveys": "满意度"}  # fmt: skip
Found = tuple[ItemResult, tuple[Finding, ...]]


def push(house: House, name: str, change: Mapping[str, str], row: int = 0, **more: Any) -> list[Found]:
    """The sample's rows with one of them changed."""
    given = rows(name)
    given[row] = {**given[row], **change}
    body = json.dumps({SHEET[name]: [{k: v for k, v in r.items() if v} for r in given]}, ensure_ascii=False).encode()
    return house.items(submission(body), context(**more))


def codes(found: list[Found]) -> list[str]:
    return sorted({f.code for _, findings in found for f in findings} - {"GW-FMT-104", "GW-MAP-024", "CQ-NO-CARD"})


def made(found: list[Found], kind: str) -> list[Any]:
    return [each for result, _ in found for each in result.resources if each["resourceType"] == kind]


# --- forms ----------------------------------------


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_sheet_reads_the_same_in_each_character_set(house: House, charset: str) -> None:
    """Offices save CSV as GB 18030 or UTF-8, declared or not."""
    body = (SAMPLES / "contacts.csv").read_bytes().decode("gb18030")
    plain = [r.resources for r, _ in house.items(submission(body.encode(), media.CSV), context())]
    other = [r.resources for r, _ in house.items(submission(body.encode(charset), media.CSV), context())]
    assert plain == other
    assert plain[0][0]["resourceType"] == "CareTeam"


@pytest.mark.parametrize(("day", "at"), [("2020年9月20日", "2020年9月30日 10:00"), ("2020/9/20", "2020/09/30 10:00")])
def test_dates_as_offices_write_them(house: House, day: str, at: str) -> None:
    """With Chinese units, slashes, and without leading zeros: the same day as in ISO 8601."""
    (prescription,) = made(push(house, "prescriptions", {"开方日期": day}), "MedicationRequest")
    assert prescription["authoredOn"] == "2020-09-20"
    (visit,) = made(push(house, "visits", {"联系时间": at}), "Encounter")
    assert visit["period"]["start"] == "2020-09-30T10:00:00+08:00"


def test_json_and_a_row_give_the_same_record(house: House) -> None:
    """A visit pushed at once and the same visit in the month's sheet are one record: the same keyed ids."""
    ((pushed, _),) = house.items(submission((SAMPLES / "one-visit.json").read_bytes()), context())
    first, _second = (
        r for r, _ in house.items(submission((SAMPLES / "visits.csv").read_bytes(), media.CSV), context())
    )
    assert pushed.resources == first.resources
    assert pushed.case == first.case


def test_fhir_of_a_health_centre_keeps_its_content_and_gets_keyed_ids(house: House) -> None:
    """References follow, also those by fullUrl; another name of the id system becomes ours; profiles are claimed."""
    ((result, findings),) = house.items(
        submission((SAMPLES / "health-centre.fhir").read_bytes(), media.FHIR_JSON), context()
    )
    assert not [f for f in findings if f.severity == "error"]
    patient, _, team, contract = result.resources
    assert patient["identifier"][0]["system"] == "urn:oid:2.16.840.1.113883.2.23.1.19.1"
    assert contract["patient"]["reference"] == f"Patient/{patient['id']}"
    assert contract["team"][0]["reference"] == f"CareTeam/{team['id']}"
    assert contract["meta"]["profile"] == [f"{FAMILY}/StructureDefinition/cq-contract"]


def test_fhir_with_a_wrong_check_digit_is_refused_at_its_place(house: House) -> None:
    """A bad number is as bad in FHIR as in a sheet."""
    bundle = json.loads((SAMPLES / "health-centre.fhir").read_bytes())
    bundle["entry"][0]["resource"]["identifier"][0]["value"] = "500112195803120020"
    ((_, findings),) = house.items(submission(json.dumps(bundle).encode(), media.FHIR_JSON), context())
    (fault,) = (f for f in findings if f.code == "GW-FMT-101")
    assert fault.place is not None
    assert fault.place.path == "$.entry[0].resource.identifier[0].value"


def test_a_hospital_message_in_gb18030_makes_encounter_and_request(house: House) -> None:
    """PV1-16 is the privilege in the queue, PV1-4 what the clinician said; they stay apart."""
    ((result, findings),) = house.items(submission((SAMPLES / "adt-a04.hl7").read_bytes(), media.HL7V2), context())
    assert not [f for f in findings if f.severity == "error"]
    assert result.resources[0]["name"][0]["text"] == "测试一号"
    (request,) = (r for r in result.resources if r["resourceType"] == "ServiceRequest")
    assert request["priority"] == "routine"
    assert request["extension"][0] == {"url": f"{FAMILY}/StructureDefinition/green-channel", "valueBoolean": True}


def test_the_workbook_of_the_template_is_read_sheet_by_sheet(house: House) -> None:
    """Thirteen sheets, each with its own mapping; members and households are joined."""
    found = house.items(submission((SAMPLES / "workbook.xlsx").read_bytes(), media.XLSX), context())
    assert len({result.mapping for result, _ in found}) == 13
    assert not [f for _, findings in found for f in findings if f.severity == "error"]


def test_every_code_of_the_template_is_one_that_the_mapping_knows(house: House) -> None:
    """A drop-down that offers what is then refused would be a trap."""
    from gateway.map.tables import CodeTable, read

    for path in (ROOT / "mappings" / "chongqing" / "tables").glob("*.csv"):
        table = read(path)
        if isinstance(table, CodeTable):
            for line in list(csv.DictReader(path.open(encoding="utf-8"))):
                assert table.find(line["source"], "2020-09-01") is not None


# --- the entitlement is not urgency ----------------------------------------


@pytest.mark.parametrize(("said", "expected"), [("", None), ("常规", "routine"), ("危急", "stat")])
def test_the_green_channel_never_raises_the_priority(house: House, said: str, expected: str | None) -> None:
    """SF-47: ServiceRequest.priority carries the clinician's value only; chk-priority is not applied."""
    found = push(house, "green-channel", {"优先服务": "是", "医生判断紧急程度": said})
    (request,) = made(found, "ServiceRequest")
    (encounter,) = made(found, "Encounter")
    assert request.get("priority") == expected
    assert "priority" not in encounter
    assert encounter["extension"][0]["valueBoolean"] is True
    assert codes(found) == []


# --- rules one by one ----------------------------------------

BROKEN = [
    ("members", {"性别": "男"}, 0, ["CQ-ID-SEX"]),
    ("members", {"出生日期": "1958-03-13"}, 0, ["CQ-ID-BIRTH"]),
    ("members", {"建档立卡日期": ""}, 0, []),  # the other row of the household still has it
    ("contacts", {"电话": ""}, 0, ["CQ-TELECOM"]),
    ("contacts", {"角色": "志愿者"}, 2, ["CQ-SUCCESSOR"]),
    ("contacts", {"开始日期": "2020-07-02"}, 2, ["CQ-GAP"]),
    ("contacts", {"通知成员": ""}, 1, ["CQ-NOTICE"]),
    ("contacts", {"角色": "村（社区）干部"}, 0, ["CQ-CADRE", "CQ-LEADER"]),
    ("contacts", {"角色": "志愿者"}, 3, ["CQ-DOCTOR"]),
    ("contacts", {"联系方式": "电话"}, 0, []),
    ("visits", {"节日": ""}, 0, ["CQ-FESTIVAL"]),
    ("visits", {"联系事由": "节日慰问"}, 1, ["CQ-FESTIVAL-MESSAGE"]),
    ("visits", {"协调部门": ""}, 0, ["CQ-HELP-OWNER"]),
    ("contracts", {"医生编号": ""}, 0, ["CQ-XOR"]),
    ("contracts", {"团队编号": "TD-1"}, 0, ["CQ-XOR"]),
    ("contracts", {"机构类型": "民营医疗机构"}, 0, ["CQ-MAY-SIGN"]),
    ("contracts", {"到期日期": ""}, 0, ["CQ-AGREEMENT"]),
    ("contracts", {"健康管理": "否"}, 0, ["CQ-SERVICES"]),
    ("referrals", {"转入机构编码": "", "转入机构": ""}, 0, ["CQ-REFERRAL"]),
    ("prescriptions", {"供药天数": "27"}, 0, ["CQ-LP"]),
    ("prescriptions", {"供药天数": "56"}, 0, []),
    ("prescriptions", {"供药天数": "57"}, 0, ["CQ-LP"]),
    ("prescriptions", {"供药天数": "84", "开方日期": "2021-08-09"}, 0, ["CQ-LP"]),
    ("prescriptions", {"供药天数": "84", "开方日期": "2021-08-10", "患者确认日期": "2021-08-10"}, 0, []),
    ("prescriptions", {"供药天数": "27", "开方日期": "2021-08-10"}, 0, ["CQ-LP"]),
    ("prescriptions", {"供药天数": "85", "开方日期": "2021-08-10", "患者确认日期": "2021-08-10"}, 0, ["CQ-LP"]),
    ("prescriptions", {"供药天数": "30", "开方日期": "2021-08-10"}, 0, ["CQ-LP-CONFIRM"]),
    ("prescriptions", {"药品类别": "麻醉药品", "开方日期": "2021-08-10"}, 0, ["CQ-LP-EXCLUDED"]),
    ("prescriptions", {"药品类别": "麻醉药品"}, 0, []),
    ("prescriptions", {"长期处方": "否", "供药天数": "7"}, 0, []),
    ("prescriptions", {"依从性评估日期": ""}, 0, ["CQ-LP-EVIDENCE"]),
    ("prescriptions", {"病种": "", "病种编码": ""}, 0, ["CQ-LP-EVIDENCE"]),
    ("green-channel", {"服务卡号": ""}, 0, ["CQ-ELIGIBLE"]),
    ("green-channel", {"身份证号": ""}, 0, []),  # the insurance card will do
    ("green-channel", {"医保卡号": ""}, 0, []),  # and so will the identity card
    ("green-channel", {"身份证号": "", "医保卡号": ""}, 0, ["GW-MAP-011"]),
    ("emergencies", {"患者意见无法取得原因": ""}, 0, ["CQ-EMERGENCY"]),
    ("emergencies", {"措施类型": "按摩"}, 0, ["GW-MAP-003"]),
    ("emergencies", {"批准人职务": "志愿者"}, 0, ["CQ-APPROVER"]),
    ("emergencies", {"批准人职务": "授权的负责人"}, 0, []),
    ("emergencies", {"开始时间": "2020-08-01 02:10"}, 0, []),
    ("emergencies", {"开始时间": "2020-08-01 02:09"}, 0, ["CQ-APPROVED-FIRST"]),
    ("ledger", {"责任领导": ""}, 0, ["CQ-RECTIFICATION"]),
    ("ledger", {"责任单位": ""}, 0, ["CQ-RECTIFICATION"]),
    ("ledger", {"责任人员": ""}, 0, ["CQ-RECTIFICATION"]),
    ("ledger", {"整改措施": ""}, 0, ["CQ-RECTIFICATION"]),
    ("ledger", {"整改时限": ""}, 0, ["CQ-RECTIFICATION"]),
    ("ledger", {"整改时限": "2020-11-01"}, 0, []),
    ("ledger", {"整改时限": "2020-11-02"}, 0, ["CQ-DEADLINE"]),
    ("ledger", {"问题描述": ""}, 1, ["GW-MAP-011"]),
    ("phases", {"分管领导": ""}, 0, ["CQ-LEADERS"]),
    ("facilities", {"统一社会信用代码": "12500112MB00000002"}, 0, ["GW-FMT-101"]),
]


@pytest.mark.parametrize(("name", "change", "row", "expected"), BROKEN, ids=lambda v: str(v)[:40])
def test_a_rule_that_is_broken_is_named_and_nothing_else(
    house: House, name: str, change: dict[str, str], row: int, expected: list[str]
) -> None:
    """One change of a good row, and the codes that it leads to: both sides of each limit."""
    assert codes(push(house, name, change, row)) == expected


def test_findings_are_said_in_chinese_at_the_sender_s_place(house: House) -> None:
    """Promise 8: code, place in the sheet, words, and how to mend it, in four languages."""
    (fault,) = (f for _, found in push(house, "contracts", {"团队编号": "TD-1"}) for f in found if f.code == "CQ-XOR")
    assert fault.severity == "error"
    assert fault.source == "SF-25"
    assert fault.text is not None
    assert "二者必居其一" in fault.text["zh"]
    assert fault.mend is not None
    assert set(fault.text) == set(fault.mend) == {"en", "fa", "it", "zh"}


def test_an_imported_threshold_comes_before_the_file(house: House) -> None:
    """A10, A7: the window, the day of the deadline and whether it counts itself are data with their days."""
    window = RegistryEntry(
        kind="window", key="long-prescription", programme="chongqing", data={"least": "14", "most": "90"}
    )
    given = {"registry": {"window": {"long-prescription": (window,)}}}
    assert codes(push(house, "prescriptions", {"供药天数": "90"}, 0, **given)) == []
    strict = RegistryEntry(kind="inclusive", key="deadline", programme="chongqing", data={"value": "no"})
    given = {"registry": {"inclusive": {"deadline": (strict,)}}}
    assert codes(push(house, "ledger", {"整改时限": "2020-11-01"}, 0, **given)) == ["CQ-DEADLINE"]


def test_counts_of_contacts_are_data(house: House) -> None:
    """Other places run two contacts instead of three: a role that is not wanted any more is not asked for."""
    none = RegistryEntry(kind="contact-role", key="contracted-doctor", programme="chongqing", data={"count": "0"})
    given = {"registry": {"contact-role": {"contracted-doctor": (none,)}}}
    assert codes(push(house, "contacts", {"角色": "志愿者"}, 3, **given)) == []
    assert codes(push(house, "contacts", {"角色": "志愿者", "电话": ""}, 3, **given)) == []
    two = RegistryEntry(kind="contact-role", key="village-cadre", programme="chongqing", data={"count": "2"})
    assert codes(push(house, "contacts", {}, registry={"contact-role": {"village-cadre": (two,)}})) == ["CQ-CADRE"]


def test_one_person_in_two_roles_is_only_a_warning(house: House) -> None:
    """Inferred, not written: said, never refused."""
    role = {"coding": [{"system": f"{FAMILY}/CodeSystem/contact-role", "code": "township-leader"}]}
    cadre = {"coding": [{"system": f"{FAMILY}/CodeSystem/contact-role", "code": "village-cadre"}]}
    doctor = {"coding": [{"system": f"{FAMILY}/CodeSystem/contact-role", "code": "contracted-doctor"}]}
    members = [{"role": [each], "member": {"reference": "PractitionerRole/a"}, "period": {"start": "2020-01-01"}}
               for each in (role, cadre, doctor)]  # fmt: skip
    team = {"resourceType": "CareTeam", "id": "t", "status": "active", "subject": {"reference": "Group/g"},
            "participant": members}  # fmt: skip
    result = ItemResult(index=0, label="x", resources=(team,))
    found = [f for f in house.rules.findings(result, context()) if f.code.startswith("CQ-")]
    assert [(f.code, f.severity) for f in found] == [("CQ-DISTINCT", "warning")]


def test_a_code_that_is_no_longer_in_use_is_kept_in_ids_and_said_of_addresses(house: House) -> None:
    """Region codes are valid in time: the township's is asked for anew, the person's number stays as it is."""
    found = push(house, "members", {"乡镇编码": "500112101"}, now=datetime(2026, 3, 1, tzinfo=UTC))
    assert "CQ-REGION" in codes(found)
    assert not [f for _, findings in found for f in findings if f.severity == "error"]
    assert "CQ-REGION" not in codes(push(house, "members", {"乡镇编码": "500112101"}))


def test_a_team_that_is_being_designated_may_lack_a_contact(house: House) -> None:
    """拟定 is FHIR's proposed: the household counts as not covered, and nothing is refused."""
    given = [r for r in rows("contacts") if r["角色"] != "签约家庭医生"]
    for row in given:
        row["帮扶状态"] = "拟定"
    body = json.dumps({"联系人": given}, ensure_ascii=False).encode()
    found = house.items(submission(body), context())
    assert codes(found) == []
    assert made(found, "CareTeam")[0]["status"] == "proposed"


def test_a_clock_of_another_year_has_its_own_deadlines(house: House) -> None:
    """A6: the year is a parameter; a problem of 2021 does not fall under the phase of 2020."""
    change = {"发现日期": "2021-03-01", "整改时限": "2021-04-01"}
    now = datetime(2021, 3, 2, tzinfo=UTC)
    assert codes(push(house, "ledger", change, 0, now=now)) == []


def test_phase_days_of_the_mapping_and_of_the_measures_are_the_same() -> None:
    """They stand in two files, because one is read by mappings and one by measures."""
    folder = ROOT / "mappings" / "chongqing"
    days = {
        r["*phase"]: r["deadline"] for r in csv.DictReader((folder / "tables" / "phase-day.csv").open(encoding="utf-8"))
    }
    kept = [r for r in csv.DictReader((folder / "reference.csv").open(encoding="utf-8")) if r["kind"] == "phase"]
    assert days == {r["key"]: r["value"] for r in kept}


def test_the_file_template_says_the_same_in_flat_json(house: House) -> None:
    """For systems that take files: household, members, contacts, visits and contracts by their numbers."""
    resources = [
        each
        for name in ("members", "contacts", "visits", "contracts", "ledger")
        for result, _ in house.items(submission((SAMPLES / f"{name}.csv").read_bytes(), media.CSV), context())
        for each in result.resources
    ]
    entries = [{"fullUrl": f"{FAMILY}/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]
    document = {"resourceType": "Bundle", "id": "b", "type": "collection", "entry": entries}
    body = house.mapper.render(document, "chongqing/family-support", {"system_id": "test-system"})
    made = json.loads(body)
    assert made["报文编号"] == "b"
    assert made["户"][0]["户编号"] == "H-0001"
    assert [each["身份证号"] for each in made["户"][0]["成员"]] == [each["身份证号"] for each in made["成员"]]
    assert [each["角色"] for each in made["联系人"][0]["人员"]][:2] == ["township-leader", "village-cadre"]
    assert made["联系人"][0]["人员"][0]["编号"] == "G-001"
    assert made["走访"][0]["编号"] == "F-0001"
    assert made["签约"][0]["机构编码"] == "WS-101"
    assert {"P-0001", "P-0002"} <= {each.get("编号") for each in made["台账"]}
