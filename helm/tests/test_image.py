"""The image and the chart agree: who runs, what is run, which toolchain built it."""

import re
import unittest

import charts
from charts import of_ci, sidecar

DOCKERFILE = (charts.ROOT / "Dockerfile").read_text(encoding="utf-8")
FINAL = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


class Image(unittest.TestCase):
    def test_it_is_from_scratch_and_holds_what_the_first_stage_made_and_no_more(self):
        self.assertTrue(FINAL.startswith("\nFROM scratch\n"))
        self.assertEqual(re.findall(r"^(?:COPY|ADD) .*", FINAL, re.M), ["COPY --from=build /image/ /"])
        self.assertNotIn("\nRUN ", FINAL)

    def test_it_runs_as_the_user_that_the_chart_gives_it(self):
        security = sidecar(of_ci("minimal"))["securityContext"]
        self.assertIn(f"\nUSER {security['runAsUser']}:{security['runAsGroup']}\n", FINAL)

    def test_the_chart_names_the_binary_where_it_is(self):
        self.assertIn('\nENTRYPOINT ["/safeguard"]\n', FINAL)
        commands = [sidecar(of_ci("minimal"))["lifecycle"]["preStop"]["exec"]["command"]]
        commands += [sidecar(of_ci("openshift"))[kind]["exec"]["command"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")]
        self.assertEqual({command[0] for command in commands}, {"/safeguard"})

    def test_it_is_built_by_the_toolchain_of_the_repository(self):
        channel = re.search(r'channel = "([\d.]+)"', (charts.ROOT / "rust-toolchain.toml").read_text(encoding="utf-8"))[1]
        self.assertIn(f"/rust:{channel}-", DOCKERFILE)

    def test_every_package_of_the_workspace_reaches_the_build(self):
        members = re.search(r"members = \[([^\]]*)\]", (charts.ROOT / "Cargo.toml").read_text(encoding="utf-8"))[1]
        folders = {member.split("/")[0] for member in re.findall(r'"([^"]+)"', members)}
        ignored = (charts.ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        self.assertLessEqual({f"!{folder}" for folder in folders} | {"!Cargo.toml", "!Cargo.lock"}, set(ignored))


if __name__ == "__main__":
    unittest.main()
