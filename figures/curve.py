"""Draw validation bits per base over the bases seen, from a run's log.csv, with the floors of its summary.json.

  python figures/curve.py out-laptop figures/laptop.png
"""
import csv
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

folder, target = Path(sys.argv[1]), Path(sys.argv[2])
with open(folder / "log.csv", newline="") as file:
    rows = list(csv.DictReader(file))
table = json.loads((folder / "summary.json").read_text())["table"]
training = [(int(r["tokens"]) / 1e6, float(r["bits"])) for r in rows if r["bits"]]
evaluated = [r for r in rows if r["val_bits_all"]]

figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
axes.plot(*zip(*training), color="0.8", lw=0.8, label="training batches")
for name, colour in (("all", "C0"), ("repeats", "C1"), ("unique", "C2")):
    points = [(int(r["tokens"]) / 1e6, float(r["val_bits_" + name])) for r in evaluated if r["val_bits_" + name] != "nan"]
    if points:
        axes.plot(*zip(*points), color=colour, marker="o", ms=3, label=f"validation, {name}")
for (name, row), style in zip(((k, v) for k, v in table.items() if k not in ("uniform", "this model")), ("--", ":", "-.")):
    axes.axhline(row["all"], color="k", lw=0.8, ls=style, label=f"{name}, all")
axes.set(xlabel="million bases seen", ylabel="bits per base", ylim=(None, 2.01))
axes.legend(fontsize=8)
figure.savefig(target, dpi=110)
print(f"wrote {target}")
