// Codes of programme chongqing. No national code system was found for any of them: these are the project's own, and the
// tables under mappings/chongqing/tables translate what senders write.

CodeSystem: ContactRole
Id: contact-role
Title: "联系人角色"
Description: "The three contacts of a household, its helpers, and the leaders of a township (SF-05 to SF-07, SF-23b, SF-69)."
* ^caseSensitive = true
* ^experimental = false
* #township-leader "乡镇（街道）领导干部"
* #village-cadre "村（社区）干部"
* #contracted-doctor "签约家庭医生"
* #association-member "基层计生协会员"
* #volunteer "志愿者"
* #caring-person "爱心人士"
* #main-leader "主要领导"
* #deputy-leader "分管领导"
* #institution-head "医疗机构负责人"
* #authorised-head "授权的负责人"

ValueSet: ContactRoles
Id: contact-roles
Title: "联系人角色"
Description: "Every role of the programme."
* ^experimental = false
* include codes from system ContactRole

ValueSet: ApproverRoles
Id: approver-roles
Title: "批准人角色"
Description: "Who may approve an emergency measure without consent (SF-51)."
* ^experimental = false
* ContactRole#institution-head
* ContactRole#authorised-head

CodeSystem: Channel
Id: channel
Title: "联系方式"
Description: "How a household was contacted (SF-16 to SF-18)."
* ^caseSensitive = true
* ^experimental = false
* #home-visit "登门走访"
* #phone "电话联络"
* #online "网络沟通"

CodeSystem: ContactReason
Id: contact-reason
Title: "联系事由"
Description: "Why a household was contacted (SF-10, SF-14, SF-19, SF-20, SF-22)."
* ^caseSensitive = true
* ^experimental = false
* #first-contact "首次见面"
* #regular "经常性联系"
* #festival "节日慰问"
* #difficulty "困难帮扶"
* #handover "联系人交接"
* #contact-change-notice "联系人变动通知"

ValueSet: ContactReasons
Id: contact-reasons
Title: "联系事由"
Description: "Every reason."
* ^experimental = false
* include codes from system ContactReason

CodeSystem: PopulationFlag
Id: population-flag
Title: "人群标识"
Description: "Special family, recipient of special support, registered poor household (A4, SF-46, SF-53), and a need for a contract (SF-24)."
* ^caseSensitive = true
* ^experimental = false
* #special-family "计划生育特殊家庭"
* #special-support "计划生育特别扶助对象"
* #registered-poor "建档立卡贫困户"
* #contract-need "有家庭医生签约需求"

ValueSet: PopulationFlags
Id: population-flags
Title: "人群标识"
Description: "Every flag."
* ^experimental = false
* include codes from system PopulationFlag

CodeSystem: FacilityKind
Id: facility-kind
Title: "机构类型"
Description: "Kinds of organisations; which of them must open a green channel and which may sign contracts is dated data (tables/facility-duty.csv)."
* ^caseSensitive = true
* ^experimental = false
* #district-public "区级公立医疗卫生单位"
* #central-health-centre "中心卫生院"
* #township-health-centre "乡镇卫生院"
* #community-health-centre "社区卫生服务中心"
* #village-clinic "村卫生室"
* #private "民营医疗机构"
* #township "乡镇（街道）"
* #village "村（社区）"
* #social-organisation "社会组织"
* #department "部门"

ValueSet: FacilityKinds
Id: facility-kinds
Title: "机构类型"
Description: "Every kind."
* ^experimental = false
* include codes from system FacilityKind

CodeSystem: GapReason
Id: gap-reason
Title: "未签约原因"
Description: "Why a member with a need has no contract (SF-28)."
* ^caseSensitive = true
* ^experimental = false
* #declined "本人拒绝"
* #no-need "无需求"
* #away "外出"
* #deceased "已故"

CodeSystem: EmergencyKind
Id: emergency-kind
Title: "紧急医疗措施"
Description: "Exactly three kinds (SF-49)."
* ^caseSensitive = true
* ^experimental = false
* #surgery "手术"
* #special-examination "特殊检查"
* #special-treatment "特殊治疗"

ValueSet: EmergencyKinds
Id: emergency-kinds
Title: "紧急医疗措施"
Description: "Surgery, special examination, special treatment."
* ^experimental = false
* include codes from system EmergencyKind

CodeSystem: TaskKind
Id: task-kind
Title: "任务类型"
Description: "Tasks of the programme."
* ^caseSensitive = true
* ^experimental = false
* #handover "联系人交接"
* #help "困难帮扶"
* #rectification "问题整改"
* #phase "阶段任务"
* #referral "转诊"

ValueSet: TaskKinds
Id: task-kinds
Title: "任务类型"
Description: "Every kind."
* ^experimental = false
* include codes from system TaskKind

CodeSystem: Phase
Id: phase
Title: "阶段"
Description: "The four phases (SF-56, SF-57, SF-61, SF-64); their days are dated reference data."
* ^caseSensitive = true
* ^experimental = false
* #preparation "准备阶段"
* #self-check "自查阶段"
* #rectification "整改阶段"
* #summary "总结评估阶段"

CodeSystem: Coverages
Id: coverage-item
Title: "三个全覆盖"
Description: "The three items that a township assesses (SF-01, SF-57)."
* ^caseSensitive = true
* ^experimental = false
* #contact-system "联系人制度"
* #doctor-contract "家庭医生签约服务"
* #priority-service "优先便利医疗服务"

CodeSystem: ContractService
Id: contract-service
Title: "约定服务"
Description: "The three services of a contract (SF-31), and comfort and counselling (SF-23d)."
* ^caseSensitive = true
* ^experimental = false
* #basic-care "基本医疗"
* #basic-public-health "基本公共卫生"
* #health-management "健康管理"
* #spiritual-comfort "精神慰藉"
* #psychological-counselling "心理疏导"

CodeSystem: RequestKind
Id: request-kind
Title: "申请类型"
Description: "What a request is for (SF-22, SF-35, SF-42)."
* ^caseSensitive = true
* ^experimental = false
* #referral "转诊"
* #green-channel "绿色通道就诊"
* #social-help "困难帮扶"

ValueSet: RequestKinds
Id: request-kinds
Title: "申请类型"
Description: "Every kind."
* ^experimental = false
* include codes from system RequestKind

CodeSystem: CardKind
Id: card-kind
Title: "卡证类型"
Description: "The service card and the insurance card. Whether the service card has a second form is configuration (A3)."
* ^caseSensitive = true
* ^experimental = false
* #service-card "就医服务卡"
* #insurance-card "医保卡"

ValueSet: CardKinds
Id: card-kinds
Title: "卡证类型"
Description: "Every kind."
* ^experimental = false
* include codes from system CardKind

CodeSystem: ProgrammeThing
Id: thing
Title: "文书类型"
Description: "What consents, documents, lists and surveys of the programme are."
* ^caseSensitive = true
* ^experimental = false
* #emergency-exception "紧急情况例外"
* #problem-ledger "问题台账"
* #self-check-report "自查报告"
* #household "计划生育特殊家庭户"
* #green-channel "绿色通道"
* #work-rules "工作制度"
* #service-process "服务流程"
* #action-plan "专项行动实施方案"
* #satisfaction "满意度"
