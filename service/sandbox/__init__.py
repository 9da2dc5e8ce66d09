"""Both platforms emulated: stateful, with switchable faults. Imports nothing of the rest of the project."""

from service.sandbox.export import LoadReport, export_csv, load_export
from service.sandbox.faults import Fault
from service.sandbox.people import World, build_world, load_world
from service.sandbox.server import Sandbox

__all__ = ["Fault", "LoadReport", "Sandbox", "World", "build_world", "export_csv", "load_export", "load_world"]
