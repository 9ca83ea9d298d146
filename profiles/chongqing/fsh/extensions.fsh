// Extensions of programme chongqing.
Extension: EntitlementExtension
Id: green-channel
Title: "绿色通道"
Description: "The encounter or request used the green channel. A privilege in the queue, not clinical urgency: it never changes `priority` (SF-42, SF-47)."
Context: Encounter, ServiceRequest
* value[x] only boolean
* value[x] 1..1

Extension: LongPrescription
Id: long-prescription
Title: "长期处方"
Description: "The prescription is marked as a long one (SF-37)."
Context: MedicationRequest
* value[x] only boolean
* value[x] 1..1

Extension: PatientOpinion
Id: patient-opinion-unobtainable
Title: "无法取得患者本人意见"
Description: "Why the patient's own opinion could not be had (SF-50)."
Context: Consent
* value[x] only string
* value[x] 1..1

Extension: FamilyOpinion
Id: family-opinion-unobtainable
Title: "无法取得家属或关系人意见"
Description: "Why the opinion of family or related persons could not be had (SF-50)."
Context: Consent
* value[x] only string
* value[x] 1..1

Extension: EmergencyConsentLink
Id: emergency-consent
Title: "紧急批准"
Description: "The approval under which the measure was taken (SF-51, SF-52)."
Context: Procedure
* value[x] only Reference(Consent)
* value[x] 1..1

Extension: ResponsibleLeader
Id: responsible-leader
Title: "整改责任领导"
Description: "The responsible leader of a rectification (SF-62)."
Context: Task
* value[x] only string
* value[x] 1..1

Extension: ResponsiblePerson
Id: responsible-person
Title: "整改责任人员"
Description: "The responsible person of a rectification (SF-62)."
Context: Task
* value[x] only string
* value[x] 1..1

Extension: Household
Id: household
Title: "户编号"
Description: "The household that the record belongs to."
Context: Patient, EpisodeOfCare, Task, Coverage
* value[x] only Identifier
* value[x] 1..1

Extension: Village
Id: village
Title: "村（社区）"
Description: "The village or community of a household, by its region code."
Context: Group
* value[x] only Identifier
* value[x] 1..1

Extension: GapReasonExtension
Id: gap-reason
Title: "未签约原因"
Description: "Why a member with a need has no contract (SF-28)."
Context: Flag
* value[x] only Coding
* value[x] 1..1

Extension: Festival
Id: festival
Title: "传统节日"
Description: "The festival of a consolation visit (SF-20); the list is reference data."
Context: Encounter, Communication
* value[x] only code
* value[x] 1..1

Extension: HappenedAt
Id: recorded
Title: "录入时间"
Description: "When the event was entered in the sender's system; latency is this less the event's own time (SF-23)."
Context: Encounter, Communication
* value[x] only dateTime
* value[x] 1..1

Extension: RegionCode
Id: region-code
Title: "区划代码"
Description: "The region code of an organisation, valid in time."
Context: Organization
* value[x] only Identifier
* value[x] 1..1

Extension: CoverageItem
Id: coverage-item
Title: "三个全覆盖事项"
Description: "Which of the three items a problem or a report is about (SF-57)."
Context: Task, MeasureReport
* value[x] only code
* value[x] 1..1

Extension: FoundOn
Id: found-on
Title: "发现日期"
Description: "The day on which a problem was found (SF-59, SF-63)."
Context: Task
* value[x] only date
* value[x] 1..1
