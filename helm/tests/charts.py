"""What the tests of the chart share: helm, the rendered objects, the values and their comments."""

import functools
import json
import os
import pathlib
import re
import subprocess
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "safeguard"
CI = sorted((CHART / "ci").glob("*-values.yaml"))
HELM = os.environ.get("HELM", "helm")
# The program whose configuration the chart writes, built from the same source.
SAFEGUARD = os.environ.get("SAFEGUARD_BIN", str(ROOT / "target" / "debug" / "safeguard"))
RELEASE, NAMESPACE = "rel", "clinic"


class Refused(Exception):
    """What helm said when it refused values."""


def values(name):
    """The values of a file in ci/, by the word before `-values.yaml`."""
    return yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text(encoding="utf-8"))


def merged(base, over):
    """`over` put into `base`, maps by key; an empty one replaces."""
    if not (isinstance(base, dict) and isinstance(over, dict) and over):
        return over
    return {**base, **{key: merged(base.get(key), value) for key, value in over.items()}}


def helm(given, *command):
    """What a command of helm prints for the chart with these values, a map or a file's text."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        file.write(given if isinstance(given, str) else yaml.safe_dump(given))
        file.flush()
        whole = [HELM, *command, RELEASE, str(CHART), "--namespace", NAMESPACE, "--values", file.name]
        ended = subprocess.run(whole, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Refused(ended.stderr)
    return ended.stdout


def text(given):
    """What helm renders of these values."""
    return helm(given, "template")


def notes(given):
    """What helm tells whoever installs it with these values."""
    return helm(given, "install", "--dry-run=client").split("NOTES:\n", 1)[1]


def objects(given):
    """The objects that helm renders of these values."""
    return [one for one in yaml.safe_load_all(text(given)) if one]


@functools.cache
def of_ci(name):
    """The objects of a file in ci/."""
    return objects(values(name))


def names_of_ci():
    return [path.name.removesuffix("-values.yaml") for path in CI]


def of_kind(all_objects, kind):
    return [one for one in all_objects if one["kind"] == kind]


def pod(all_objects):
    """The pod's template of the one StatefulSet."""
    (workload,) = of_kind(all_objects, "StatefulSet")
    return workload["spec"]["template"]


def sidecar(all_objects):
    return pod(all_objects)["spec"]["initContainers"][0]


def containers(all_objects):
    spec = pod(all_objects)["spec"]
    return spec["initContainers"] + spec["containers"]


def configuration(all_objects):
    """The configuration's files by name, as the sidecar finds them in /etc/safeguard."""
    maps = [one for one in of_kind(all_objects, "ConfigMap") if one["metadata"]["name"].startswith(f"{RELEASE}-safeguard")]
    return {name: body for one in maps for name, body in one["data"].items() if name.endswith(".yaml")}


def flow(path):
    """The default of a value that is written over several lines, in one."""
    value = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for name in path.split("."):
        value = value[name]
    return json.dumps(value).replace('"', "")


def documented_values():
    """(path, default, comment, line) of every value in values.yaml that is no mere parent; the comment is None where there is none."""
    rows, stack, comment = [], [], None
    for number, line in enumerate((CHART / "values.yaml").read_text(encoding="utf-8").splitlines(), 1):
        if found := re.match(r"\s*# -- (.*)", line):
            comment = found[1]
            continue
        if not (found := re.match(r"( *)([A-Za-z][A-Za-z0-9]*):(.*)$", line)):
            continue
        depth = len(found[1])
        stack = [(at, name) for at, name in stack if at < depth] + [(depth, found[2])]
        path = ".".join(name for _, name in stack)
        default = found[3].strip()
        if (default or comment) and not any(path.startswith(row[0] + ".") for row in rows):
            rows.append((path, default or flow(path), comment, number))
        comment = None
    return rows
