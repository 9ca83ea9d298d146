// Profiles of programme toscana. Neither HL7 Italia nor the Region has published these extensions: the canonical is configuration.
// Rule numbers (R01 …, X1 …) are those of docs/rules/toscana.md.

Extension: ClassePriorita
Id: classe-priorita
Title: "Classe di priorità"
Description: "Priority class U, B, D or P of a first-contact request (R01). The element priority is only its lossy companion."
Context: ServiceRequest
* value[x] only Coding
* value[x] 1..1
* value[x] from ClassiPriorita (required)

Extension: TipoContatto
Id: tipo-contatto
Title: "Tipo di contatto"
Description: "First contact or later contact: a code system of its own, because P and C mean other things elsewhere (R15, X2)."
Context: ServiceRequest
* value[x] only Coding
* value[x] 1..1
* value[x] from TipiContatto (required)

Extension: TipoContattoDerivato
Id: tipo-contatto-derivato
Title: "Tipo di contatto derivato"
Description: "The kind of contact was not stated and was derived: the service is considered a control (R16)."
Context: ServiceRequest
* value[x] only boolean
* value[x] 1..1

Extension: Termine
Id: termine
Title: "Termine"
Description: "The last instant at which the maximum time is kept (R02 to R07). On an Appointment it is counted from the contact with the CUP."
Context: ServiceRequest, Appointment
* value[x] only dateTime
* value[x] 1..1

Extension: Massimo
Id: massimo
Title: "Tempo massimo"
Description: "The maximum that was applied: 72h, 7d, 10d, 15d, 30d, 60d; w are working days (R02 to R09, X7)."
Context: ServiceRequest
* value[x] only string
* value[x] 1..1

Extension: Livello
Id: livello
Title: "Livello di garanzia"
Description: "A: guaranteed inside the company; AV: at Area Vasta level (R28)."
Context: ServiceRequest
* value[x] only code
* value[x] 1..1

Extension: Pdt
Id: pdt
Title: "PDT"
Description: "The diagnostic-therapeutic pathway that the request belongs to (R40, R47)."
Context: ServiceRequest
* value[x] only string
* value[x] 1..1

Extension: Azienda
Id: azienda
Title: "Azienda"
Description: "The company that answers for it: the one whose CUP took it (X9, X11)."
Context: ServiceRequest, Appointment, AppointmentResponse, Encounter, Schedule, CarePlan, Task
* value[x] only Identifier
* value[x] 1..1

Extension: Struttura
Id: struttura
Title: "Struttura"
Description: "Where: the structure of the offer, or of the delivery (R26, R30)."
Context: Appointment, Encounter
* value[x] only Identifier
* value[x] 1..1

Extension: Residenza
Id: asl-residenza
Title: "ASL di residenza"
Description: "Where the right is enforceable (R35)."
Context: Patient, ServiceRequest
* value[x] only Identifier
* value[x] 1..1

Extension: Regime
Id: regime
Title: "Regime"
Description: "Institutional (SSN), intramoenia (ALPI), or bought under art. 55 c. 2 (R60, R61)."
Context: ServiceRequest, Appointment, Schedule, Encounter
* value[x] only Coding
* value[x] 1..1
* value[x] from Regimi (required)

Extension: Canale
Id: canale
Title: "Canale di prenotazione"
Description: "How the booking came about: CUP, the professional in charge, an urgency route (R23, R25, R60)."
Context: Appointment
* value[x] only Coding
* value[x] 1..1
* value[x] from Canali (required)

Extension: Riacutizzazione
Id: riacutizzazione
Title: "Riacutizzazione"
Description: "A chronic patient after a flare-up: a first access, and outside the look-back of six months (R22)."
Context: ServiceRequest
* value[x] only boolean
* value[x] 1..1

Extension: Eccezione
Id: eccezione-dichiarata
Title: "Eccezione dichiarata"
Description: "Special characteristics of the patient that the prescriber declares as an exception (R12)."
Context: ServiceRequest
* value[x] only boolean
* value[x] 1..1

Extension: Atto
Id: atto
Title: "Atto"
Description: "The act under which the service is bought for a time (R61)."
Context: ServiceRequest, Appointment, Encounter
* value[x] only string
* value[x] 1..1

