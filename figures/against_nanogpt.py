"""Draw reports of tests/against_nanogpt.py: bits per base over bases seen, ours, nanoGPT's and Markov models of some orders; a row each.

  python figures/against_nanogpt.py figures/against_nanogpt.png out-nanogpt/report.json out-nanogpt-gpu/report.json

Left: all validation bases. Right: those whose last eight bases stand earlier in the window too, where copying would help.
"""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.against_nanogpt import SCALES

target, *sources = map(Path, sys.argv[1:])
figure, rows = plt.subplots(len(sources), 2, figsize=(10, 3.8 * len(sources)), layout="constrained", squeeze=False)
for axes, source in zip(rows, sources):
    report = json.loads(source.read_text())
    scale = SCALES[report["scale"]]
    best = min(report["markov"], key=lambda order: report["markov"][order][0])
    size = f"{report['scale'].upper()}, {scale['n_layer']} × {scale['n_embd']}, {12 * scale['n_layer'] * scale['n_embd'] ** 2 / 1e6:.1f}M parameters"
    for column, (ax, title) in enumerate(zip(axes, (f"{size}: all bases", "after eight bases that stand earlier in the window")), 1):
        for name, color, runs in (("nanoGPT, AdamW", "C3", report["nanogpt"]), ("this repository", "C0", report["ours"])):
            for i, run in enumerate(runs):
                ax.plot([p[0] / 1e6 for p in run], [p[column] for p in run], color=color, marker=".", lw=1.2, label=name if i == 0 else None)
        for order, style in (("4", ":"), ("6", "-."), ("8", "--"), (best, "-")):
            ax.axhline(report["markov"][order][column - 1], color="0.6", lw=0.9, ls=style, label=f"Markov {order}" + " (best order)" * (order == best))
        ax.set(xscale="log", title=title)
    axes[0].set(ylabel="bits per base")
for ax in rows[-1]:
    ax.set(xlabel="million bases seen")
figure.legend(*rows[0, 0].get_legend_handles_labels(), fontsize=8, loc="outside lower center", ncols=6)
figure.savefig(target, dpi=110)
print(f"wrote {target}")
