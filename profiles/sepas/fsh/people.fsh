// Who treats, and under whom.

Invariant: sepas-uni-1
Description: "A university names the person who is responsible for registration (A-07). دانشگاه فرد مسئول ثبت را معرفی می‌کند."
Severity: #warning
Expression: "contact.where(purpose.coding.where(code = 'REG-SUPERVISOR').exists()).name.exists()"

Profile: SepasUniversity
Parent: Organization
Id: sepas-university
Title: "University of medical sciences"
Description: "A university or faculty, with the person who is responsible for the registration of data (A-01, A-07)."
* obeys sepas-uni-1
* identifier 1..*
* identifier.value 1..1
* type 1..*
* name 1..1

Profile: SepasPractitioner
Parent: Practitioner
Id: sepas-practitioner
Title: "Practitioner"
Description: "With the number of the medical council."
* identifier 1..*
* identifier.value 1..1

Profile: SepasPractitionerRole
Parent: PractitionerRole
Id: sepas-practitionerrole
Title: "Practitioner at a centre"
Description: "In which specialty somebody works where; also the supervisor of registration of a university (A-07)."
* practitioner 1..1
* practitioner only Reference(SepasPractitioner)
* organization 1..1
