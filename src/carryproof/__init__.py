"""Carryproof: predict what an arithmetic transformer does on longer inputs, then train it and compare.

Names are resolved on first use, because torch, sympy and seaborn are slow to import and most commands need only one:

>>> import carryproof as cp
>>> cp.theory.__name__
'carryproof.theory'
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# public name -> "module" or "module:attribute"
_LAZY = {
    "theory": "carryproof.theory",
    "positional": "carryproof.positional",
    "models": "carryproof.models",
    "benchmarks": "carryproof.benchmarks",
    "tasks": "carryproof.theory.tasks",
    "formats": "carryproof.theory.formats",
    "Question": "carryproof.theory.prediction:Question",
    "TrainingRange": "carryproof.theory.ranges:TrainingRange",
    "predict": "carryproof.theory.predict:predict",
    "Recipe": "carryproof.benchmarks.configuration:Recipe",
    "measure": "carryproof.benchmarks.measure:measure",
    "compare": "carryproof.benchmarks.measure:against",
    "load": "carryproof.models.library:load",
    "certify": "carryproof.benchmarks.certify:certify",
}

__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'carryproof' has no attribute {name!r}")
    module_name, _, attribute = _LAZY[name].partition(":")
    module = import_module(module_name)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value  # the next look-up does not come back here
    return value


def __dir__() -> list[str]:
    return __all__
