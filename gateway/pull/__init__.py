"""Room pull: a FHIR R4 API over what the gateway holds for a repository, and nothing else."""

from gateway.pull.notify import Notifier
from gateway.pull.parameters import Definitions, load
from gateway.pull.server import make_api, make_app, routes

__all__ = ["Definitions", "Notifier", "load", "make_api", "make_app", "routes"]
