"""Makes kubeconform's schemas from the API's own description and the operators' CRDs.

Usage: schemas.py SWAGGER.json OUT CRD.yaml...

Every schema is strict: an object that has named members takes no other, so that a misspelt field is found. kubeconform's own schemas
come from a server that a build machine need not reach.
"""

import json
import pathlib
import sys

import yaml

# The CRD of the Secrets Store CSI driver is in no Go module that can be had; this is what the chart uses of it.
SECRET_PROVIDER_CLASS = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["provider"],
            "properties": {
                "provider": {"type": "string"},
                "parameters": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
    },
}
INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
QUANTITY = {"oneOf": [{"type": "string"}, {"type": "number"}]}


def strict(node):
    """The same schema, taking no member that it does not name."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    made = {key: strict(value) for key, value in node.items() if key != "description"}
    if isinstance(node.get("properties"), dict) and "description" in node["properties"]:
        made["properties"] = {key: strict(value) for key, value in node["properties"].items()}
    named = isinstance(made.get("properties"), dict) and node.get("type", "object") == "object"
    if named and "additionalProperties" not in made and not node.get("x-kubernetes-preserve-unknown-fields"):
        made["additionalProperties"] = False
    return made


def referenced(node, found, definitions):
    """Adds to `found` the names of all definitions that a schema leads to."""
    if isinstance(node, list):
        for item in node:
            referenced(item, found, definitions)
    elif isinstance(node, dict):
        to = node.get("$ref")
        name = to.removeprefix("#/definitions/") if isinstance(to, str) else None
        if name and name not in found:
            found.add(name)
            referenced(definitions[name], found, definitions)
        for value in node.values():
            referenced(value, found, definitions)


def write(out, group, version, kind, schema):
    suffix = "-".join(part for part in (group.split(".")[0], version) if part)
    (out / f"{kind.lower()}-{suffix}.json").write_text(json.dumps(schema), encoding="utf-8")


def of_the_api(swagger, out):
    definitions = json.loads(pathlib.Path(swagger).read_text(encoding="utf-8"))["definitions"]
    made = {name: strict(schema) for name, schema in definitions.items()}
    made["io.k8s.apimachinery.pkg.api.resource.Quantity"] = QUANTITY
    made["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = INT_OR_STRING
    for name, schema in definitions.items():
        for kind in schema.get("x-kubernetes-group-version-kind", []):
            found = set()
            referenced(made[name], found, made)
            whole = {**made[name], "definitions": {one: made[one] for one in found}}
            write(out, kind["group"], kind["version"], kind["kind"], whole)


def of_a_crd(path, out):
    crd = yaml.safe_load(pathlib.Path(path).read_text(encoding="utf-8"))["spec"]
    for version in crd["versions"]:
        schema = strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {"metadata": {"type": "object"}}
        write(out, crd["group"], version["name"], crd["names"]["kind"], schema)


def main():
    swagger, folder, *crds = sys.argv[1:]
    out = pathlib.Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    of_the_api(swagger, out)
    for crd in crds:
        of_a_crd(crd, out)
    write(out, "secrets-store.csi.x-k8s.io", "v1", "SecretProviderClass", strict(SECRET_PROVIDER_CLASS))


if __name__ == "__main__":
    main()
