// Disease groups. Their ICD-10 and procedure codes are a proposal of this gateway: no authority has published a list.
// Replace a ValueSet by a file of the same id in the profiles folder; everything that uses the group follows it.

Alias: $icd10 = http://hl7.org/fhir/sid/icd-10
Alias: $icd9 = http://hl7.org/fhir/sid/icd-9-cm
Alias: $icdo = http://terminology.hl7.org/CodeSystem/icd-o-3
Alias: $sct = http://snomed.info/sct

RuleSet: Proposal(rule)
* ^experimental = true
* ^status = #draft
* ^copyright = "The choice of codes is a proposal of this gateway, made without any list of an authority; replace it by the list in force."
* ^purpose = "Rule {rule} of the ministry's letter names the group and gives no codes."

CodeSystem: DiseaseGroupCodes
Id: disease-group
Title: "Disease groups of the programme"
Description: "The groups that the letter lists (A-20 to A-39), and bone-marrow transplantation, which stands in its subject line alone (A-02)."
* ^caseSensitive = true
* ^experimental = false
* ^property[0].code = #department
* ^property[0].type = #string
* ^property[0].description = "The department of the ministry that looks after the group."
* ^property[1].code = #rule
* ^property[1].type = #string
* ^property[1].description = "The rule that names the group."
* #thalassaemia "Thalassaemia"
* #thalassaemia ^designation[0].language = #fa
* #thalassaemia ^designation[0].value = "تالاسمی"
* #thalassaemia ^property[0].code = #department
* #thalassaemia ^property[0].valueString = "special"
* #thalassaemia ^property[1].code = #rule
* #thalassaemia ^property[1].valueString = "A-20"
* #haemophilia "Haemophilia"
* #haemophilia ^designation[0].language = #fa
* #haemophilia ^designation[0].value = "هموفیلی"
* #haemophilia ^property[0].code = #department
* #haemophilia ^property[0].valueString = "special"
* #haemophilia ^property[1].code = #rule
* #haemophilia ^property[1].valueString = "A-21"
* #ms "Multiple sclerosis"
* #ms ^designation[0].language = #fa
* #ms ^designation[0].value = "ام‌اس"
* #ms ^property[0].code = #department
* #ms ^property[0].valueString = "special"
* #ms ^property[1].code = #rule
* #ms ^property[1].valueString = "A-22"
* #dialysis "Dialysis"
* #dialysis ^designation[0].language = #fa
* #dialysis ^designation[0].value = "دیالیز"
* #dialysis ^property[0].code = #department
* #dialysis ^property[0].valueString = "special"
* #dialysis ^property[1].code = #rule
* #dialysis ^property[1].valueString = "A-23"
* #metabolic "Metabolic diseases"
* #metabolic ^designation[0].language = #fa
* #metabolic ^designation[0].value = "متابولیک"
* #metabolic ^property[0].code = #department
* #metabolic ^property[0].valueString = "special"
* #metabolic ^property[1].code = #rule
* #metabolic ^property[1].valueString = "A-24"
* #eb "Epidermolysis bullosa"
* #eb ^designation[0].language = #fa
* #eb ^designation[0].value = "بال‌پروانه‌ای"
* #eb ^property[0].code = #department
* #eb ^property[0].valueString = "special"
* #eb ^property[1].code = #rule
* #eb ^property[1].valueString = "A-25"
* #sma "Spinal muscular atrophy"
* #sma ^designation[0].language = #fa
* #sma ^designation[0].value = "SMA"
* #sma ^property[0].code = #department
* #sma ^property[0].valueString = "special"
* #sma ^property[1].code = #rule
* #sma ^property[1].valueString = "A-26"
* #cf "Cystic fibrosis"
* #cf ^designation[0].language = #fa
* #cf ^designation[0].value = "CF"
* #cf ^property[0].code = #department
* #cf ^property[0].valueString = "special"
* #cf ^property[1].code = #rule
* #cf ^property[1].valueString = "A-27"
* #autism "Autism"
* #autism ^designation[0].language = #fa
* #autism ^designation[0].value = "اوتیسم"
* #autism ^property[0].code = #department
* #autism ^property[0].valueString = "special"
* #autism ^property[1].code = #rule
* #autism ^property[1].valueString = "A-28"
* #kidney-transplant "Kidney transplant"
* #kidney-transplant ^designation[0].language = #fa
* #kidney-transplant ^designation[0].value = "پیوند کلیه"
* #kidney-transplant ^property[0].code = #department
* #kidney-transplant ^property[0].valueString = "transplant"
* #kidney-transplant ^property[1].code = #rule
* #kidney-transplant ^property[1].valueString = "A-29"
* #liver-transplant "Liver transplant"
* #liver-transplant ^designation[0].language = #fa
* #liver-transplant ^designation[0].value = "پیوند کبد"
* #liver-transplant ^property[0].code = #department
* #liver-transplant ^property[0].valueString = "transplant"
* #liver-transplant ^property[1].code = #rule
* #liver-transplant ^property[1].valueString = "A-30"
* #heart-transplant "Heart transplant"
* #heart-transplant ^designation[0].language = #fa
* #heart-transplant ^designation[0].value = "پیوند قلب"
* #heart-transplant ^property[0].code = #department
* #heart-transplant ^property[0].valueString = "transplant"
* #heart-transplant ^property[1].code = #rule
* #heart-transplant ^property[1].valueString = "A-31"
* #pancreas-transplant "Pancreas transplant"
* #pancreas-transplant ^designation[0].language = #fa
* #pancreas-transplant ^designation[0].value = "پیوند پانکراس"
* #pancreas-transplant ^property[0].code = #department
* #pancreas-transplant ^property[0].valueString = "transplant"
* #pancreas-transplant ^property[1].code = #rule
* #pancreas-transplant ^property[1].valueString = "A-32"
* #intestine-transplant "Intestine transplant"
* #intestine-transplant ^designation[0].language = #fa
* #intestine-transplant ^designation[0].value = "پیوند روده"
* #intestine-transplant ^property[0].code = #department
* #intestine-transplant ^property[0].valueString = "transplant"
* #intestine-transplant ^property[1].code = #rule
* #intestine-transplant ^property[1].valueString = "A-33"
* #lung-transplant "Lung transplant"
* #lung-transplant ^designation[0].language = #fa
* #lung-transplant ^designation[0].value = "پیوند ریه"
* #lung-transplant ^property[0].code = #department
* #lung-transplant ^property[0].valueString = "transplant"
* #lung-transplant ^property[1].code = #rule
* #lung-transplant ^property[1].valueString = "A-34"
* #bone-marrow-transplant "Bone-marrow transplant"
* #bone-marrow-transplant ^designation[0].language = #fa
* #bone-marrow-transplant ^designation[0].value = "پیوند مغز استخوان"
* #bone-marrow-transplant ^property[0].code = #department
* #bone-marrow-transplant ^property[0].valueString = "transplant"
* #bone-marrow-transplant ^property[1].code = #rule
* #bone-marrow-transplant ^property[1].valueString = "A-02"
* #cancer "Cancer"
* #cancer ^designation[0].language = #fa
* #cancer ^designation[0].value = "سرطان"
* #cancer ^property[0].code = #department
* #cancer ^property[0].valueString = "ncd"
* #cancer ^property[1].code = #rule
* #cancer ^property[1].valueString = "A-35"
* #cardiovascular "Cardiovascular disease"
* #cardiovascular ^designation[0].language = #fa
* #cardiovascular ^designation[0].value = "بیماری قلبی-عروقی"
* #cardiovascular ^property[0].code = #department
* #cardiovascular ^property[0].valueString = "ncd"
* #cardiovascular ^property[1].code = #rule
* #cardiovascular ^property[1].valueString = "A-36"
* #chronic-mental "Chronic mental illness"
* #chronic-mental ^designation[0].language = #fa
* #chronic-mental ^designation[0].value = "بیماری‌های روانی مزمن"
* #chronic-mental ^property[0].code = #department
* #chronic-mental ^property[0].valueString = "ncd"
* #chronic-mental ^property[1].code = #rule
* #chronic-mental ^property[1].valueString = "A-37"
* #dentistry "Dentistry"
* #dentistry ^designation[0].language = #fa
* #dentistry ^designation[0].value = "گروه دندانپزشکی"
* #dentistry ^property[0].code = #department
* #dentistry ^property[0].valueString = "dentistry"
* #dentistry ^property[1].code = #rule
* #dentistry ^property[1].valueString = "A-38"
* #cell-infertility "Cell medicine and infertility"
* #cell-infertility ^designation[0].language = #fa
* #cell-infertility ^designation[0].value = "گروه طب سلولی و ناباروری"
* #cell-infertility ^property[0].code = #department
* #cell-infertility ^property[0].valueString = "cell-infertility"
* #cell-infertility ^property[1].code = #rule
* #cell-infertility ^property[1].valueString = "A-39"

