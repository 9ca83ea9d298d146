# ruff: noqa: E501 - the table of faults has a line for each
"""Each check finds its fault in a workbook, one step on either side of its number, and says nothing of what is right."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import cache

import behzisti_lab as lab
import pytest
from behzisti_centre import Book, Centre, as_json, as_xlsx, as_zip, national

from gateway import workers
from gateway.formats import json, media, yaml
from gateway.formats.table_blank import csv_files, workbook
from gateway.map import blank
from gateway.message import Finding, ItemResult, Submission
from gateway.settings import Settings

MONTH = (1403, 7)
Change = Callable[[Book], object]


@cache
def rules() -> workers.Rules:
    return workers.load_rules(Settings(home=str(lab.HOME), programmes=(lab.NAME,)))


def examined(body: bytes, kind: str = media.JSON) -> list[ItemResult]:
    given = Submission(id="s", sender=lab.SENDER, programme=lab.NAME, received_at=lab.AT, channel="file", media_type=kind,
                       body=body, digest="d")  # fmt: skip
    return [each.result for each in workers.examine(rules(), given, lab.context())]


@cache
def _book() -> Book:
    made = Centre(clients=1, start=MONTH, count=1, faults=False).workbook(MONTH)
    return made | {"جلسات": made["جلسات"][4:8], "حضور": made["حضور"][2:4]}


def codes(change: Change | None = None) -> dict[str, Finding]:
    """The findings of a centre of one client, by code."""
    book = copy.deepcopy(_book())
    if change is not None:
        change(book)
    return {f.code: f for result in examined(as_json(book)) for f in result.findings}


def _heading(name: str) -> str:
    """A heading as a keyword: `_` is a space, a tatweel the joiner that no name may have."""
    return name.replace("_", " ").replace("ـ", "\u200c")


def put(sheet: str, row: int = 0, **values: object) -> Change:
    return lambda book: book[sheet][row].update({_heading(k): v for k, v in values.items()})


def staff(role: str, **values: object) -> Change:
    def change(book: Book) -> None:
        row = next(row for row in book["کارکنان"] if row["سمت"] == role)
        row.update({_heading(k): v for k, v in values.items()})

    return change


def applicant(**values: object) -> Change:
    good = {"کد مرکز": "10023", "کد ملی": national(900), "نام": "متقاضی", "نام خانوادگی": "آزمایشی", "سمت": "متقاضی",
            "شروع کار": "1402/01/01", "مدرک اول": "کارشناسی ارشد مشاوره", "مقطع اول": "کارشناسی ارشد", "معدل اول": "15",
            "مدرک دوم": "سایر", "مقطع دوم": "کارشناسی", "معدل دوم": "15", "دانشگاه مورد تایید": "بله", "سابقه مرتبط": "2",
            "دوره‌های آموزشی بهزیستی": "بله"}  # fmt: skip
    return lambda book: book["کارکنان"].append(good | {_heading(k): v for k, v in values.items()})


def leaving(**values: object) -> Change:
    def change(book: Book) -> None:
        stay = book["پذیرش"][0]
        row = {k: stay[k] for k in ("کد مرکز", "کد توانخواه", "تاریخ درخواست", "تاریخ پذیرش")}
        row |= {"تاریخ ترخیص": "1403/07/30"} | {_heading(k): v for k, v in values.items()}
        book["ترخیص"].append(row)

    return change


def room(number: int, area: object) -> Change:
    return put("فضا و تجهیزات", number, مساحت=area)


def drop(sheet: str, column: str, value: str) -> Change:
    return lambda book: book.__setitem__(sheet, [row for row in book[sheet] if row.get(column) != value])


def both(*changes: Change) -> Change:
    return lambda book: [change(book) for change in changes]


def afternoon(**values: object) -> Change:
    good = {"شروع_بعدازظهر": "13:00", "پایان_بعدازظهر": "18:00", "مجوز_شیفت_بعدازظهر": "A-1"}
    return put("مرکز", **(good | values))


OTHER = {"نوع_خدمت": "آموزش گروهی"}
FINDS: list[tuple[str, Change, bool]] = [
    ("BZ-003", put("مرکز", ظرفیت_یارانهـای=51), True), ("BZ-003", put("مرکز", ظرفیت_یارانهـای=50), False),
    ("BZ-004", put("مرکز", پایان_پروانه="1398/12/29"), True), ("BZ-104", put("مرکز", پایان_پروانه="1405/08/29"), True),
    ("BZ-104", put("مرکز", پایان_پروانه="1405/08/30"), False),
    ("BZ-095", put("مرکز", مناسبـسازی_کامل="خیر"), True),
    ("BZ-096", room(0, 17.9), True), ("BZ-096", room(0, 18), False), ("BZ-096", room(0, 18.1), False),
    ("BZ-097", room(1, 19.9), True), ("BZ-097", room(1, 20), False), ("BZ-098", room(2, 11.9), True), ("BZ-098", room(2, 12), False),
    ("BZ-099", room(3, 8.9), True), ("BZ-099", room(3, "۹"), False),
    *[(f"BZ-{code}", drop("فضا و تجهیزات", "نوع فضا", kind), True) for code, kind in [
        ("196", "اتاق فیزیوتراپی"), ("197", "اتاق کاردرمانی و ADL"), ("198", "اتاق توانبخشی آموزشی"),
        ("199", "اتاق روان‌شناس، گفتاردرمانگر و تغذیه"), ("100", "فضای هنری، ورزشی یا بازی")]],
    *[(f"BZ-{code}", drop("فضا و تجهیزات", "نوع تجهیزات", kind), True) for code, kind in [
        ("101", "واکر چرخدار"), ("102", "استیمولاتور FES+TNS"), ("103", "تردمیل")]],
    ("BZ-304", put("فضا و تجهیزات", 1, کفـپوش_ایمن="خیر"), True),
    ("BZ-055", put("مرکز", شروع_صبح="07:59"), True), ("BZ-055", put("مرکز", پایان_صبح="13:01"), True),
    ("BZ-056", put("مرکز", پایان_پنجشنبه="13:00"), True), ("BZ-056", put("مرکز", پایان_پنجشنبه="۱۲:۰۰"), False),
    ("BZ-057", afternoon(مجوز_شیفت_بعدازظهر=""), True), ("BZ-057", afternoon(), False), ("BZ-157", afternoon(), False),
    ("BZ-157", afternoon(پایان_بعدازظهر="18:01"), True), ("BZ-157", afternoon(شروع_بعدازظهر="12:59"), True),
    ("BZ-058", afternoon(), True), ("BZ-058", afternoon(مجوز_فعالیت_دیگر_بعدازظهر="B-1"), False),
    ("BZ-062", put("مرکز", میانـوعده="خیر"), True),
    ("BZ-007", applicant(), False), ("BZ-007", applicant(مدرک_اول="کارشناسی فیزیوتراپی"), True),
    ("BZ-009", applicant(معدل_اول="14.99"), True), ("BZ-009", applicant(), False), ("BZ-009", applicant(معدل_اول="15.01"), False),
    ("BZ-009", applicant(مقطع_دوم="کاردانی"), True),
    ("BZ-010", applicant(سابقه_مرتبط="1.9"), True), ("BZ-010", applicant(سابقه_مرتبط="2"), False),
    ("BZ-011", staff("مسئول فنی", مدرک_اول="تغذیه", مدرک_دوم="سایر"), True), ("BZ-011", staff("مسئول فنی"), False),
    ("BZ-012", staff("مسئول فنی", معدل_دوم="14.9"), True), ("BZ-012", staff("مسئول فنی", معدل_دوم="15"), False),
    ("BZ-013", staff("مسئول فنی", سابقه_مرتبط="1.99"), True), ("BZ-013", staff("مسئول فنی", سابقه_مرتبط="2.01"), False),
    ("BZ-013", both(staff("مسئول فنی", سابقه_مرتبط="0"), put("مرکز", شروع_پروانه="1395/12/30")), False),
    ("BZ-013", both(staff("مسئول فنی", سابقه_مرتبط="0"), put("مرکز", شروع_پروانه="1396/01/01")), True),
    ("BZ-008", staff("مسئول فنی", دانشگاه_مورد_تایید="خیر"), True),
    ("BZ-014", staff("مسئول فنی", مدرک_اول="کارشناسی کاردرمانی"), True), ("BZ-014", staff("مسئول فنی"), False),
    ("BZ-015", applicant(سمت="جانشین مسئول فنی", مدرک_اول="کارشناسی گفتاردرمانی"), True),
    ("BZ-015", both(applicant(سمت="جانشین مسئول فنی", مدرک_اول="کارشناسی گفتاردرمانی"), put("مرکز", منطقه_محروم_از_نیروی_انسانی="بله")), False),
    ("BZ-064", staff("خدمه", سهم_تمامـوقت="1.01"), True), ("BZ-064", staff("خدمه", سهم_تمامـوقت="0"), True),
    ("BZ-164", staff("خدمه", سهم_تمامـوقت=""), True), ("BZ-067", staff("گفتاردرمانگر", روز_در_هفته=""), True),
    ("BZ-071", staff("مربی هنری، ورزشی یا بازی", ساعت_در_هفته=""), True),
    ("BZ-074", lambda book: book["کارکنان"].append(next(r for r in book["کارکنان"] if r["سمت"] == "مربی آموزشی") | {"سمت": "مربی هنری، ورزشی یا بازی"}), True),
    ("BZ-075", staff("فیزیوتراپیست", مدرک_اول="کارشناسی کاردرمانی"), True),
    ("BZ-075", staff("فیزیوتراپیست", مدرک_اول="کارشناسی کاردرمانی", موافقت_جانشینی="M-1"), False),
    ("BZ-078", staff("خدمه", دورهـهای_آموزشی_بهزیستی="خیر"), True),
    ("BZ-005", put("توانخواهان", علت=""), True), ("BZ-022", put("توانخواهان", محدودیت_عملکرد_و_مشارکت=""), True),
    ("BZ-024", put("توانخواهان", گروه_پذیرش="نورولوژیک پس از پایان رشد", رای_کمیسیون=""), True),
    ("BZ-024", put("توانخواهان", گروه_پذیرش="نورولوژیک پس از پایان رشد", رای_کمیسیون="R-1"), False),
    *[(f"BZ-0{code}", put("توانخواهان", گروه_پذیرش=group, رای_کمیسیون="R", کد_تشخیص=icd), wrong)
      for code, group, good, bad in [(17, "آسیب‌های ارتوپدی", "M41.1", "G80.1"), (18, "بدشکلی مادرزادی", "Q71.3", "G80.0"),
        (19, "آسیب اکتسابی", "S78.1", "Q71.3"), (20, "نورولوژیک پیش از پایان رشد", "G80.1", "I63.9"), (21, "نورولوژیک پس از پایان رشد", "G35", "M41.1")]
      for icd, wrong in ((good, False), (bad, True))],
    ("BZ-025", leaving(علت_ترخیص="سایر", تاریخ_ترخیص="1403/06/01"), True),
    ("BZ-027", leaving(علت_ترخیص="کارگاه تولیدی حمایتی", تایید_مسئول_فنی="T"), True),
    ("BZ-027", leaving(علت_ترخیص="کارگاه تولیدی حمایتی", تایید_مسئول_فنی="T", کارگاه_مقصد="کارگاه آزمایشی"), False),
    ("BZ-029", leaving(علت_ترخیص="اشتغال"), True), ("BZ-029", leaving(علت_ترخیص="اشتغال", تایید_مسئول_فنی="T"), False),
    ("BZ-030", leaving(علت_ترخیص="رضایت یا عدم تمایل خانواده"), True),
    ("BZ-030", leaving(علت_ترخیص="رضایت یا عدم تمایل خانواده", اطلاع_به_بهزیستی_شهرستان="N"), False),
    ("BZ-032", leaving(علت_ترخیص="سایر"), True), ("BZ-032", leaving(علت_ترخیص="سایر", موافقت_کمیته_توانبخشی="C"), False),
    ("BZ-072", put("پذیرش", تاریخ_ارجاع_پزشک_عمومی="1403/07/02"), True),
    ("BZ-072", put("پذیرش", تاریخ_ارجاع_پزشک_عمومی="1403/07/01"), False),
    ("BZ-072", put("پذیرش", تاریخ_ارجاع_پزشک_عمومی=""), True),
    ("BZ-037", put("اهداف و برنامه", مهلت_هدف="1403/07/01"), True),
    ("BZ-039", put("جلسات", ساعت_پایان="08:30"), True), ("BZ-080", lambda b: next(r for r in b["جلسات"] if r["نوع خدمت"] == "فیزیوتراپی").update({"نتیجه": ""}), True),
    ("BZ-139", put("جلسات", نتیجه="", نوع_خدمت="آموزش حرفه‌ای"), True), ("BZ-082", put("جلسات", نتیجه="", نوع_خدمت="کاردرمانی"), True),
    ("BZ-086", put("جلسات", نتیجه="", نوع_خدمت="گفتاردرمانی"), True), ("BZ-088", put("جلسات", نتیجه="", نوع_خدمت="مشاوره روان‌شناسی"), True),
    ("BZ-091", put("جلسات", **OTHER), True), ("BZ-091", put("جلسات", ناظر=national(110), **OTHER), False),
    ("BZ-083", lambda b: [r.update({"پیش‌آگهی": ""}) for r in b["ارزیابی‌ها"]], True),
    ("BZ-141", put("ارزیابی‌ها", مرحله_ارزیابی="دوره‌ای", روند=""), True),
    ("BZ-089", put("پذیرش", تاریخ_ارجاع_ژنتیک="1403/07/05"), True),
    ("BZ-089", put("پذیرش", تاریخ_ارجاع_ژنتیک="1403/07/05", شماره_معرفیـنامه_ژنتیک="L-1"), False),
    ("BZ-090", put("پذیرش", تاریخ_ارجاع_پیشـدبستانی="1403/07/05"), False),
    ("BZ-041", lambda b: b["کنفرانس موردی"].append({"کد مرکز": "10023", "کد توانخواه": "0000000001", "تاریخ": "1403/07/20", "اعضای حاضر": "x"}), True),
    ("BZ-194", lambda b: b["گزارش‌ها"].append({"کد مرکز": "10023", "کد توانخواه": "0000000001", "تاریخ": "1403/07/20", "نوع گزارش": "برنامه غذایی", "نویسنده": national(140), "شرح": "x"}), True),
    ("BZ-094", lambda b: b["گزارش‌ها"].append({"کد مرکز": "10023", "کد توانخواه": "0000000001", "تاریخ": "1403/07/20", "نوع گزارش": "برنامه غذایی", "نویسنده": national(140)}), True),
]  # fmt: skip


@pytest.mark.parametrize(("code", "change", "there"), FINDS, ids=[f"{n}-{f[0]}-{f[2]}" for n, f in enumerate(FINDS)])
def test_a_check_finds_its_fault_and_nothing_at_the_number(code: str, change: Change, there: bool) -> None:
    """The finding is there one step below the number, and not at it; its words are Persian."""
    found = codes(change).get(code)
    assert (found is not None) is there
    if found is not None:
        assert found.text is not None
        assert any("؀" <= letter <= "ۿ" for letter in found.text["fa"])


def test_a_right_workbook_has_no_finding() -> None:
    """What is right is not spoken of."""
    assert codes() == {}


def test_every_check_is_tried() -> None:
    """A check that no workbook has triggered is a check that nobody has seen working."""
    known = {str(each["code"].value) for each in yaml.load(lab.HOME / "mappings" / lab.NAME / "checks.yaml")}
    beyond = {"BZ-006", "BZ-117"}  # what a workbook cannot say wrongly: tried below
    assert known - {code for code, _, there in FINDS if there} == beyond | {"BZ-090"}


def test_a_missing_consent_never_refuses_the_discharge() -> None:
    """A rule about the subsidy is told and does not stand in the way."""
    found = codes(leaving(علت_ترخیص="سایر"))
    assert found["BZ-032"].severity == "warning"
    assert not [f for f in found.values() if f.severity == "error"]


def _resources(results: list[ItemResult]) -> Iterator[bytes]:
    for result in results:
        for each in result.resources:
            yield json.write(each)


@pytest.mark.parametrize(("write", "kind"), [(as_xlsx, media.XLSX), (as_zip, media.ZIP)])
def test_workbook_csv_and_json_say_the_same(write: Callable[[Book], bytes], kind: str) -> None:
    """Three clothes of one month: the same resources, with Persian digits or without."""
    book = _book()
    assert sorted(_resources(examined(write(book), kind))) == sorted(_resources(examined(as_json(book))))


@pytest.mark.parametrize(("make", "kind"), [(workbook, media.XLSX), (csv_files, media.ZIP)])
def test_the_template_with_its_examples_is_accepted_whole(make: Callable[..., bytes], kind: str) -> None:
    """What a sender is shown as an example is right, and nothing of it is unread."""
    results = examined(make(blank.load(lab.HOME, lab.NAME), True), kind)
    assert {r.case.kind for r in results if r.case} == {"admission", "client-month", "centre-month"}
    assert [f.code for r in results for f in r.findings if f.severity == "error"] == []
    assert [loss.place.path for r in results for loss in r.loss if loss.fate == "unread"] == []


def test_every_heading_of_the_template_is_read_by_a_mapping() -> None:
    """A column that nobody reads would be filled in for nothing."""
    texts = "".join(
        (lab.HOME / "mappings" / lab.NAME / f"{n}.yaml").read_text(encoding="utf-8")
        for n in ("centre", "client", "month")
    )
    for page in blank.load(lab.HOME, lab.NAME).pages:
        assert [column.heading for column in page.columns if column.heading not in texts] == []


def test_visits_at_home_and_families_are_said_in_fhir() -> None:
    """A session at home is an encounter of class HH; a family that came to the conference takes part in it."""
    book = copy.deepcopy(_book())
    book["جلسات"][0]["محل"] = "منزل"
    row = {"کد مرکز": "10023", "کد توانخواه": "0000000001", "تاریخ": "1403/07/20", "اعضای حاضر": "x", "روند": "پیشرفت"}
    book["کنفرانس موردی"].append(row | {"حضور خانواده": "بله"})
    made = [each for result in examined(as_json(book)) for each in result.resources]
    (home,) = [each for each in made if each["resourceType"] == "Encounter" and each["class"]["code"] == "HH"]
    assert [each["encounter"]["reference"] for each in made if "encounter" in each] == [f"Encounter/{home['id']}"]
    meetings = [each for each in made if each["resourceType"] == "Encounter" and len(each.get("participant", ())) == 2]
    assert [each["type"][0]["coding"][0]["code"] for each in meetings] == ["case-conference"]


SAMPLES = lab.HOME / "mappings" / lab.NAME / "samples"


@pytest.mark.parametrize("case", ["centre-month", "admission", "client-month"])
def test_fhir_bundles_bring_what_the_workbook_brings(case: str) -> None:
    """A sender with FHIR says the same by resources of the profiles; ids are keyed anew, references follow."""
    (result,) = examined((SAMPLES / f"fhir-{case}.json").read_bytes(), media.FHIR_JSON)
    assert result.case is not None
    assert result.case.kind == case
    assert [f.code for f in result.findings if f.severity == "error"] == []
    by_table = [r for r in examined((SAMPLES / "workbook.json").read_bytes()) if r.case and r.case.kind == case]
    wanted = sorted(each["resourceType"] for result in by_table for each in result.resources)
    assert sorted(each["resourceType"] for each in result.resources) == wanted


def test_a_fhir_client_without_a_code_of_ten_digits_is_refused() -> None:
    """Invariants of the profiles hold for every door."""
    bundle = json.read((SAMPLES / "fhir-admission.json").read_bytes())
    patient = next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Patient")
    for digits, wrong in (("123456789", True), ("0123456789", False), ("01234567890", True)):
        patient["identifier"][0]["value"] = digits
        (result,) = examined(json.write(bundle), media.FHIR_JSON)
        assert bool([f for f in result.findings if f.severity == "error"]) is wrong


def test_owner_and_group_are_checked_for_fhir_senders() -> None:
    """What the workbook's mapping cannot say wrongly, a Bundle can."""
    bundle = json.read((SAMPLES / "fhir-centre-month.json").read_bytes())
    centre = next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Organization")
    owner = next(each for each in centre["extension"] if each["url"].endswith("/owner"))
    owner["valueIdentifier"]["value"] = "12345678901"
    (result,) = examined(json.write(bundle), media.FHIR_JSON)
    assert "BZ-006" in {f.code for f in result.findings}
    bundle = json.read((SAMPLES / "fhir-admission.json").read_bytes())
    condition = next(each["resource"] for each in bundle["entry"] if each["resource"]["resourceType"] == "Condition")
    condition["category"].append(condition["category"][1])
    (result,) = examined(json.write(bundle), media.FHIR_JSON)
    assert "BZ-117" in {f.code for f in result.findings}


