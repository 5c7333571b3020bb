"""Draw the report of tests/against_nanogpt.py: bits per base over bases seen, ours, nanoGPT's and Markov models of some orders.

  python figures/against_nanogpt.py out-nanogpt/report.json figures/against_nanogpt.png

Left: all validation bases. Right: those whose last eight bases stand earlier in the window too, where copying would help.
"""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

source, target = map(Path, sys.argv[1:3])
report = json.loads(source.read_text())
best = min(report["markov"], key=lambda order: report["markov"][order][0])
figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for column, (ax, title) in enumerate(zip(axes, ("all bases", "after eight bases that stand earlier in the window")), 1):
    for name, color, runs in (("nanoGPT, AdamW", "C3", report["nanogpt"]), ("this repository", "C0", report["ours"])):
        for i, run in enumerate(runs):
            ax.plot([p[0] / 1e6 for p in run], [p[column] for p in run], color=color, marker=".", lw=1.2, label=name if i == 0 else None)
    for order, style in (("4", ":"), ("6", "-."), ("8", "--"), (best, "-")):
        ax.axhline(report["markov"][order][column - 1], color="0.6", lw=0.9, ls=style, label=f"Markov {order}" + " (best order)" * (order == best))
    ax.set(xscale="log", xlabel="million bases seen", title=title)
axes[0].set(ylabel="bits per base")
axes[0].legend(fontsize=8, loc="center right", bbox_to_anchor=(1, 0.62))
figure.savefig(target, dpi=110)
print(f"wrote {target}")
