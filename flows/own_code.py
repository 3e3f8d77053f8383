"""Code of the user's own that a recipe names by an import path."""

from importlib.abc import InspectLoader
from importlib.util import find_spec


def module_source(path: str) -> str:
    """Source of the module in `module:function`, as it lies on disk; nothing but packages around it is imported.

    Empty where there is no such module, or none in Python: whoever imports it says so.
    """
    name = path.partition(":")[0]
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return ""
    if spec is None or not isinstance(spec.loader, InspectLoader):
        return ""
    return spec.loader.get_source(name) or ""