ValueSet: DiseaseGroups
Id: disease-groups
Title: "Disease groups"
Description: "Every group of the programme."
* ^experimental = false
* include codes from system DiseaseGroupCodes

ValueSet: GroupThalassaemia
Id: disease-group-thalassaemia
Title: "Thalassaemia (تالاسمی)"
Description: "Proposal, replaceable: All of D56."
* insert Proposal(A-20)
* include codes from system $icd10 where code regex /D56(\.?[0-9]{1,2})?/

ValueSet: GroupHaemophilia
Id: disease-group-haemophilia
Title: "Haemophilia (هموفیلی)"
Description: "Proposal, replaceable: Hereditary lack of factors VIII, IX and XI, and von Willebrand's disease; other defects of clotting are left out."
* insert Proposal(A-21)
* include codes from system $icd10 where code regex /D66(\.?[0-9]{1,2})?|D67(\.?[0-9]{1,2})?|D68\.?[0-2]/

ValueSet: GroupMs
Id: disease-group-ms
Title: "Multiple sclerosis (ام‌اس)"
Description: "Proposal, replaceable: G35."
* insert Proposal(A-22)
* include codes from system $icd10 where code regex /G35(\.?[0-9]{1,2})?/

ValueSet: GroupDialysis
Id: disease-group-dialysis
Title: "Dialysis (دیالیز)"
Description: "Proposal, replaceable: Care involving dialysis, dependence on it, or the procedure itself. Chronic kidney disease (N18) alone is no dialysis."
* insert Proposal(A-23)
* include codes from system $icd10 where code regex /Z49(\.?[0-9]{1,2})?|Z99\.?2/
* include codes from system $icd9 where code regex /39\.95|54\.98/
* include $sct#302497006 "Haemodialysis"
* include $sct#71192002 "Peritoneal dialysis"

