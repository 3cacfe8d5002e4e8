"""The manifests and the Dockerfile say what the program understands: options, variables, files, extras."""

import importlib.util
import json
import re
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import pytest
from thermograd.cli import main
from thermograd.store.labels.given import host_labels
from thermograd.stream.pipeline.config import fields_of, variable_of
from thermograd.stream.settings import Settings

yaml = pytest.importorskip("yaml", reason="PyYAML (extra dev) is not installed")

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
PAGES = sorted(KUBERNETES.rglob("*.yaml"))
SECRETS = re.compile(r"(?i)secret|token|password|access_key|credential")


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def kustomizations() -> list[Path]:
    return [path for path in PAGES if path.name == "kustomization.yaml"]


def pods() -> dict[str, dict[str, Any]]:
    every = [document for path in PAGES for document in documents(path)]
    return {
        f"{each['kind']} {each['metadata']['name']}": _template(each)
        for each in every
        if each["kind"] in ("DaemonSet", "Job", "CronJob")
    }


def _template(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    return (spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec)["template"]["spec"]


def containers() -> list[dict[str, Any]]:
    return [one for pod in pods().values() for one in [*pod.get("initContainers", []), *pod["containers"]]]


def words_of(container: dict[str, Any]) -> list[str]:
    """Return what the program `thermograd` is called with; the image's entry point is the program."""
    words = [*container.get("command", ["thermograd"]), *container.get("args", [])]
    return words[1:] if words[0] == "thermograd" else []


def patched_words() -> list[str]:
    """Return the agent's words as the overlays leave them."""
    (agent,) = pods()["DaemonSet thermograd-agent"]["containers"]
    words = words_of(agent)
    for path in kustomizations():
        for patch in documents(path)[0].get("patches", []):
            for change in yaml.safe_load(patch["patch"]):
                assert change["path"] == "/spec/template/spec/containers/0/args/-"
                words.append(change["value"])
    return words


def understood(words: list[str]) -> None:
    """Let click read the words without doing what they say; it raises UsageError."""
    group = click.Context(main, info_name="thermograd")
    name, command, rest = main.resolve_command(group, list(words))
    assert command is not None
    command.make_context(name, rest, parent=group)


CALLS = [words for one in containers() if (words := words_of(one))]


@pytest.mark.parametrize("words", [*CALLS, patched_words()], ids=" ".join)
def test_the_program_understands_what_a_container_calls(words):
    understood(words)


def test_a_word_that_the_program_does_not_know_would_be_seen():
    with pytest.raises(click.UsageError):
        understood([*CALLS[0], "--no-such-option"])


def variables() -> set[str]:
    given = {variable["name"] for one in containers() for variable in one.get("env", [])}
    for path in kustomizations():
        for map_ in documents(path)[0].get("configMapGenerator", []):
            given |= {text.partition("=")[0] for text in map_.get("literals", [])}
    return given


def test_every_variable_of_ours_is_one_that_the_program_reads():
    settings = {
        variable_of(section, key)
        for section, of in fields_of(Settings).items()
        if section != "sinks"
        for key in fields_of(of.type)
    }
    code = "".join(
        path.read_text() for room in ("ingest", "store", "stream") for path in (ROOT / room).rglob("*.py")
    )
    ours = {name for name in variables() if name.startswith("THERMOGRAD_")}
    assert ours
    assert ours - settings <= set(re.findall(r"\bTHERMOGRAD_\w+", code + (ROOT / "cli.py").read_text()))


def test_no_secret_stands_in_a_manifest():
    for one in containers():
        plain = {variable["name"] for variable in one.get("env", []) if "value" in variable}
        assert not {name for name in plain if SECRETS.search(name)}
        assert not SECRETS.search(" ".join(one.get("args", [])))
    assert all(document["kind"] != "Secret" for path in PAGES for document in documents(path))
    literals = [m for p in kustomizations() for m in documents(p)[0].get("configMapGenerator", [])]
    assert not SECRETS.search(json.dumps(literals))


def test_every_layer_names_the_registry_for_the_images_that_it_adds():
    for path in kustomizations():
        (document,) = documents(path)
        added = [path.parent / name for name in document["resources"] if name.endswith(".yaml")]
        if any("image: thermograd" in page.read_text() for page in added):
            assert [image["name"] for image in document["images"]] == ["thermograd"]


def test_every_volume_that_is_mounted_is_there_and_every_file_that_is_named():
    for name, pod in pods().items():
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        every = [*pod.get("initContainers", []), *pod["containers"]]
        assert {mount["name"] for one in every for mount in one.get("volumeMounts", [])} <= volumes, name
    for path in kustomizations():
        (document,) = documents(path)
        files = [file for map_ in document.get("configMapGenerator", []) for file in map_.get("files", [])]
        assert all((path.parent / file).exists() for file in [*document["resources"], *files])


# -- the node's labels -------------------------------------------------------------------------------


class _Kubernetes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = self.headers["Authorization"] == "Bearer the-token" and self.path == "/api/v1/nodes/gpu-7"
        labels = {"topology.kubernetes.io/rack": "r12", "other": "x", "empty": ""}
        self.send_response(200 if allowed else 403)
        self.end_headers()
        self.wfile.write(json.dumps({"metadata": {"labels": labels}}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("node_labels", KUBERNETES / "node_labels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def kubernetes() -> Any:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Kubernetes) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_labels_of_the_node_become_labels_of_the_host(script, kubernetes, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("the-token\n")
    monkeypatch.setattr(script.labels_of_node, "__defaults__", (tmp_path,))
    monkeypatch.setattr("sys.argv", ["node_labels.py", str(tmp_path / "thermograd.toml")])
    for name, value in {
        "NODE_NAME": "gpu-7",
        "KUBERNETES_API": kubernetes,
        "NODE_LABELS": "topology.kubernetes.io/rack=rack, empty=nothing, absent=zone",
    }.items():
        monkeypatch.setenv(name, value)
    script.main()
    given = host_labels({"THERMOGRAD_CONFIG": str(tmp_path / "thermograd.toml")})
    assert given == {"node": "gpu-7", "rack": "r12"}


def test_without_kubernetes_the_node_has_its_name(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["node_labels.py", str(tmp_path / "thermograd.toml")])
    monkeypatch.setattr(script.labels_of_node, "__defaults__", (tmp_path,))
    monkeypatch.setenv("NODE_NAME", "gpu-7")
    script.main()
    assert tomllib.loads((tmp_path / "thermograd.toml").read_text()) == {"labels": {"node": "gpu-7"}}
    assert "the labels of node gpu-7 cannot be read" in capsys.readouterr().err


# -- the Dockerfile ----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "deploy" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_dockerfile_is_one_installs_extras_that_there_are_and_ends_without_root():
    known = {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"
    runs = " ".join(rest for word, rest in instructions() if word == "RUN")
    extras = re.search(r"\$\{wheel\}\[([\w,]+)\]", runs).group(1).split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    last = dict(instructions())
    assert last["USER"].partition(":")[0].isdigit()
    assert int(last["USER"].partition(":")[0]) > 0
    assert json.loads(last["ENTRYPOINT"]) == ["thermograd"]
    understood(json.loads(last["CMD"]))
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
