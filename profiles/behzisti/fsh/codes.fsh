// Codes of programme behzisti.

RuleSet: Codes
* ^caseSensitive = true
* ^experimental = false
* ^content = #complete

CodeSystem: AdmissionGroupCodes
Id: admission-group
Title: "Admission groups"
Description: "The five groups that a physical-motor centre admits (B-17 to B-21)."
* insert Codes
* #ortho "آسیب‌های ارتوپدی"
* #congenital "بدشکلی مادرزادی"
* #acquired "آسیب اکتسابی"
* #neuro-before "نورولوژیک پیش از پایان رشد"
* #neuro-after "نورولوژیک پس از پایان رشد"

CodeSystem: DischargeReasonCodes
Id: discharge-reason
Title: "Reasons of discharge"
Description: "Four reasons of the team (B-25 to B-28), the wish of family or client (B-30), and exits that are none of these."
* insert Codes
* #ability-reached "رسیدن به توانمندی"
* #community-ready "بستر مناسب در خانواده و جامعه"
* #sheltered-workshop "کارگاه تولیدی حمایتی"
* #employment "اشتغال"
* #family-request "رضایت یا عدم تمایل خانواده"
* #deceased "فوت"
* #other "سایر"

CodeSystem: StaffRoleCodes
Id: staff-role
Title: "Roles of staff"
Description: "B-64 to B-71, B-76, and the applicant (B-07)."
* insert Codes
* #applicant "متقاضی"
* #technical-supervisor "مسئول فنی"
* #substitute-supervisor "جانشین مسئول فنی"
* #physiotherapist "فیزیوتراپیست"
* #occupational-therapist "کاردرمانگر"
* #speech-therapist "گفتاردرمانگر"
* #psychologist "روان‌شناس بالینی"
* #nutritionist "کارشناس تغذیه"
* #education-trainer "مربی آموزشی"
* #art-trainer "مربی هنری، ورزشی یا بازی"
* #service-staff "خدمه"
* #other "سایر"

CodeSystem: QualificationCodes
Id: qualification
Title: "Qualifications"
Description: "Degrees that the instruction names (B-07, B-11, B-15), courses (B-74), and others."
* insert Codes
* #md "پزشکی (دکترای عمومی)"
* #pmr "تخصص طب فیزیکی و توانبخشی"
* #msc-pt "کارشناسی ارشد فیزیوتراپی"
* #msc-ot "کارشناسی ارشد کاردرمانی"
* #msc-po "کارشناسی ارشد ارتوپدی فنی"
* #msc-counselling "کارشناسی ارشد مشاوره"
* #msc-rehab-management "کارشناسی ارشد مدیریت توانبخشی"
* #msc-pmr "کارشناسی ارشد طب فیزیکی و توانبخشی"
* #bsc-pt "کارشناسی فیزیوتراپی"
* #bsc-ot "کارشناسی کاردرمانی"
* #bsc-slp "کارشناسی گفتاردرمانی"
* #bsc-po "کارشناسی ارتوپدی فنی"
* #psychology "روان‌شناسی بالینی"
* #nutrition "تغذیه"
* #art-course "دوره هنری مصوب بهزیستی"
* #other "سایر"

CodeSystem: DegreeLevelCodes
Id: degree-level
Title: "Degree levels"
Description: "In their order; two neighbours are consecutive (B-09)."
* insert Codes
* #diploma "دیپلم"
* #associate "کاردانی"
* #bachelor "کارشناسی"
* #master "کارشناسی ارشد"
* #doctorate "دکترا"
* #specialty "تخصص"

CodeSystem: ServiceTypeCodes
Id: service-type
Title: "Types of service"
Description: "The eight services of article 5 (B-46 to B-53), and the disciplines that give them."
* insert Codes
* #physiotherapy "فیزیوتراپی"
* #occupational-therapy "کاردرمانی"
* #cognitive-occupational-therapy "کاردرمانی ذهنی"
* #speech-therapy "گفتاردرمانی"
* #psychology "مشاوره روان‌شناسی"
* #adl-training "آموزش فعالیت‌های روزمره"
* #assistive-device-training "آموزش وسایل کمک توانبخشی"
* #vocational-training "آموزش حرفه‌ای"
* #family-training "آموزش خانواده و مراقبان"
* #nutrition "مشاوره تغذیه"
* #home-service "خدمات در منزل"
* #art "هنر، ورزش یا بازی"
* #group-education "آموزش گروهی"

CodeSystem: AssessmentCodes
Id: assessment
Title: "Assessments"
Description: "By discipline (B-35, B-54, B-79 to B-94)."
* insert Codes
* #physiotherapy "فیزیوتراپی"
* #occupational-therapy "کاردرمانی"
* #speech-therapy "گفتاردرمانی"
* #swallowing "بلع و آبریزش دهان"
* #psychology "روان‌شناسی بالینی"
* #nutrition "تغذیه"
* #eating "شیوه غذاخوردن"
* #talent "استعداد هنری"
* #functioning "محدودیت عملکرد و مشارکت"