ValueSet: GroupMetabolic
Id: disease-group-metabolic
Title: "Metabolic diseases (متابولیک)"
Description: "Proposal, replaceable: E70 to E88 without cystic fibrosis (E84, a group of its own) and without disorders of fluid and electrolytes (E86, E87), which are states and not diseases of metabolism."
* insert Proposal(A-24)
* include codes from system $icd10 where code regex /E7[0-9](\.?[0-9]{1,2})?|E8[0-8](\.?[0-9]{1,2})?/
* exclude codes from system $icd10 where code regex /E84(\.?[0-9]{1,2})?|E86(\.?[0-9]{1,2})?|E87(\.?[0-9]{1,2})?/

ValueSet: GroupEb
Id: disease-group-eb
Title: "Epidermolysis bullosa (بال‌پروانه‌ای)"
Description: "Proposal, replaceable: Q81."
* insert Proposal(A-25)
* include codes from system $icd10 where code regex /Q81(\.?[0-9]{1,2})?/

ValueSet: GroupSma
Id: disease-group-sma
Title: "Spinal muscular atrophy (SMA)"
Description: "Proposal, replaceable: G12.0 and G12.1; motor neuron disease (G12.2) is left out."
* insert Proposal(A-26)
* include codes from system $icd10 where code regex /G12\.?[01]/

