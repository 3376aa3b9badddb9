"""The formats of exports: one module a format, found because it is in this folder.

A module holds how a format is written and read. It is imported to read a configuration, too, so that libraries which take
long to import are imported by the functions that use them.
"""

import importlib
import pkgutil


def register_formats() -> None:
    """Import the modules of this folder, whose classes register themselves. Called before a configuration is read."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
