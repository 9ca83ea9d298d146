// Draft profiles of programme toscana. Neither HL7 Italia nor the Region has published these extensions.

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
Description: "First contact or follow-up: a code system of its own, because P and C mean other things elsewhere (X1, X2)."
Context: ServiceRequest
* value[x] only Coding
* value[x] 1..1

Extension: TipoContattoDerivato
Id: tipo-contatto-derivato
Title: "Tipo di contatto derivato"
Description: "The kind of contact was not stated and was derived (R16)."
Context: ServiceRequest
* value[x] only boolean
* value[x] 1..1

Extension: Termine
Id: termine
Title: "Termine"
Description: "The last instant at which the maximum time is kept (R02 to R07)."
Context: ServiceRequest
* value[x] only dateTime
* value[x] 1..1

Extension: Livello
Id: livello
Title: "Livello di garanzia"
Description: "A: guaranteed inside the company; AV: at Area Vasta level."
Context: ServiceRequest
* value[x] only code
* value[x] 1..1

Extension: Pdt
Id: pdt
Title: "PDT"
Description: "The diagnostic-therapeutic pathway that the request belongs to."
Context: ServiceRequest
* value[x] only string
* value[x] 1..1

// The code system has a public OID; its four codes are public facts.
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

Invariant: tos-req-1
Description: "Il termine non precede la prescrizione (R02-R07)."
Severity: #error
Expression: "extension.where(url.endsWith('/termine')).value.where($this.toString().substring(0, 10) < %resource.authoredOn.toString().substring(0, 10)).empty()"

Profile: ToscanaPatient
Parent: Patient
Id: toscana-patient
Title: "Assistito"
Description: "With codice fiscale, or a code for foreigners (STP)."
* identifier 1..*
* identifier.value 1..1

Profile: ToscanaRichiesta
Parent: ServiceRequest
Id: toscana-richiesta
Title: "Richiesta con classe di priorità"
Description: "A booked request with its class, kind of contact and deadline."
* obeys tos-req-1
* extension contains
    ClassePriorita named classePriorita 0..1 and
    TipoContatto named tipoContatto 1..1 and
    TipoContattoDerivato named tipoContattoDerivato 0..1 and
    Termine named termine 0..1 and
    Livello named livello 0..1 and
    Pdt named pdt 0..1
* code 1..1
* code.coding 1..*
* subject only Reference(ToscanaPatient)