ValueSet: GroupCf
Id: disease-group-cf
Title: "Cystic fibrosis (CF)"
Description: "Proposal, replaceable: E84, which metabolic diseases leave out."
* insert Proposal(A-27)
* include codes from system $icd10 where code regex /E84(\.?[0-9]{1,2})?/

ValueSet: GroupAutism
Id: disease-group-autism
Title: "Autism (اوتیسم)"
Description: "Proposal, replaceable: F84."
* insert Proposal(A-28)
* include codes from system $icd10 where code regex /F84(\.?[0-9]{1,2})?/

ValueSet: GroupKidneyTransplant
Id: disease-group-kidney-transplant
Title: "Kidney transplant (پیوند کلیه)"
Description: "Proposal, replaceable: Status, failure or rejection, and the operation."
* insert Proposal(A-29)
* include codes from system $icd10 where code regex /Z94\.?0|T86\.?1/
* include codes from system $icd9 where code regex /55\.6[19]?/
* include $sct#70536003 "Transplant of kidney"

ValueSet: GroupLiverTransplant
Id: disease-group-liver-transplant
Title: "Liver transplant (پیوند کبد)"
Description: "Proposal, replaceable: Status, failure or rejection, and the operation."
* insert Proposal(A-30)
* include codes from system $icd10 where code regex /Z94\.?4|T86\.?4/
* include codes from system $icd9 where code regex /50\.5[19]?/
* include $sct#18027006 "Transplantation of liver"

ValueSet: GroupHeartTransplant
Id: disease-group-heart-transplant
Title: "Heart transplant (پیوند قلب)"
Description: "Proposal, replaceable: Status (also of heart and lungs together), failure or rejection, and the operation."
* insert Proposal(A-31)
* include codes from system $icd10 where code regex /Z94\.?[13]|T86\.?[23]/
* include codes from system $icd9 where code regex /37\.51|33\.6/
* include $sct#32413006 "Transplantation of heart"

ValueSet: GroupPancreasTransplant
Id: disease-group-pancreas-transplant
Title: "Pancreas transplant (پیوند پانکراس)"
Description: "Proposal, replaceable: Z94.8 does not say which organ: the operation tells it, or the fifth digit where a centre writes one."
* insert Proposal(A-32)
* include codes from system $icd10 where code regex /Z94\.?83/
* include codes from system $icd9 where code regex /52\.8[0-6]?/
* include $sct#62438007 "Transplantation of pancreas"

ValueSet: GroupIntestineTransplant
Id: disease-group-intestine-transplant
Title: "Intestine transplant (پیوند روده)"
Description: "Proposal, replaceable: Z94.8 does not say which organ: the operation tells it, or the fifth digit where a centre writes one."
* insert Proposal(A-33)
* include codes from system $icd10 where code regex /Z94\.?82/
* include codes from system $icd9 where code regex /46\.97/

ValueSet: GroupLungTransplant
Id: disease-group-lung-transplant
Title: "Lung transplant (پیوند ریه)"
Description: "Proposal, replaceable: Status (also of heart and lungs together) and the operation."
* insert Proposal(A-34)
* include codes from system $icd10 where code regex /Z94\.?[23]/
* include codes from system $icd9 where code regex /33\.5[0-2]?|33\.6/
* include $sct#88039007 "Transplant of lung"

ValueSet: GroupBoneMarrowTransplant
Id: disease-group-bone-marrow-transplant
Title: "Bone-marrow transplant (پیوند مغز استخوان)"
Description: "Proposal, replaceable: Named in the subject line alone. Z94.8 does not say which organ: the operation tells it, or the fifth digit where a centre writes one."
* insert Proposal(A-02)
* include codes from system $icd10 where code regex /Z94\.?8[14]|T86\.?0/
* include codes from system $icd9 where code regex /41\.0[0-9]/
* include $sct#23719005 "Transplantation of bone marrow"

