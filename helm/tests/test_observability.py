"""Alerts and dashboard: promtool tests each alert's expression, and what both ask for is held against the metrics in the source."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import yaml

import charts
from charts import merged, of_ci, of_kind, values

PROMTOOL = os.environ.get("PROMTOOL", "promtool")
NAMESPACE, POD = charts.NAMESPACE, f"{charts.RELEASE}-safeguard-0"
# Labels that Prometheus adds to every series of a pod, and that of histograms.
ADDED = {"namespace", "pod", "le"}


def groups():
    """The rules as the cluster gets them."""
    (rule,) = of_kind(of_ci("production"), "PrometheusRule")
    return rule["spec"]["groups"]


def alerts():
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def dashboard():
    maps = of_kind(of_ci("production"), "ConfigMap")
    return json.loads(next(one["data"]["safeguard.json"] for one in maps if "safeguard.json" in one["data"]))


def dashboard_expressions():
    whole = dashboard()
    found = [(panel["title"], target["expr"]) for panel in whole["panels"] for target in panel.get("targets", [])]
    return found + [(one["name"], one["expr"]) for one in whole["annotations"]["list"]]


def metrics():
    """Name -> labels, from the source."""
    text = (charts.ROOT / "proxy" / "src" / "metrics.rs").read_text(encoding="utf-8")
    found = {}
    for kind, name, labels in re.findall(r'\w+: (\w+)\("(\w+)"(?:, \[([^\]]*)\])?\)', text):
        for suffix in ("_bucket", "_sum", "_count") if kind == "Histogram" else ("",):
            found[f"safeguard_{name}{suffix}"] = set(re.findall(r'"(\w+)"', labels))
    return found


def promtool(folder, *arguments):
    return subprocess.run([PROMTOOL, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def series(name, labels):
    """A case's series with the product's prefix and the labels of its pod."""
    metric, _, rest = name.partition("{")
    own = [rest.removesuffix("}")] if rest else []
    added = [f'{label}="{value}"' for label, value in labels.items()]
    return f"safeguard_{metric}{{{','.join(own + added)}}}"


def wanted(entry):
    """The alert's name and its labels beside those of every alert."""
    return (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))


