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

print(f"\n{'the toy genome':16}{'validation, bits per base':>27}   {'Task 1, zero-shot accuracy (95 %)'}")
print(f"{'':16}{'all':>9}{'repeats':>9}{'unique':>9}   {'one strand':16}both strands")
for name, row in table.items():
    line = f"{name:16}{row['all']:9.3f}{row['repeats']:9.3f}{row['unique']:9.3f}   "
    if score := scores.get(name.split()[0]):
        both = score.get("both_strands", score)
        line += "all ties, so 0" if score["ties"] == score["pairs"] else \
            f"{score['accuracy']:.3f} ± {(score['high'] - score['low']) / 2:.3f}   {both['accuracy']:.3f} ± {(both['high'] - both['low']) / 2:.3f}"
    print(line.rstrip())
print("oracle: the cost under the process that made the genome, given what it knew beside the bases; no model can reach it")
