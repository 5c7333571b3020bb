"""Draw DART-Eval Task 1: the models of an eval_dart.py --json file, with their 95 % intervals, above the published ones.

  python figures/dart.py out/dart.json figures/dart.png
"""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

source, target = Path(sys.argv[1]), Path(sys.argv[2])
held = json.loads(source.read_text(encoding="utf-8"))
ours = {name: row for name, row in held["models"].items() if name != "uniform"}
labels = [*ours, *held["published"]]

figure, axes = plt.subplots(figsize=(7.5, 1 + 0.3 * len(labels)), layout="constrained")
for y, (name, row) in enumerate(ours.items()):
    zero, probe = row.get("zero_shot", {}), row.get("probe")
    for shift, result, value, style in ((-0.2, zero, "accuracy", dict(fmt="oC0", label="zero-shot")),
                                        (0, zero.get("both_strands"), "accuracy", dict(fmt="oC0", mfc="w", label="zero-shot, both strands")),
                                        (0.2, probe, "paired", dict(fmt="sC1", label="probe, pairs"))):
        if result and result["ties"] < result["pairs"]:
            x = result[value]
            axes.errorbar(x, y + shift, xerr=[[x - result["low"]], [result["high"] - x]], ms=4, lw=1, **style)
        elif result and shift:
            labels[y] = f"{name} ({style['label']}: all ties)"
for y, (zero, _, paired) in enumerate(held["published"].values(), len(ours)):
    for x, style in ((zero, "oC0"), (paired, "sC1")):
        if x:
            axes.plot(x, y, style, alpha=0.5, ms=4)
axes.axhline(len(ours) - 0.5, color="0.6", lw=0.8)
axes.text(1, len(ours) - 0.4, "published, on the whole registry ", va="top", ha="right", fontsize=7, transform=axes.get_yaxis_transform())
axes.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.5, -0.5), xlabel="share of pairs in which the real window scores higher")
axes.set_title(f"{held['notes'][1].split(';')[0]}\n{held['notes'][2]}", fontsize=8)
shown = dict(zip(*reversed(axes.get_legend_handles_labels())))  # each label once
axes.legend(shown.values(), shown, fontsize=7, loc="lower left")
figure.savefig(target, dpi=110)
print(f"wrote {target}")
