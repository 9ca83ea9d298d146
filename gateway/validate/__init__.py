"""Room validate: FHIR R4 StructureDefinitions compiled to Python, and what is wrong with a resource."""