class Alerts(unittest.TestCase):
    def setUp(self):
        self.cases = yaml.safe_load((pathlib.Path(__file__).parent / "alerts.yaml").read_text(encoding="utf-8"))
        self.rules = {rule["alert"]: rule for rule in alerts()}

    def of_promtool(self, case):
        """A case as promtool takes it: at each time every alert is asked for, so that none fires unseen."""
        pod = {"namespace": NAMESPACE, "pod": POD}
        given = [{"series": series(name, pod), "values": numbers} for name, numbers in case["series"].items()]
        if not case.get("absent"):
            given.append({"series": series('build_info{version="0.1.0"}', pod), "values": "1x700"})
        asked = []
        for time, firing in case["at"].items():
            for name, rule in self.rules.items():
                expected = []
                for entry in firing:
                    alert, labels = wanted(entry)
                    if alert == name:
                        whole = {**pod, **rule["labels"], **labels}
                        expected.append({"exp_labels": {label: value for label, value in whole.items() if value}})
                asked.append({"eval_time": time, "alertname": name, "exp_alerts": expected})
        return {"interval": "1m", "input_series": given, "alert_rule_test": asked}

    def test_each_alert_fires_when_it_must_and_no_other_does(self):
        # Labels that a rule keeps of its series, as result="leak", are expected too.
        kept = {"SafeguardCanaryLeak": {"result": "leak"}, "SafeguardCanaryBroken": {"result": "broken"}, "SafeguardIntegrityViolation": {"result": "violation"}}
        for name, labels in kept.items():
            self.rules[name]["labels"] |= labels
        with tempfile.TemporaryDirectory() as folder:
            # promtool compares annotations word for word; they are checked where the rules are.
            bare = [{**group, "rules": [{key: value for key, value in rule.items() if key != "annotations"} for rule in group["rules"]]} for group in groups()]
            pathlib.Path(folder, "rules.yaml").write_text(yaml.safe_dump({"groups": bare}), encoding="utf-8")
            for case in self.cases:
                with self.subTest(case["claim"]):
                    whole = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [self.of_promtool(case)]}
                    pathlib.Path(folder, "case.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
                    ended = promtool(folder, "test", "rules", "case.yaml")
                    self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent(self):
        fires = {wanted(entry)[0] for case in self.cases for firing in case["at"].values() for entry in firing}
        self.assertEqual(fires, set(self.rules))
        # Every case asks for every alert at every time, and each has a time at which nothing is expected.
        self.assertTrue([case for case in self.cases if [] in case["at"].values()])

    def test_promtool_takes_the_rules_as_the_cluster_gets_them(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}), encoding="utf-8")
            ended = promtool(folder, "check", "rules", "rules.yaml")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_every_alert_has_a_severity_a_safeguard_and_a_runbook_that_is_written(self):
        manual = (charts.ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
        for name, rule in self.rules.items():
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"), name)
            self.assertRegex(rule["labels"]["safeguard"], r"^(164\.312\([a-e]\)(\(\d\))?(\([iv]+\))?|none)$", name)
            self.assertEqual(rule["annotations"]["runbook_url"], f"docs/kubernetes.md#{name.lower()}")
            self.assertIn(f"\n### {name}\n", manual)

    def test_an_alert_that_is_not_wanted_is_left_out_and_labels_are_added(self):
        given = merged(values("production"), {"prometheusRule": {"disabled": ["SafeguardDenials"], "alertLabels": {"team": "clinic"}}})
        (rule,) = of_kind(charts.objects(given), "PrometheusRule")
        rules = [rule for group in rule["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
        self.assertEqual(len(rules), len(self.rules) - 1)
        self.assertEqual({rule["labels"]["team"] for rule in rules}, {"clinic"})

    def test_an_alert_sees_its_own_release_alone(self):
        for rule in self.rules.values():
            selected = re.findall(r"safeguard[:_][\w:]+\{([^}]*)\}", rule["expr"])
            self.assertTrue(selected, rule["alert"])
            for labels in selected:
                self.assertIn(f'namespace="{NAMESPACE}",pod=~"{charts.RELEASE}-safeguard-[0-9]+"', labels, rule["alert"])


class Metrics(unittest.TestCase):
    def test_what_alerts_and_dashboard_ask_for_is_measured_under_these_labels(self):
        known = metrics()
        self.assertGreater(len(known), 30)
        asked = [(rule["alert"], rule["expr"]) for rule in alerts()] + dashboard_expressions()
        asked += [(rule["record"], rule["expr"]) for group in groups() for rule in group["rules"] if "record" in rule]
        for place, expression in asked:
            for name, selected in re.findall(r"\b(safeguard_\w+)(?:\{([^}]*)\})?", expression):
                self.assertIn(name, known, place)
                labels = set(re.findall(r'(\w+)(?:=~|!~|!=|=)"', selected))
                self.assertLessEqual(labels, known[name] | ADDED, f"{place}: {name}")
            grouped = {label.strip() for found in re.findall(r"by \(([^)]*)\)", expression) for label in found.split(",")}
            names = re.findall(r"\b(safeguard_\w+)", expression)
            self.assertLessEqual(grouped, ADDED.union(*(known[name] for name in names)), place)


class Dashboard(unittest.TestCase):
    def test_every_query_is_one_that_prometheus_parses(self):
        expressions = dashboard_expressions()
        self.assertGreater(len(expressions), 25)
        rules = []
        for number, (_, expression) in enumerate(expressions):
            plain = expression.replace("$__rate_interval", "5m").replace("$__range", "6h").replace("$namespace", ".*").replace("$pod", ".*")
            self.assertNotIn("$", plain)
            rules.append({"record": f"panel:{number}", "expr": plain})
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
            ended = promtool(folder, "check", "rules", "rules.yaml")
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)

    def test_every_panel_says_what_it_shows_and_none_covers_another(self):
        taken, ids = set(), set()
        for panel in dashboard()["panels"]:
            self.assertTrue(panel["type"] == "row" or panel["description"], panel["title"])
            self.assertNotIn(panel["id"], ids)
            ids.add(panel["id"])
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, panel["title"])
            self.assertLessEqual(at["x"] + at["w"], 24)
            taken |= cells

    def test_every_query_is_bound_to_the_chosen_pods(self):
        for title, expression in dashboard_expressions():
            for selected in re.findall(r"safeguard_\w+(\{[^}]*\})?", expression):
                self.assertIn('namespace=~"$namespace",pod=~"$pod"', selected, title)


if __name__ == "__main__":
    unittest.main()
