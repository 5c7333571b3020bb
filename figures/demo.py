"""The demo's last step: one short table of what was learned, beside what counting learns and what
nobody can beat.

  python figures/demo.py out-demo
"""

import json
import sys
from pathlib import Path

ORACLE = Path(__file__).parent.parent / "data" / "toy" / "oracle.json"


def describe_accuracy(result):
    """A share of pairs, and half of its 95 % interval."""
    return f"{result['accuracy']:.3f} ± {(result['high'] - result['low']) / 2:.3f}"


def describe_score(score):
    """The zero-shot accuracy of Task 1, on one strand and on both."""
    if score["ties"] == score["pairs"]:
        return "all ties, so 0"
    both = score.get("both_strands", score)
    return f"{describe_accuracy(score)}   {describe_accuracy(both)}"


def print_table(bits, scores):
    """bits: {name: {"all", "repeats", "unique"}}, bits per base. scores: {name: (its whole name,
    zero-shot result of Task 1)}, of those that were scored, by the first word of the name.
    """
    print(
        f"\n{'the toy genome':16}{'validation, bits per base':>27}"
        "   Task 1, zero-shot accuracy (95 %)"
    )
    print(f"{'':16}{'all':>9}{'repeats':>9}{'unique':>9}   {'one strand':16}both strands")
    for name, row in bits.items():
        line = f"{name:16}{row['all']:9.3f}{row['repeats']:9.3f}{row['unique']:9.3f}"
        kind = name.split()[0]
        if kind in scores:
            whole_name, score = scores[kind]
            line += "   " + describe_score(score)
            if kind == "Markov":  # the best order differs between bits and Task 1
                line += f"   ({whole_name.removeprefix('Markov ')})"
        print(line)
    print(
        "oracle: the cost under the process that made the genome, given what it knew beside the "
        "bases; no model can reach it"
    )


def main():
    if len(sys.argv) != 2:
        sys.exit("error: give the folder of the demo's run, such as out-demo")
    folder = Path(sys.argv[1])
    for path in (folder / "summary.json", folder / "dart.json", ORACLE):
        if not path.is_file():
            sys.exit(f"error: no {path}: make demo writes it")
    bits = json.loads((folder / "summary.json").read_text())["table"]
    bits["oracle"] = json.loads(ORACLE.read_text())["val"]
    scores = {}
    for name, row in json.loads((folder / "dart.json").read_text())["models"].items():
        if "zero_shot" in row:
            scores[name.split()[0]] = name, row["zero_shot"]
    print_table(bits, scores)


if __name__ == "__main__":
    main()
