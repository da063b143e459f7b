"""`python -m deploy.prometheus.operator --write`: the rules for the Prometheus operator; `--check` tells if fresh."""

from pathlib import Path

import yaml

from deploy.local import generated

FOLDER = Path(__file__).parent
OUT = FOLDER / "operator-rules.yaml"


def operator_rules() -> str:
    """Return a PrometheusRule of every rule file, as YAML."""
    files = sorted((FOLDER / "rules").glob("*.yml"))
    groups = [group for path in files for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "atelier"},
        "spec": {"groups": groups},
    }
    head = "# Made from rules/*.yml by `make fix`.\n"
    return head + yaml.safe_dump(rule, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    generated.files({OUT: operator_rules()})
