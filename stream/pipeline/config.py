"""Reads the configuration: environment over ``thermograd.toml`` over defaults, and shows where from.

``THERMOGRAD_SPIKE_K=7`` sets ``k`` of the table ``[spike]``: every key outside of ``[sinks.*]`` has such
a variable. What is unknown or out of its range is refused with one sentence; a secret is never in it.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from msgspec.structs import FieldInfo
from thermograd.store.errors import ConfigError
from thermograd.store.labels.file import config_file
from thermograd.store.labels.given import VARIABLE, Refusal, labels_from_text, labels_of, refuse
from thermograd.stream.settings import BEFORE_SILENCE, DEFINING, SPIKE_2, Settings, SinkSettings
from thermograd.stream.sinks.webhook import check_url

PUBLISH_VARIABLE = "THERMOGRAD_PUBLISH"  # short for publish.url
REDACTED = "***"
_SINK_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER = re.compile(r"\s*\[\[?\s*([\w.\"' -]+?)\s*\]")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")
_NEEDED = {"jsonl": "path", "webhook": "url", "apprise": "url"}


def fields_of(section: type[msgspec.Struct]) -> dict[str, FieldInfo]:
    """Return the settings of a section by name, with type, limits and default."""
    return {of.name: of for of in msgspec.structs.fields(section)}


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    name: of.type for name, of in fields_of(Settings).items() if name != "sinks"
}


@dataclass(frozen=True)
class Configuration:
    """Settings, the file that was read (None without one), and where each setting comes from.

    `sources` has by dotted name (``spike.k``) ``FILE:LINE`` or ``environment NAME``; a default has none.
    """

    settings: Settings
    path: Path | None
    sources: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)  # of this host

    def source(self, name: str) -> str:
        """Return where a setting comes from: default, a line of a file, or a variable."""
        return self.sources.get(name, "default")


def variable_of(section: str, key: str) -> str:
    """Return the environment variable of a setting."""
    return f"THERMOGRAD_{section}_{key}".upper()


def load_config(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_bad_label: Refusal = refuse,
) -> Configuration:
    """Read the configuration.

    Parameters
    ----------
    path
        The file; by default ``$THERMOGRAD_CONFIG``, or ``thermograd.toml`` in the working directory if
        there is one.
    environment
        Variables; the process's own by default.
    on_bad_label
        What becomes of a label that is refused; by default it is raised.

    Raises
    ------
    ConfigError
        If the file cannot be read, or lies in the working directory and is another user's, or a setting is
        unknown or out of its range.
    """
    environment = os.environ if environment is None else environment
    path = config_file(environment, path)
    reader = _Reader(on_bad_label)
    if path is not None:
        reader.read_file(path)
    reader.read_environment(environment)
    settings = Settings(**_sections(reader.values), sinks=reader.sinks)
    _check_together(settings, reader.sources, str(path or "the environment"))
    return Configuration(settings, path, reader.sources, reader.labels)


def _sections(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: _SECTIONS[name](**given) for name, given in values.items() if name in _SECTIONS}


def recorded_settings(definitions: Mapping[str, Any] | None) -> Settings:
    """Return the settings that a run recorded; what it did not record has its default.

    ConfigError, if it recorded a setting that this version does not have: its alerts cannot be had again.
    """
    values: dict[str, dict[str, Any]] = {}
    for section, given in (definitions or {}).items():
        if section not in DEFINING or not isinstance(given, Mapping):
            raise ConfigError(f"the run was recorded with [{section}], which this version does not have")
        known = fields_of(_SECTIONS[section])
        unknown = next((key for key in given if key not in known), None)
        if unknown is not None:
            raise ConfigError(
                f"the run was recorded with {section}.{unknown}, which this version does not have"
            )
        values[section] = {k: read_value(known[k], v, f"run: {section}.{k}") for k, v in given.items()}
    if definitions and "usual" not in values.get("spike", {}):
        values["spike"] = {**SPIKE_2, **values.get("spike", {})}
    sections = _sections(values)
    if definitions and "silence" not in definitions:
        sections["silence"] = BEFORE_SILENCE
    return Settings(**sections)


class _Reader:
    """Gathers settings by section and key, the sinks, and where each setting was given."""

    def __init__(self, on_bad_label: Refusal) -> None:
        self._on_bad_label = on_bad_label
        self.values: dict[str, dict[str, Any]] = {}
        self.sinks: dict[str, SinkSettings] = {}
        self.sources: dict[str, str] = {}
        self.labels: dict[str, str] = {}

    def _take(self, section: str, of: FieldInfo, given: Any, where: str, from_text: bool = False) -> None:
        name = f"{section}.{of.name}"
        value = read_value(of, given, f"{where}: {name}", from_text)
        self.values.setdefault(section, {})[of.name] = value
        self.sources[name] = where

    def read_file(self, path: Path) -> None:
        tables, lines = _parse(path)

        def where(name: str) -> str:
            return f"{path}:{lines[name]}" if name in lines else str(path)

        labels = tables.pop("labels", {})
        if not isinstance(labels, dict):
            raise ConfigError(f"{where('labels')}: labels is a table: write [labels] and the labels below")
        self.labels |= labels_of(labels, where("labels"), self._on_bad_label)
        sinks = tables.pop("sinks", {})
        if not isinstance(sinks, dict):
            raise ConfigError(f"{where('sinks')}: each sink is a table: write [sinks.NAME]")
        for name, table in tables.items():
            if name not in _SECTIONS:
                hint = nearest(name, [*_SECTIONS, "labels", "sinks"])
                raise ConfigError(f"{where(name)}: there is no section [{name}]; {hint}")
            self._read_table(name, table, _SECTIONS[name], where)
        for name, table in sinks.items():
            at = where(f"sinks.{name}")
            if not _SINK_NAME.fullmatch(name):
                raise ConfigError(f"{at}: a sink's name has 1 to 64 letters, digits, '_' and '-'")
            self._read_table(f"sinks.{name}", table, SinkSettings, where)
            self.sinks[name] = _sink(name, self.values.get(f"sinks.{name}", {}), at)

    def _read_table(
        self, name: str, table: Any, section: type[msgspec.Struct], where: Callable[[str], str]
    ) -> None:
        if not isinstance(table, dict):
            raise ConfigError(f"{where(name)}: {name} is a table: write [{name}] and its keys below")
        known = fields_of(section)
        for key, given in table.items():
            at = where(f"{name}.{key}")
            if key not in known:
                raise ConfigError(f"{at}: there is no setting {key!r} in [{name}]; {nearest(key, known)}")
            self._take(name, known[key], given, at)

    def read_environment(self, environment: Mapping[str, str]) -> None:
        if environment.get(PUBLISH_VARIABLE):
            url = fields_of(_SECTIONS["publish"])["url"]
            self._take("publish", url, environment[PUBLISH_VARIABLE], f"environment {PUBLISH_VARIABLE}", True)
        known = {variable_of(s, k): (s, of) for s, c in _SECTIONS.items() for k, of in fields_of(c).items()}
        secrets = [text for sink in self.sinks.values() for text in (sink.url, sink.token)]
        if text := environment.get(VARIABLE):
            self.labels |= labels_from_text(text, f"environment {VARIABLE}", self._on_bad_label)
        for name in sorted(environment):
            if name in known:
                if environment[name]:
                    self._take(*known[name], environment[name], f"environment {name}", from_text=True)
            elif f"env:{name}" not in secrets and any(name.startswith(variable_of(s, "")) for s in _SECTIONS):
                raise ConfigError(f"environment {name}: there is no such setting; {nearest(name, known)}")


def _sink(name: str, values: dict[str, Any], where: str) -> SinkSettings:
    """Return a sink's settings, if they have what its type needs."""
    if "type" not in values:
        raise ConfigError(f"{where}: sinks.{name} has no type; allowed: {', '.join(_NEEDED)}")
    needed = _NEEDED[values["type"]]
    if not values.get(needed):
        raise ConfigError(f"{where}: sinks.{name} is a {values['type']} sink and needs {needed!r}")
    if REDACTED in (values.get("url"), values.get("token")):
        raise ConfigError(f"{where}: sinks.{name} holds {REDACTED}, which stood for a secret: put it back")
    if values["type"] == "webhook" and not values["url"].startswith("env:"):
        check_url(values["url"], f"{where}: sinks.{name}.url")
    return SinkSettings(**{"picture": values["type"] == "apprise"} | values)