Extension: Episodio
Id: presa-in-carico
Title: "Presa in carico"
Description: "The episode of care that a later contact belongs to (R20, R23)."
Context: ServiceRequest
* value[x] only Reference(EpisodeOfCare)
* value[x] 1..1

Extension: ClasseRicovero
Id: classe-ricovero
Title: "Classe di priorità del ricovero"
Description: "The class of the single user in the inpatient record: another alphabet than that of outpatients (R49)."
Context: ServiceRequest, Encounter, Appointment
* value[x] only Coding
* value[x] 1..1

Extension: Disdetta
Id: data-disdetta
Title: "Data della disdetta"
Description: "The instant of the cancellation (R37): what R5 has as Appointment.cancellationDate."
Context: Appointment
* ^url = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Appointment.cancellationDate"
* value[x] only dateTime
* value[x] 1..1

Extension: ClasseDerivata
Id: classe-derivata
Title: "Classe derivata"
Description: "The class was missing and was taken from the policy of the company (R14, R17): nobody prescribed it."
Context: ServiceRequest
* value[x] only boolean
* value[x] 1..1

Extension: Ritiro
Id: ritiro-referto
Title: "Ritiro del referto"
Description: "When the citizen collected the report (R38)."
Context: DiagnosticReport
* value[x] only dateTime
* value[x] 1..1

Extension: Contatto
Id: data-contatto
Title: "Data del contatto"
Description: "When the citizen asked: the instant at which the clock starts (X7); of a stay, when it was booked (R70)."
Context: ServiceRequest, Encounter
* value[x] only dateTime
* value[x] 1..1

Extension: Sospensione
Id: sospensione
Title: "Sospensione"
Description: "A suspension of an agenda: from when, until when, why, under which act, and how many patients were moved (R53, R55, R57)."
Context: Schedule
* extension contains
    dal 1..1 and
    al 0..1 and
    motivo 0..1 and
    note 0..1 and
    spostati 0..1
* extension[dal].value[x] only date
* extension[dal].value[x] 1..1
* extension[al].value[x] only date
* extension[al].value[x] 1..1
* extension[motivo].value[x] only Coding
* extension[motivo].value[x] 1..1
* extension[note].value[x] only string
* extension[note].value[x] 1..1
* extension[spostati].value[x] only integer
* extension[spostati].value[x] 1..1

// The code system of the class has a public OID; its four codes are public facts.
CodeSystem: ClassiPrioritaCodici
Id: classi-priorita
Title: "Classi di priorità"
Description: "U, B, D, P."
* ^url = "urn:oid:2.16.840.1.113883.2.9.5.2.3"
* ^caseSensitive = true
* ^experimental = false
* #U "Urgente"
* #B "Breve"
* #D "Differibile"
* #P "Programmata"

ValueSet: ClassiPriorita
Id: classi-priorita
Title: "Classi di priorità"
Description: "U, B, D, P."
* ^experimental = false
* include codes from system ClassiPrioritaCodici

CodeSystem: TipiContattoCodici
Id: tipo-contatto
Title: "Tipo di contatto"
Description: "Tipo di contatto."
* ^caseSensitive = true
* ^experimental = false
* #primo "Primo contatto"
* #successivo "Contatto successivo"

ValueSet: TipiContatto
Id: tipo-contatto
Title: "Tipo di contatto"
Description: "Tipo di contatto."
* ^experimental = false
* include codes from system TipiContattoCodici

CodeSystem: RegimiCodici
Id: regime
Title: "Regime di erogazione"
Description: "Regime di erogazione."
* ^caseSensitive = true
* ^experimental = false
* #SSN "Istituzionale"
* #ALPI "Libera professione intramuraria"
* #ART55 "Libera professione in favore dell’Azienda (art. 55 c. 2)"

ValueSet: Regimi
Id: regime
Title: "Regime di erogazione"
Description: "Regime di erogazione."
* ^experimental = false
* include codes from system RegimiCodici

