"""The chart's claims, each held against what helm really renders, and the configuration against the real program."""

import json
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

import charts
from charts import configuration, containers, merged, of_ci, of_kind, pod, sidecar, values


class Pod(unittest.TestCase):
    def each(self):
        """Every file of ci/, as a sub-test."""
        for name in charts.names_of_ci():
            with self.subTest(name):
                yield name, of_ci(name)

    def test_the_sidecar_is_native_and_the_first_to_start(self):
        for _, rendered in self.each():
            self.assertEqual((sidecar(rendered)["name"], sidecar(rendered)["restartPolicy"]), ("safeguard", "Always"))

    def test_every_container_is_as_pod_security_restricted_wants_it(self):
        for name, rendered in self.each():
            spec = pod(rendered)["spec"]
            self.assertFalse(spec["hostNetwork"] or spec["shareProcessNamespace"] or spec.get("hostPID") or spec.get("hostIPC"))
            kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
            self.assertLessEqual(kinds, {"configMap", "csi", "emptyDir", "persistentVolumeClaim", "projected", "secret"})
            for container in containers(rendered):
                security = container["securityContext"]
                self.assertIs(security["runAsNonRoot"], True)
                self.assertIs(security["allowPrivilegeEscalation"], False)
                self.assertIs(security["readOnlyRootFilesystem"], True)
                self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                self.assertEqual(security["seccompProfile"]["type"], "RuntimeDefault")
                if name != "openshift":
                    self.assertGreater(security["runAsUser"], 10_000)

    def test_openshift_gives_users_and_groups_itself(self):
        rendered = of_ci("openshift")
        for security in [pod(rendered)["spec"]["securityContext"], *(one["securityContext"] for one in containers(rendered))]:
            self.assertFalse({"runAsUser", "runAsGroup", "fsGroup"} & security.keys())

    def test_every_container_has_requests_and_limits(self):
        for _, rendered in self.each():
            for container in containers(rendered):
                for side in ("requests", "limits"):
                    self.assertEqual(set(container["resources"][side]), {"cpu", "memory", "ephemeral-storage"}, container["name"])

    def test_a_log_in_the_pods_own_storage_may_grow_to_its_size(self):
        rendered = of_ci("openshift")
        self.assertEqual(sidecar(rendered)["resources"]["limits"]["ephemeral-storage"], "16Gi")
        (volume,) = [volume for volume in pod(rendered)["spec"]["volumes"] if volume["name"] == "audit"]
        self.assertEqual(volume["emptyDir"], {"sizeLimit": "16Gi"})

    def test_services_and_containers_name_the_sidecars_port_alone(self):
        for name, rendered in self.each():
            behind = values(name)["upstream"].get("port", 3000)
            named = {port["containerPort"] for container in containers(rendered) for port in container.get("ports", [])}
            self.assertNotIn(behind, named)
            for service in of_kind(rendered, "Service"):
                targets = {port["targetPort"] for port in service["spec"]["ports"]}
                self.assertIn(targets, ({8443}, {9464}), service["metadata"]["name"])

    def test_the_servers_place_is_on_loopback(self):
        for _, rendered in self.each():
            fixed = yaml.safe_load(configuration(rendered)["chart-fixed.yaml"])
            self.assertRegex(fixed["upstream"]["url"], r"^http://127\.0\.0\.1:\d+/")

    def test_what_is_mounted_is_there_and_nothing_is_mounted_by_subpath(self):
        for _, rendered in self.each():
            there = {volume["name"] for volume in pod(rendered)["spec"]["volumes"]}
            claims = of_kind(rendered, "StatefulSet")[0]["spec"].get("volumeClaimTemplates", [])
            there |= {claim["metadata"]["name"] for claim in claims}
            mounts = [mount for container in containers(rendered) for mount in container.get("volumeMounts", [])]
            self.assertEqual({mount["name"] for mount in mounts}, there)
            self.assertFalse([mount for mount in mounts if "subPath" in mount])

    def test_the_audit_log_and_the_secrets_are_mounted_in_the_sidecar_alone(self):
        for _, rendered in self.each():
            for container in containers(rendered)[1:]:
                mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
                self.assertFalse(mounted & {"audit", "secrets", "tls", "token", "config"}, container["name"])

    def test_probes_name_no_host_and_the_start_does_not_wait_for_readiness(self):
        for _, rendered in self.each():
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = sidecar(rendered)[kind]
                self.assertNotIn("host", probe.get("httpGet", {}))
            start = sidecar(rendered)["startupProbe"]
            self.assertTrue(start.get("httpGet", {}).get("path") == "/livez" or "--live" in start["exec"]["command"])

    def test_the_upstream_outlives_the_drain_and_the_pod_gives_both_their_time(self):
        for _, rendered in self.each():
            self.assertIn("drain", sidecar(rendered)["lifecycle"]["preStop"]["exec"]["command"])
            sleep = containers(rendered)[1]["lifecycle"]["preStop"]["sleep"]["seconds"]
            self.assertGreaterEqual(sleep, 20)
            self.assertGreater(pod(rendered)["spec"]["terminationGracePeriodSeconds"], sleep + 5)

    def test_no_container_gets_a_token_of_the_api_server_unless_the_sidecar_is_given_one(self):
        for name, rendered in self.each():
            self.assertIs(pod(rendered)["spec"]["automountServiceAccountToken"], False)
            has_token = "token" in {volume["name"] for volume in pod(rendered)["spec"]["volumes"]}
            self.assertEqual(has_token, name == "own-objects")