CodeSystem: AssessmentStageCodes
Id: assessment-stage
Title: "Stages of assessment"
Description: "Initial or periodic (B-35, B-43)."
* insert Codes
* #initial "اولیه"
* #periodic "دوره‌ای"

CodeSystem: TrendCodes
Id: trend
Title: "Trends"
Description: "B-41, B-42."
* insert Codes
* #progress "پیشرفت"
* #unchanged "بدون تغییر"
* #regression "پسرفت"

CodeSystem: ShiftCodes
Id: shift
Title: "Shifts"
Description: "B-55 to B-59."
* insert Codes
* #morning "صبح"
* #afternoon "بعدازظهر"

CodeSystem: CauseCodes
Id: cause
Title: "Causes"
Description: "B-05."
* insert Codes
* #congenital "مادرزادی"
* #acquired "اکتسابی"

CodeSystem: RoomCodes
Id: room
Title: "Rooms"
Description: "Article 8 (B-96 to B-100)."
* insert Codes
* #physiotherapy "اتاق فیزیوتراپی"
* #occupational-therapy "اتاق کاردرمانی و ADL"
* #education "اتاق توانبخشی آموزشی"
* #consulting "اتاق روان‌شناس، گفتاردرمانگر و تغذیه"
* #art-sport-play "فضای هنری، ورزشی یا بازی"
* #other "سایر"

CodeSystem: EquipmentCodes
Id: equipment
Title: "Equipment"
Description: "Article 9 (B-101 to B-103)."
* insert Codes
* #examination-bed "تخت معاینه"
* #wheelchair "ویلچر"
* #walker "واکر ساده"
* #wheeled-walker "واکر چرخدار"
* #stick "عصا"
* #stimulator "استیمولاتور FES+TNS"
* #mechanotherapy "تجهیزات مکانوتراپی"
* #trau-band "Trau Band"
* #hand-exercise "Hand Exercise"
* #standing-table "Standing Table"
* #tilt-board "Tilt-Board"
* #parallel-bar "Parallel Bar"
* #roller "Roller"
* #ladder "Ladder"
* #weight-cuff "Weight Cuff"
* #wedge "Wedge"
* #adl-tools "وسایل آموزش ADL و IADL"
* #puzzles "انواع پازل"
* #upper-limb-strengthener "تقویت‌کننده اندام فوقانی"
* #mat "تشک"
* #screen "پاراوان"
* #treatment-bed "تخت درمان"
* #cp-balls "توپ CP"
* #si-equipment "تجهیزات SI"
* #splint-tools "وسایل ساخت اسپلینت"
* #treadmill "تردمیل"
* #other "سایر"

CodeSystem: ReferralCodes
Id: referral
Title: "Referrals"
Description: "B-27, B-72, B-89, B-90."
* insert Codes
* #general-practitioner "پزشک عمومی در بدو پذیرش"
* #genetics "مشاوره ژنتیک"
* #preschool "پیش‌دبستانی"
* #sheltered-workshop "کارگاه تولیدی حمایتی"

CodeSystem: KindCodes
Id: kind
Title: "Kinds"
Description: "Of organisations, encounters, files and sections."
* insert Codes
* #day-centre "مرکز روزانه غیردولتی آموزشی و توانبخشی"
* #attendance "حضور"
* #case-conference "کنفرانس موردی"
* #home-visit "خدمت در منزل"
* #specialised-file "پرونده تخصصی"
* #rehabilitation "بخش توانبخشی"
* #education "بخش آموزشی"
* #art-report "گزارش ماهانه هنری"
* #licence "پروانه فعالیت"
* #disability-code "کد معلولیت"
* #physical-motor "جسمی حرکتی"
* #subsidy "یارانه"

RuleSet: All(system)
* ^experimental = false
* include codes from system {system}

ValueSet: AdmissionGroups
Id: admission-groups
Title: "Admission groups"
Description: "B-17 to B-21."
* insert All(AdmissionGroupCodes)

ValueSet: DischargeReasons
Id: discharge-reasons
Title: "Reasons of discharge"
Description: "B-25 to B-30."
* insert All(DischargeReasonCodes)

ValueSet: TeamReasons
Id: team-discharge-reasons
Title: "Reasons that the team decides"
Description: "The four of article 3-2 (B-25 to B-28)."
* ^experimental = false
* DischargeReasonCodes#ability-reached
* DischargeReasonCodes#community-ready
* DischargeReasonCodes#sheltered-workshop
* DischargeReasonCodes#employment

ValueSet: StaffRoles
Id: staff-roles
Title: "Roles of staff"
Description: "B-64 to B-76."
* insert All(StaffRoleCodes)

