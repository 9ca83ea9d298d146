"""One fault of every kind, planted into a sound district: each in a household, facility or township of its own."""

# ruff: noqa: DTZ001 - rows hold local times without a zone, as people write them
from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from district import Maker


def plant(maker: Maker) -> None:
    """Plant them all. A code is that of a check (`CQ-…`, `GW-…`) or of a finding of a measure (`SF-…`)."""
    contacts_at_intake(maker)
    contacts_over_time(maker)
    members(maker)
    contracts(maker)
    care(maker)
    emergencies(maker)
    townships(maker)


def contacts_at_intake(m: Maker) -> None:
    home = m.take()
    m.contact(home, "乡镇（街道）领导干部", f"L2-{home.number}", date(2020, 1, 2))
    m.fault("CQ-LEADER", home.number, "联系人")
    home = m.take()
    m.drop("联系人", m.contact_row(home, "C"))
    m.fault("CQ-CADRE", home.number, "联系人")
    home = m.take()
    m.drop("联系人", m.contact_row(home, "D"))
    m.fault("CQ-DOCTOR", home.number, "联系人")
    home = m.take()
    row = m.contact_row(home, "C")
    row.update(
        结束日期="2020-06-01",
        交接日期="2020-06-01",
        通知日期="2020-06-01",
        通知成员=";".join(p.id for p in home.members),
    )
    m.fault("CQ-SUCCESSOR", home.number, "联系人")
    home = m.take()
    del m.contact_row(home, "L")["电话"]
    m.fault("CQ-TELECOM", home.number, "联系人")
    home = m.take()
    m.contact_row(home, "C").update(结束日期="2020-06-01", 交接日期="2020-06-01", 通知日期="2020-06-01")
    m.contact(home, "村（社区）干部", f"C-{home.number}-2", date(2020, 6, 1))
    m.fault("CQ-NOTICE", home.number, "联系人")
    home = m.take()
    m.contact_row(home, "L")["角色"] = "组长"
    m.fault("GW-MAP-003", home.number, "联系人")


def contacts_over_time(m: Maker) -> None:
    home = m.take()
    told = ";".join(p.id for p in home.members)
    row = m.contact_row(home, "C")
    row.update(结束日期="2020-05-01", 交接日期="2020-05-01", 通知日期="2020-05-01", 通知成员=told)
    m.contact(home, "村（社区）干部", f"C-{home.number}-2", date(2020, 5, 9))
    m.fault("SF-15-gap", f"household/{home.number}/village-cadre")
    m.fault("CQ-GAP", home.number)
    home = next(h for h in (m.take() for _ in range(9)) if len(h.members) == 2)
    row = m.contact_row(home, "C")
    row.update(结束日期="2020-05-04", 交接日期="2020-05-04", 通知日期="2020-05-04", 通知成员=home.members[0].id)
    m.contact(home, "村（社区）干部", f"C-{home.number}-2", date(2020, 5, 4))
    m.fault("SF-14-notice", f"household/{home.number}/village-cadre")
    home = m.take()
    row = m.contact_row(home, "L")
    row.update(结束日期="2020-05-06", 通知日期="2020-05-06", 通知成员=";".join(p.id for p in home.members))
    m.contact(home, "乡镇（街道）领导干部", f"L-{home.number}-2", date(2020, 5, 6))
    m.fault("SF-13-handover", f"household/{home.number}/township-leader")
    home = m.take()
    del m.contact_row(home, "L")["首次见面日期"]
    for visit in m.rows_of("走访", home):
        if visit["联系人编号"] == f"L-{home.number}" and visit["联系时间"] < "2020-02-02":
            visit.update(联系人编号=f"C-{home.number}", 联系人角色="村（社区）干部")
    m.fault("SF-10-first", f"household/{home.number}/township-leader")
    home = m.take()
    for row in m.rows_of("联系人", home):
        row["乡镇编码"] = "500118999"
    m.fault("SF-08-township", f"household/{home.number}")
    one, two = m.take(), m.take()
    for home in (one, two):
        for row in [r for r in m.rows_of("联系人", home) if r["角色"] == "志愿者"]:
            m.drop("联系人", row)
        m.contact(home, "志愿者", "V-MANY", date(2020, 2, 1), first=None)
    m.fault("SF-23c-helper", "contact")


def members(m: Maker) -> None:
    home, other = m.take(), m.take()
    person = other.members[0]
    own = next(r for r in m.rows_of("成员", other) if r["身份证号"] == person.id)
    own.pop("签约需求日期", None)  # whose contract would be with the other household's doctor
    own.pop("未签约原因", None)
    for row in [r for r in m.rows_of("签约", other) if r["身份证号"] == person.id]:
        m.drop("签约", row)
    m.made.rows["成员"].append(
        {**own, "户编号": home.number, "乡镇编码": home.township, "与户主关系": "子女", "入户日期": "2020-04-01"}
    )
    m.fault("SF-04-membership", person.id)
    home = m.take()
    row = m.rows_of("成员", home)[0]
    m.unseen(home)
    digit = "0123456789X"[("0123456789X".index(row["身份证号"][17]) + 1) % 11]
    row["身份证号"] = row["身份证号"][:17] + digit
    m.fault("GW-FMT-101", home.number, "成员")
    home = m.take()
    row = m.rows_of("成员", home)[0]
    row["出生日期"] = (date.fromisoformat(row["出生日期"]) + timedelta(days=1)).isoformat()
    m.fault("CQ-ID-BIRTH", home.number)
    home = m.take()
    row = m.rows_of("成员", home)[0]
    row["性别"] = "女" if row["性别"] == "男" else "男"
    m.fault("CQ-ID-SEX", home.number)
    home = m.take()
    row = m.rows_of("成员", home)[0]
    del row["服务卡号"], row["发卡日期"]
    m.fault("CQ-NO-CARD", home.number)
    home = m.take()
    m.rows_of("成员", home)[0].update(建档立卡编号="JD-1")
    m.fault("CQ-POOR", home.number, "成员")
    m.unseen(home)