ValueSet: GroupCancer
Id: disease-group-cancer
Title: "Cancer (سرطان)"
Description: "Proposal, replaceable: Malignant and in situ neoplasms by ICD-10, or by the behaviour in ICD-O-3. What is reportable to the registry is a set of its own."
* insert Proposal(A-35)
* include codes from system $icd10 where code regex /C[0-8][0-9](\.?[0-9]{1,2})?|C9[0-7](\.?[0-9]{1,2})?|D0[0-9](\.?[0-9]{1,2})?/
* include codes from system $icdo where code regex /8[0-9]{3}.[2369]|9[0-8][0-9]{2}.[2369]|99[0-4][0-9].[2369]/

ValueSet: GroupCardiovascular
Id: disease-group-cardiovascular
Title: "Cardiovascular disease (بیماری قلبی-عروقی)"
Description: "Proposal, replaceable: Chapter IX."
* insert Proposal(A-36)
* include codes from system $icd10 where code regex /I[0-9][0-9](\.?[0-9]{1,2})?/

ValueSet: GroupChronicMental
Id: disease-group-chronic-mental
Title: "Chronic mental illness (بیماری‌های روانی مزمن)"
Description: "Proposal, replaceable: F20 to F39 without what is acute or a single episode by its definition (F23, F30, F32)."
* insert Proposal(A-37)
* include codes from system $icd10 where code regex /F2[0-9](\.?[0-9]{1,2})?|F3[0-9](\.?[0-9]{1,2})?/
* exclude codes from system $icd10 where code regex /F23(\.?[0-9]{1,2})?|F30(\.?[0-9]{1,2})?|F32(\.?[0-9]{1,2})?/

ValueSet: GroupDentistry
Id: disease-group-dentistry
Title: "Dentistry (گروه دندانپزشکی)"
Description: "Proposal, replaceable: Diseases of teeth, jaws, salivary glands and mouth."
* insert Proposal(A-38)
* include codes from system $icd10 where code regex /K0[0-9](\.?[0-9]{1,2})?|K1[0-4](\.?[0-9]{1,2})?/

ValueSet: GroupCellInfertility
Id: disease-group-cell-infertility
Title: "Cell medicine and infertility (گروه طب سلولی و ناباروری)"
Description: "Proposal, replaceable: Infertility; services of cell medicine come from the package table."
* insert Proposal(A-39)
* include codes from system $icd10 where code regex /N46(\.?[0-9]{1,2})?|N97(\.?[0-9]{1,2})?/
* include $sct#63487001 "Assisted fertilization"

CodeSystem: RegistryCodes
Id: registry
Title: "Registries"
Description: "What a condition is reportable to, beside its disease group."
* ^caseSensitive = true
* ^experimental = false
* #reportable "Reportable to the cancer registry"

ValueSet: RegistryReportable
Id: registry-reportable
Title: "Reportable to the cancer registry"
Description: "Proposal, replaceable: the group of cancer, and the neoplasms of D45 to D47 that ICD-O-3 counts as malignant (polycythaemia vera, myelodysplastic syndromes, other neoplasms of blood)."
* insert Proposal(A-35)
* include codes from valueset GroupCancer
* include codes from system $icdo where code regex /[89][0-9]{3}.[2369]/
* include codes from system $icd10 where code regex /D4[5-7](\.?[0-9]{1,2})?/

ValueSet: TransplantUnnamed
Id: transplant-unnamed
Title: "Transplant status that does not name the organ"
Description: "Proposal, replaceable: Z94.8 and T86.8 stand for pancreas, intestine, marrow and others; a procedure has to tell which."
* insert Proposal(A-32)
* include codes from system $icd10 where code regex /Z94\.?8|T86\.?8/

