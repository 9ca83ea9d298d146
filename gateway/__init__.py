"""A standards gateway for health care: local submissions in, signed FHIR R4 out."""