CodeSystem: CanaliCodici
Id: canale
Title: "Canale di prenotazione"
Description: "Canale di prenotazione."
* ^caseSensitive = true
* ^experimental = false
* #cup "CUP aziendale"
* #cup-av "CUP di Area Vasta o interaziendale"
* #diretta "Presa in carico: prenotazione diretta dello specialista"
* #urgenza "Percorso formalizzato per l’urgenza"
* #altro "Altro canale"

ValueSet: Canali
Id: canale
Title: "Canale di prenotazione"
Description: "Canale di prenotazione."
* ^experimental = false
* include codes from system CanaliCodici

CodeSystem: CategorieCodici
Id: categoria-richiesta
Title: "Categoria della richiesta"
Description: "Categoria della richiesta."
* ^caseSensitive = true
* ^experimental = false
* #ambulatoriale "Prestazione ambulatoriale"
* #screening "Screening della prevenzione attiva"
* #chirurgia "Intervento chirurgico programmato"
* #ricovero "Ricovero programmato"
* #day-service "Day Service"

ValueSet: Categorie
Id: categoria-richiesta
Title: "Categoria della richiesta"
Description: "Categoria della richiesta."
* ^experimental = false
* include codes from system CategorieCodici

CodeSystem: MotiviSospensioneCodici
Id: motivo-sospensione
Title: "Motivo della sospensione"
Description: "Motivo della sospensione."
* ^caseSensitive = true
* ^experimental = false
* #guasto "Guasto o indisponibilità dell’apparecchiatura"
* #manutenzione "Manutenzione"
* #personale "Indisponibilità improvvisa di personale"
* #locali "Inagibilità dei locali"
* #altro-tecnico "Altro motivo tecnico"
* #non-tecnico "Motivo non tecnico"

ValueSet: MotiviSospensione
Id: motivo-sospensione
Title: "Motivo della sospensione"
Description: "Motivo della sospensione."
* ^experimental = false
* include codes from system MotiviSospensioneCodici

// R55: only technical reasons make a suspension "inevitable".
ValueSet: MotiviTecnici
Id: motivi-tecnici
Title: "Motivi tecnici di sospensione"
Description: "Reasons that make a suspension inevitable (R55)."
* ^experimental = false
* MotiviSospensioneCodici#guasto
* MotiviSospensioneCodici#manutenzione
* MotiviSospensioneCodici#personale
* MotiviSospensioneCodici#locali
* MotiviSospensioneCodici#altro-tecnico

CodeSystem: PercorsiCodici
Id: pdt
Title: "Percorsi diagnostico terapeutici"
Description: "Percorsi diagnostico terapeutici."
* ^caseSensitive = true
* ^experimental = false
* #mammella "Neoplasia della mammella"
* #polmone "Neoplasia del polmone"
* #colon-retto "Neoplasia del colon retto"
* #bypass "Cardiopatia ischemica trattata con by-pass aorto-coronarico"
* #ischemia-arti "Ischemia critica degli arti inferiori (sperimentazione)"
* #scompenso "Scompenso cardiaco (atto successivo)"
* #diabete "Diabete complicato (atto successivo)"

ValueSet: Percorsi
Id: pdt
Title: "Percorsi diagnostico terapeutici"
Description: "Percorsi diagnostico terapeutici."
* ^experimental = false
* include codes from system PercorsiCodici

CodeSystem: DoveriCodici
Id: dovere
Title: "Diritti e doveri"
Description: "Diritti e doveri."
* ^caseSensitive = true
* ^experimental = false
* #risarcimento "Candidato al risarcimento di 25 euro"
* #quota-disdetta "Quota dovuta: mancata presentazione senza disdetta"
* #quota-referto "Quota dovuta: referto non ritirato"
* #quesito-mancante "Richiesta senza quesito diagnostico, da esaminare"

ValueSet: Doveri
Id: dovere
Title: "Diritti e doveri"
Description: "Diritti e doveri."
* ^experimental = false
* include codes from system DoveriCodici