ValueSet: Qualifications
Id: qualifications
Title: "Qualifications"
Description: "B-07 to B-15."
* insert All(QualificationCodes)

ValueSet: ApplicantQualifications
Id: applicant-qualifications
Title: "Qualifications of an applicant"
Description: "Medicine, or a master's degree in five subjects (B-07)."
* ^experimental = false
* QualificationCodes#md
* QualificationCodes#pmr
* QualificationCodes#msc-pt
* QualificationCodes#msc-ot
* QualificationCodes#msc-po
* QualificationCodes#msc-counselling
* QualificationCodes#msc-rehab-management

ValueSet: SupervisorQualifications
Id: supervisor-qualifications
Title: "Qualifications of a technical supervisor"
Description: "B-11. A higher degree of the same subject is one too."
* ^experimental = false
* QualificationCodes#md
* QualificationCodes#pmr
* QualificationCodes#msc-pmr
* QualificationCodes#bsc-pt
* QualificationCodes#bsc-ot
* QualificationCodes#msc-pt
* QualificationCodes#msc-ot

ValueSet: SubstituteQualifications
Id: substitute-qualifications
Title: "Qualifications of a substitute in a staff-poor area"
Description: "B-15."
* ^experimental = false
* QualificationCodes#bsc-slp
* QualificationCodes#bsc-po
* QualificationCodes#msc-po

ValueSet: DegreeLevels
Id: degree-levels
Title: "Degree levels"
Description: "B-09."
* insert All(DegreeLevelCodes)

ValueSet: ServiceTypes
Id: service-types
Title: "Types of service"
Description: "B-46 to B-53."
* insert All(ServiceTypeCodes)

ValueSet: Assessments
Id: assessments
Title: "Assessments"
Description: "B-35 to B-94."
* insert All(AssessmentCodes)

ValueSet: AssessmentStages
Id: assessment-stages
Title: "Stages of assessment"
Description: "B-35, B-43."
* insert All(AssessmentStageCodes)

ValueSet: Trends
Id: trends
Title: "Trends"
Description: "B-41, B-42."
* insert All(TrendCodes)

ValueSet: Shifts
Id: shifts
Title: "Shifts"
Description: "B-55 to B-59."
* insert All(ShiftCodes)

ValueSet: Causes
Id: causes
Title: "Causes"
Description: "B-05."
* insert All(CauseCodes)

ValueSet: Rooms
Id: rooms
Title: "Rooms"
Description: "B-96 to B-100."
* insert All(RoomCodes)

ValueSet: EquipmentItems
Id: equipment-items
Title: "Equipment"
Description: "B-101 to B-105."
* insert All(EquipmentCodes)

ValueSet: Referrals
Id: referrals
Title: "Referrals"
Description: "B-27, B-72, B-89, B-90."
* insert All(ReferralCodes)

// Which ICD-10 codes each admission group takes; an operator may replace these files.
ValueSet: GroupOrtho
Id: admission-group-ortho
Title: "Orthopaedic impairments"
Description: "Joints, bones, connective tissue, muscles of limbs and spine (B-17)."
* ^experimental = false
* include codes from system http://hl7.org/fhir/sid/icd-10 where code regex "M[0-9]{2}.*"

ValueSet: GroupCongenital
Id: admission-group-congenital
Title: "Congenital deformities"
Description: "Missing limbs and fingers and the like (B-18)."
* ^experimental = false
* include codes from system http://hl7.org/fhir/sid/icd-10 where code regex "Q(6[5-9]|7[0-9]).*"

ValueSet: GroupAcquired
Id: admission-group-acquired
Title: "Acquired injuries"
Description: "Blow, fracture, amputation (B-19)."
* ^experimental = false
* include codes from system http://hl7.org/fhir/sid/icd-10 where code regex "(S[0-9]{2}|T(0[0-9]|1[0-4]|2[0-9]|3[0-2]|9[0-8])|Z89).*"

ValueSet: GroupNeuroBefore
Id: admission-group-neuro-before
Title: "Neurological, before the end of growth"
Description: "Cerebral palsy, developmental, genetic, metabolic (B-20)."
* ^experimental = false
* include codes from system http://hl7.org/fhir/sid/icd-10 where code regex "(G80|G1[0-2]|G60|G7[0-2]|G9[0-8]|F8[2-4]|Q0[0-7]|Q8[5-9]|Q9[0-9]|E7[0-9]|E8[0-8]|P1[0-5]|P9[0-6]).*"

ValueSet: GroupNeuroAfter
Id: admission-group-neuro-after
Title: "Neurological, after the end of growth"
Description: "Stroke, Parkinson's disease, multiple sclerosis, injuries of brain and spinal cord, CNS, PNS, autonomic (B-21)."
* ^experimental = false
* include codes from system http://hl7.org/fhir/sid/icd-10 where code regex "(I6[0-9]|G[0-9]{2}|S06|S14|S24|S34|T09|T90|T91).*"
