// Profiles of programme behzisti. Invariants hold what one resource can tell; the rest are checks and measures.

Alias: $k = https://behzisti.gateway.invalid/fhir/CodeSystem/kind

Invariant: bz-licence
Description: "پروانه فعالیت باید شماره، تاریخ شروع و تاریخ پایان داشته باشد (B-04). / The licence has a number and a period."
Severity: #error
Expression: "identifier.where(system.endsWith('/identifier/licence')).where(value.exists() and period.start.exists()).exists()"

Profile: BehzistiCentre
Parent: Organization
Id: behzisti-centre
Title: "Day centre"
Description: "A non-governmental day centre of education and rehabilitation, with its licence and capacity (B-02, B-03, B-04, B-06)."
* obeys bz-licence
* identifier 2..*
* name 1..1
* type 1..*
* type ^slicing.discriminator.type = #pattern
* type ^slicing.discriminator.path = "$this"
* type ^slicing.rules = #open
* type contains day 1..1
* type[day] = $k#day-centre
* extension contains
    Capacity named capacity 1..1 and
    SubsidisedCapacity named subsidisedCapacity 0..1 and
    StaffPoorArea named staffPoorArea 0..1 and
    LicencePeriod named instructionDate 0..1 and
    Owner named owner 1..1 and
    Accessible named accessible 0..1

Profile: BehzistiRoom
Parent: Location
Id: behzisti-room
Title: "Room"
Description: "A room with its kind and floor area (B-96 to B-100, B-104)."
* type 1..1
* type from Rooms (required)
* managingOrganization 1..1
* extension contains Area named area 0..1 and SafeFlooring named safeFlooring 0..1

Profile: BehzistiService
Parent: HealthcareService
Id: behzisti-service
Title: "Shift of the centre"
Description: "One shift with its hours; the afternoon only with approval (B-55 to B-58, B-62)."
* providedBy 1..1
* category 1..*
* characteristic 1..1
* characteristic from Shifts (required)
* availableTime 1..*
* availableTime.daysOfWeek 1..*
* availableTime.availableStartTime 1..1
* availableTime.availableEndTime 1..1
* extension contains ShiftApproval named approval 0..1 and AfternoonLicence named licence 0..1 and Snack named snack 0..1

Profile: BehzistiEquipment
Parent: Device
Id: behzisti-equipment
Title: "Equipment"
Description: "A piece of equipment that the centre has (B-101 to B-103)."
* type 1..1
* type from EquipmentItems (required)
* owner 1..1

Profile: BehzistiPractitioner
Parent: Practitioner
Id: behzisti-practitioner
Title: "Member of staff"
Description: "With degrees, their grades and university, and related experience (B-07 to B-15, B-78)."
* identifier 1..*
* name 1..*
* qualification.code from Qualifications (required)
* qualification.extension contains GradeAverage named grade 0..1 and DegreeLevel named level 0..1 and ApprovedUniversity named approved 0..1
* extension contains Experience named experience 0..1 and TrainingAttended named trainingAttended 0..1

Profile: BehzistiRole
Parent: PractitionerRole
Id: behzisti-role
Title: "Role of a member of staff"
Description: "What somebody does in the centre, for how much of a week, since when (B-64 to B-76)."
* practitioner 1..1
* organization 1..1
* code 1..1
* code from StaffRoles (required)
* extension contains FullTimeShare named share 0..1 and DaysPerWeek named days 0..1 and HoursPerWeek named hours 0..1 and SubstitutionApproval named substitution 0..1

Invariant: bz-code
Description: "کد معلولیت باید ده رقم باشد. / The disability code has ten digits."
Severity: #error
Expression: "identifier.where(system.endsWith('/identifier/disability-code')).where(value.matches('^[0-9]{10}$')).count() = 1"

Profile: BehzistiClient
Parent: Patient
Id: behzisti-client
Title: "Client"
Description: "A physically impaired client, known by the ten-digit disability code."
* obeys bz-code
* identifier 1..*
* managingOrganization 0..1

Profile: BehzistiImpairment
Parent: Condition
Id: behzisti-impairment
Title: "Impairment"
Description: "A neural, muscular or skeletal impairment in one of the five admission groups (B-05, B-17 to B-21, B-24)."
* category 2..*
* code 1..1
* extension contains Cause named cause 0..1 and CommissionDecision named commissionDecision 0..1

Profile: BehzistiEpisode
Parent: EpisodeOfCare
Id: behzisti-episode
Title: "Stay in the centre"
Description: "Waiting list, admission and discharge of a client (B-23, B-25 to B-34)."
* managingOrganization 1..1
* extension contains
    RequestDate named requestDate 0..1 and
    Shift named shift 0..1 and
    Subsidised named subsidised 0..1 and
    DischargeReason named dischargeReason 0..1 and
    SupervisorApproval named supervisorApproval 0..1 and
    CountyNotified named countyNotified 0..1 and
    CommitteeConsent named committeeConsent 0..1