// The catalogue of services is not ours to define: its codes are named here as far as the rules speak of them.
CodeSystem: NomenclatoreCodici
Id: nomenclatore
Title: "Nomenclatore"
Description: "A part of the catalogue: codes that say first visit or control by themselves (R15)."
* ^content = #fragment
* ^caseSensitive = true
* ^experimental = false
* #89.7A.3
* #89.7A.4
* #89.7A.6
* #89.7A.7
* #89.7A.8
* #89.7A.9
* #89.7B.3
* #89.7B.7
* #89.7B.8
* #89.7B.9
* #89.7C.1
* #89.7C.3
* #89.26.1
* #89.26.3
* #89.01
* #89.01.3
* #89.01.4
* #89.01.6
* #89.01.7
* #89.01.8
* #89.01.9
* #89.01.C
* #89.01.D
* #89.01.F
* #89.01.G
* #89.01.H
* #89.01.L
* #89.01.Q
* #89.01.W
* #89.26.2

ValueSet: PrimeVisite
Id: prime-visite
Title: "Codici di prima visita"
Description: "Codes of the present catalogue that say first visit."
* ^experimental = false
* NomenclatoreCodici#89.7A.3
* NomenclatoreCodici#89.7A.4
* NomenclatoreCodici#89.7A.6
* NomenclatoreCodici#89.7A.7
* NomenclatoreCodici#89.7A.8
* NomenclatoreCodici#89.7A.9
* NomenclatoreCodici#89.7B.3
* NomenclatoreCodici#89.7B.7
* NomenclatoreCodici#89.7B.8
* NomenclatoreCodici#89.7B.9
* NomenclatoreCodici#89.7C.1
* NomenclatoreCodici#89.7C.3
* NomenclatoreCodici#89.26.1
* NomenclatoreCodici#89.26.3

ValueSet: VisiteControllo
Id: visite-controllo
Title: "Codici di visita di controllo"
Description: "Codes of the present catalogue that say control."
* ^experimental = false
* NomenclatoreCodici#89.01
* NomenclatoreCodici#89.01.3
* NomenclatoreCodici#89.01.4
* NomenclatoreCodici#89.01.6
* NomenclatoreCodici#89.01.7
* NomenclatoreCodici#89.01.8
* NomenclatoreCodici#89.01.9
* NomenclatoreCodici#89.01.C
* NomenclatoreCodici#89.01.D
* NomenclatoreCodici#89.01.F
* NomenclatoreCodici#89.01.G
* NomenclatoreCodici#89.01.H
* NomenclatoreCodici#89.01.L
* NomenclatoreCodici#89.01.Q
* NomenclatoreCodici#89.01.W
* NomenclatoreCodici#89.26.2

Invariant: tos-req-1
Description: "Il termine non precede la prescrizione (R02-R07)."
Severity: #error
Expression: "extension.where(url.endsWith('/termine')).value.where($this.toString().substring(0, 10) < %resource.authoredOn.toString().substring(0, 10)).empty()"

Invariant: it-sr-1
Description: "Una richiesta di primo contatto ha la classe di priorità (R01, R17)."
Severity: #error
Expression: "extension.where(url.endsWith('/tipo-contatto')).value.where(code = 'primo').exists() implies (extension.where(url.endsWith('/classe-priorita')).exists() or category.coding.where(code = 'screening').exists())"

Invariant: it-sr-4
Description: "La priorità corrisponde alla classe: U stat, B asap, D e P routine (R01)."
Severity: #error
Expression: "extension.where(url.endsWith('/classe-priorita')).empty() or (priority.exists() and ((extension.where(url.endsWith('/classe-priorita')).value.where(code = 'U').exists() and priority = 'stat') or (extension.where(url.endsWith('/classe-priorita')).value.where(code = 'B').exists() and priority = 'asap') or (extension.where(url.endsWith('/classe-priorita')).value.where(code = 'D' or code = 'P').exists() and priority = 'routine')))"

Invariant: it-sr-5
Description: "Il codice 89.7 da solo non identifica la visita: serve la disciplina."
Severity: #error
Expression: "code.coding.where(code = '89.7').empty() or performerType.coding.where(system.endsWith('/disciplina')).exists()"

Invariant: it-sr-6
Description: "Al massimo una classe, e soltanto U, B, D o P (R01, X1)."
Severity: #error
Expression: "extension.where(url.endsWith('/classe-priorita')).count() <= 1 and extension.where(url.endsWith('/classe-priorita')).value.all(code = 'U' or code = 'B' or code = 'D' or code = 'P')"