class Configuration(unittest.TestCase):
    def checked(self, files):
        """The real program's judgement of configuration files."""
        with tempfile.TemporaryDirectory() as folder:
            for name, body in files.items():
                pathlib.Path(folder, name).write_text(body, encoding="utf-8")
            environment = {"PGPASSWORD": "x", "PATH": ""}
            command = [charts.SAFEGUARD, "check", "--config", folder]
            return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    def test_the_program_accepts_what_the_chart_writes(self):
        for name in charts.names_of_ci():
            with self.subTest(name):
                files = configuration(of_ci(name))
                if name == "own-objects":
                    files["own.yaml"] = self.policy_of_a_team()
                ended = self.checked(files)
                self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def policy_of_a_team(self):
        config = values("minimal")["config"]
        own = {key: config[key] for key in ("authentication", "phi", "roles", "clients", "tools")}
        own["keys"] = {ring: config["keys"][ring] for ring in ("integrity", "audit")}
        return yaml.safe_dump(own)

    def test_numbers_and_dates_reach_the_program_as_they_were_written(self):
        given = (charts.CHART / "ci" / "production-values.yaml").read_text(encoding="utf-8").replace('"2026-11-01"', "2026-11-01")
        files = configuration([one for one in yaml.safe_load_all(charts.text(given)) if one])
        self.assertIn("max_bytes: 32212254720\n", files["chart-fixed.yaml"])
        self.assertIn('from: "2026-11-01"\n', files["chart-policy.yaml"])
        self.assertEqual(self.checked(files).returncode, 0)

    def test_every_section_of_the_program_may_stand_in_the_values(self):
        told = subprocess.run([charts.SAFEGUARD, "schema"], capture_output=True, text=True, check=True)
        schema = json.loads((charts.CHART / "values.schema.json").read_text(encoding="utf-8"))
        self.assertEqual(set(schema["properties"]["config"]["properties"]), set(json.loads(told.stdout)["properties"]))

    def test_a_change_of_the_policy_restarts_nothing_and_one_of_the_rest_does(self):
        base = values("minimal")
        was = pod(of_ci("minimal"))
        for change, restarts in [
            ({"tools": {"ping_lab": {"operation": "none", "roles": "any", "patient": "none"}}}, False),
            ({"roles": {"clerk": {"purposes": ["HPAYMT"]}}}, False),
            ({"keys": {"phi": [{"id": "b", "from": "2027-01-01", "source": "${file:/run/safeguard/secrets/b}"}]}}, False),
            ({"authentication": {"jwt": {"previous": {"secret": "${file:/run/safeguard/secrets/jwt-before}", "until": "2026-12-02"}}}}, False),
            ({"listen": {"limits": {"requests_max": 10}}}, True),
            ({"authentication": {"clock_skew_seconds": 5}}, True),
            ({"keys": {"audit": [{"id": "b", "from": "2026-01-01", "source": "${file:/run/safeguard/secrets/b}"}]}}, True),
        ]:
            with self.subTest(change):
                is_now = pod(charts.objects(merged(base, {"config": change})))
                self.assertEqual(is_now != was, restarts)

    def test_the_halves_are_those_of_the_manual(self):
        manual = (charts.ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
        taken_up, restart = re.search(r"## What a reload takes up\n\n(.*?)\n\n", manual, re.S)[1].split("A change of", 1)
        rendered = configuration(of_ci("production"))
        for section in yaml.safe_load(rendered["chart-policy.yaml"]):
            self.assertIn(f"`{section}", taken_up)
        for section in yaml.safe_load(rendered["chart-fixed.yaml"]):
            self.assertIn(f"`{section}", restart)


class Secrets(unittest.TestCase):
    def test_a_secret_in_clear_is_refused_by_its_place(self):
        key = "kq2cVn0mXkYb9o0j2l1dE8v7e0p4s6t8u0w2y4A6C8E="
        for path, config in [
            ("authentication.jwt.secret", {"authentication": {"jwt": {"secret": "correct horse battery staple 2026"}}}),
            ("keycloak.client_secret", {"keycloak": {"client_secret": "${SECRET:-hunter2}"}}),
            ("audit_logging.output[0].password", {"audit_logging": {"output": [{"type": "postgresql", "password": "hunter2"}]}}),
            ("audit_logging.output[0].token", {"audit_logging": {"output": [{"type": "siem", "protocol": "hec", "token": "hunter2"}]}}),
            ("audit_logging.output[0].endpoint", {"audit_logging": {"output": [{"type": "siem", "endpoint": "https://u:hunter2@siem"}]}}),
            ("key_sources.transit.token", {"key_sources": {"transit": {"token": "hvs.hunter2"}}}),
            ("key_sources.infisical.universal_auth.client_secret", {"key_sources": {"infisical": {"universal_auth": {"client_secret": "x"}}}}),
            ("keys.phi[0].source", {"keys": {"phi": [{"id": "a", "from": "2026-01-01", "source": key}]}}),
            ("keys.audit[0].source", {"keys": {"audit": [{"id": "a", "from": "2026-01-01", "source": "hex:00"}]}}),
        ]:
            with self.subTest(path), self.assertRaisesRegex(charts.Refused, re.escape(f"config.{path} stands there in clear")) as refused:
                charts.text(merged(values("minimal"), {"config": config}))
            self.assertNotRegex(str(refused.exception), "hunter2|kq2c|horse")

    def test_the_chart_makes_no_secret_and_takes_none_as_an_extra_object(self):
        for name in charts.names_of_ci():
            self.assertEqual(of_kind(of_ci(name), "Secret"), [])
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {"a": "b"}}
        with self.assertRaisesRegex(charts.Refused, r"extraObjects\[0\] is a Secret"):
            charts.text(merged(values("minimal"), {"extraObjects": [secret]}))

    def test_a_secret_in_clear_in_the_environment_is_refused_and_a_path_is_not(self):
        for name in ("PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "PHI_KEY", "keycloak_client_secret"):
            with self.assertRaisesRegex(charts.Refused, rf"sidecar.env\[0\] \({name}\) has a secret's name and its value in clear"):
                charts.text(merged(values("minimal"), {"sidecar": {"env": [{"name": name, "value": "hunter2"}]}}))
        paths = [{"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/run/token"}, {"name": "PGUSER", "value": "audit_writer"}]
        charts.text(merged(values("minimal"), {"sidecar": {"env": paths}}))

    def test_keys_are_readable_to_their_group_and_to_no_others(self):
        for name in charts.names_of_ci():
            for volume in pod(of_ci(name))["spec"]["volumes"]:
                if "secret" in volume:
                    self.assertEqual(volume["secret"]["defaultMode"], 0o440, volume["name"])


# What more than one replica need.
SHARED = {
    "replicaCount": 2,
    "config": {"sessions": {"store": "${file:/run/safeguard/secrets/redis-url}"}},
    "networkPolicy": {"egress": {"restrict": False}},
}


class Replicas(unittest.TestCase):
    def test_replicas_share_their_sessions_and_nothing_else(self):
        rendered = of_ci("replicas")
        fixed = yaml.safe_load(configuration(rendered)["chart-fixed.yaml"])
        self.assertEqual(fixed["sessions"], {"store": "${file:/run/safeguard/secrets/redis-url}", "replicas": 3})
        (stateful,) = of_kind(rendered, "StatefulSet")
        self.assertEqual(stateful["spec"]["replicas"], 3)
        self.assertEqual([claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]], ["audit"])

    def test_replicas_keep_to_different_nodes_unless_the_values_say_otherwise(self):
        (term,) = pod(of_ci("replicas"))["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        self.assertLessEqual(term["podAffinityTerm"]["labelSelector"]["matchLabels"].items(), pod(of_ci("replicas"))["metadata"]["labels"].items())
        own = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}
        given = charts.objects(merged(values("replicas"), {"affinity": own}))
        self.assertIn("requiredDuringSchedulingIgnoredDuringExecution", pod(given)["spec"]["affinity"]["podAntiAffinity"])
        self.assertNotIn("affinity", pod(of_ci("minimal"))["spec"])

    def test_a_clients_requests_come_to_one_replica_as_long_as_its_session_may_idle(self):
        service = of_kind(of_ci("replicas"), "Service")[0]["spec"]
        self.assertEqual(service["sessionAffinity"], "ClientIP")
        self.assertEqual(service["sessionAffinityConfig"], {"clientIP": {"timeoutSeconds": 1800}})
        self.assertNotIn("sessionAffinity", of_kind(of_ci("minimal"), "Service")[0]["spec"])

    def test_another_number_of_replicas_restarts_those_that_are_there(self):
        few, many = (merged(values("replicas"), {"replicaCount": count}) for count in (2, 3))
        self.assertNotEqual(pod(charts.objects(few)), pod(charts.objects(many)))


