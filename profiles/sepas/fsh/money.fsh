// What it costs, who pays, and what is taken off (A-14, A-15).

Extension: ApprovedPrice
Id: approved-price
Title: "Approved price"
Description: "The price of the package table for the service on its day, in Rial (A-15)."
Context: ChargeItem
* value[x] only Money
* value[x] 1..1

Extension: ChargedItem
Id: charged-item
Title: "Charged item"
Description: "The charge that an item of a claim, or of its answer, is about."
Context: Claim.item, ClaimResponse.item
* value[x] only Reference(ChargeItem)
* value[x] 1..1

Extension: DeductionDetail
Id: deduction-detail
Title: "Detail of a deduction"
Description: "What the insurer wrote about a deduction."
Context: ClaimResponse.item.adjudication, ClaimResponse.adjudication
* value[x] only string
* value[x] 1..1

CodeSystem: AdjudicationCodes
Id: adjudication
Title: "Parts of an insurer's answer"
Description: "What an amount of an answer is."
* ^caseSensitive = true
* ^experimental = false
* #charged "Charged"
* #accepted "Accepted"
* #deduction "Deduction (کسورات)"

ValueSet: Adjudications
Id: adjudication
Title: "Parts of an insurer's answer"
Description: "Every code of the system."
* ^experimental = false
* include codes from system AdjudicationCodes

Invariant: sepas-clm-1
Description: "Amounts of a claim are in Rial. مبلغ‌های صورتحساب به ریال است."
Severity: #error
Expression: "(total | item.net).all(currency = 'IRR')"

Invariant: sepas-clm-2
Description: "The total of a claim is the sum of its items. جمع صورتحساب برابر جمع ردیف‌ها است."
Severity: #error
Expression: "total.empty() or item.net.empty() or total.value = item.net.value.sum()"

Profile: SepasClaim
Parent: Claim
Id: sepas-claim
Title: "Bill of a stay"
Description: "Made from the charges of a case when its document is made: one item for each charge, with the disease group as programCode, and the groups of the whole case as extensions (A-04, A-08)."
* obeys sepas-clm-1
* extension contains DiseaseGroupExtension named diseaseGroup 0..*
* patient only Reference(SepasPatient)
* item 1..*
* item.extension contains ChargedItem named charge 0..1
* item.net 1..1
* total 1..1

Invariant: sepas-clr-1
Description: "A deduction has an amount. کسورات مبلغ دارد."
Severity: #error
Expression: "(item.adjudication | adjudication).where(category.coding.code = 'deduction').all(amount.value.exists())"

Profile: SepasClaimResponse
Parent: ClaimResponse
Id: sepas-claimresponse
Title: "Insurer's answer with deductions"
Description: "InsurerReimbursement matched to the charges of the bill: each item names its charge, each deduction its amount, type, rule and description (A-14, A-15)."
* obeys sepas-clr-1
* request 0..1
* item.extension contains ChargedItem named charge 0..1
* item.adjudication.extension contains DeductionDetail named detail 0..1
* adjudication.extension contains DeductionDetail named detail 0..1

Profile: SepasCoverage
Parent: Coverage
Id: sepas-coverage
Title: "Insurance"
Description: "Insurer and fund (thritaEHR.insurer, thritaEHR.insuranceBox), number and validity."
* beneficiary only Reference(SepasPatient)
* payor 1..*

Profile: SepasProvenance
Parent: Provenance
Id: sepas-provenance
Title: "Where a document comes from"
Description: "The gateway's own: target, time, agent, and the detached signature over the exact bytes of the document."
* target 1..*
* agent 1..*
