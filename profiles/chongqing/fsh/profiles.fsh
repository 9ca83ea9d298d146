// Draft profiles of programme chongqing. Neither the commission nor HL7 China has published any for these records.
// Keys are those of the rule catalogue; mappings/chongqing/checks.yaml gives them words in four languages.
Invariant: chk-notice
Description: "联系人变动通知须有状态、时间、通知对象和通知人"
Severity: #error
Expression: "category.coding.where(code = 'contact-change-notice').exists() implies (status = 'completed' and sent.exists() and recipient.exists() and sender.exists())"

Invariant: chk-xor
Description: "签约对象须为一名家庭医生或一个服务团队"
Severity: #error
Expression: "careManager.exists() xor team.exists()"

Invariant: chk-lp-evidence
Description: "长期处方须有慢病诊断、病情稳定和依从性良好的依据"
Severity: #error
Expression: "extension.where(url.endsWith('/long-prescription')).where(value = true).exists() implies (supportingInformation.count() >= 2 and reasonReference.exists())"

Invariant: chk-referral
Description: "转诊须有转出方和转入方"
Severity: #error
Expression: "category.coding.where(code = 'referral').exists() implies (requester.exists() and performer.exists())"

Invariant: chk-emergency
Description: "紧急情况例外须有三类措施之一、两项原因、批准人、机构和批准时间"
Severity: #error
Expression: "category.coding.where(code = 'emergency-exception').exists() implies (performer.exists() and organization.exists() and dateTime.exists() and extension.where(url.endsWith('/patient-opinion-unobtainable')).exists() and extension.where(url.endsWith('/family-opinion-unobtainable')).exists() and provision.code.coding.where(code = 'surgery' or code = 'special-examination' or code = 'special-treatment').exists())"

Invariant: chk-rectification
Description: "整改须有责任单位、责任领导、责任人员、整改措施、整改时限"
Severity: #error
Expression: "code.coding.where(code = 'rectification').exists() implies (owner.exists() and description.exists() and restriction.period.end.exists() and extension.where(url.endsWith('/responsible-leader')).exists() and extension.where(url.endsWith('/responsible-person')).exists())"

Invariant: chk-id-format
Description: "公民身份号码须为18位（或旧15位）且日期合理"
Severity: #error
Expression: "identifier.where(system = 'urn:oid:2.16.840.1.113883.2.23.1.19.1').value.all(matches('^[1-9][0-9]{5}(18|19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9X]$') or matches('^[1-9][0-9]{14}$'))"

Invariant: chk-uscc-format
Description: "统一社会信用代码须为规定字符集的18位"
Severity: #error
Expression: "identifier.where(system.endsWith('/identifier/uscc')).value.all(matches('^[0-9A-HJ-NPQRTUWXY]{2}[0-9]{6}[0-9A-HJ-NPQRTUWXY]{10}$'))"

Profile: CqPatient
Parent: Patient
Id: cq-patient
Title: "特殊家庭成员"
Description: "A member of a special family: resident id, service card and insurance card by their systems (SF-02, SF-11, SF-45)."
* obeys chk-id-format
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* name 1..*
* gender 1..1
* extension contains Household named household 0..1

Profile: CqHousehold
Parent: Group
Id: cq-household
Title: "特殊家庭户"
Description: "The unit of the contact system is the household (SF-04): real people, its township as managing entity."
* identifier 1..*
* type = #person
* actual = true
* code 1..1
* code.coding 1..*
* managingEntity 1..1
* member 1..*
* extension contains Village named village 0..1

Profile: CqCareTeam
Parent: CareTeam
Id: cq-careteam
Title: "帮扶联系人"
Description: "The three contacts of a household and its helpers (SF-05 to SF-09, SF-23b)."
* status 1..1
* subject 1..1
* subject only Reference(Group)
* participant 1..*
* participant.role 1..1
* participant.role from ContactRoles (required)
* participant.member 1..1
* participant.period 1..1
* participant.period.start 1..1
* managingOrganization 1..1

Profile: CqContact
Parent: PractitionerRole
Id: cq-contact
Title: "联系人"
Description: "A cadre, doctor, helper or leader in a role (SF-12, SF-69)."
* practitioner 1..1
* organization 1..1
* code 1..1
* code from ContactRoles (required)

Profile: CqOrganization
Parent: Organization
Id: cq-organization
Title: "机构"
Description: "Township, village, health centre or department. A village committee may have no credit code, so none is demanded of it."
* obeys chk-uscc-format
* identifier 1..*
* name 1..1
* type 1..1
* type from FacilityKinds (required)
* extension contains RegionCode named regionCode 0..*