@pytest.mark.parametrize(
    ("day", "start", "wanted"),
    [
        ("1400/01/01", "08:30", "2021-03-21T08:30:00+03:30"),
        ("1400/01/02", "08:30", "2021-03-22T08:30:00+04:30"),  # summer time began that night
        ("1400/06/30", "08:30", "2021-09-21T08:30:00+04:30"),
        ("1400/06/31", "08:30", "2021-09-22T08:30:00+03:30"),
        ("1401/01/02", "00:30", None),  # the clocks skipped it
        ("1401/06/30", "08:30", "2022-09-21T08:30:00+04:30"),  # the last summer time
        ("1402/01/02", "00:30", "2023-03-22T00:30:00+03:30"),
        ("1399/12/30", "۸:۳۰", "2021-03-20T08:30:00+03:30"),  # a leap year
        ("1400/12/30", "08:30", None),
        ("1399/06/30", "08:30", "2020-09-20T08:30:00+04:30"),
        ("1399/06/31", "08:30", "2020-09-21T08:30:00+03:30"),
        ("1399/07/31", "08:30", None),
    ],
)
def test_days_and_clocks_are_those_of_their_year(day: str, start: str, wanted: str | None) -> None:
    """Leap days, month ends, Nowruz, and summer time until 1401: what did not exist is told at its cell."""
    book = copy.deepcopy(_book())
    book["جلسات"], book["حضور"] = [book["جلسات"][0] | {"تاریخ": day, "ساعت شروع": start}], []
    results = [each for each in lab.taken(as_json(book), media.JSON) if each.mapping == "behzisti/month"]
    (session,) = [each for result in results for each in result.resources if each["resourceType"] == "Procedure"] or [
        {}
    ]
    assert session.get("performedPeriod", {}).get("start") == wanted
    faults = [f.place.path for result in results for f in result.findings if f.severity == "error" and f.place]
    assert bool(faults) is (wanted is None)
    assert all(path.startswith("$.جلسات[0]") for path in faults)
