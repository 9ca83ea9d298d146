// Extensions of programme behzisti (rules B-01 to B-105). No authority has published profiles: the base is configuration.

RuleSet: Ext(context, type)
* ^context[+].type = #element
* ^context[=].expression = "{context}"
* value[x] only {type}
* value[x] 1..1

Extension: Capacity
Id: capacity
Title: "Capacity"
Description: "How many clients the centre is licensed for; the base of pro-rata numbers is 50 (B-03)."
* insert Ext(Organization, positiveInt)

Extension: SubsidisedCapacity
Id: subsidised-capacity
Title: "Subsidised capacity"
Description: "How many of the places are paid for by the organisation (B-59)."
* insert Ext(Organization, unsignedInt)

Extension: StaffPoorArea
Id: staff-poor-area
Title: "Area without enough specialists"
Description: "The substitute technical supervisor may be a speech therapist or a technical orthopaedist (B-15)."
* insert Ext(Organization, boolean)

Extension: LicencePeriod
Id: instruction-date
Title: "Instruction in force when licensed"
Description: "The day from which the instruction of 1396 holds for this centre; licences before it keep older conditions (B-16)."
* insert Ext(Organization, date)

Extension: Owner
Id: owner
Title: "Owner"
Description: "The natural or legal person that holds the licence, by national code or legal-person identifier (B-06)."
* insert Ext(Organization, Identifier)

Extension: Accessible
Id: accessible
Title: "Fully accessible"
Description: "Attestation that the space is made accessible (B-95)."
* insert Ext(Organization, boolean)

Extension: Area
Id: area
Title: "Floor area"
Description: "In square metres (B-96 to B-99)."
* insert Ext(Location, Quantity)
* valueQuantity.system = "http://unitsofmeasure.org"
* valueQuantity.code = #m2
* valueQuantity.value 1..1

Extension: SafeFlooring
Id: safe-flooring
Title: "Safe flooring"
Description: "The occupational therapy room has safe flooring (B-104)."
* insert Ext(Location, boolean)

Extension: ShiftApproval
Id: shift-approval
Title: "Approval of the afternoon shift"
Description: "Number of the organisation's agreement to an afternoon shift (B-57)."
* insert Ext(HealthcareService, string)

Extension: AfternoonLicence
Id: afternoon-licence
Title: "Licence of another afternoon activity"
Description: "Number of the licence where the afternoon is not the continuation of the morning (B-58)."
* insert Ext(HealthcareService, string)

Extension: Snack
Id: snack
Title: "Snack served"
Description: "Attestation that a good snack is served in the shift (B-62)."
* insert Ext(HealthcareService, boolean)

Extension: GradeAverage
Id: grade-average
Title: "Grade average"
Description: "Of one degree, from 0 to 20 (B-09, B-12)."
* insert Ext(Practitioner.qualification, decimal)

Extension: DegreeLevel
Id: degree-level
Title: "Degree level"
Description: "Rank of the degree among consecutive levels (B-09, B-12)."
* insert Ext(Practitioner.qualification, code)
* valueCode from DegreeLevels (required)

Extension: ApprovedUniversity
Id: approved-university
Title: "University approved"
Description: "The university is approved by the ministry of science or the ministry of health (B-08)."
* insert Ext(Practitioner.qualification, boolean)

Extension: Experience
Id: experience
Title: "Related experience"
Description: "Years of work with physically impaired clients (B-10, B-13)."
* insert Ext(Practitioner, decimal)

Extension: TrainingAttended
Id: training-attended
Title: "Training attended"
Description: "The person attends the courses that the organisation sets (B-78)."
* insert Ext(Practitioner, boolean)

Extension: FullTimeShare
Id: full-time-share
Title: "Full-time share"
Description: "1 is full time (B-64 to B-70, B-76)."
* insert Ext(PractitionerRole, decimal)

Extension: DaysPerWeek
Id: days-per-week
Title: "Days a week"
Description: "B-67, B-68."
* insert Ext(PractitionerRole, decimal)

Extension: HoursPerWeek
Id: hours-per-week
Title: "Hours a week"
Description: "B-71."
* insert Ext(PractitionerRole, decimal)

Extension: SubstitutionApproval
Id: substitution-approval
Title: "Agreement to a substitution"
Description: "Of the provincial deputy: part of a physiotherapist's time given by an occupational therapist (B-75)."
* insert Ext(PractitionerRole, string)

Extension: Cause
Id: cause
Title: "Cause of the impairment"
Description: "Congenital or acquired (B-05)."
* insert Ext(Condition, code)
* valueCode from Causes (required)

Extension: CommissionDecision
Id: commission-decision
Title: "Decision of the commission"
Description: "On functional goals of the family and the dominant disability, for impairments after the end of growth (B-24)."
* insert Ext(Condition, string)

Extension: Shift
Id: shift
Title: "Shift"
Description: "Morning or afternoon (B-55, B-57, B-59)."
* insert Ext(EpisodeOfCare, code)
* ^context[+].type = #element
* ^context[=].expression = "Encounter"
* valueCode from Shifts (required)

Extension: RequestDate
Id: request-date
Title: "Day of the request"
Description: "From which the client stands on the waiting list (B-23, B-34)."
* insert Ext(EpisodeOfCare, date)

Extension: Subsidised
Id: subsidised
Title: "Subsidised place"
Description: "B-59, B-60."
* insert Ext(EpisodeOfCare, boolean)

Extension: DischargeReason
Id: discharge-reason
Title: "Reason of the discharge"
Description: "B-25 to B-28, B-30, and early exits."
* insert Ext(EpisodeOfCare, CodeableConcept)
* valueCodeableConcept from DischargeReasons (required)

Extension: SupervisorApproval
Id: ts-approval
Title: "Approval of the technical supervisor"
Description: "Number or day of the approval of the team's decision (B-29)."
* insert Ext(EpisodeOfCare, string)

Extension: CountyNotified
Id: county-notified
Title: "County office told"
Description: "Number of the notice to the county office (B-30)."
* insert Ext(EpisodeOfCare, string)

Extension: CommitteeConsent
Id: committee-consent
Title: "Consent of the rehabilitation committee"
Description: "Number of the consent to an exit before nine months without the technical supervisor (B-31, B-32)."
* insert Ext(EpisodeOfCare, string)

Extension: SupervisedBy
Id: supervised-by
Title: "Supervised by"
Description: "The specialist who supervises a trainer (B-91)."
* insert Ext(Procedure, Reference)

Extension: Trend
Id: trend
Title: "Trend"
Description: "Progress, no change or regression, as the meeting saw it (B-41, B-42)."
* insert Ext(Encounter, code)
* valueCode from Trends (required)
