"""Draw validation bits per base over the bases seen, from a run's log.csv, with the floors of its
summary.json.

  python figures/curve.py out-laptop figures/laptop.png

A run that has not ended has no summary.json yet: its curve so far is drawn, without floors.
"""

import csv
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

GROUPS = {"all": "C0", "repeats": "C1", "unique": "C2", "elements": "C3"}  # of bases: colours
STYLES = ("--", ":", "-.")  # of the floors


def read_points(rows, column):
    """([million bases seen, ...], [bits, ...]) of the rows of log.csv that have a number there."""
    millions = []
    bits = []
    for row in rows:
        if row.get(column, "nan") not in ("", "nan"):  # an old log has no elements
            millions.append(int(row["tokens"]) / 1e6)
            bits.append(float(row[column]))
    return millions, bits


def draw(axes, rows, table):
    """rows: of log.csv, as dicts. table: {name: bits per base}, of summary.json."""
    axes.plot(*read_points(rows, "bits"), color="0.8", lw=0.8, label="training batches")
    for group, color in GROUPS.items():
        millions, bits = read_points(rows, f"val_bits_{group}")
        if bits:
            label = f"validation, {group}"
            axes.plot(millions, bits, color=color, marker="o", ms=3, label=label)
    floors = [name for name in table if name not in ("uniform", "this model")]
    for name, style in zip(floors, STYLES):
        axes.axhline(table[name]["all"], color="k", lw=0.8, ls=style, label=f"{name}, all")
    axes.set(xlabel="million bases seen", ylabel="bits per base", ylim=(None, 2.01))
    axes.legend(fontsize=8)


def main():
    if len(sys.argv) != 3:
        sys.exit("error: give the folder of a run and the picture to write, such as out out.png")
    folder = Path(sys.argv[1])
    target = Path(sys.argv[2])
    if not (folder / "log.csv").is_file():
        sys.exit(f"error: no {folder}/log.csv: give the out_dir of a run")
    with open(folder / "log.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val_bits_unique"] is not None]
    summary = folder / "summary.json"
    table = json.loads(summary.read_text())["table"] if summary.is_file() else {}
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    draw(axes, rows, table)
    figure.savefig(target, dpi=110)
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
