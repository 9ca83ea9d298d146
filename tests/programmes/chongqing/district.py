"""A seeded district: rows of every sheet as townships would send them, with faults planted and known.

The same seed gives the same rows, byte for byte. `District.faults` lists what was planted: the code by which it has to
be found, and the key of the record. Nobody in it exists; the resident ids only obey their arithmetic.
"""

# ruff: noqa: DTZ001 - rows hold local times without a zone, as people write them
from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from gateway.formats.identifiers import resident_id_digit, uscc_digit

Row = dict[str, str]
START, END = date(2020, 1, 1), date(2021, 6, 30)
ROLES = (("乡镇（街道）领导干部", "L"), ("村（社区）干部", "C"), ("签约家庭医生", "D"))
FESTIVALS = (
    ("春节", date(2020, 1, 25)),
    ("端午节", date(2020, 6, 25)),
    ("中秋节", date(2020, 10, 1)),
    ("重阳节", date(2020, 10, 25)),
    ("春节", date(2021, 2, 12)),
    ("端午节", date(2021, 6, 14)),
)
PHASES = (
    ("准备阶段", date(2020, 8, 15)),
    ("自查阶段", date(2020, 9, 20)),
    ("整改阶段", date(2020, 11, 1)),
    ("总结评估阶段", date(2020, 11, 15)),
)


def iso(day: date | None) -> str:
    return day.isoformat() if day else ""


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


@dataclass
class Member:
    id: str
    born: date
    sex: str
    name: str


@dataclass
class Home:
    number: str
    township: str
    members: list[Member]