class Refusals(unittest.TestCase):
    def test_what_the_product_does_not_have_or_the_chart_decides_is_refused_in_words(self):
        for words, given in [
            ("replicaCount is 2, and login sessions are kept in each sidecar's memory", {"replicaCount": 2}),
            ("two sidecars can't write one audit log", {**SHARED, "persistence": {"existingClaim": "audit"}}),
            ("is on the volume of one replica", merged(SHARED, {"config": {"phi": {"patient_keys": {"directory": "/var/lib/safeguard/keys"}}}})),
            ("config.sessions.replicas is decided by the chart", {"config": {"sessions": {"replicas": 2}}}),
            ("config.sessions.store stands there in clear", {"config": {"sessions": {"store": "rediss://safeguard:hunter2@redis:6379"}}}),
            ("autoscaling.enabled is true, and this version does not scale by itself", {"autoscaling": {"enabled": True}}),
            ("names servers .sessions. that could then not be reached", {"config": {"sessions": {"store": "${file:/run/safeguard/secrets/redis-url}"}}}),
            ("pkcs11 loads a vendor's library", {"config": {"key_sources": {"pkcs11": {"module": "/x.so"}}}}),
            ("config.profile is development", {"config": {"profile": "development"}}),
            ("config.listen.address is decided by the chart", {"config": {"listen": {"address": "0.0.0.0:1"}}}),
            ("config.tls.key_file is decided by the chart", {"config": {"tls": {"key_file": "/x"}}}),
            ("config.audit_logging.spool.directory is decided", {"config": {"audit_logging": {"spool": {"directory": "/x"}}}}),
            ("image.repository is empty", {"image": {"repository": ""}}),
            ("neither tag nor digest", {"upstream": {"image": {"tag": ""}}}),
            ("secrets.existingSecret.name is empty", {"secrets": {"existingSecret": {"name": ""}}}),
            ("tls.certManager.issuerRef.name is empty", {"tls": {"source": "certManager"}}),
            ("config.roles is missing", {"config": {"roles": {}}}),
            ("config.listen.public_url is missing", {"config": {"listen": {"public_url": ""}}}),
            ("allowed_dns_names is missing", {"config": {"tls": {"mutual_tls": {"allowed_dns_names": []}}}}),
            ("must differ", {"upstream": {"port": 8443}}),
            ("must differ", {"account": {"enabled": True, "targetPort": 9464}}),
            ("are both 443", {"account": {"enabled": True, "port": 443}}),
            ("config.listen.account is decided by the chart", {"config": {"listen": {"account": {"address": "0.0.0.0:8444"}}}}),
            ("terminationGracePeriodSeconds is 30: at least 45", {"terminationGracePeriodSeconds": 30, "upstream": {"preStopSleepSeconds": 40}}),
            ("only copy of the audit log", {"persistence": {"type": "emptyDir"}}),
            ("is less than the spool may take", {"persistence": {"size": "9Gi"}}),
            ("counted twice", {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}),
            ("no Prometheus reaches", {"podMonitor": {"enabled": True}, "admin": {"exposure": "loopback"}}),
            ("names servers .keycloak. that could then not be reached", {"config": {"keycloak": {"realm": "x"}}}),
            ("set serviceAccount.token.enabled", {"config": {"key_sources": {"transit": {"kubernetes": {"role": "x"}}}}}),
        ]:
            with self.subTest(words), self.assertRaisesRegex(charts.Refused, words):
                charts.text(merged(values("minimal"), given))

    def test_a_probe_that_asks_the_pods_address_for_the_server_is_refused(self):
        for probe in ({"httpGet": {"path": "/", "port": 3000}}, {"tcpSocket": {"port": 3000}}):
            with self.assertRaisesRegex(charts.Refused, "/upstream/readinessProbe"):
                charts.text(merged(values("minimal"), {"upstream": {"readinessProbe": probe}}))

    def test_a_container_with_more_rights_is_refused(self):
        for security in ({"allowPrivilegeEscalation": True}, {"runAsNonRoot": False}, {"capabilities": {"drop": []}}, {"privileged": True}):
            for container in ("sidecar", "upstream"):
                with self.assertRaisesRegex(charts.Refused, f"/{container}/securityContext"):
                    charts.text(merged(values("minimal"), {container: {"securityContext": security}}))

    def test_a_misspelt_key_is_refused_wherever_it_stands(self):
        defaults = yaml.safe_load((charts.CHART / "values.yaml").read_text(encoding="utf-8"))
        free = {"commonLabels", "nodeSelector", "podAnnotations", "podLabels", "affinity", "dnsConfig"}
        for section, inner in defaults.items():
            if isinstance(inner, dict) and section not in free:
                with self.subTest(section), self.assertRaisesRegex(charts.Refused, "misspelt"):
                    charts.text(merged(values("minimal"), {section: {"misspelt": 1}}))
        with self.assertRaisesRegex(charts.Refused, "misspelt"):
            charts.text(merged(values("minimal"), {"misspelt": 1}))


