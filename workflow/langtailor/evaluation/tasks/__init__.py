"""The kinds of evaluation tasks: one module a kind, found because it is in this folder.

A module holds a kind's settings, what it needs and its scores. It is imported to read a configuration, too, so that
libraries which take long to import are imported by the functions that use them.
"""

import importlib
import pkgutil


def register_tasks() -> None:
    """Import the modules of this folder, whose classes register themselves. Called before a configuration is read."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
