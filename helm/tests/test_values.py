"""Every value is described, and the table in the chart's README is made of the descriptions (UPDATE_DOCS=1 makes it anew)."""

import os
import unittest

import charts

README = charts.CHART / "README.md"
BEGIN, END = "<!-- values: made of values.yaml, by UPDATE_DOCS=1 tests/parts/chart.sh -->\n", "<!-- end of values -->\n"


def table():
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for path, default, comment, _ in charts.documented_values():
        rows.append(f"| `{path}` | {f'`{default}`' if default else ''} | {comment} |".replace("||", "| |"))
    return "\n".join(rows) + "\n"


class Values(unittest.TestCase):
    def test_every_value_is_described(self):
        rows = charts.documented_values()
        self.assertGreater(len(rows), 100)
        missing = [f"values.yaml:{line} {path}" for path, _, comment, line in rows if not comment]
        self.assertEqual(missing, [])

    def test_the_table_in_the_readme_is_that_of_the_values(self):
        text = README.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        _, after = rest.split(END)
        made = before + BEGIN + table() + END + after
        if os.environ.get("UPDATE_DOCS"):
            README.write_text(made, encoding="utf-8")
        else:
            self.assertEqual(text, made, "run with UPDATE_DOCS=1")


if __name__ == "__main__":
    unittest.main()
