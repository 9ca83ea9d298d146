// Draft profiles of programme sepas. No authority has published canonicals: the base is the programme's own.

Alias: $class = http://terminology.hl7.org/CodeSystem/v3-ActCode

// --- extensions ---------------------------------------------------------------------------------

Extension: IdentityPath
Id: identity-path
Title: "Identity path"
Description: "How the person is identified: by national code, as a foreign national, as a newborn, or not at all."
Context: Patient
* value[x] only code
* value[x] 1..1
* value[x] from IdentityPaths (required)

Extension: AdmissionType
Id: admission-type
Title: "Admission type"
Description: "The original thritaEHR.admissionType code: 1 outpatient, 2 inpatient, 4 temporary inpatient (A-09)."
Context: Encounter
* value[x] only Coding
* value[x] 1..1

Extension: DiagnosisStatus
Id: diagnosis-status
Title: "Diagnosis status"
Description: "The original status code of the diagnosis: initial, during treatment, final."
Context: Condition
* value[x] only Coding
* value[x] 1..1

Extension: ContractExtension
Id: contract
Title: "Contract"
Description: "The contract of a centre that does not belong to a university (A-10)."
Context: Organization
* value[x] only Identifier
* value[x] 1..1

Extension: OriginalText
Id: original-text
Title: "Original text"
Description: "A value as the sender wrote it, for instance a Jalali date."
Context: Element
* value[x] only string
* value[x] 1..1

Extension: InsuranceContribution
Id: insurance-contribution
Title: "Insurance contribution"
Description: "The basic insurer's share of a charge, in Rial."
Context: ChargeItem
* value[x] only Money
* value[x] 1..1

Extension: PatientContribution
Id: patient-contribution
Title: "Patient contribution"
Description: "The patient's share of a charge, in Rial."
Context: ChargeItem
* value[x] only Money
* value[x] 1..1

Extension: ServiceType
Id: service-type
Title: "Service type"
Description: "The bill group of a service (thritaEHR.serviceType)."
Context: ChargeItem
* value[x] only Coding
* value[x] 1..1

Extension: UnitPrice
Id: unit-price
Title: "Unit price"
Description: "The price of one unit of the service, in Rial."
Context: ChargeItem
* value[x] only Money
* value[x] 1..1

// --- terminology --------------------------------------------------------------------------------

CodeSystem: IdentityPathCodes
Id: identity-paths
Title: "Identity paths"
Description: "How a person is identified."
* ^caseSensitive = true
* ^experimental = false
* #national "By national code"
* #foreign "As a foreign national"
* #newborn "As a newborn without a code"
* #unidentified "Not identified"

ValueSet: IdentityPaths
Id: identity-paths
Title: "Identity paths"
Description: "How a person is identified."
* ^experimental = false
* include codes from system IdentityPathCodes

ValueSet: CareSettings
Id: care-settings
Title: "Care settings"
Description: "Outpatient, inpatient and temporary inpatient (A-09; SS for temporary inpatient is a proposal)."
* ^experimental = false
* $class#AMB
* $class#IMP
* $class#SS

// --- invariants ---------------------------------------------------------------------------------

Invariant: sepas-pat-1
Description: "Who is identified by national code or as a foreign national has an identifier with a system. هویت با کد ملی یا اتباع خارجی به شناسه‌ای با سامانه نیاز دارد."
Severity: #error
Expression: "extension.where(url.endsWith('/identity-path')).value.where($this = 'national' or $this = 'foreign').empty() or identifier.system.exists()"

Invariant: sepas-pat-2
Description: "A person who is not identified has no official identifier. فرد شناسایی‌نشده شناسه رسمی ندارد."
Severity: #error
Expression: "extension.where(url.endsWith('/identity-path')).value.where($this = 'unidentified').empty() or identifier.where(use = 'official').empty()"

Invariant: sepas-org-1
Description: "A contracted centre names its contract (A-10). مرکز طرف قرارداد شماره قرارداد خود را دارد."
Severity: #error
Expression: "type.coding.where(code = 'contracted').empty() or extension.where(url.endsWith('/contract')).value.value.exists()"

Invariant: sepas-enc-1
Description: "A finished stay says when it ended. پذیرش پایان‌یافته زمان پایان دارد."
Severity: #error
Expression: "status != 'finished' or period.end.exists()"

Invariant: sepas-chg-1
Description: "Amounts of a charge are in Rial. مبلغ‌های خدمت به ریال است."
Severity: #error
Expression: "(priceOverride | extension.value.ofType(Money)).all(currency = 'IRR')"

// --- profiles -----------------------------------------------------------------------------------

Profile: SepasPatient
Parent: Patient
Id: sepas-patient
Title: "Patient of the programme"
Description: "Identified by the path that the extension names."
* obeys sepas-pat-1 and sepas-pat-2
* extension contains IdentityPath named identityPath 1..1
* identifier 1..*
* identifier.value 1..1

Profile: SepasCentre
Parent: Organization
Id: sepas-centre
Title: "Treatment centre"
Description: "A centre; under a university (A-01) where the registry says so, or contracted (A-10)."
* obeys sepas-org-1
* extension contains ContractExtension named contract 0..1
* identifier 1..*
* identifier.value 1..1

Profile: SepasEncounter
Parent: Encounter
Id: sepas-encounter
Title: "Stay or visit"
Description: "With the care setting and the original admission type (A-09)."
* obeys sepas-enc-1
* extension contains AdmissionType named admissionType 1..1
* class from CareSettings (required)
* identifier 1..*
* subject 1..1
* subject only Reference(SepasPatient)
* period 1..1
* period.start 1..1
* serviceProvider 1..1

Profile: SepasCarePlan
Parent: CarePlan
Id: sepas-careplan
Title: "Plan of a programme patient"
Description: "The disease group is the category (A-20 to A-39)."
* category 1..*
* category.coding 1..*
* category from DiseaseGroups (required)
* subject only Reference(SepasPatient)
* extension contains GroupBasis named basis 0..1

Profile: SepasCharge
Parent: ChargeItem
Id: sepas-charge
Title: "Charged service"
Description: "One service of the bill (A-04, A-06)."
* extension contains
    InsuranceContribution named insuranceContribution 0..1 and
    PatientContribution named patientContribution 0..1 and
    ServiceType named serviceType 0..1 and
    UnitPrice named unitPrice 0..1 and
    ApprovedPrice named approvedPrice 0..1 and
    DiseaseGroupExtension named diseaseGroup 0..*
* obeys sepas-chg-1
* code.coding 1..*
* subject 1..1
* quantity 1..1
* priceOverride 1..1
