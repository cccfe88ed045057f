"""What the chart tells the kubelet to do, done with the real program: started with the configuration that it writes, probed, scraped, drained.

Paths and ports are moved to a folder and to loopback; nothing else is changed.
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import yaml

import charts
from charts import configuration, of_ci, sidecar
from test_observability import dashboard_expressions, groups, metrics

PROMTOOL = os.environ.get("PROMTOOL", "promtool")
PROMETHEUS = os.environ.get("PROMETHEUS", "prometheus")
# How long a start or an end may take on a busy machine, in seconds; none of them is expected to come near it.
PATIENCE = 60


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Started(unittest.TestCase):
    """The sidecar of ci/minimal-values.yaml, running."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.listener, self.admin = free_port(), free_port()
        self.moved = {
            "/run/safeguard": str(self.folder / "run"),
            "/var/lib/safeguard": str(self.folder / "lib"),
            "/etc/safeguard": str(self.folder / "etc"),
            "0.0.0.0:8443": f"127.0.0.1:{self.listener}",
            "0.0.0.0:9464": f"127.0.0.1:{self.admin}",
            "127.0.0.1:9464": f"127.0.0.1:{self.admin}",
        }
        self.rendered = of_ci("minimal")
        self.mount()
        self.process = self.start()

    def here(self, text):
        """A text of the chart with its places moved to this test's."""
        for place, to in self.moved.items():
            text = text.replace(place, to)
        return text

    def command(self, words):
        """A command of the container as it is run here: the image's binary is the program under test."""
        program = charts.SAFEGUARD if words[0] == "/safeguard" else self.here(words[0])
        return [program, *(self.here(word) for word in words[1:])]

    def mount(self):
        """What the kubelet mounts: the ConfigMaps, the Secret's keys, the certificate under the names of the volume's items."""
        for name in ("etc", "lib", "run/secrets", "run/tls"):
            (self.folder / name).mkdir(parents=True)
        for name, body in configuration(self.rendered).items():
            (self.folder / "etc" / name).write_text(self.here(body), encoding="utf-8")
        for key in ("phi", "integrity", "audit", "jwt"):
            made = subprocess.run([charts.SAFEGUARD, "keys", "generate"], capture_output=True, text=True, check=True)
            (self.folder / "run/secrets" / key).write_text(made.stdout, encoding="utf-8")
        subprocess.run([charts.SAFEGUARD, "certs", "init", str(self.folder / "pki")], capture_output=True, check=True)
        for source, path in {"server.pem": "cert.pem", "server.key": "key.pem", "ca.pem": "ca.pem"}.items():
            target = self.folder / "run/tls" / path
            target.write_bytes((self.folder / "pki" / source).read_bytes())
            target.chmod(0o440)

    def start(self):
        words = [charts.SAFEGUARD, *map(self.here, sidecar(self.rendered)["args"])]
        environment = {one["name"]: one["value"] for one in sidecar(self.rendered)["env"]}
        with (self.folder / "log").open("wb") as log:
            process = subprocess.Popen(words, stderr=log, env=environment)
        self.addCleanup(self.end, process)
        # As the startup probe does: asks until /livez answers.
        self.wait_until(process, lambda: self.get("/livez")[0] == 200)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
            process.wait()

    def log(self):
        return (self.folder / "log").read_text(encoding="utf-8")

    def wait_until(self, process, holds):
        """Asks again and again, unless the program ends meanwhile."""
        until = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), until, self.log())
            try:
                process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            self.fail(f"the sidecar has ended: {self.log()}")

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""


