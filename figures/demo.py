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
scores = {name.split()[0]: row["zero_shot"] for name, row in dart["models"].items() if "zero_shot" in row}

print(f"\n{'the toy genome':24}{'validation, bits per base':>26}{'Task 1, zero-shot accuracy':>34}")
print(f"{'':24}{'all':>8}{'repeats':>9}{'unique':>9}{'one strand':>22}{'both strands':>12}")
for name, row in table.items():
    line = f"{name:24}{row['all']:8.3f}{row['repeats']:9.3f}{row['unique']:9.3f}"
    if score := scores.get(name.split()[0]):
        ties = " (all tied)" * (score["ties"] == score["pairs"])
        line += f"{score['accuracy']:12.3f} ± {(score['high'] - score['low']) / 2:.3f}  {score['both_strands']['accuracy'] if 'both_strands' in score else score['accuracy']:10.3f}{ties}"
    print(line)
print("oracle: the cost under the process that made the genome, given what it knew beside the bases; no model can reach it")