Invariant: it-sr-7
Description: "Il NRE ha quindici caratteri."
Severity: #warning
Expression: "requisition.value.exists() implies requisition.value.matches('^[0-9A-Z]{15}$')"

Invariant: it-sr-12
Description: "Una eccezione va dichiarata: note o motivo a testo (R12)."
Severity: #error
Expression: "extension.where(url.endsWith('/eccezione-dichiarata')).value.where($this = true).exists() implies (note.exists() or reasonCode.text.exists())"

Invariant: it-ap-1
Description: "Una prenotazione ha data, contatto e richiesta."
Severity: #error
Expression: "status = 'booked' implies (start.exists() and created.exists() and basedOn.exists())"

Invariant: it-ap-2
Description: "Una disdetta ha motivo e istante (R37)."
Severity: #error
Expression: "status = 'cancelled' implies (cancelationReason.exists() and extension.where(url.endsWith('Appointment.cancellationDate')).exists())"

Invariant: it-ap-3
Description: "Una lista di attesa ha il periodo richiesto."
Severity: #error
Expression: "status = 'waitlist' implies requestedPeriod.exists()"

Invariant: it-pa-1
Description: "Codice fiscale di 16 caratteri (anche con omocodia) o di 11 cifre."
Severity: #error
Expression: "identifier.where(system = 'urn:oid:2.16.840.1.113883.2.9.4.3.2').value.all(matches('^[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]$|^[0-9]{11}$'))"

Invariant: it-ag-1
Description: "Una sospensione dura da un giorno a un altro, non al contrario."
Severity: #error
Expression: "extension.where(url.endsWith('/sospensione')).all(extension.where(url = 'al').empty() or extension.where(url = 'dal').value.toString() <= extension.where(url = 'al').value.toString())"

Invariant: it-ta-1
Description: "Il risarcimento non si paga da solo: il candidato resta richiesto o in attesa di una persona (R34)."
Severity: #error
Expression: "code.coding.where(code = 'risarcimento').exists() implies (status = 'requested' or status = 'rejected' or status = 'cancelled' or (status = 'completed' and owner.exists()))"

Profile: ToscanaPatient
Parent: Patient
Id: toscana-patient
Title: "Assistito"
Description: "With codice fiscale, or a code for foreigners (STP, ENI, TEAM)."
* obeys it-pa-1
* extension contains Residenza named aslResidenza 0..1
* identifier 1..*
* identifier.value 1..1

Profile: ToscanaRichiesta
Parent: ServiceRequest
Id: toscana-richiesta
Title: "Richiesta con classe di priorità"
Description: "A request with its class, kind of contact, diagnostic question and deadline."
* obeys tos-req-1 and it-sr-1 and it-sr-4 and it-sr-5 and it-sr-6 and it-sr-7 and it-sr-12
* extension contains
    ClassePriorita named classePriorita 0..1 and
    TipoContatto named tipoContatto 1..1 and
    TipoContattoDerivato named tipoContattoDerivato 0..1 and
    Termine named termine 0..1 and
    ClasseDerivata named classeDerivata 0..1 and
    Massimo named massimo 0..1 and
    Livello named livello 0..1 and
    Pdt named pdt 0..1 and
    Azienda named azienda 0..1 and
    Regime named regime 0..1 and
    Contatto named contatto 0..1 and
    Riacutizzazione named riacutizzazione 0..1 and
    Eccezione named eccezione 0..1 and
    Atto named atto 0..1 and
    Residenza named aslResidenza 0..1 and
    Episodio named episodio 0..1
* code 1..1
* code.coding 1..*
* subject only Reference(ToscanaPatient)

Profile: ToscanaIntervento
Parent: ServiceRequest
Id: toscana-intervento
Title: "Intervento o ricovero programmato"
Description: "An operation or admission on a waiting list, with its class (R48, R49)."
* extension contains
    ClasseRicovero named classeRicovero 0..1 and
    Azienda named azienda 1..1 and
    Regime named regime 0..1 and
    Contatto named contatto 1..1 and
    Termine named termine 0..1 and
    Massimo named massimo 0..1
* category 1..*
* code 1..1
* subject only Reference(ToscanaPatient)

