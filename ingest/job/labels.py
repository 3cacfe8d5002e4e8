"""The labels of this host as a writer notes them: never an error, never a secret."""

import os
from functools import partial
from pathlib import Path

from thermograd.store.errors import ConfigError
from thermograd.store.failures import Guard, warn
from thermograd.store.labels.given import host_labels
from thermograd.store.secrets import is_secret, without_secrets


def labels_here(config: Path | None = None) -> dict[str, str]:
    """Return the labels of this host, without those that are refused, of which a warning says why.

    `config` is the configuration file that was named, if one was.
    """
    with Guard("thermograd: the labels of this host cannot be had (%(error)s)"):
        try:
            labels = host_labels(os.environ, config, partial(warn, "thermograd: %s; it is not recorded"))
        except ConfigError as error:
            warn("thermograd: %s; no label of this host is recorded", error)
            return {}
        kept = {name: value for name, value in labels.items() if not _is_secret(name, value)}
        if len(kept) < len(labels):
            warn("thermograd: labels: what looks like a secret is not recorded")
        return kept
    return {}


def _is_secret(name: str, value: str) -> bool:
    return is_secret(name, value) or without_secrets(value) != value
