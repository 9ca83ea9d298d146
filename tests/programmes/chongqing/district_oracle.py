"""Every measure of the programme by brute force, over the rows as they were written: no view, no SQL, no FHIR.

Written from the rule catalogue; it shares nothing with the measures but the rows. A figure is
{(township, …): (numerator or value, denominator, further …)}.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import fmean
from typing import Any

from district import District, Row

Figures = dict[tuple[Any, ...], tuple[Any, ...]]
WANTED = ("乡镇（街道）领导干部", "村（社区）干部", "签约家庭医生")
WINDOW = 10
NAMES = {"春节": "spring-festival", "端午节": "dragon-boat", "中秋节": "mid-autumn", "重阳节": "double-ninth"}
FESTIVALS = {
    ("spring-festival", date(2020, 1, 25)), ("dragon-boat", date(2020, 6, 25)), ("mid-autumn", date(2020, 10, 1)),
    ("double-ninth", date(2020, 10, 25)), ("spring-festival", date(2021, 2, 12)), ("dragon-boat", date(2021, 6, 14)),
}  # fmt: skip
DEADLINES = {
    "准备阶段": date(2020, 8, 15),
    "自查阶段": date(2020, 9, 20),
    "整改阶段": date(2020, 11, 1),
    "总结评估阶段": date(2020, 11, 15),
}
PHASES = {"准备阶段": "preparation", "自查阶段": "self-check", "整改阶段": "rectification", "总结评估阶段": "summary"}


def day(text: str | None) -> date | None:
    return date.fromisoformat(text[:10]) if text else None


def at(text: str | None) -> datetime | None:
    return datetime.strptime(text, "%Y-%m-%d %H:%M") if text else None  # noqa: DTZ007 - both ends are local


def share(pairs: Iterable[tuple[Any, bool]]) -> Figures:
    found: dict[Any, list[bool]] = defaultdict(list)
    for key, good in pairs:
        found[key if isinstance(key, tuple) else (key,)].append(good)
    return {key: (sum(goods), len(goods)) for key, goods in found.items()}


def mean(pairs: Iterable[tuple[Any, float]]) -> Figures:
    found: dict[Any, list[float]] = defaultdict(list)
    for key, value in pairs:
        found[(key,)].append(value)
    return {key: (fmean(values), len(values)) for key, values in found.items()}


@dataclass
class Period:
    first: date
    last: date

    def has(self, when: date | None) -> bool:
        return when is not None and self.first <= when <= self.last


class Oracle:
    """The rows that were accepted, asked one by one."""

    def __init__(self, district: District, keys: dict[str, str]) -> None:
        self.rows = {
            sheet: [row for row in rows if (sheet, row[keys[sheet]]) not in district.refused]
            for sheet, rows in district.rows.items()
        }
        self.reference = {row["key"]: row for row in district.reference}
        self.home_of: dict[str, Row] = {}
        for row in self.rows["成员"]:
            self.home_of.setdefault(row["户编号"], row)

    # --- who counts on a day ----------------------------------------

    def homes(self, on: date) -> dict[str, str]:
        """Active households and their townships."""
        return {
            number: row["乡镇编码"]
            for number, row in self.home_of.items()
            if day(row["特殊家庭起始日期"]) <= on
            and (not row.get("特殊家庭终止日期") or day(row["特殊家庭终止日期"]) >= on)
        }

    def members(self, on: date) -> dict[str, tuple[str, Row]]:
        """Person -> (township, row). Somebody in two households counts once, in the township that sorts first."""
        homes, found = self.homes(on), {}
        for row in self.rows["成员"]:
            since = day(row.get("入户日期"))
            if row["户编号"] in homes and (since is None or since <= on):
                place = homes[row["户编号"]]
                known = found.get(row["身份证号"])
                if known is None or place < known[0]:
                    found[row["身份证号"]] = (place, row)
        return found

    # --- measures of a day ----------------------------------------

    def contact_coverage(self, on: date) -> Figures:
        open_now: dict[tuple[str, str], int] = defaultdict(int)
        for row in self.rows["联系人"]:
            if day(row["开始日期"]) <= on and (not row.get("结束日期") or day(row["结束日期"]) > on):
                open_now[row["户编号"], row["角色"]] += 1
        return share((place, all(open_now[n, role] == 1 for role in WANTED)) for n, place in self.homes(on).items())

    def contract_coverage(self, on: date) -> Figures:
        signed = {
            row["身份证号"]
            for row in self.rows["签约"]
            if row["签约状态"] == "已签约" and day(row["签约日期"]) <= on
            and (not row.get("到期日期") or day(row["到期日期"]) >= on)
        }  # fmt: skip
        made: dict[tuple[str], list[int]] = defaultdict(lambda: [0, 0, 0])
        for person, (place, _) in self.members(on).items():
            rows = (
                [r for r in self.rows["成员"] if r["身份证号"] == person]
                if person in self.twice
                else [self.one[person]]
            )
            if any(r.get("签约需求日期") and day(r["签约需求日期"]) <= on for r in rows):
                cell = made[(place,)]
                cell[1] += 1
                cell[0] += person in signed
                cell[2] += person not in signed and any(r.get("未签约原因") for r in rows)
        return {key: tuple(cell) for key, cell in made.items()}

    @property
    def one(self) -> dict[str, Row]:
        if not hasattr(self, "_one"):
            self._one = {row["身份证号"]: row for row in self.rows["成员"]}
        return self._one

    @property
    def twice(self) -> set[str]:
        if not hasattr(self, "_twice"):
            seen: set[str] = set()
            self._twice = {r["身份证号"] for r in self.rows["成员"] if r["身份证号"] in seen or seen.add(r["身份证号"])}
        return self._twice

    def green_channel_coverage(self, on: date) -> Figures:
        obliged = [
            r
            for r in self.rows["机构"]
            if r["机构类型"] in ("区级公立医疗卫生单位", "乡镇卫生院", "中心卫生院", "社区卫生服务中心")
        ]
        return share(
            (r["乡镇编码"], bool(r.get("绿色通道开通日期")) and day(r["绿色通道开通日期"]) <= on) for r in obliged
        )

    def card_issue(self, on: date) -> Figures:
        return share(
            (place, bool(row.get("服务卡号")) and day(row["发卡日期"]) <= on)
            for place, row in self.members(on).values()
        )

    def regular_contact(self, on: date) -> Figures:
        last: dict[str, date] = {}
        for home, when in self.contacts():
            if when <= on:
                last[home] = max(when, last.get(home, when))
        return share((place, n in last and (on - last[n]).days <= 30) for n, place in self.homes(on).items())

    def contacts(self) -> list[tuple[str, date]]:
        visits = [(r["户编号"], day(r["联系时间"])) for r in self.rows["走访"]]
        return visits + [(r["户编号"], day(r["首次见面日期"])) for r in self.rows["联系人"] if r.get("首次见面日期")]

    def accuracy_reference(self, on: date) -> Figures:
        pairs = []
        for person, (place, row) in self.members(on).items():
            known = self.reference.get(person)
            if known:
                sex = {"男": "male", "女": "female"}[row["性别"]]
                pairs += [
                    (place, row["姓名"] == known["name"]),
                    (place, sex == known["gender"]),
                    (place, row["出生日期"] == known["birth"]),
                ]
        return share(pairs)

    def accuracy_check_digit(self, on: date) -> Figures:
        weights = [pow(2, 17 - i) % 11 for i in range(17)]
        pairs = []
        for person, (place, _) in self.members(on).items():
            rest = sum(int(c) * w for c, w in zip(person, weights, strict=False)) % 11
            pairs.append((place, (12 - rest) % 11 == (10 if person[17] == "X" else int(person[17]))))
        return {key: (*figure, 0) for key, figure in share(pairs).items()}

    def file_age(self, on: date) -> Figures:
        return share((place, True) for place in self.homes(on).values())

    # --- measures of a period ----------------------------------------

    def green_channel_served(self, p: Period) -> Figures:
        return share((place, r["优先服务"] == "是") for place, r in self._green(p))

    def green_channel_linked(self, p: Period) -> Figures:
        return share((place, bool(r.get("关联签约编号"))) for place, r in self._green(p))

    def facility_trips(self, p: Period) -> Figures:
        return {key: (n, None) for key, (n, _) in share((place, True) for place, _ in self._green(p)).items()}

    def _green(self, p: Period) -> list[tuple[str, Row]]:
        known = self.members(p.last)
        return [
            (known[r["身份证号"]][0], r)
            for r in self.rows["绿色通道"]
            if r["身份证号"] in known and p.has(day(r["就诊时间"]))
        ]

    def seamless_handover(self, p: Period) -> Figures:
        pairs = []
        for row in self.rows["联系人"]:
            ended = day(row.get("结束日期"))
            if row["角色"] not in WANTED or not p.has(ended):
                continue
            same = [r for r in self.rows["联系人"] if r["户编号"] == row["户编号"] and r["角色"] == row["角色"]]
            starts = sorted(s for r in same if (s := day(r["开始日期"])) > day(row["开始日期"]))
            told = set(row.get("通知成员", "").split(";"))
            all_told = bool(row.get("通知日期")) and all(
                r["身份证号"] in told
                for r in self.rows["成员"]
                if r["户编号"] == row["户编号"] and (not r.get("入户日期") or day(r["入户日期"]) <= ended)
            )
            pairs.append((row["乡镇编码"], bool(starts) and starts[0] <= ended and all_told))
        return share(pairs)

    def festival_contact(self, p: Period) -> Figures:
        pairs = []
        for name, when in FESTIVALS:
            if p.has(when):
                seen = {
                    r["户编号"]
                    for r in self.rows["走访"]
                    if r["联系事由"] == "节日慰问" and NAMES.get(r.get("节日", "")) == name
                    and when - timedelta(WINDOW) <= day(r["联系时间"]) <= when
                }  # fmt: skip
                pairs += [((place, name), number in seen) for number, place in self.homes(when).items()]
        return share(pairs)

    def _late(self, p: Period) -> list[tuple[str, float | None]]:
        homes = self.homes(p.last)
        made = []
        for row in self.rows["走访"]:
            if row["户编号"] in homes and p.has(day(row["联系时间"])):
                entered, happened = at(row.get("录入时间")), at(row["联系时间"])
                made.append((homes[row["户编号"]], (entered - happened).total_seconds() / 3600 if entered else None))
        return made

    def update_in_time(self, p: Period) -> Figures:
        late, made = self._late(p), {}
        for place in {place for place, _ in late}:
            values = [v for where, v in late if where == place]
            timed = [v for v in values if v is not None]
            made[(place,)] = (sum(v <= 24 for v in timed), len(timed), len(values) - len(timed))
        return made

    def update_latency(self, p: Period) -> Figures:
        late, made = self._late(p), {}
        for place in {place for place, v in late if v is not None}:
            values = sorted(v for where, v in late if where == place and v is not None)
            n = len(values)
            made[(place,)] = (fmean(values), n, values[-(-n // 2) - 1], values[-(-n * 9 // 10) - 1])
        return made

    def _referrals(self, p: Period) -> list[tuple[str, Row]]:
        places = {r["机构编码"]: r["乡镇编码"] for r in self.rows["机构"]}
        return [(places.get(r["转出机构编码"], "-"), r) for r in self.rows["转诊"] if p.has(day(r["转诊时间"]))]

    def referral(self, p: Period) -> Figures:
        found = self._referrals(p)
        taken = share((place, r["转诊状态"] in ("已完成", "已接受")) for place, r in found)
        done = share((place, r["转诊状态"] == "已完成") for place, r in found)
        return {key: (*figure, taken[key][0]) for key, figure in done.items()}

    def referral_wait(self, p: Period) -> Figures:
        return mean(
            (place, (at(r["接收时间"]) - at(r["转诊时间"])).total_seconds() / 86400)
            for place, r in self._referrals(p)
            if r.get("接收时间")
        )

    def long_prescription(self, p: Period) -> Figures:
        known, people = self.members(p.last), defaultdict(list)
        for row in self.rows["处方"]:
            if row["身份证号"] in known and p.has(day(row["开方日期"])):
                people[row["身份证号"]].append(row["长期处方"] == "是" and 28 <= int(row["供药天数"]) <= 56)
        return share((known[person][0], any(hits)) for person, hits in people.items())

    def rectification(self, p: Period) -> Figures:
        found = [r for r in self.rows["台账"] if p.has(day(r["发现日期"]))]
        limit = date(2020, 11, 1)
        done = share((r["乡镇编码"], bool(r.get("完成日期")) and day(r["完成日期"]) <= limit) for r in found)
        return {key: (*figure, 0, 0) for key, figure in done.items()}

    def found_to_fixed(self, p: Period) -> Figures:
        return mean(
            (r["乡镇编码"], (day(r["完成日期"]) - day(r["发现日期"])).days)
            for r in self.rows["台账"]
            if p.has(day(r.get("完成日期")))
        )

    def satisfaction(self, p: Period) -> Figures:
        made: dict[tuple[str], list[int]] = defaultdict(lambda: [0, 0])
        for row in self.rows["满意度"]:
            if p.has(day(row["调查日期"])) and row["户编号"] in self.home_of:
                cell = made[(self.home_of[row["户编号"]]["乡镇编码"],)]
                cell[0] += int(row["满意度评分"])
                cell[1] += 100
        return {key: tuple(cell) for key, cell in made.items()}

    def phases(self, p: Period) -> Figures:
        done = {(r["乡镇编码"], r["阶段"]): day(r.get("完成日期")) for r in self.rows["阶段"]}
        towns = {row["乡镇编码"] for row in self.rows["成员"]}
        return share(
            ((town, PHASES[name]), done.get((town, name)) is not None and done[town, name] <= limit)
            for name, limit in DEADLINES.items()
            if p.has(limit)
            for town in towns
        )

    def help_given(self, p: Period) -> Figures:
        asked = [r for r in self.rows["走访"] if r.get("困难问题") and p.has(day(r["联系时间"]))]
        return share((self.home_of[r["户编号"]]["乡镇编码"], bool(r.get("解决日期"))) for r in asked)

    def contract_wait(self, p: Period) -> Figures:
        first: dict[str, date] = {}
        for row in self.rows["签约"]:
            when = day(row["签约日期"])
            first[row["身份证号"]] = min(when, first.get(row["身份证号"], when))
        known, pairs = self.members(p.last), []
        for person, when in first.items():
            need = day(self.one.get(person, {}).get("签约需求日期"))
            if person in known and p.has(when) and need and need <= when:
                pairs.append((known[person][0], (when - need).days))
        return mean(pairs)


DAY_MEASURES = ("contact-coverage", "contract-coverage", "green-channel-coverage", "card-issue", "regular-contact",
                "accuracy-reference", "accuracy-check-digit", "file-age")  # fmt: skip
PERIOD_MEASURES = ("green-channel-served", "green-channel-linked", "facility-trips", "seamless-handover",
                   "festival-contact", "update-latency", "update-in-time", "referral", "referral-wait",
                   "long-prescription", "rectification", "found-to-fixed", "satisfaction", "phases", "help-given",
                   "contract-wait")  # fmt: skip


def of(oracle: Oracle, name: str) -> Callable[[Any], Figures]:
    """The brute force of a measure, by its name."""
    return getattr(oracle, name.replace("-", "_"))  # type: ignore[no-any-return]