class Around(unittest.TestCase):
    def test_by_default_only_the_clusters_own_kinds_are_made(self):
        kinds = sorted(one["kind"] for one in of_ci("minimal"))
        self.assertEqual(kinds, ["ConfigMap", "ConfigMap", "NetworkPolicy", "Service", "Service", "ServiceAccount", "StatefulSet"])

    def test_the_network_policy_opens_the_sidecars_ports_alone(self):
        (policy,) = of_kind(of_ci("production"), "NetworkPolicy")
        ports = [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]
        self.assertEqual((ports, policy["spec"]["policyTypes"]), ([8443, 9464], ["Ingress", "Egress"]))

    def test_the_port_of_accounts_is_there_when_it_is_asked_for_and_for_those_who_are_named(self):
        self.assertNotIn("8444", charts.text(values("production")))
        provider = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keycloak"}}}]
        given = {"account": {"enabled": True}, "networkPolicy": {"ingress": {"accountFrom": provider}}}
        rendered = charts.objects(merged(values("production"), given))
        (policy,) = of_kind(rendered, "NetworkPolicy")
        self.assertIn({"ports": [{"port": 8444, "protocol": "TCP"}], "from": provider}, policy["spec"]["ingress"])
        self.assertIn(8444, [port["containerPort"] for port in sidecar(rendered)["ports"]])
        services = of_kind(rendered, "Service")
        self.assertIn(8444, [port["port"] for service in services for port in service["spec"]["ports"]])
        account = yaml.safe_load(configuration(rendered)["chart-fixed.yaml"])["listen"]["account"]
        self.assertEqual(account["address"], "0.0.0.0:8444")
        self.assertTrue(set(account["hosts"]) & {service["metadata"]["name"] for service in services})

    def test_on_loopback_the_admin_port_is_named_nowhere(self):
        rendered = of_ci("openshift")
        self.assertEqual([port["name"] for port in sidecar(rendered)["ports"]], ["mcp"])
        self.assertEqual(sidecar(rendered)["readinessProbe"]["exec"]["command"], ["/safeguard", "selfcheck", "--address", "127.0.0.1:9464"])

    def test_everything_selects_the_one_pod(self):
        for name in charts.names_of_ci():
            rendered = of_ci(name)
            labels = pod(rendered)["metadata"]["labels"].items()
            selectors = [one["spec"]["selector"] for one in of_kind(rendered, "Service")]
            selectors += [one["spec"]["podSelector"]["matchLabels"] for one in of_kind(rendered, "NetworkPolicy")]
            selectors += [one["spec"]["selector"]["matchLabels"] for kind in ("PodDisruptionBudget", "PodMonitor") for one in of_kind(rendered, kind)]
            for selector in selectors:
                self.assertLessEqual(selector.items(), labels)

    def test_the_notes_tell_what_is_less_than_safe(self):
        given = merged(values("minimal"), {"networkPolicy": {"enabled": False}, "persistence": {"type": "emptyDir", "acceptLoss": True}})
        notes = charts.notes(given)
        self.assertIn("WARNING: no NetworkPolicy", notes)
        self.assertIn("WARNING: the audit log is on an emptyDir", notes)


if __name__ == "__main__":
    unittest.main()
