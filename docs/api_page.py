"""Write docs/api.md: every public name with its signature and the first sentence of its docstring.

``python docs/api_page.py`` writes the page; the tests say when it is out of date.
"""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("api.md")
PACKAGES = (
    "thermograd",
    "thermograd.ingest",
    "thermograd.store",
    "thermograd.store.query",
    "thermograd.stream",
    "thermograd.analysis",
)
HEAD = """# Public names

What `import` gives, by package; made by `docs/api_page.py` from the packages' own lists (`__all__`). A name
is imported when it is first used, so none of these packages is slow to import. `help(name)` has the rest:
parameters, units, sign conventions, errors, source.
"""


def page() -> str:
    """Return the page's text."""
    return "\n".join([HEAD, *(line for package in PACKAGES for line in _package(package))])


def _package(name: str) -> Iterator[str]:
    package = import_module(name)
    yield f"## `{name}`\n\n{_first_sentence(package)}\n"
    yield "| name | what it is |\n|---|---|"
    for public in sorted(package.__all__, key=str.lower):
        value = getattr(package, public)
        if not public.startswith("__"):
            yield f"| `{public}{_signature(value)}` | {_first_sentence(value)} |"
    yield ""


def _signature(value: Any) -> str:
    """Return names and defaults; annotations are printed differently by every Python."""
    if not callable(value) or (isinstance(value, type) and issubclass(value, BaseException)):
        return ""
    if getattr(value, "_is_protocol", False):
        return ""
    signature = inspect.signature(value)
    bare = [
        p.replace(annotation=inspect.Parameter.empty, default=_short(p.default))
        for p in signature.parameters.values()
    ]
    plain = signature.replace(parameters=bare, return_annotation=inspect.Signature.empty)
    return str(plain).replace("Ellipsis", "...").replace("|", "\\|")


def _short(default: Any) -> Any:
    """Return a default that is a plain value as it is, three dots for any other."""
    plain = bool | int | float | str | tuple | None
    return default if default is inspect.Parameter.empty or isinstance(default, plain) else ...


def _first_sentence(value: Any) -> str:
    text = inspect.getdoc(value) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
