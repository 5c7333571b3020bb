"""The demo's last line of work: one short table of what was learned, beside what counting learns and what nobody can beat.

  python figures/demo.py out-demo
"""
import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
summary, dart = (json.loads((folder / name).read_text()) for name in ("summary.json", "dart.json"))
oracle = json.loads((Path(__file__).parent.parent / "data" / "toy" / "oracle.json").read_text())["val"]
table = {**summary["table"], "oracle": oracle}
accuracy = {row["name"]: row for row in dart["zero_shot"]}

print(f"\n{'toy genome':24}{'validation, bits per base':>28}{'Task 1, zero-shot':>22}")
print(f"{'':24}{'all':>10}{'repeats':>9}{'unique':>9}{'accuracy':>22}")
for name, row in table.items():
    shown = accuracy.get(name)
    print(f"{name:24}{row['all']:10.3f}{row['repeats']:9.3f}{row['unique']:9.3f}" + (f"{shown['accuracy']:15.3f} ± {shown['interval']:.3f}" if shown else ""))
print("oracle: the cost under the process that made the genome, given what it knew beside the bases; no model can reach it")
