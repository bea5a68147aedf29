"""The families of scenarios, by name, and a right row of each target. A module here adds its own."""
import importlib
import pkgutil

FAMILIES, ROWS = {}, {}
for _, name, _ in sorted(pkgutil.iter_modules(__path__), key=lambda module: module.name):
    module = importlib.import_module('families.' + name)
    FAMILIES.update(getattr(module, 'FAMILIES', {}))
    ROWS.update(getattr(module, 'ROWS', {}))
