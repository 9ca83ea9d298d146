"""Room pull: a FHIR R4 API over what the gateway holds for a repository, and nothing else."""

from gateway.pull.parameters import Definitions, load
from gateway.pull.server import make_app, routes

__all__ = ["Definitions", "load", "make_app", "routes"]