Profile: CqContract
Parent: EpisodeOfCare
Id: cq-contract
Title: "家庭医生签约"
Description: "One contract of one member with one doctor or one team (SF-24 to SF-30)."
* obeys chk-xor
* identifier 1..*
* managingOrganization 1..1
* period 1..1
* period.start 1..1
* team 0..1
* extension contains Household named household 0..1

Profile: CqServicePlan
Parent: CarePlan
Id: cq-service-plan
Title: "约定服务"
Description: "The services of a contract (SF-29 to SF-31)."
* period 1..1
* period.start 1..1
* activity 1..*

Profile: CqVisit
Parent: Encounter
Id: cq-visit
Title: "登门走访"
Description: "A home visit, or an encounter through the green channel (SF-10, SF-16, SF-20, SF-42)."
* subject 1..1
* period 1..1
* period.start 1..1
* extension contains
    EntitlementExtension named greenChannel 0..1 and
    Festival named festival 0..1 and
    HappenedAt named recorded 0..1

Profile: CqMessage
Parent: Communication
Id: cq-message
Title: "联系与通知"
Description: "A call, an online contact, or the notice of a changed contact (SF-14, SF-17, SF-18)."
* obeys chk-notice
* subject 1..1
* sent 1..1
* reasonCode 1..*
* reasonCode from ContactReasons (required)
* extension contains
    Festival named festival 0..1 and
    HappenedAt named recorded 0..1

Profile: CqRequest
Parent: ServiceRequest
Id: cq-request
Title: "转诊与绿色通道申请"
Description: "`priority` is the clinician's value only; the entitlement is the extension green-channel (SF-35, SF-47)."
* obeys chk-referral
* category 1..*
* category from RequestKinds (required)
* authoredOn 1..1
* extension contains EntitlementExtension named greenChannel 0..1

Profile: CqTask
Parent: Task
Id: cq-task
Title: "任务"
Description: "Handover, help, rectification, the tasks of a phase (SF-13, SF-22, SF-56, SF-62)."
* obeys chk-rectification
* code 1..1
* code from TaskKinds (required)
* authoredOn 1..1
* extension contains
    ResponsibleLeader named responsibleLeader 0..1 and
    ResponsiblePerson named responsiblePerson 0..1 and
    CoverageItem named coverageItem 0..1 and
    FoundOn named foundOn 0..1 and
    Household named household 0..1

Profile: CqLongPrescription
Parent: MedicationRequest
Id: cq-long-prescription
Title: "长期处方"
Description: "A prescription; 4 to 8 weeks are encouraged, later up to 12 (SF-36, SF-37). The window is dated reference data and only warned about."
* obeys chk-lp-evidence
* authoredOn 1..1
* dispenseRequest 1..1
* extension contains LongPrescription named longPrescription 0..1

Profile: CqEmergencyConsent
Parent: Consent
Id: cq-emergency-consent
Title: "紧急情况例外"
Description: "Approval of an emergency measure when nobody's opinion can be had (SF-49 to SF-51)."
* obeys chk-emergency
* patient 1..1
* dateTime 1..1
* provision 1..1
* provision.code 1..*
* provision.code from EmergencyKinds (required)
* extension contains
    PatientOpinion named patientOpinion 0..1 and
    FamilyOpinion named familyOpinion 0..1

Profile: CqFlag
Parent: Flag
Id: cq-flag
Title: "人群标识"
Description: "Entitlements and needs with their days (A4, SF-24, SF-46, SF-53)."
* code from PopulationFlags (required)
* period 1..1
* period.start 1..1
* extension contains GapReasonExtension named gapReason 0..1

Profile: CqCoverage
Parent: Coverage
Id: cq-coverage
Title: "卡证"
Description: "The issue of a service card or an insurance card (SF-11, SF-45)."
* type 1..1
* type from CardKinds (required)
* subscriberId 1..1
* period 1..1
* period.start 1..1
* extension contains Household named household 0..1

Profile: CqLedger
Parent: List
Id: cq-ledger
Title: "问题台账"
Description: "The ledger of problems of a township (SF-59)."
* mode = #working
* code 1..1
* subject 0..0
* date 1..1
* entry 1..*

Profile: CqGreenChannel
Parent: HealthcareService
Id: cq-green-channel
Title: "绿色通道"
Description: "The green channel of a facility (SF-42)."
* active 1..1
* category 1..*
* providedBy 1..1

Profile: CqMeasureReport
Parent: MeasureReport
Id: cq-measure-report
Title: "指标报告"
Description: "A measure of a township or of the district, with its period (SF-57, SF-64)."
* type = #summary
* reporter 1..1
* date 1..1

Profile: CqReport
Parent: Bundle
Id: cq-report
Title: "自查报告"
Description: "The signed self-check report as a document (SF-65)."
* type = #document
* identifier 1..1
* timestamp 1..1
* entry 2..*
