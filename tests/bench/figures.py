"""A figure: pairs measured in turn, the ratio (or difference) of each, and what must hold of their median."""
import json
import statistics


class Figure:
    def __init__(self, key, title, unit, target, at_most):
        self.key = key
        self.title = title
        self.unit = unit  # "x" for ratios, "ms" for differences
        self.target = target
        self.at_most = at_most
        self.values = []
        self.context = {}

    def add(self, value):
        self.values.append(value)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def is_met(self):
        return self.median <= self.target if self.at_most else self.median >= self.target

    def save(self, folder):
        content = {"figure": self.key, "title": self.title, "unit": self.unit, "median": self.median,
                   "min": min(self.values), "max": max(self.values), "count": len(self.values),
                   "target": self.target, "target_is": "at most" if self.at_most else "at least",
                   "met": self.is_met, "values": self.values, "context": self.context}
        (folder / f"{self.key}.json").write_text(json.dumps(content, indent=2) + "\n")

    def row(self):
        def show(value):
            return f"{value:.3f}" if self.unit == "x" else f"{value:+.2f} {self.unit}"
        comparison = "<=" if self.at_most else ">="
        return [self.title, show(self.median), show(min(self.values)), show(max(self.values)), str(len(self.values)),
                f"{comparison} {self.target:g}{'' if self.unit == 'x' else ' ' + self.unit}",
                "ok" if self.is_met else "MISS"]


def print_table(figures):
    rows = [["figure", "median", "min", "max", "count", "target", ""], *(figure.row() for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:]))]
        print("  ".join([*cells, row[-1]]).rstrip())
    print()
    for figure in figures:
        print(f"{figure.title}: " + ", ".join(f"{name} {value}" for name, value in figure.context.items()))
