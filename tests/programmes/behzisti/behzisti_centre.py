# ruff: noqa: E501 - tables of rows
"""A seeded centre of invented clients over Jalali months, as the workbooks that it would send, with planted faults.

`Centre(...).workbook(month)` gives the rows of one month by sheet; `planted` says which finding each fault must make:
(code, client code or centre code, due day). Everything else in the centre is in order.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import openpyxl
from persiantools.jdatetime import JalaliDate

CODE = "10023"
Row = dict[str, Any]
Book = dict[str, list[Row]]
WEEK = {6, 7, 2, 3}  # ISO weekdays on which clients come: Saturday, Sunday, Tuesday, Wednesday
THURSDAY = 4
FREE = {(1, 1), (1, 2), (1, 3), (1, 4), (1, 13)}  # Jalali month and day


def g(year: int, month: int, day: int) -> date:
    """The Gregorian day of a Jalali one."""
    return JalaliDate(year, month, day).to_gregorian()


def j(day: date | None) -> str:
    """As a workbook says it."""
    return "" if day is None else JalaliDate(day).strftime("%Y/%m/%d")


def month_of(day: date) -> tuple[int, int]:
    made = JalaliDate(day)
    return made.year, made.month


def first(month: tuple[int, int]) -> date:
    return g(*month, 1)


def last(month: tuple[int, int]) -> date:
    return g(*month, JalaliDate.days_in_month(month[1], month[0]))


def plus_months(day: date, months: int) -> date:
    """The same day of the Jalali month so many months later, or the last one where it is shorter."""
    at = JalaliDate(day)
    year, month = divmod(at.year * 12 + at.month - 1 + months, 12)
    month += 1
    return g(year, month, min(at.day, JalaliDate.days_in_month(month, year)))


def months(start: tuple[int, int], count: int) -> list[tuple[int, int]]:
    begun = start[0] * 12 + start[1] - 1
    return [((begun + n) // 12, (begun + n) % 12 + 1) for n in range(count)]


def is_free(day: date) -> bool:
    at = JalaliDate(day)
    return day.isoweekday() == 5 or (at.month, at.day) in FREE


def national(number: int) -> str:
    """A national code with its check digit, of nobody: it begins with 049."""
    nine = f"049{number:06d}"
    total = sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11
    return nine + str(total if total < 2 else 11 - total)


@dataclass
class Stay:
    requested: date
    start: date | None
    end: date | None = None
    subsidised: bool = True
    leaving: Row = field(default_factory=dict)


@dataclass
class Client:
    """One client: stays, and what is recorded about them. Lists hold rows with a `day` that is not a column."""

    code: str
    number: int
    born: date
    group: str = "نورولوژیک پیش از پایان رشد"
    stays: list[Stay] = field(default_factory=list)
    files: list[tuple[date, str, Row]] = field(default_factory=list)  # day, sheet, row
    file_opened: bool = True
    short_days: dict[date, int] = field(default_factory=dict)  # day -> minutes of the second session
    other_kind: dict[tuple[date, int], str] = field(default_factory=dict)  # (day, position) -> kind
    away: set[date] = field(default_factory=set)
    exempt_until: date | None = None


GROUPS = ["آسیب‌های ارتوپدی", "بدشکلی مادرزادی", "آسیب اکتسابی", "نورولوژیک پیش از پایان رشد"]
STAFF = {  # role -> (share, days, hours, degree, level)
    "مسئول فنی": (1, 6, 29, "تخصص طب فیزیکی و توانبخشی", "تخصص"),
    "فیزیوتراپیست": (1, 6, 29, "کارشناسی فیزیوتراپی", "کارشناسی"),
    "کاردرمانگر": (1, 6, 29, "کارشناسی کاردرمانی", "کارشناسی"),
    "گفتاردرمانگر": (0.4, 2, 10, "کارشناسی گفتاردرمانی", "کارشناسی"),
    "روان‌شناس بالینی": (0.4, 2, 10, "روان‌شناسی بالینی", "کارشناسی ارشد"),
    "مربی آموزشی": (2, 6, 58, "سایر", "کارشناسی"),
    "مربی هنری، ورزشی یا بازی": (0.3, 2, 8, "سایر", "کارشناسی"),
    "خدمه": (2, 6, 58, "سایر", "دیپلم"),
}
RULE = dict(zip(STAFF, ("B-64", "B-65", "B-66", "B-67", "B-68", "B-70", "B-71", "B-76"), strict=True))
EQUIPMENT = [
    "تخت معاینه",
    "ویلچر",
    "واکر ساده",
    "واکر چرخدار",
    "عصا",
    "استیمولاتور FES+TNS",
    "تجهیزات مکانوتراپی",
    "Trau Band",
    "Hand Exercise",
    "Standing Table",
    "Tilt-Board",
    "Parallel Bar",
    "Roller",
    "Ladder",
    "Weight Cuff",
    "Wedge",
    "وسایل آموزش ADL و IADL",
    "انواع پازل",
    "تقویت\u200cکننده اندام فوقانی",
    "تشک",
    "پاراوان",
    "تخت درمان",
    "توپ CP",
    "تجهیزات SI",
    "وسایل ساخت اسپلینت",
    "تردمیل",
]
ROOMS = {"اتاق فیزیوتراپی": 18, "اتاق کاردرمانی و ADL": 20, "اتاق توانبخشی آموزشی": 12,
         "اتاق روان‌شناس، گفتاردرمانگر و تغذیه": 9, "فضای هنری، ورزشی یا بازی": 15}  # fmt: skip


class Centre:
    """The centre. `faults` plants them; without, every month is in order."""

    def __init__(
        self,
        clients: int = 50,
        start: tuple[int, int] = (1399, 7),
        count: int = 14,
        seed: int = 1399,
        faults: bool = True,
    ) -> None:
        self.random = random.Random(seed)
        self.months = months(start, count)
        self.begin, self.finish = first(self.months[0]), last(self.months[-1])
        self.capacity, self.subsidised = 50, 44
        self.planted: set[tuple[str, str, date]] = set()
        self.clients = [self._client(number) for number in range(1, clients + 1)]
        self.roles: list[Row] = []
        self._staff(faults)
        for client in self.clients:
            for stay in client.stays:
                self._work(client, stay)
        if faults:
            from behzisti_faults import plant

            plant(self)

    # --- who -----------------------------------------------------------------------------------

    def _client(self, number: int) -> Client:
        born = date(2008, 1, 1) + timedelta(days=self.random.randrange(3000))
        client = Client(f"{number:010d}", number, born, self.random.choice(GROUPS))
        asked = self.begin - timedelta(days=200 - number)
        client.stays.append(Stay(asked, self.begin, subsidised=number <= self.subsidised))
        return client

    def _staff(self, faults: bool) -> None:
        opened = g(1399, 1, 5)
        for index, (role, (share, days, hours, degree, level)) in enumerate(STAFF.items()):
            people = 2 if share == 2 else 1
            for person in range(people):
                gap = g(1400, 2, 5 + index) if faults and person == 0 else None
                row = {
                    "کد ملی": national(100 + index * 10 + person), "نام": "کارمند", "نام خانوادگی": f"آزمایشی {index}{person}",
                    "سمت": role, "شروع کار": j(opened), "پایان کار": j(gap), "سهم تمام‌وقت": share if people == 1 else 1,
                    "روز در هفته": days, "ساعت در هفته": hours // people, "مدرک اول": degree, "مقطع اول": level, "معدل اول": 17,
                    "دانشگاه اول": "دانشگاه آزمایشی", "دانشگاه مورد تایید": "بله", "مدرک دوم": "پزشکی (دکترای عمومی)",
                    "مقطع دوم": "دکترا", "معدل دوم": "15", "سابقه مرتبط": 2, "دوره‌های آموزشی بهزیستی": "بله",
                }  # fmt: skip
                if role != "مسئول فنی":
                    row |= {"مدرک دوم": "", "مقطع دوم": "", "معدل دوم": ""}
                self.roles.append(row)
                if gap is not None:
                    later = {"شروع کار": j(gap + timedelta(days=6)), "پایان کار": "", "کد ملی": national(500 + index)}
                    self.roles.append(row | later)
                    self.planted.add((f"{RULE[role]}-short", CODE, gap + timedelta(days=1)))

    # --- what is recorded when all is in order -------------------------------------------------

    def _work(self, client: Client, stay: Stay) -> None:
        if stay.start is None:
            return
        end = stay.end or self.finish
        told = client.files.append
        start = self.working(stay.start)
        for kind in ("فیزیوتراپی", "کاردرمانی", "شیوه غذاخوردن"):
            told((self.working(start + timedelta(days=1)), "ارزیابی‌ها", self._assessment("اولیه", kind, client)))
        meeting = self.working(start + timedelta(days=2))
        for kind in ("فیزیوتراپی", "کاردرمانی"):
            told((meeting, "اهداف و برنامه", self._goal(kind, f"{client.stays.index(stay) + 1}", meeting)))
        for day in self._every(start, end, 80):
            told((day, "کنفرانس موردی", {"اعضای حاضر": national(100), "حضور خانواده": "خیر", "روند": "پیشرفت"}))
        for day in self._every(start, end, 160):
            told((day, "ارزیابی‌ها", self._assessment("دوره‌ای", "فیزیوتراپی", client)))
        for day in self._every(start, end, 170):
            told((day, "گزارش‌ها", {"نوع گزارش": "برنامه غذایی", "نویسنده": national(140), "شرح": "متعادل",
                                    "آموزش خانواده": "انجام شد", "پیگیری": "ماه بعد"}))  # fmt: skip
        for month in self.months:
            if first(month) >= stay.start and last(month) <= end:
                told((self.working(first(month) + timedelta(days=20)), "گزارش‌ها",
                      {"نوع گزارش": "گزارش هنری", "نویسنده": national(160), "شرح": "نقاشی"}))  # fmt: skip

    def _every(self, start: date, end: date, days: int) -> Iterator[date]:
        day = self.working(start + timedelta(days=days))
        while day <= end:
            yield day
            day = self.working(day + timedelta(days=days))

    def working(self, day: date) -> date:
        """The day, or the next one that is no Friday, Thursday or holiday."""
        while is_free(day) or day.isoweekday() == THURSDAY:
            day += timedelta(days=1)
        return day

    def _assessment(self, stage: str, kind: str, client: Client) -> Row:
        film = f"file:archive/{client.number}.mp4" if kind == "فیزیوتراپی" else ""
        return {"مرحله ارزیابی": stage, "نوع ارزیابی": kind, "ارزیاب": national(110), "نتیجه": "ثبت شد", "پیش‌آگهی": "خوب",
                "روند": "" if stage == "اولیه" else "پیشرفت", "نشانی فیلم": film}  # fmt: skip

    def _goal(self, kind: str, plan: str, meeting: date, former: str = "") -> Row:
        return {"شماره برنامه": plan, "شرح هدف": f"هدف {kind}", "مهلت هدف": j(meeting + timedelta(days=180)), "نوع خدمت": kind,
                "مجری": national(110), "شرح وظیفه": f"تمرین {kind}", "وضعیت هدف": "در حال انجام",
                "جایگزین برنامه": former}  # fmt: skip

    # --- days ----------------------------------------------------------------------------------

    def days(self, client: Client, month: tuple[int, int]) -> list[date]:
        """The days of the month on which the client comes."""
        made = []
        for stay in client.stays:
            if stay.start is None:
                continue
            day = max(stay.start, first(month))
            while day <= min(stay.end or self.finish, last(month)):
                if self._comes(day) and day not in client.away:
                    made.append(day)
                day += timedelta(days=1)
        return made

    def _comes(self, day: date) -> bool:
        if is_free(day):
            return False
        if day.isoweekday() in WEEK:
            return True
        saturday = day - timedelta(days=(day.isoweekday() + 1) % 7)
        usual = [saturday + timedelta(days=n) for n in range(5)]
        few = sum(1 for each in usual if each.isoweekday() in WEEK and not is_free(each)) < 2
        return few and day.isoweekday() == THURSDAY

    # --- the workbook --------------------------------------------------------------------------

    def workbook(self, month: tuple[int, int]) -> Book:
        """The rows of one month by sheet, as the template has them."""
        book: Book = {"مرکز": [self.centre(month)], "فضا و تجهیزات": list(self._things()), "کارکنان": self.roles}
        for name in (
            "توانخواهان",
            "پذیرش",
            "ارزیابی‌ها",
            "اهداف و برنامه",
            "جلسات",
            "کنفرانس موردی",
            "حضور",
            "گزارش‌ها",
            "ترخیص",
        ):
            book[name] = []
        for client in self.clients:
            self._of_client(book, client, month)
        return {name: [{"کد مرکز": CODE, **row} for row in rows] for name, rows in book.items()}

    def centre(self, month: tuple[int, int]) -> Row:
        return {
            "نام مرکز": "مرکز آزمایشی", "ماه گزارش": f"{month[0]}/{month[1]:02d}", "ظرفیت": self.capacity,
            "ظرفیت یارانه‌ای": self.subsidised, "شماره پروانه": "P-1", "شروع پروانه": "1399/01/05", "پایان پروانه": "1420/01/01",
            "نوع مالک": "حقیقی", "شناسه مالک": national(1), "مناسب‌سازی کامل": "بله", "شروع صبح": "08:00", "پایان صبح": "13:00",
            "پایان پنجشنبه": "12:00", "میان‌وعده": "بله",
        }  # fmt: skip

    def _things(self) -> Iterator[Row]:
        for number, (kind, area) in enumerate(ROOMS.items()):
            yield {"نوع ردیف": "فضا", "کد ردیف": f"R{number}", "نوع فضا": kind, "مساحت": area, "کف‌پوش ایمن": "بله"}
        for number, kind in enumerate(EQUIPMENT):
            yield {"نوع ردیف": "تجهیزات", "کد ردیف": f"E{number}", "نوع تجهیزات": kind, "تعداد": 1}

    def _of_client(self, book: Book, client: Client, month: tuple[int, int]) -> None:
        key = {"کد توانخواه": client.code}
        here = False
        for stay in client.stays:
            if stay.requested > last(month) or (stay.end is not None and stay.end < first(month)):
                continue
            here = True
            book["پذیرش"].append(key | self._admission(client, stay, month))
            if stay.end is not None and month_of(stay.end) == month:
                book["ترخیص"].append(
                    key | {"تاریخ درخواست": j(stay.requested), "تاریخ پذیرش": j(stay.start), "تاریخ ترخیص": j(stay.end)}
                    | stay.leaving
                )  # fmt: skip
        if not here:
            return
        book["توانخواهان"].append(key | self._person(client))
        for day, sheet, row in client.files:
            if month_of(day) == month:
                name = "تاریخ جلسه گروهی" if sheet == "اهداف و برنامه" else "تاریخ"
                book[sheet].append(key | {name: j(day)} | row)
        for day in self.days(client, month):
            book["حضور"].append(key | {"تاریخ": j(day), "ساعت ورود": "08:15", "ساعت خروج": "12:30", "شیفت": "صبح"})
            book["جلسات"] += [key | row for row in self.sessions(client, day)]

    def _admission(self, client: Client, stay: Stay, month: tuple[int, int]) -> Row:
        if stay.start is None or stay.start > last(month):
            return {
                "وضعیت پذیرش": "فهرست انتظار",
                "تاریخ درخواست": j(stay.requested),
                "یارانه‌بگیر": "بله" if stay.subsidised else "خیر",
            }
        made = {
            "وضعیت پذیرش": "پذیرفته", "تاریخ درخواست": j(stay.requested), "تاریخ پذیرش": j(stay.start), "شیفت": "صبح",
            "یارانه‌بگیر": "بله" if stay.subsidised else "خیر", "تاریخ ارجاع پزشک عمومی": j(stay.start),
        }  # fmt: skip
        if client.file_opened:
            made |= {
                "تاریخ تشکیل پرونده": j(stay.start),
                "پرونده بخش توانبخشی": "شرح حال",
                "پرونده بخش آموزشی": "برنامه",
            }
        return made

    def _person(self, client: Client) -> Row:
        return {
            "نام": "توانخواه", "نام خانوادگی": f"آزمایشی {client.number}", "جنسیت": "زن" if client.number % 2 else "مرد",
            "تاریخ تولد": j(client.born), "گروه پذیرش": client.group, "شرح تشخیص": "تشخیص آزمایشی", "علت": "مادرزادی",
            "محدودیت عملکرد و مشارکت": "در راه رفتن",
            "رای کمیسیون": "رای 1" if client.group == "نورولوژیک پس از پایان رشد" else "",
        }  # fmt: skip

    def sessions(self, client: Client, day: date) -> Iterator[Row]:
        """Two sessions of ninety minutes, or shorter ones where that is planted or the client is under three."""
        young = client.exempt_until is not None and day <= client.exempt_until
        minutes = 0 if young else client.short_days.get(day, 90)
        planned = any(sheet == "اهداف و برنامه" and told <= day for told, sheet, _ in client.files)
        kinds = ("فیزیوتراپی", "کاردرمانی") if planned else ("آموزش حرفه‌ای", "آموزش حرفه‌ای")
        ends = ("10:00", f"{10 + (minutes or 30) // 60}:{(minutes or 30) % 60:02d}")
        for position, (kind, start, end) in enumerate(zip(kinds, ("08:30", "10:00"), ends, strict=True)):
            kind = client.other_kind.get((day, position), kind)
            yield {"تاریخ": j(day), "ساعت شروع": start, "ساعت پایان": end, "نوع خدمت": kind, "مجری": national(110),
                   "نتیجه": "انجام شد"}  # fmt: skip


# --- as files -------------------------------------------------------------------------------------


def headings(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def as_xlsx(book: Book) -> bytes:
    """The workbook, every cell as text, Persian digits in dates."""
    made = openpyxl.Workbook(write_only=True)
    persian = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
    for name, rows in book.items():
        if not rows:
            continue
        sheet, columns = made.create_sheet(name), headings(rows)
        sheet.append(columns)
        for row in rows:
            sheet.append([str(row.get(c, "")).translate(persian) if "تاریخ" in c else row.get(c, "") for c in columns])
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def as_json(book: Book) -> bytes:
    return json.dumps({name: rows for name, rows in book.items() if rows}, ensure_ascii=False).encode()


def as_zip(book: Book) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        for name, rows in book.items():
            if rows:
                columns = headings(rows)
                lines = [columns, *([str(row.get(c, "")) for c in columns] for row in rows)]
                package.writestr(f"{name}.csv", "\n".join(",".join(f'"{c}"' for c in line) for line in lines))
    return out.getvalue()