Profile: BehzistiCareTeam
Parent: CareTeam
Id: behzisti-care-team
Title: "Rehabilitation team of a client"
Description: "B-29, B-38."
* subject 1..1
* participant 1..*

Profile: BehzistiGoal
Parent: Goal
Id: behzisti-goal
Title: "Goal"
Description: "With a time frame, set in a group meeting (B-37), and its achievement (B-41)."
* target 1..*
* target.due[x] 1..1
* addresses 0..*

Profile: BehzistiPlan
Parent: CarePlan
Id: behzisti-plan
Title: "Rehabilitation plan"
Description: "Consistent with goals, with the duties of each member (B-38), replaced after regression (B-42)."
* goal 1..*
* careTeam 1..1
* activity 1..*
* activity.detail 1..1
* activity.detail.performer 1..*
* created 1..1

Profile: BehzistiAttendance
Parent: Encounter
Id: behzisti-attendance
Title: "Day of attendance"
Description: "One client on one day (B-60)."
* type 1..1
* type = $k#attendance
* subject 1..1
* serviceProvider 1..1
* period 1..1
* period.start 1..1
* extension contains Shift named shift 0..1

Profile: BehzistiConference
Parent: Encounter
Id: behzisti-conference
Title: "Case conference"
Description: "Trainers and the whole team, at most three months apart (B-40, B-41, B-45)."
* type 1..1
* type = $k#case-conference
* subject 1..1
* serviceProvider 1..1
* participant 1..*
* period 1..1
* period.start 1..1
* extension contains Trend named trend 0..1

Profile: BehzistiHomeVisit
Parent: Encounter
Id: behzisti-home-visit
Title: "Service at home"
Description: "B-53: class HH."
* class = http://terminology.hl7.org/CodeSystem/v3-ActCode#HH
* subject 1..1
* period 1..1

Profile: BehzistiSession
Parent: Procedure
Id: behzisti-session
Title: "Session"
Description: "One service with its time, performer, outcome and follow-up (B-39, B-46 to B-53, B-80 to B-86, B-91)."
* code 1..1
* code from ServiceTypes (required)
* performed[x] 1..1
* performed[x] only Period
* performedPeriod.start 1..1
* performedPeriod.end 1..1
* performer 1..*
* extension contains SupervisedBy named supervisedBy 0..1

Profile: BehzistiAssessment
Parent: Observation
Id: behzisti-assessment
Title: "Assessment"
Description: "Initial or periodic, by discipline, with its trend (B-22, B-35, B-41, B-54, B-79 to B-94)."
* code from Assessments (required)
* method 1..1
* method from AssessmentStages (required)
* subject 1..1
* effective[x] 1..1
* performer 1..*
* value[x] only string
* interpretation 0..1
* interpretation from Trends (required)

Profile: BehzistiVideo
Parent: Media
Id: behzisti-video
Title: "Video of an assessment"
Description: "Kept electronically (B-43)."
* subject 1..1
* created[x] 1..1
* content.url 1..1

Profile: BehzistiReferral
Parent: ServiceRequest
Id: behzisti-referral
Title: "Referral"
Description: "General practitioner at admission, genetics, preschool, sheltered workshop (B-27, B-72, B-89, B-90)."
* code 1..1
* code from Referrals (required)
* priority 1..1
* authoredOn 1..1

Profile: BehzistiSubsidy
Parent: Coverage
Id: behzisti-subsidy
Title: "Subsidy"
Description: "Of a client's place (B-33, B-60)."
* type 1..1
* type = $k#subsidy
* period 1..1
* period.start 1..1

Profile: BehzistiFile
Parent: Composition
Id: behzisti-file
Title: "Specialised file"
Description: "With a section of rehabilitation and one of education (B-36, B-79, B-82, B-86, B-88)."
* type = $k#specialised-file
* subject 1..1
* section 2..*
* section ^slicing.discriminator.type = #pattern
* section ^slicing.discriminator.path = "code"
* section ^slicing.rules = #open
* section contains rehabilitation 1..1 and education 1..1
* section[rehabilitation].code 1..1
* section[rehabilitation].code = $k#rehabilitation
* section[education].code 1..1
* section[education].code = $k#education

Profile: BehzistiArtReport
Parent: Composition
Id: behzisti-art-report
Title: "Monthly art report"
Description: "B-93."
* type = $k#art-report
* subject 1..1
* section 1..*

Profile: BehzistiNutrition
Parent: NutritionOrder
Id: behzisti-nutrition
Title: "Diet plan"
Description: "Of the nutritionist, with family education and follow-up (B-52, B-69, B-94)."
* orderer 0..1
* oralDiet 0..1