def contracts(m: Maker) -> None:
    for code, more, kept in (
        ("CQ-XOR", {"团队编号": "TD-1", "团队名称": "测试团队"}, False),
        ("CQ-MAY-SIGN", {"机构类型": "民营医疗机构"}, False),
        ("CQ-AGREEMENT", {"到期日期": ""}, True),
        ("CQ-SERVICES", {"健康管理": "否"}, True),
        ("GW-FMT-100", {"统一社会信用代码": "0"}, False),
    ):
        home = m.take()
        number = f"X-{code}"
        m.sign(home, home.members[0], number, **more)
        m.fault(code, number, "" if kept else "签约")
    home = m.take()
    for row in m.rows_of("签约", home):
        m.drop("签约", row)
    for row in m.rows_of("成员", home):
        row.pop("签约需求日期", None)
        row.pop("未签约原因", None)
    m.rows_of("成员", home)[0]["签约需求日期"] = "2020-01-10"
    m.fault("SF-28-unsigned", home.members[0].id)
    home = m.take()
    m.sign(home, home.members[0], "X-DOCTOR", 医生编号="D-OTHER")
    m.fault("SF-07-doctor", "contract/X-DOCTOR")


def care(m: Maker) -> None:
    home = m.take()
    m.referral(home, home.members[0], "X-Z", 转入机构编码="")
    m.fault("CQ-REFERRAL", "X-Z", "转诊")
    m.prescribe(home, home.members[0], "X-R1", date(2020, 9, 1), 28, 依从性评估日期="")
    m.fault("CQ-LP-EVIDENCE", "X-R1", "处方")
    m.prescribe(home, home.members[0], "X-R2", date(2020, 9, 2), 57)
    m.fault("CQ-LP", "X-R2")
    at = datetime(2020, 9, 3, 9)
    m.green("X-L1", home.members[0].id, "", at, True)
    m.fault("CQ-ELIGIBLE", "X-L1", "绿色通道")
    m.green("X-L2", m.stranger().id, "C-0", at, True)
    m.fault("SF-46-entitlement", "X-L2")
    home = m.take()
    number = m.visit(home, datetime(2020, 9, 4, 9), "登门走访", "节日慰问")
    m.fault("CQ-FESTIVAL", number)
    number = m.visit(home, datetime(2020, 9, 5, 9), "登门走访", "困难帮扶", 困难问题="测试困难", 解决日期="2020-09-09")
    m.fault("CQ-HELP-OWNER", number)
    number = m.visit(home, datetime(2020, 9, 6, 9), "登门走访", "困难帮扶", 困难问题="测试困难", 协调部门="测试部门")
    m.fault("SF-22-help", number)


def emergencies(m: Maker) -> None:
    home = m.take()
    sound = {
        "身份证号": home.members[0].id,
        "机构编码": "QY-1",
        "措施类型": "手术",
        "措施名称": "测试手术",
        "患者意见无法取得原因": "昏迷",
        "家属意见无法取得原因": "无法联系",
        "批准人编号": "Y-1",
        "批准人": "测试院长",
        "批准人职务": "医疗机构负责人",
        "批准时间": "2020-08-01 02:10",
        "开始时间": "2020-08-01 02:20",
    }
    m.row("紧急医疗", 紧急编号="X-E0", **sound)
    for number, code, change in (
        ("X-E1", "CQ-EMERGENCY", {"家属意见无法取得原因": ""}),
        ("X-E2", "CQ-APPROVER", {"批准人职务": "志愿者", "批准人编号": "Y-2"}),
        ("X-E3", "CQ-APPROVED-FIRST", {"开始时间": "2020-08-01 02:00"}),
    ):
        m.row("紧急医疗", 紧急编号=number, **{**sound, **change})
        m.fault(code, number, "紧急医疗")


def townships(m: Maker) -> None:
    m.facility("X-W", "中心卫生院", m.townships[0], None)
    m.fault("SF-42-closed", "facility/X-W")
    first, last = m.townships[0], m.townships[-1]
    m.problem(first, "X-P1", date(2020, 9, 10), None, 整改时限="2020-10-30")
    m.fault("SF-61-overdue", "problem/X-P1")
    m.problem(first, "X-P2", date(2020, 9, 11), date(2020, 9, 20), 整改时限="2020-11-02")
    m.fault("CQ-DEADLINE", first)
    m.problem(last, "X-P3", date(2020, 9, 10), date(2020, 9, 20), 责任领导="")
    m.fault("CQ-RECTIFICATION", last, "台账")
    row = next(r for r in m.made.rows["阶段"] if r["乡镇编码"] == last and r["阶段"] == "准备阶段")
    del row["分管领导"]
    m.fault("CQ-LEADERS", row["材料文号"], "阶段")
