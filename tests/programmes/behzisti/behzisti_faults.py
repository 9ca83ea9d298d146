"""The faults of the generated centre: one of every rule over time, and neighbours that are just in order."""

from __future__ import annotations

from datetime import date, timedelta

from behzisti_centre import CODE, WEEK, Centre, Client, Stay, first, g, is_free, last, month_of, national, plus_months

DAY = timedelta(days=1)
FAMILY = {"علت ترخیص": "رضایت یا عدم تمایل خانواده", "اطلاع به بهزیستی شهرستان": "N-1"}


def plant(centre: Centre) -> None:
    """Change the centre, and say in `planted` what must be found."""
    one = {client.number: client for client in centre.clients}
    _gaps(centre, one)
    _month(centre, one)
    _days(centre, one)
    _child(centre, one[10])
    _places(centre, one)
    _process(centre, one)


def _expect(centre: Centre, code: str, client: Client, day: date) -> None:
    centre.planted.add((code, client.code, day))


def _dates(client: Client, sheet: str, **having: str) -> list[date]:
    return sorted(d for d, s, row in client.files if s == sheet and all(row.get(k) == v for k, v in having.items()))


def _drop(client: Client, sheet: str, day: date, **having: str) -> None:
    client.files = [
        (d, s, row)
        for d, s, row in client.files
        if not (s == sheet and d == day and all(row.get(k) == v for k, v in having.items()))
    ]


def _gaps(centre: Centre, one: dict[int, Client]) -> None:
    """B-40, B-43, B-69: one that is missing; and neighbours exactly on the last day."""
    conferences = _dates(one[1], "کنفرانس موردی")
    _drop(one[1], "کنفرانس موردی", conferences[1])
    _expect(centre, "B-40-late", one[1], plus_months(conferences[0], 3))

    held = _dates(one[2], "کنفرانس موردی")[0]
    for day in _dates(one[2], "کنفرانس موردی")[1:]:
        _drop(one[2], "کنفرانس موردی", day)
    row = {"اعضای حاضر": national(100), "روند": "پیشرفت"}
    while (held := plus_months(held, 3)) <= centre.finish:  # each on the last day: in order
        one[2].files.append((held, "کنفرانس موردی", row))

    films = _dates(one[3], "ارزیابی‌ها", **{"نوع ارزیابی": "فیزیوتراپی"})
    _drop(one[3], "ارزیابی‌ها", films[1])
    _expect(centre, "B-43-late", one[3], plus_months(films[0], 6))

    initial = _dates(one[4], "ارزیابی‌ها", **{"مرحله ارزیابی": "اولیه"})[0]
    for _, _, each in one[4].files:
        if each.get("مرحله ارزیابی") == "اولیه":
            each["نشانی فیلم"] = ""
    _expect(centre, "B-43-initial", one[4], initial)

    diets = _dates(one[5], "گزارش‌ها", **{"نوع گزارش": "برنامه غذایی"})
    _drop(one[5], "گزارش‌ها", diets[1], **{"نوع گزارش": "برنامه غذایی"})
    _expect(centre, "B-69-late", one[5], plus_months(diets[0], 6))


def _month(centre: Centre, one: dict[int, Client]) -> None:
    """B-93: the leap month of 1399 without a report. B-60: eleven days; its neighbour has twelve."""
    for day in _dates(one[6], "گزارش‌ها", **{"نوع گزارش": "گزارش هنری"}):
        if first((1399, 12)) <= day <= last((1399, 12)):
            _drop(one[6], "گزارش‌ها", day, **{"نوع گزارش": "گزارش هنری"})
    _expect(centre, "B-93-missing", one[6], g(1399, 12, 30))

    for number, wanted in ((11, 11), (12, 12)):
        client, month = one[number], (1400, 3)
        while len(days := centre.days(client, month)) > wanted:
            client.away.add(_spare(days))
    _expect(centre, "B-60-below", one[11], last((1400, 3)))


def _spare(days: list[date]) -> date:
    """A day of the week that has the most."""
    by_week: dict[date, list[date]] = {}
    for day in days:
        by_week.setdefault(day - timedelta(days=(day.isoweekday() + 1) % 7), []).append(day)
    return max(by_week.values(), key=len)[-1]


def _days(centre: Centre, one: dict[int, Client]) -> None:
    """B-81: no physiotherapy in a week. B-84: one occupational therapy; its neighbour has two. B-61: 179 minutes."""
    saturday = g(1399, 9, 15)
    while saturday.isoweekday() != 6:
        saturday += DAY
    week = [d for n in range(7) if not is_free(d := saturday + timedelta(days=n)) and d.isoweekday() in WEEK]
    friday = saturday + timedelta(days=6)
    for day in week:
        one[7].other_kind[day, 0] = "آموزش حرفه‌ای"
    _expect(centre, "B-81-few", one[7], friday)
    for day in week[1:]:
        one[8].other_kind[day, 1] = "آموزش حرفه‌ای"
    _expect(centre, "B-84-few", one[8], friday)
    for day in week[2:]:
        one[13].other_kind[day, 1] = "آموزش حرفه‌ای"
    one[9].short_days[week[0]] = 89
    _expect(centre, "B-61-short", one[9], week[0])