def _parse(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return a file's tables, and on which line each table and key stands."""
    try:
        text = path.read_text(encoding="utf-8")
        return tomllib.loads(text), _lines_of(text)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text in UTF-8 (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from None  # its context holds the text


def _lines_of(text: str) -> dict[str, int]:
    """Return the line of each table and key by its dotted name; good enough to point a person to it."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            table = _bare(header[1])
            lines.setdefault(table, number)
        elif key:
            lines.setdefault(f"{table}.{_bare(key[1])}".lstrip("."), number)
    return lines


def _bare(name: str) -> str:
    return re.sub(r"[\"' ]", "", name)


def _check_together(settings: Settings, sources: Mapping[str, str], where: str) -> None:
    """Let the rules themselves refuse settings that do not go together."""
    from thermograd.stream.alerts.rules import device_rules, step_rules
    from thermograd.stream.join.coupling_alerts import CouplingRule

    try:
        step_rules(settings)
        device_rules("device", {}, settings)
        CouplingRule("device", 1, settings.coupling)
    except ValueError as error:
        given = ", ".join(f"{name} ({source})" for name, source in sources.items() if "sinks." not in name)
        raise ConfigError(f"{where}: settings do not go together: {error}; given: {given}") from error


def live_settings(path: Path | None, on_trouble: Callable[[str], None]) -> Settings:
    """Return the settings for a live run: where the configuration is refused, its defaults.

    A run goes on with alerts whatever is wrong with a file; `on_trouble` is told in one sentence. Of a wrong
    label the writer tells that would have recorded it.
    """
    try:
        return load_config(path, on_bad_label=lambda _: None).settings
    except ConfigError as error:
        on_trouble(f"{error}; this run is watched with the defaults, and no sink is told")
        return Settings()


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint: the most similar of the known names, or all of them."""
    known = list(known)
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed: {', '.join(known)}"


def read_value(of: FieldInfo, given: Any, where: str, from_text: bool = False) -> Any:
    """Return a setting's value in its own type; in text of the environment lists have commas.

    ConfigError, if it does not fit, says where, what was given (unless secret) and what is allowed.
    """
    kind, says = get_args(of.type)
    value = given
    if from_text:
        value = given.strip()
        if get_origin(kind) is tuple:
            value = [item.strip() for item in given.split(",") if item.strip()]
    try:
        value = msgspec.convert(value, of.type, strict=not from_text)
    except msgspec.ValidationError:  # its text may hold a secret
        value = None
    if value is None or (isinstance(value, float) and not isfinite(value)):
        shown = "a value that does not fit" if says.extra else repr(given)
        raise ConfigError(f"{where} is {shown}; allowed: {allowed_values(of)}")
    return value


def allowed_values(of: FieldInfo) -> str:
    """Return in words what a setting may be."""
    kind, says = get_args(of.type)
    if get_origin(kind) is tuple:
        return f"a list of {', '.join(get_args(get_args(kind)[0]))}"
    if get_args(kind):
        return ", ".join(get_args(kind))
    if kind is str:
        return "text in quotes"
    if kind is bool:
        return "true or false"
    text = "a whole number" if kind is int else "a number"
    if says.gt is not None:
        text += f" above {says.gt}"
    elif says.ge is not None:
        text += f" from {says.ge}"
    return text if says.le is None else f"{text} up to {says.le}"
