"""The terms of the distillation loss: one module a term, found because it is in this folder.

Importing the package imports the modules of its folder, whose classes register themselves
(:func:`langtailor.objectives.term.objective_term`). None of them imports torch before a loss is computed, so that a
plan of the run costs nothing.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
