"""Write the labels of this pod's node into a configuration of thermograd: `node_labels.py FILE`.

Runs in the agent's init container, with the standard library only. NODE_NAME is the node's name, NODE_LABELS
which of its labels count and what they are called here: ``topology.kubernetes.io/rack=rack,...=zone``.
"""

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def labels_of_node(name: str, server: str, account: Path = ACCOUNT) -> dict[str, str]:
    """Return the labels that Kubernetes has for a node."""
    request = urllib.request.Request(
        f"{server}/api/v1/nodes/{name}",
        headers={"Authorization": f"Bearer {(account / 'token').read_text().strip()}"},
    )
    authority = account / "ca.crt"
    context = ssl.create_default_context(cafile=authority) if authority.exists() else None
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:
        return dict(json.load(answer)["metadata"].get("labels") or {})


def configuration(node: str, labels: dict[str, str], wanted: str) -> str:
    """Return the table [labels]: the node's name, and the wanted labels that it has."""
    pairs = [pair.rpartition("=")[::2] for pair in wanted.replace(" ", "").split(",") if "=" in pair]
    told = {"node": node[:64]} | {name: labels[label] for label, name in pairs if labels.get(label)}
    return "[labels]\n" + "".join(
        f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in told.items()
    )


def main() -> None:
    """Write the file; without an answer of Kubernetes it has the node's name only, and the agent starts."""
    node, server = os.environ["NODE_NAME"], os.environ.get("KUBERNETES_API", "https://kubernetes.default.svc")
    try:
        labels = labels_of_node(node, server)
    except OSError as error:
        sys.stderr.write(f"the labels of node {node} cannot be read: {error}\n")
        labels = {}
    Path(sys.argv[1]).write_text(configuration(node, labels, os.environ.get("NODE_LABELS", "")))


if __name__ == "__main__":
    main()
