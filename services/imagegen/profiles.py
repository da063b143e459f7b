"""What a device changes in the catalog: a CPU makes the same pictures in fewer steps. Pure."""

from services.imagegen.catalog import Catalog, ModelRow


def fitted(catalog: Catalog, kind: str) -> tuple[Catalog, dict[str, str]]:
    """Return the catalog as a device of this kind serves it, and by model what was changed and why."""
    if kind != "cpu":
        return catalog, {}
    rows = {model: _on_cpu(row) for model, row in catalog.models.items()}
    changes = {model: _reason(row, rows[model]) for model, row in catalog.models.items() if row != rows[model]}
    return Catalog(list(rows.values()), list(catalog.adapters.values())), changes


def _on_cpu(row: ModelRow) -> ModelRow:
    if row.on_cpu is None:
        return row
    fewer = min(row.steps.default, max(row.steps.min, row.on_cpu.steps))
    steps = row.steps.model_copy(update={"default": fewer})
    refine = row.refine and (row.on_cpu.refine or row.refiner is None)
    return row.model_copy(update={"steps": steps, "refine": refine})


def _reason(usual: ModelRow, row: ModelRow) -> str:
    steps = f"{row.steps.default:g} steps instead of {usual.steps.default:g}"
    refiner = " and no refiner" if usual.refine and not row.refine else ""
    return f"{steps}{refiner} unless asked for: steps are dear here"
