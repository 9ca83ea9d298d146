// Cancer: a condition that a registry can use, and the pathology report that it rests on (A-35, SEPAS pathology message).
// ICD-O-3 has no content here; its codes are checked by form. Topography C50.4, morphology 8500/3, behaviour 3.

Alias: $icdo3 = http://terminology.hl7.org/CodeSystem/icd-o-3

CodeSystem: BasisOfDiagnosisCodes
Id: basis-of-diagnosis
Title: "Most valid basis of diagnosis"
Description: "The codes that cancer registries use by the rules of IARC and IACR."
* ^caseSensitive = true
* ^experimental = false
* #0 "Death certificate only"
* #1 "Clinical only"
* #2 "Clinical investigation"
* #4 "Specific tumour markers"
* #5 "Cytology"
* #6 "Histology of a metastasis"
* #7 "Histology of a primary tumour"
* #9 "Unknown"

ValueSet: BasesOfDiagnosis
Id: basis-of-diagnosis
Title: "Most valid basis of diagnosis"
Description: "Every code of the system."
* ^experimental = false
* include codes from system BasisOfDiagnosisCodes

CodeSystem: TumourBehaviourCodes
Id: tumour-behaviour
Title: "Behaviour of a tumour"
Description: "The fifth digit of ICD-O-3 morphology."
* ^caseSensitive = true
* ^experimental = false
* #0 "Benign"
* #1 "Uncertain whether benign or malignant"
* #2 "In situ"
* #3 "Malignant, primary site"
* #6 "Malignant, metastatic site"
* #9 "Malignant, uncertain whether primary or metastatic"

ValueSet: TumourBehaviours
Id: tumour-behaviour
Title: "Behaviour of a tumour"
Description: "Every code of the system."
* ^experimental = false
* include codes from system TumourBehaviourCodes

CodeSystem: TumourDifferentiationCodes
Id: tumour-differentiation
Title: "Grade and differentiation of a tumour"
Description: "The sixth digit of ICD-O-3 morphology."
* ^caseSensitive = true
* ^experimental = false
* #1 "Well differentiated"
* #2 "Moderately differentiated"
* #3 "Poorly differentiated"
* #4 "Undifferentiated"
* #5 "T-cell"
* #6 "B-cell"
* #7 "Null cell"
* #8 "NK cell"
* #9 "Not determined"

ValueSet: TumourDifferentiations
Id: tumour-differentiation
Title: "Grade and differentiation of a tumour"
Description: "Every code of the system."
* ^experimental = false
* include codes from system TumourDifferentiationCodes

CodeSystem: LateralityCodes
Id: laterality
Title: "Laterality"
Description: "The side of a paired organ."
* ^caseSensitive = true
* ^experimental = false
* #0 "Not a paired site"
* #1 "Right"
* #2 "Left"
* #3 "One side, which is not said"
* #4 "Both sides"
* #9 "Unknown"

ValueSet: Lateralities
Id: laterality
Title: "Laterality"
Description: "Every code of the system."
* ^experimental = false
* include codes from system LateralityCodes

Extension: Morphology
Id: morphology
Title: "Morphology"
Description: "ICD-O-3 morphology with its behaviour, as 8500/3."
Context: Condition
* value[x] only Coding
* value[x] 1..1
* valueCoding.system 1..1
* valueCoding.code 1..1
* obeys sepas-can-1

Extension: Behaviour
Id: behaviour
Title: "Behaviour"
Description: "Behaviour of the tumour: the fifth digit of the morphology, also where only it is known."
Context: Condition
* value[x] only Coding
* value[x] 1..1
* value[x] from TumourBehaviours (required)

Extension: Differentiation
Id: differentiation
Title: "Differentiation"
Description: "Grade or differentiation of the tumour: the sixth digit of the morphology."
Context: Condition
* value[x] only Coding
* value[x] 1..1
* value[x] from TumourDifferentiations (required)

Extension: BasisOfDiagnosis
Id: basis-of-diagnosis
Title: "Basis of diagnosis"
Description: "The most valid basis of the diagnosis."
Context: Condition
* value[x] only Coding
* value[x] 1..1
* value[x] from BasesOfDiagnosis (required)

Extension: Laterality
Id: laterality
Title: "Laterality"
Description: "The side of the primary site."
Context: Condition
* value[x] only Coding
* value[x] 1..1
* value[x] from Lateralities (required)

Invariant: sepas-can-1
Description: "ICD-O-3 morphology has four digits, and perhaps a behaviour behind a slash. مورفولوژی ICD-O-3 چهار رقم و رفتار پس از خط مورب دارد."
Severity: #error
Expression: "value.ofType(Coding).where(system = 'http://terminology.hl7.org/CodeSystem/icd-o-3').all(code.matches('^[89][0-9]{3}(/[012369])?$'))"

Invariant: sepas-can-2
Description: "ICD-O-3 topography is written as C50.4. توپوگرافی ICD-O-3 به شکل C50.4 نوشته می‌شود."
Severity: #error
Expression: "bodySite.coding.where(system = 'http://terminology.hl7.org/CodeSystem/icd-o-3').all(code.matches('^C[0-8][0-9][.][0-9]$'))"

Invariant: sepas-can-3
Description: "The behaviour in the morphology and the behaviour that is said are the same. رفتار در مورفولوژی با رفتار گفته‌شده یکی است."
Severity: #error
Expression: "extension.where(url.endsWith('/behaviour')).empty() or extension.where(url.endsWith('/morphology')).value.code.where(contains('/')).all(substring(5) = %context.extension.where(url.endsWith('/behaviour')).value.code.first())"

Profile: SepasCancerCondition
Parent: SepasCondition
Id: sepas-cancer-condition
Title: "Cancer"
Description: "A diagnosis of cancer with what a registry needs: topography in bodySite, morphology, behaviour, differentiation, laterality and basis of diagnosis as extensions, the day of incidence as onset (A-35)."
* obeys sepas-can-2 and sepas-can-3
* extension contains
    Morphology named morphology 0..1 and
    Behaviour named behaviour 0..1 and
    Differentiation named differentiation 0..1 and
    BasisOfDiagnosis named basisOfDiagnosis 0..1 and
    Laterality named laterality 0..1
* bodySite 0..1

Profile: SepasSpecimen
Parent: Specimen
Id: sepas-specimen
Title: "Specimen"
Description: "What the pathologist examined."
* subject 1..1
* subject only Reference(SepasPatient)

Profile: SepasPathologyReport
Parent: DiagnosticReport
Id: sepas-pathology-report
Title: "Pathology report"
Description: "Accession number as identifier, the pathologist as resultsInterpreter, the sections (clinical information, macroscopy, microscopy, diagnosis) as results, the diagnosis also as conclusion, its codes in conclusionCode; the tumour itself is a Condition of the profile sepas-cancer-condition that names this report as evidence."
* identifier 1..*
* identifier.value 1..1
* category 1..*
* subject 1..1
* subject only Reference(SepasPatient)
* effective[x] 1..1
* performer 1..*
* result only Reference(SepasPathologyObservation)

Profile: SepasPathologyObservation
Parent: Observation
Id: sepas-pathology-observation
Title: "Section or finding of a pathology report"
Description: "One section as text, or one coded finding such as the ICD-O-3 morphology."
* subject 1..1
* subject only Reference(SepasPatient)
* value[x] 1..1