Profile: ToscanaAppuntamento
Parent: Appointment
Id: toscana-appuntamento
Title: "Offerta, prenotazione, lista di attesa"
Description: "Every offer is kept (R26): proposed, booked, cancelled with its instant, no-show, waiting list."
* obeys it-ap-1 and it-ap-2 and it-ap-3
* extension contains
    Azienda named azienda 0..1 and
    Regime named regime 0..1 and
    Canale named canale 0..1 and
    Struttura named struttura 0..1 and
    Termine named termine 0..1 and
    Atto named atto 0..1 and
    ClasseRicovero named classeRicovero 0..1 and
    Disdetta named disdetta 0..1

Profile: ToscanaRisposta
Parent: AppointmentResponse
Id: toscana-risposta
Title: "Risposta del cittadino"
Description: "Acceptance or refusal of an offered place (R27, R36)."
* extension contains Azienda named azienda 0..1
* appointment only Reference(ToscanaAppuntamento)

Profile: ToscanaAgenda
Parent: Schedule
Id: toscana-agenda
Title: "Agenda"
Description: "An agenda with its suspensions and their reasons (R50, R53 to R57), visible across the Area Vasta where it is shared (R31)."
* obeys it-ag-1
* extension contains
    Azienda named azienda 1..1 and
    Regime named regime 0..1 and
    Sospensione named sospensione 0..*
* active 1..1
* identifier 1..*

Profile: ToscanaPosto
Parent: Slot
Id: toscana-posto
Title: "Posto"
Description: "A place in an agenda."
* schedule only Reference(ToscanaAgenda)

Profile: ToscanaErogazione
Parent: Encounter
Id: toscana-erogazione
Title: "Erogazione"
Description: "A delivered outpatient service (ex post: R67)."
* extension contains
    Azienda named azienda 1..1 and
    Regime named regime 0..1 and
    Struttura named struttura 0..1 and
    Atto named atto 0..1
* period 1..1
* serviceType 1..1

Profile: ToscanaRicovero
Parent: Encounter
Id: toscana-ricovero
Title: "Ricovero"
Description: "A stay or day hospital, with the class of the single user (R49, R52, R70)."
* extension contains
    Azienda named azienda 1..1 and
    Regime named regime 0..1 and
    ClasseRicovero named classeRicovero 0..1 and
    Contatto named contatto 0..1
* period 1..1

Profile: ToscanaAzienda
Parent: Organization
Id: toscana-azienda
Title: "Azienda sanitaria"
Description: "A company (ASL, hospital company, accredited private): part of its Area Vasta."
* identifier 1..*
* identifier.value 1..1

Profile: ToscanaAreaVasta
Parent: Organization
Id: toscana-area-vasta
Title: "Area Vasta"
Description: "Groups companies (R28, R31, R62)."
* identifier 1..*
* identifier.value 1..1

Profile: ToscanaStruttura
Parent: Organization
Id: toscana-struttura
Title: "Struttura erogatrice"
Description: "A structure of a company; the plan names those at which the maximum is guaranteed (R30)."
* identifier 1..*
* identifier.value 1..1
* partOf 1..1

Profile: ToscanaPercorso
Parent: CarePlan
Id: toscana-percorso
Title: "PDT"
Description: "A pathway of a patient with its two phases of thirty days each (R40 to R44)."
* extension contains Azienda named azienda 1..1
* category 1..*
* instantiatesCanonical 1..1
* activity.detail.code 1..1

Profile: ToscanaEpisodio
Parent: EpisodeOfCare
Id: toscana-episodio
Title: "Presa in carico"
Description: "Opened by the first contact (R20)."
* managingOrganization 1..1

Profile: ToscanaCopertura
Parent: Coverage
Id: toscana-copertura
Title: "Esenzione e regime"
Description: "The exemption is carried, and does not shield from the duty of R37 (R39)."
* beneficiary only Reference(ToscanaPatient)

Profile: ToscanaCompito
Parent: Task
Id: toscana-compito
Title: "Candidato al risarcimento, quota dovuta"
Description: "What a person has to decide: the machine never pays (R34, R36 to R38)."
* obeys it-ta-1
* extension contains Azienda named azienda 0..1
* code 1..1
* for 1..1
