#!/usr/bin/env python3
"""Brings an existing realm to what realm.json beside this file says, over Keycloak's Admin REST API.

  KEYCLOAK_ADMIN_TOKEN=… configure.py https://auth.example.com healthcare            says what differs and changes it
  KEYCLOAK_ADMIN_TOKEN=… configure.py https://auth.example.com healthcare --check    only says it; exits 1 if anything differs

The token is an administrator's, as `kcadm.sh config credentials` or the token endpoint of the realm `master` gives it.
Placeholders of realm.json (${NAME} and ${NAME:default}) are taken from the environment: KEYCLOAK_CLIENT_SECRET,
SAFEGUARD_PUBLIC_URL, SAFEGUARD_ACCOUNT_URL. What realm.json does not speak of stays as it is: users, other clients and
scopes, themes, identity providers. Flows are made once under names that begin with "safeguard"; a flow of that name is kept.
A second run changes nothing. KEYCLOAK_CA names a PEM file of authorities that are trusted beside the system's.
"""

import json
import os
import pathlib
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

# Lists of the realm that have requests of their own, below.
APART = {"realm", "displayName", "webAuthnPolicyRpEntityName", "clients", "clientScopes", "authenticationFlows", "authenticatorConfig", "roles", "users", "components"}
APART |= {"defaultDefaultClientScopes", "defaultOptionalClientScopes", "browserFlow"}


def filled(match: re.Match[str]) -> str:
    name, default = match[1], match[2]
    value = os.environ.get(name, default)
    if value is None:
        sys.exit(f"{name} is not set: realm.json needs it")
    return json.dumps(value)[1:-1]


def quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")


