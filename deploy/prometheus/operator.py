"""`python -m deploy.prometheus.operator --write`: the rules for the Prometheus operator; `--check` tells if fresh."""

import sys
from pathlib import Path

import yaml

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


def main(arguments: list[str]) -> None:
    """Write or check; raises `SystemExit` if the file is stale."""
    text = operator_rules()
    if arguments == ["--write"]:
        OUT.write_text(text, encoding="utf-8")
    elif not OUT.exists() or OUT.read_text(encoding="utf-8") != text:
        sys.exit(f"{OUT} is stale: run make fix")


if __name__ == "__main__":
    main(sys.argv[1:])
