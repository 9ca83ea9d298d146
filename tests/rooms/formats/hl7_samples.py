"""HL7 messages about invented people: an admission of 16 segments, two orders, and those with what does not belong."""

from __future__ import annotations

ADT = """MSH|^~\\&|HIS^1.2.3^ISO|HOSP|GW|GATE|20260101103000+0330||ADT^A01^ADT_A01|MSG0001|P|2.5.1\
|||AL|NE||UNICODE UTF-8
EVN||20260101103000+0330|||77^Clerk^Test|20260101102500
PID|1||0012345679^^^NOCR^NI~998877^^^HOSP&1.2.3&ISO^MR||Test^Patient-One^Q^^Mr^^L||19790412|M|||\
1 Test Street^^Testville^TS^12345^IRN^H||^PRN^PH^^98^21^5550101|||M||ACC123^^^HOSP^AN
PD1||||1234^Doctor^Test
NK1|1|Test^Relative-One|SPO^Spouse^HL70063|2 Test Street^^Testville^TS^12345^IRN|^PRN^PH^^98^21^5550102
NK1|2|Test^Relative-Two|CHD^Child^HL70063
PV1|1|I|WARD1^101^A^HOSP|E|||1234^Doctor^Test^^^Dr|5678^Referrer^Test||MED||||7||||INP|V0001^^^HOSP^VN
PV2|||R07.4^Chest pain^I10
OBX|1|NM|8302-2^Body height^LN||172|cm^centimeter^UCUM|||||F
OBX|2|NM|29463-7^Body weight^LN||70.5|kg^kilogram^UCUM|||||F
AL1|1|DA|PEN^Penicillin^L|SV|Rash
DG1|1||I21.9^Acute myocardial infarction^I10||20260101|A
DG1|2||E11.9^Type 2 diabetes^I10||20260101|A
PR1|1||33533^Bypass^C4||20260102
IN1|1|PLAN1^Basic^L|INS001|Test Insurance|1 Insurance Road^^Testville^TS^12345
ZIR|1|local^text&more|A
""".replace("\n", "\r").encode()

ORDERS = """MSH|^~\\&|HIS|HOSP|GW|GATE|20260101103000||ORM^O01^ORM_O01|MSG0002|P|2.5.1
PID|1||7^^^HOSP^MR||Test^Patient-Two||19790412|F
PV1|1|O
ORC|NW|1^HIS
OBR|1|1^HIS||33^Visit^L
NTE|1||first
OBX|1|ST|1^h^LN||a||||||F
ORC|NW|2^HIS
OBR|2|2^HIS||34^Visit^L
OBX|1|ST|1^h^LN||b||||||F
OBX|2|ST|1^h^LN||c||||||F
""".replace("\n", "\r").encode()
ORM = ORDERS + b"ZOR|x\rFT1|1|||20260101||CG|T1^Visit^L\r"