class Realm:
    def __init__(self, server: str, realm: str, only_check: bool) -> None:
        self.base = f"{server.rstrip('/')}/admin/realms/{quoted(realm)}"
        self.only_check = only_check
        self.differences = 0
        self.tls = ssl.create_default_context()
        if "KEYCLOAK_CA" in os.environ:
            self.tls.load_verify_locations(os.environ["KEYCLOAK_CA"])

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {os.environ['KEYCLOAK_ADMIN_TOKEN']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            sys.exit(f"{method} {path or '/'}: {error.code} {error.read()[:300].decode(errors='replace')}")
        return json.loads(said) if said else None

    def change(self, what: str, method: str, path: str, body: Any) -> None:
        self.differences += 1
        print(what)
        if not self.only_check:
            self.ask(method, path, body)

    def settings(self, what: str, path: str, wanted: dict[str, Any]) -> None:
        """Lays `wanted` over what is there; maps member by member, lists as sets of what they hold."""
        found = self.ask("GET", path)
        other = {key: value for key, value in wanted.items() if not same(found.get(key), value)}
        if other:
            whole = found | {key: laid_over(found.get(key), value) for key, value in other.items()}
            self.change(f"{what}: {', '.join(sorted(other))}", "PUT", path, whole)

    def named(self, path: str, member: str) -> dict[str, Any]:
        return {item[member]: item for item in self.ask("GET", path)}


def same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(same(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and sorted(map(json.dumps, found)) == sorted(map(json.dumps, wanted))
    return found == wanted


def laid_over(found: Any, wanted: Any) -> Any:
    return found | wanted if isinstance(found, dict) and isinstance(wanted, dict) else wanted


def roles(realm: Realm, wanted: dict[str, Any]) -> None:
    there = realm.named("/roles", "name")
    for role in wanted["roles"]["realm"]:
        if role["name"] not in there:
            realm.change(f"role {role['name']}: new", "POST", "/roles", role)


def scopes(realm: Realm, wanted: dict[str, Any]) -> None:
    there = realm.named("/client-scopes", "name")
    for scope in wanted["clientScopes"]:
        name = scope["name"]
        if name not in there:
            realm.change(f"client scope {name}: new", "POST", "/client-scopes", scope)
            continue
        realm.settings(f"client scope {name}", f"/client-scopes/{there[name]['id']}", {"attributes": scope["attributes"]})
        mappers = {mapper["name"]: mapper for mapper in there[name].get("protocolMappers", [])}
        path = f"/client-scopes/{there[name]['id']}/protocol-mappers/models"
        for mapper in scope.get("protocolMappers", []):
            found = mappers.get(mapper["name"])
            if found is None:
                realm.change(f"client scope {name}: mapper {mapper['name']}: new", "POST", path, mapper)
            elif not same(found, mapper):
                body = found | {"config": found["config"] | mapper["config"], "protocolMapper": mapper["protocolMapper"]}
                realm.change(f"client scope {name}: mapper {mapper['name']}", "PUT", f"{path}/{found['id']}", body)


def flows(realm: Realm, wanted: dict[str, Any]) -> None:
    """The flow for browsers with what is below it, made from the top; then it is the one that is used."""
    by_alias = {flow["alias"]: flow for flow in wanted["authenticationFlows"]}
    configs = {config["alias"]: config for config in wanted["authenticatorConfig"]}
    top = wanted["browserFlow"]

    def fill(alias: str) -> None:
        path = f"/authentication/flows/{quoted(alias)}/executions"
        for step in by_alias[alias]["authenticationExecutions"]:
            below = step.get("flowAlias")
            if below:
                body = {"alias": below, "type": "basic-flow", "provider": "", "description": by_alias[below]["description"]}
                realm.ask("POST", f"{path}/flow", body)
            else:
                realm.ask("POST", f"{path}/execution", {"provider": step["authenticator"]})
            # The newest of this kind on this level is the last.
            steps = [one for one in realm.ask("GET", path) if one["level"] == 0]
            realm.ask("PUT", path, steps[-1] | {"requirement": step["requirement"]})
            if "authenticatorConfig" in step:
                realm.ask("POST", f"/authentication/executions/{steps[-1]['id']}/config", configs[step["authenticatorConfig"]])
            if below:
                fill(below)

    if top not in realm.named("/authentication/flows", "alias"):
        flow = {key: by_alias[top][key] for key in ("alias", "description", "providerId", "topLevel", "builtIn")}
        realm.change(f"flow {top}: new", "POST", "/authentication/flows", flow)
        if not realm.only_check:
            fill(top)
    realm.settings("realm", "", {"browserFlow": top})


def clients(realm: Realm, wanted: dict[str, Any]) -> None:
    there = realm.named("/clients", "clientId")
    ids = {scope["name"]: scope["id"] for scope in realm.ask("GET", "/client-scopes")}
    for client in wanted["clients"]:
        name = client["clientId"]
        if name not in there:
            realm.change(f"client {name}: new", "POST", "/clients", client)
            continue
        path = f"/clients/{there[name]['id']}"
        lists = {"defaultClientScopes": "default-client-scopes", "optionalClientScopes": "optional-client-scopes"}
        realm.settings(f"client {name}", path, {key: value for key, value in client.items() if key not in lists})
        for member, below in lists.items():
            for scope in set(client[member]) - set(there[name].get(member, [])):
                identifier = ids.get(scope, "new")
                realm.change(f"client {name}: scope {scope}", "PUT", f"{path}/{below}/{identifier}", {})


def service_accounts(realm: Realm, wanted: dict[str, Any]) -> None:
    there = realm.named("/clients", "clientId")
    for user in wanted["users"]:
        name = user["serviceAccountClientId"]
        if name not in there:
            print(f"service account of {name}: its roles")
            continue
        account = realm.ask("GET", f"/clients/{there[name]['id']}/service-account-user")
        for client, names in user["clientRoles"].items():
            path = f"/users/{account['id']}/role-mappings/clients/{there[client]['id']}"
            has = {role["name"] for role in realm.ask("GET", path)}
            can = realm.named(f"/clients/{there[client]['id']}/roles", "name")
            if missing := [role for role in names if role not in has]:
                what = f"service account of {name}: roles {', '.join(missing)} of {client}"
                realm.change(what, "POST", path, [can[role] for role in missing])


def main() -> None:
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 2:
        sys.exit(__doc__)
    text = pathlib.Path(__file__).with_name("realm.json").read_text()
    wanted = json.loads(re.sub(r"\$\{([A-Z_]+)(?::([^}]*))?\}", filled, text))
    realm = Realm(arguments[0], arguments[1], "--check" in sys.argv)
    realm.settings("realm", "", {key: value for key, value in wanted.items() if key not in APART})
    for part in (roles, scopes, flows, clients, service_accounts):
        part(realm, wanted)
    print("nothing differs" if realm.differences == 0 else f"{realm.differences} differences")
    sys.exit(1 if realm.only_check and realm.differences else 0)


main()