class Running(Started):
    def test_it_starts_without_its_upstream_is_ready_and_ends_well_by_the_prestop_hook(self):
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            self.assertEqual(self.get(sidecar(self.rendered)[kind]["httpGet"]["path"])[0], 200, kind)
            inside = subprocess.run(self.command(sidecar(of_ci("openshift"))[kind]["exec"]["command"]), capture_output=True, check=False)
            self.assertEqual(inside.returncode, 0, inside.stdout + inside.stderr)
        drain = sidecar(self.rendered)["lifecycle"]["preStop"]["exec"]["command"]
        drained = subprocess.run(self.command(drain), capture_output=True, timeout=PATIENCE, check=False)
        self.assertEqual(drained.returncode, 0, drained.stderr)
        self.assertEqual(self.process.wait(timeout=PATIENCE), 0, self.log())

    def test_what_is_scraped_is_well_formed_and_has_every_metric_that_has_no_labels(self):
        status, text = self.get("/metrics")
        self.assertEqual(status, 200)
        judged = subprocess.run([PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        self.assertEqual(judged.returncode, 0, judged.stdout + judged.stderr)
        there = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
        self.assertLessEqual({name for name, labels in metrics().items() if not labels}, there)

    def test_a_new_policy_is_taken_up_and_a_change_of_the_rest_is_not(self):
        reloads = "safeguard_config_last_reload_successful"
        policy = self.folder / "etc" / "chart-policy.yaml"
        before = self.configuration_hash()
        policy.write_text(policy.read_text(encoding="utf-8").replace("reveal:\n    - clinical", "reveal:\n    - identity"), encoding="utf-8")
        self.wait_until(self.process, lambda: self.configuration_hash() != before)
        self.assertIn(f"{reloads} 1\n", self.get("/metrics")[1])
        fixed = self.folder / "etc" / "chart-fixed.yaml"
        fixed.write_text(fixed.read_text(encoding="utf-8").replace("audience: healthcare-agents", "audience: others"), encoding="utf-8")
        self.wait_until(self.process, lambda: f"{reloads} 0\n" in self.get("/metrics")[1])

    def configuration_hash(self):
        return next(line for line in self.get("/metrics")[1].splitlines() if line.startswith("safeguard_config_info") and line.endswith(" 1"))


class Scraped(Started):
    """A real Prometheus scrapes it as the operator would have it do, with the rules of the chart."""

    def setUp(self):
        super().setUp()
        self.port = free_port()
        target = {"targets": [f"127.0.0.1:{self.admin}"], "labels": {"namespace": charts.NAMESPACE, "pod": f"{charts.RELEASE}-safeguard-0"}}
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "clinic", "static_configs": [target]}],
        }
        (self.folder / "prometheus.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        (self.folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}), encoding="utf-8")
        words = [PROMETHEUS, f"--config.file={self.folder}/prometheus.yaml", f"--storage.tsdb.path={self.folder}/tsdb"]
        words += [f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"]
        with (self.folder / "log").open("ab") as log:
            self.prometheus = subprocess.Popen(words, stderr=log)
        self.addCleanup(self.end, self.prometheus)

    def ask(self, path, **question):
        """The data of an answer of Prometheus's API, None while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(question)}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return None
            self.fail(f"{question}: {error.read().decode()}")
        except OSError:
            return None

    def found(self, query):
        return (self.ask("query", query=query) or {}).get("result")

    def test_every_rule_is_evaluated_and_every_panel_finds_what_the_sidecar_tells(self):
        # Two scrapes at least: a rate needs both.
        self.wait_until(self.prometheus, lambda: self.found("count_over_time(safeguard_build_info[1m]) > 2"))
        self.wait_until(self.prometheus, lambda: all(rule["health"] == "ok" for rule in self.rules()))
        self.assertNotIn("SafeguardAbsent", {rule["name"] for rule in self.rules() if rule.get("alerts")})
        there = {line.split("{")[0].split(" ")[0] for line in self.get("/metrics")[1].splitlines()}
        for place, expression in dashboard_expressions():
            plain = expression.replace("$__rate_interval", "1m").replace("$__range", "1m").replace("$namespace", ".*").replace("$pod", ".*")
            result = self.found(plain)
            self.assertIsNotNone(result, place)
            # What compares may hold for nothing; what asks for one label's value may not have come up yet.
            if ">" not in plain and not re.search(r'(result|outcome)!?="', plain) and set(re.findall(r"safeguard_\w+", plain)) <= there:
                self.assertTrue(result, f"{place}: {plain}")

    def rules(self):
        return [rule for group in (self.ask("rules") or {"groups": []})["groups"] for rule in group["rules"]] or [{"name": "", "health": "unknown"}]


if __name__ == "__main__":
    unittest.main()
