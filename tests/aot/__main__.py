"""Write `budgets.toml` anew: all rows, or those that are named."""

import sys

import tests.conftest  # noqa: F401  # the settings of the tests, before jax starts
from tests.aot import budgets
from tests.aot.rows import ROWS, rows_for
from tests.aot.targets import NEEDS, missing


def main(names: list[str]) -> None:
    if unknown := set(names) - ROWS.keys():
        sys.exit(f"no such rows: {sorted(unknown)}; there are {list(ROWS)}")
    old = budgets.read() if budgets.FILE.exists() else {}
    first = budgets.read(version=budgets.FIRST) if budgets.VERSION != budgets.FIRST else {}
    tables: dict[str, dict[str, budgets.Figures]] = {}
    for target in NEEDS:
        if reason := missing(target):
            sys.exit(f"{target}: {reason}")
        before, tables[target] = old.get(target, {}), {}
        for name in rows_for(target):
            if not names or name in names:
                tables[target][name] = budgets.measure(name, target)
                print(f"{target:8} {name:40} {tables[target][name]}  before: {before.get(name)}", flush=True)
            elif name in before:
                tables[target][name] = before[name]
    if not first:
        budgets.FILE.write_text(budgets.written(tables))
        return
    differ = {
        target: {n: f for n, f in rows.items() if budgets.complaints(f, first[target].get(n))}
        for target, rows in tables.items()
    }
    budgets.other(budgets.VERSION).write_text(budgets.written(differ))


main(sys.argv[1:])