@dataclass
class District:
    """`rows` by sheet, `faults` as (code, key), `refused` as (sheet, key) of the items that must not be kept."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    reference: list[Row] = field(default_factory=list)


class Maker:
    """Makes one district. Faults take households from the end of the list, one each, so that none hides another."""

    def __init__(self, seed: int, townships: int, households: int, months: int = 18) -> None:
        self.random = random.Random(seed)
        self.last = min(END, START + timedelta(days=30 * months))
        self.townships = [f"500118{100 + n}" for n in range(1, townships + 1)]
        self.made = District({name: [] for name in SHEETS})
        self.people = 0
        self.visits = 0
        self.homes = [self._home(n) for n in range(households)]
        self.spare = list(reversed(self.homes))

    def _person(self) -> Member:
        self.people += 1
        born = date(1940, 1, 1) + timedelta(days=self.random.randrange(9000))
        sex, region = self.random.choice("男女"), self.random.choice(("500118", "500105", "500112", "510202"))
        serial = self.people % 500 * 2 + (1 if sex == "男" else 0)
        first = f"{region}{born:%Y%m%d}{serial % 1000:03}"
        return Member(first + resident_id_digit(first), born, sex, f"测试成员{self.people}")

    def _home(self, n: int) -> Home:
        members = [self._person() for _ in range(self.random.choice((1, 2, 2)))]
        return Home(f"H-{n:05}", self.townships[n % len(self.townships)], members)

    def stranger(self) -> Member:
        """Somebody who belongs to no household."""
        return self._person()

    def take(self) -> Home:
        """A household for one fault."""
        return self.spare.pop()

    def row(self, sheet: str, **cells: Any) -> Row:
        made = {name: str(value) for name, value in cells.items() if value not in (None, "")}
        self.made.rows[sheet].append(made)
        return made

    def fault(self, code: str, key: str, refused: str = "") -> None:
        """Remember a planted fault; `refused` is the sheet whose item of that key must not be kept."""
        self.made.faults.append((code, key))
        if refused:
            self.made.refused.add((refused, key))

    # --- the sound district ----------------------------------------

    def sound(self) -> None:
        self.facilities()
        for home in self.homes:
            self.household(home)
            self.contacts(home)
            self.contract(home)
            self.contact_events(home)
            self.services(home)
        for number, township in enumerate(self.townships):
            self.township(number, township)

    def household(self, home: Home) -> None:
        ended = date(2020, 7, 1) if self.random.random() < 0.02 and home not in self.spare[-60:] else None
        for number, person in enumerate(home.members):
            need = self.random.random() < 0.8
            away = need and self.random.random() < 0.05
            self.row(
                "成员",
                户编号=home.number,
                乡镇编码=home.township,
                身份证号=person.id,
                姓名=person.name,
                性别=person.sex,
                出生日期=iso(person.born),
                与户主关系="户主" if number == 0 else "配偶",
                特殊家庭起始日期="2015-06-01",
                特殊家庭终止日期=iso(ended),
                服务卡号=f"C-{person.id[-8:]}-{home.number}",
                发卡日期=iso(date(2020, 2, 1) + timedelta(days=self.random.randrange(300))),
                扶助对象起始日期="2015-06-01",
                签约需求日期="2020-01-10" if need else "",
                未签约原因="外出" if away else "",
            )
            self.made.reference.append(
                {"key": person.id, "name": person.name if self.random.random() < 0.97 else "测试别名",
                 "gender": "male" if person.sex == "男" else "female", "birth": iso(person.born)}
            )  # fmt: skip

    def contact(self, home: Home, role: str, number: str, start: date, **more: Any) -> Row:
        first = more.pop("first", start + timedelta(days=self.random.randrange(1, 20)))
        return self.row(
            "联系人",
            户编号=home.number,
            乡镇编码=more.pop("township", home.township),
            角色=role,
            联系人编号=number,
            姓名=f"测试{number}",
            单位="测试单位",
            单位编码=f"T-{home.township}",
            电话=more.pop("phone", "02300000001"),
            开始日期=iso(start),
            首次见面日期=iso(first),
            帮扶状态="已确定",
            **more,
        )

    def contacts(self, home: Home) -> None:
        start = date(2020, 1, 2)
        for role, letter in ROLES:
            number = f"{letter}-{home.number}"
            if letter != "D" and self.random.random() < 0.1 and home not in self.spare[-60:]:
                changed = date(2020, 3, 1) + timedelta(days=self.random.randrange(400))
                told = ";".join(person.id for person in home.members)
                self.contact(home, role, number, start, 结束日期=iso(changed), 交接日期=iso(changed),
                             通知日期=iso(changed), 通知成员=told)  # fmt: skip
                self.contact(home, role, f"{number}-2", changed)
            else:
                self.contact(home, role, number, start)
        if self.random.random() < 0.1:
            self.contact(home, "志愿者", f"V-{home.number}", start, first=None)

    def contract(self, home: Home) -> None:
        for number, person in enumerate(home.members):
            row = next(r for r in reversed(self.made.rows["成员"]) if r["身份证号"] == person.id)
            if not row.get("签约需求日期") or row.get("未签约原因"):
                continue
            self.sign(home, person, f"Q-{home.number}-{number}")

    def sign(self, home: Home, person: Member, number: str, **more: Any) -> Row:
        given = {
            "签约编号": number,
            "户编号": home.number,
            "身份证号": person.id,
            "机构编码": f"W-{home.township}",
            "机构名称": "测试卫生院",
            "机构类型": "乡镇卫生院",
            "医生编号": f"D-{home.number}",
            "医生姓名": "测试医生",
            "医生电话": "02300000002",
            "签约状态": "已签约",
            "签约日期": iso(date(2020, 1, 15) + timedelta(days=self.random.randrange(45))),
            "到期日期": self.random.choice(("2020-12-31", "2021-12-31", "2021-12-31")),
            "基本医疗": "是",
            "基本公共卫生": "是",
            "健康管理": "是",
        }
        return self.row("签约", **{**given, **more})

    def visit(self, home: Home, at: datetime, channel: str, reason: str, **more: Any) -> str:
        self.visits += 1
        number = f"F-{self.visits:06}"
        entered = at + timedelta(minutes=self.random.choice((20, 90, 600, 1400, 2000)))
        role, letter = self.random.choice(ROLES)
        self.row(
            "走访",
            走访编号=number,
            户编号=home.number,
            联系人编号=f"{letter}-{home.number}",
            联系人角色=role,
            联系方式=channel,
            联系时间=stamp(at),
            联系事由=reason,
            录入时间=stamp(entered) if self.random.random() < 0.98 else "",
            **more,
        )
        return number

    def contact_events(self, home: Home) -> None:
        at = datetime(2020, 1, 10, 9, 0) + timedelta(days=self.random.randrange(20))
        while at.date() <= self.last:
            self.visit(home, at, self.random.choice(("登门走访", "电话联络", "网络沟通")), "经常性联系")
            at += timedelta(days=self.random.randrange(30, 150), hours=self.random.randrange(-1, 7) % 7)
            at = at.replace(hour=9 + self.random.randrange(8))
        for name, day in FESTIVALS:
            if day <= self.last and self.random.random() < 0.85:
                when = datetime(day.year, day.month, day.day, 10) - timedelta(days=self.random.randrange(13))
                self.visit(home, when, "登门走访", "节日慰问", 节日=name)

    def services(self, home: Home) -> None:
        for number, person in enumerate(home.members):
            key = f"{home.number}-{number}"
            card = next(r for r in reversed(self.made.rows["成员"]) if r["身份证号"] == person.id)["服务卡号"]
            if self.random.random() < 0.25:
                at = datetime(2020, 4, 1, 8) + timedelta(days=self.random.randrange(400))
                served = self.random.random() < 0.9
                self.green(f"L-{key}", person.id, card, at, served, f"Q-{key}" if self.random.random() < 0.7 else "")
            if self.random.random() < 0.1:
                self.referral(home, person, f"Z-{key}")
            if self.random.random() < 0.15:
                days = self.random.choice((14, 28, 42, 56))
                self.prescribe(
                    home, person, f"R-{key}", date(2020, 3, 1) + timedelta(days=self.random.randrange(450)), days
                )

    def green(
        self, number: str, id: str, card: str, at: datetime, served: bool, contract: str = "", **more: Any
    ) -> None:
        given = {
            "就诊编号": number,
            "机构编码": "QY-1",
            "身份证号": id,
            "服务卡号": card,
            "就诊类型": "门诊",
            "就诊时间": stamp(at),
            "优先服务": "是" if served else "否",
            "关联签约编号": contract,
        }
        self.row("绿色通道", **{**given, **more})

    def referral(self, home: Home, person: Member, number: str, **more: Any) -> None:
        at = datetime(2020, 2, 1, 9) + timedelta(days=self.random.randrange(450))
        state = self.random.choice(("已完成", "已完成", "已接受", "已发出", "已拒绝"))
        taken = at + timedelta(hours=self.random.randrange(2, 90)) if state in ("已完成", "已接受") else None
        given = {
            "转诊编号": number,
            "身份证号": person.id,
            "转出机构编码": f"W-{home.township}",
            "转入机构编码": "QY-1",
            "转诊时间": stamp(at),
            "转诊状态": state,
            "接收时间": stamp(taken) if taken else "",
            "完成时间": stamp(taken + timedelta(days=2)) if taken and state == "已完成" else "",
        }
        self.row("转诊", **{**given, **more})

    def prescribe(self, home: Home, person: Member, number: str, day: date, days: int, **more: Any) -> None:
        long = days >= 28
        given = {
            "处方编号": number,
            "身份证号": person.id,
            "机构编码": f"W-{home.township}",
            "医生编号": f"D-{home.number}",
            "开方日期": iso(day),
            "药品名称": "测试降压药",
            "药品类别": "普通药品",
            "长期处方": "是" if long else "否",
            "供药天数": days,
            "病种": "高血压",
            "病种编码": "I10",
            "病情稳定评估日期": iso(day),
            "依从性评估日期": iso(day),
        }
        self.row("处方", **{**given, **more})

    def facilities(self) -> None:
        for number in range(1, 3):
            self.facility(f"QY-{number}", "区级公立医疗卫生单位", self.townships[0], date(2020, 3, 1))
        self.facility("MY-1", "民营医疗机构", self.townships[0], None)
        for township in self.townships:
            self.facility(
                f"W-{township}", "乡镇卫生院", township, date(2020, 2, 1) + timedelta(days=self.random.randrange(120))
            )

    def facility(self, code: str, kind: str, township: str, opened: date | None) -> None:
        first = f"1250011{self.random.randrange(10)}MB{self.random.randrange(10**7):07}"
        self.row(
            "机构",
            机构编码=code,
            机构名称=f"测试机构{code}",
            机构类型=kind,
            统一社会信用代码=first + uscc_digit(first),
            乡镇编码=township,
            绿色通道开通日期=iso(opened),
        )

    def township(self, number: int, township: str) -> None:
        for phase, deadline in PHASES:
            done = deadline - timedelta(days=self.random.randrange(-4, 12))
            self.row("阶段", 乡镇编码=township, 乡镇名称=f"测试镇{number}", 年度="2020", 阶段=phase, 完成日期=iso(done),
                     材料文号=f"测府发{number}号-{phase}", 主要领导="测试书记", 分管领导="测试镇长")  # fmt: skip
        for n in range(4):
            found = date(2020, 9, 1) + timedelta(days=self.random.randrange(20))
            self.problem(township, f"P-{township}-{n}", found, found + timedelta(days=self.random.randrange(3, 25)))
        for home in [h for h in self.homes if h.township == township][:5]:
            self.row("满意度", 问卷编号=f"M-{home.number}", 户编号=home.number, 调查日期="2020-11-10",
                     满意度评分=self.random.randrange(60, 101))  # fmt: skip

    def problem(self, township: str, number: str, found: date, done: date | None, **more: Any) -> None:
        given = {
            "乡镇编码": township,
            "问题编号": number,
            "发现日期": iso(found),
            "事项": "联系人制度",
            "问题描述": "测试问题",
            "责任单位": "测试单位",
            "责任领导": "测试领导",
            "责任人员": "测试人员",
            "整改措施": "测试措施",
            "整改时限": "2020-10-31",
            "整改状态": "已整改" if done else "整改中",
            "完成日期": iso(done),
        }
        self.row("台账", **{**given, **more})

    # --- what the faults need ----------------------------------------

    def rows_of(self, sheet: str, home: Home) -> list[Row]:
        return [row for row in self.made.rows[sheet] if row.get("户编号") == home.number]

    def contact_row(self, home: Home, letter: str) -> Row:
        return next(r for r in self.rows_of("联系人", home) if r["联系人编号"] == f"{letter}-{home.number}")

    def unseen(self, home: Home) -> None:
        """Nobody of the household was treated: whoever is refused at intake has no entitlement that one could find."""
        people = {person.id for person in home.members}
        self.made.rows["绿色通道"] = [row for row in self.made.rows["绿色通道"] if row["身份证号"] not in people]

    def drop(self, sheet: str, row: Row) -> None:
        self.made.rows[sheet] = [each for each in self.made.rows[sheet] if each is not row]


SHEETS = ("成员", "联系人", "走访", "签约", "绿色通道", "转诊", "处方", "紧急医疗", "机构", "台账", "阶段", "满意度")
KEYS = {
    "成员": "户编号",
    "联系人": "户编号",
    "走访": "走访编号",
    "签约": "签约编号",
    "绿色通道": "就诊编号",
    "转诊": "转诊编号",
    "处方": "处方编号",
    "紧急医疗": "紧急编号",
    "机构": "机构编码",
    "台账": "乡镇编码",
    "阶段": "材料文号",
    "满意度": "问卷编号",
}
"""The sheets, and the column that names the record of an item."""


def make(seed: int = 20201201, townships: int = 12, households: int = 2000, months: int = 18) -> District:
    """The district of a seed, with one fault of every kind."""
    from district_faults import plant

    maker = Maker(seed, townships, households, months)
    maker.sound()
    plant(maker)
    return maker.made
