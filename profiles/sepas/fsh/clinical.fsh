// What is wrong with the patient, what was asked for, what was done, and the programme that the patient is in.

Alias: $groups = https://sepas.gateway.invalid/fhir/CodeSystem/disease-group

CodeSystem: GroupBasisCodes
Id: group-basis
Title: "Basis of a disease group"
Description: "Where the group of a case comes from."
* ^caseSensitive = true
* ^experimental = false
* #declared "Said by the sender"
* #derived "Derived from codes of diagnoses and services"

ValueSet: GroupBases
Id: group-basis
Title: "Basis of a disease group"
Description: "Every code of the system."
* ^experimental = false
* include codes from system GroupBasisCodes

CodeSystem: ProgrammeCodes
Id: programme
Title: "Programmes of support"
Description: "The four parts of the programme that the letter's subject names (A-02)."
* ^caseSensitive = true
* ^experimental = false
* #special "Special and refractory diseases"
* #transplant "Organ transplantation and procurement"
* #bone-marrow "Bone-marrow transplantation"
* #ncd "Non-communicable diseases"
* #dentistry "Dentistry"
* #cell-infertility "Cell medicine and infertility"

ValueSet: Programmes
Id: programme
Title: "Programmes of support"
Description: "Every code of the system."
* ^experimental = false
* include codes from system ProgrammeCodes

Extension: DiseaseGroupExtension
Id: disease-group
Title: "Disease group"
Description: "The groups of the programme that a service or a bill belongs to (A-20 to A-39). userSelected is true where the sender said it and false where it was derived."
Context: Condition, Procedure, ChargeItem, Claim, ClaimResponse, ServiceRequest, DiagnosticReport
* value[x] only CodeableConcept
* value[x] 1..1
* valueCodeableConcept.coding 1..*
* value[x] from DiseaseGroups (required)

Extension: ReportableTo
Id: reportable-to
Title: "Reportable to"
Description: "The registries that a condition is reportable to, derived from its code (A-35)."
Context: Condition
* value[x] only CodeableConcept
* value[x] 1..1
* valueCodeableConcept.coding 1..*

Extension: GroupBasis
Id: group-basis
Title: "Basis of the group"
Description: "Whether the group was said by the sender or derived from codes."
Context: EpisodeOfCare, CarePlan, Coverage
* value[x] only code
* value[x] 1..1
* value[x] from GroupBases (required)

Invariant: sepas-con-1
Description: "A diagnosis has a code of ICD-10, or of ICD-O-3. تشخیص کد ICD-10 یا ICD-O-3 دارد."
Severity: #error
Expression: "code.coding.where(code.exists() and (system = 'http://hl7.org/fhir/sid/icd-10' or system = 'http://terminology.hl7.org/CodeSystem/icd-o-3')).exists() or bodySite.coding.code.exists() or code.coding.where(system.startsWith('http')).code.exists()"

Profile: SepasCondition
Parent: Condition
Id: sepas-condition
Title: "Diagnosis"
Description: "A diagnosis with its status; the disease groups that its code belongs to are an extension (A-20 to A-39)."
* obeys sepas-con-1
* extension contains
    DiagnosisStatus named diagnosisStatus 0..1 and
    DiseaseGroupExtension named diseaseGroup 0..1 and
    ReportableTo named reportableTo 0..1
* code 1..1
* subject only Reference(SepasPatient)
* category 1..*

Profile: SepasProcedure
Parent: Procedure
Id: sepas-procedure
Title: "Procedure"
Description: "What was done. The disease group that it tells, such as dialysis or the organ of a transplant, is an extension."
* extension contains DiseaseGroupExtension named diseaseGroup 0..1
* code 1..1
* code.coding 1..*
* subject only Reference(SepasPatient)

Invariant: sepas-req-1
Description: "A request says how urgent it is. درخواست فوریت خود را دارد."
Severity: #warning
Expression: "priority.exists()"

Profile: SepasServiceRequest
Parent: ServiceRequest
Id: sepas-servicerequest
Title: "Request"
Description: "An order or a referral, with the priority that the sender gave."
* obeys sepas-req-1
* code 1..1
* subject only Reference(SepasPatient)
* extension contains DiseaseGroupExtension named diseaseGroup 0..*

Profile: SepasEpisode
Parent: EpisodeOfCare
Id: sepas-episode
Title: "Membership of a patient in a disease group"
Description: "One for each group; the extension says whether the sender declared it or it was derived from codes (A-02, A-20 to A-39)."
* extension contains GroupBasis named basis 1..1
* type 1..*
* type.coding 1..*
* patient only Reference(SepasPatient)
