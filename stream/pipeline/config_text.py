"""The configuration as a person reads it, and as a file to start from: secrets are left out."""

import json
import os
from collections.abc import Mapping
from typing import Any, get_args

from thermograd.store.text import printable
from thermograd.stream.pipeline.config import REDACTED, Configuration, allowed_values, fields_of
from thermograd.stream.settings import Settings


def settings_rows(
    configuration: Configuration, environment: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return every setting: section, key, value, default, source, allowed, meaning.

    A secret's value is ``env:NAME`` where it is taken from the environment (`source` then says whether
    it is set), else ``***``.
    """
    environment = os.environ if environment is None else environment
    settings, rows = configuration.settings, []
    sections = [(name, getattr(settings, name)) for name in fields_of(Settings) if name != "sinks"]
    sections += [(f"sinks.{name}", sink) for name, sink in settings.sinks.items()]
    for section, values in sections:
        for key, of in fields_of(type(values)).items():
            value = getattr(values, key)
            source = configuration.source(f"{section}.{key}")
            says = get_args(of.type)[1]
            if says.extra and value:
                value, source = _veiled(value, source, environment)
            rows.append(
                {
                    "section": section,
                    "key": key,
                    "value": list(value) if isinstance(value, tuple) else value,
                    "default": list(of.default) if isinstance(of.default, tuple) else of.default,
                    "source": source,
                    "allowed": allowed_values(of),
                    "meaning": says.description,
                }
            )
    return rows


def _veiled(value: str, source: str, environment: Mapping[str, str]) -> tuple[str, str]:
    if not value.startswith("env:"):
        return REDACTED, source
    return value, f"{source}, {'set' if environment.get(value[4:]) else 'NOT SET'}"


def settings_toml(configuration: Configuration, environment: Mapping[str, str] | None = None) -> str:
    """Return the configuration as TOML with the source and meaning of each setting as comments.

    It can be saved as ``thermograd.toml``; literal secrets are ``***``, which a file must not hold.
    """
    path = configuration.path
    lines = [f"# thermograd: environment over {printable(path) if path else 'thermograd.toml'} over defaults"]
    section = ""
    for row in settings_rows(configuration, environment):
        if row["section"] != section:
            section = str(row["section"])
            lines += ["", f"[{section}]"]
        if section.startswith("sinks.") and row["source"] == "default" and row["value"] in ("", []):
            continue
        text = f"{row['key']} = {json.dumps(row['value'], ensure_ascii=False)}"
        lines.append(f"{text:<24} # {printable(row['source'])}: {row['meaning']}")
    if configuration.labels:
        lines += ["", "[labels]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in configuration.labels.items()]
    if not configuration.settings.sinks:
        lines += ["", *_EXAMPLE]
    return "\n".join(lines)


_EXAMPLE = (
    "# [sinks.team]                                 # a name of your own",
    '# type = "apprise"                             # or "webhook", "jsonl"',
    '# url = "env:TEAM_CHAT_URL"                    # taken from the environment, never shown',
    '# minimum = "warning"',
)