def _child(centre: Centre, child: Client) -> None:
    """B-63: under three until the day before the birthday; the birthday itself counts."""
    birthday = centre.working(g(1400, 4, 5))
    while birthday.isoweekday() not in WEEK:
        birthday = centre.working(birthday + DAY)
    child.born = plus_months(birthday, -36)
    child.exempt_until = birthday
    _expect(centre, "B-61-short", child, birthday)


def _places(centre: Centre, one: dict[int, Client]) -> None:
    """B-23, B-31 to B-34, B-59: exits, the year without subsidy, places, and the order of the list."""
    over = one[45]
    _again(centre, over, Stay(g(1399, 8, 20), g(1399, 10, 1)))
    centre.planted.add(("B-59-over", CODE, g(1399, 10, 1)))

    gone = one[20]
    gone.group = "نورولوژیک پیش از پایان رشد"
    day = centre.working(g(1399, 12, 9))
    _leave(centre, gone, day, FAMILY)
    _expect(centre, "B-32-no-consent", gone, day)
    _leave(centre, one[21], g(1400, 4, 1), {"علت ترخیص": "اشتغال", "تایید مسئول فنی": "T-1"})  # nine months to the day
    consented = centre.working(g(1400, 1, 21))
    _leave(centre, one[22], consented, FAMILY | {"موافقت کمیته توانبخشی": "C-1"})
    _expect(centre, "B-31-stop", one[22], consented)
    _leave(centre, one[19], g(1400, 4, 1), FAMILY)  # nine months to the day, without approval: in order
    back = Stay(g(1400, 5, 20), g(1400, 6, 1))
    gone.stays.append(back)
    centre._work(gone, back)
    _expect(centre, "B-33-early", gone, g(1400, 6, 1))

    _again(centre, one[46], Stay(g(1399, 10, 1), g(1399, 11, 1), subsidised=False), "نورولوژیک پس از پایان رشد")
    _again(centre, one[47], Stay(g(1399, 10, 15), g(1399, 12, 2), subsidised=False))
    _expect(centre, "B-23-passed-over", one[46], g(1399, 11, 1))
    _again(centre, one[48], Stay(g(1399, 12, 20), g(1400, 1, 16), subsidised=False))
    _again(centre, one[49], Stay(g(1399, 12, 18), g(1400, 2, 1), subsidised=False))
    _expect(centre, "B-34-not-next", one[48], g(1400, 1, 16))
    _again(centre, one[50], Stay(g(1400, 3, 1), None, subsidised=False), "آسیب‌های ارتوپدی")


def _again(centre: Centre, client: Client, stay: Stay, group: str = "نورولوژیک پیش از پایان رشد") -> None:
    client.stays, client.files, client.group = [stay], [], group
    centre._work(client, stay)


def _leave(centre: Centre, client: Client, day: date, told: dict[str, str]) -> None:
    client.stays[0].end, client.stays[0].leaving = day, told
    client.files = []
    centre._work(client, client.stays[0])
    month = month_of(day)
    if len(centre.days(client, month)) < 12:  # who leaves early in a month was not there for twelve days of it
        _expect(centre, "B-60-below", client, last(month))


def _process(centre: Centre, one: dict[int, Client]) -> None:
    """B-35, B-36, B-42, B-54, B-79, B-82, B-86, B-88: steps out of order."""
    worse = _dates(one[23], "کنفرانس موردی")
    for number in (23, 24):
        for day, sheet, row in one[number].files:
            if sheet == "کنفرانس موردی" and day == worse[1]:
                row["روند"] = "پسرفت"
    _expect(centre, "B-42-no-plan", one[23], worse[1] + timedelta(days=14))
    meeting = worse[1] + timedelta(days=14)  # on the last day: in order
    one[24].files.append((meeting, "اهداف و برنامه", centre._goal("فیزیوتراپی", "2", meeting, "1")))

    plan = _dates(one[25], "اهداف و برنامه")[0]
    one[25].files = [
        (plan + DAY if row.get("مرحله ارزیابی") == "اولیه" else day, sheet, row) for day, sheet, row in one[25].files
    ]
    _expect(centre, "B-35-no-assessment", one[25], plan)
    one[26].file_opened = False
    _expect(centre, "B-36-no-file", one[26], centre.begin + timedelta(days=30))
    eating = _dates(one[27], "ارزیابی‌ها", **{"نوع ارزیابی": "شیوه غذاخوردن"})[0]
    _drop(one[27], "ارزیابی‌ها", eating, **{"نوع ارزیابی": "شیوه غذاخوردن"})
    _expect(centre, "B-54-no-eating", one[27], centre.begin + timedelta(days=90))
    for number, kind, code in ((28, "گفتاردرمانی", "B-86-no-goal"), (29, "مشاوره روان‌شناسی", "B-88-no-goal")):
        day = centre.days(one[number], (1399, 11))[5]
        row = {"تاریخ": "", "ساعت شروع": "11:30", "ساعت پایان": "12:00", "نوع خدمت": kind, "مجری": national(130)}
        one[number].files.append((day, "جلسات", {k: v for k, v in row.items() if k != "تاریخ"} | {"نتیجه": "انجام شد"}))
        _expect(centre, code, one[number], day)
