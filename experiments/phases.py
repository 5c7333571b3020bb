"""Where to train for regulatory DNA: on everything, on regions, on one after the other, on both.

  python prepare_hg38.py --fasta=hg38_pieces.fa.gz --out=data/pieces3 --val_chroms=chr10 \
      --test_chroms=chr20,chr21 --ccre=modules.bed.gz
  python -m experiments.phases --dataset=pieces3 --elements=elements.bed.gz \
      --motifs=vertebrates.meme --out=out-phases -- --learning_rate=0.04 --compile=True

Regions are those that the genome was prepared with; --elements are those of Tasks 1 and 2. Each run
sees about as many bases as --steps steps on everything; windows on regions may be shorter than a
context, so they take more steps. Judged by the losses in held-out regions and elsewhere, and by
DART-Eval's Tasks 1 and 2. A run that out holds is not made again. What stands after -- goes to each
run of train.py.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from config import find_dataset
from data import Genome, Windows
from data.files import check_regular
from data.regions import training_regions
from experiments import ablate

LAST = 0.3  # of the windows, those of the second phase
ARMS = {  # name: (share of windows on the genome's regions, share of max_iters after which)
    "everything": (0.0, 0.0),
    "regions": (1.0, 0.0),
    "everything, then regions": (1.0, 1 - LAST),
    "half and half": (0.5, 0.0),
}
PARTS = ("all", "repeats", "unique", "elements", "elements_unique", "flanks_unique")


def fill_of_regions(genome, flank, words):
    """How full windows on the regions that the genome came with are, 0 to 1."""
    block_size = 512
    for word in words:
        if word.startswith("--block_size="):
            block_size = int(word.split("=")[1])
    regions = training_regions("auto", flank, False, genome)[""]
    return Windows(genome.bases("train"), regions, block_size, seed=0).fill


def words_of(arm, steps, fill, flank):
    """Settings of an arm for train.py, as many steps as give it `steps` steps' bases."""
    share, after = ARMS[arm]
    bases = 1 - share * (1 - after) * (1 - fill)  # of a step on everything, on the mean
    words = [f"--max_iters={round(steps / bases)}"]
    if share:
        words += ["--regions=auto", f"--flank={flank}"]
        words += [f"--region_share={share}", f"--region_from={after}"]
    return words


def evaluate(checkpoint, task, words):
    """What eval_dart.py writes of a checkpoint in a task: the results of this model."""
    path = checkpoint.with_name(f"task{task}.json")
    ablate.check_words(checkpoint.with_name(f"task{task}.words.json"), words)
    if not path.exists():
        part = path.with_suffix(".part.json")  # it grows as results come
        given = [f"--ckpt={checkpoint}", f"--task={task}", f"--json={part}", *words]
        env = dict(os.environ, OMP_NUM_THREADS="1")
        with open(checkpoint.with_name(f"task{task}.log"), "w") as log:
            command = [sys.executable, "eval_dart.py", *given]
            subprocess.run(command, cwd=ablate.ROOT, stdout=log, stderr=log, env=env, check=True)
        part.replace(path)
    return json.loads(path.read_text())["models"]["this model"]


def run(job, args, fill, words):
    """(summary, Task 1's result, Task 2's or None) of one run; None if it failed."""
    arm, weight, variant, seed = job
    name = f"{arm}, repeats {weight}, {variant}"
    settings = argparse.Namespace(dataset=args.dataset, out=args.out / name, threads=1)
    given = [f"--repeat_weight={weight}", *words_of(arm, args.steps, fill, args.flank), *words]
    summary = ablate.run(variant, seed, settings, given)
    if summary is None:
        return None
    checkpoint = settings.out / f"{variant} seed {seed}" / "ckpt.pt"
    elements = [f"--ccre={args.elements}", "--markov_order=0", f"--device={args.device}"]
    one = evaluate(checkpoint, 1, [*elements, "--only=zero_shot"])["zero_shot"]
    two = None
    if args.motifs:
        some = [f"--motifs={args.motifs}", "--max_motifs=340", "--max_backgrounds=5"]
        two = evaluate(checkpoint, 2, [*elements, *some])["footprints"]
    return summary, one, two


def read_command_line():
    """(arguments, the words after --)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="pieces3", help="prepared, with --ccre")
    parser.add_argument("--elements", required=True, help="a BED for Tasks 1 and 2")
    parser.add_argument("--motifs", default="", help="for Task 2; empty: without it")
    parser.add_argument("--out", type=Path, default=Path("out-phases"))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--repeats", nargs="+", default=["1"], help="weights of repeats")
    parser.add_argument("--variants", nargs="+", default=["baseline"], help="of experiments.ablate")
    parser.add_argument("--flank", type=int, default=64)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="cpu", help="for Tasks 1 and 2")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, of a thread each")
    mine, words = sys.argv[1:], []
    if "--" in mine:
        at = mine.index("--")
        mine, words = mine[:at], mine[at + 1 :]
    args = parser.parse_args(mine)
    args.out = args.out.resolve()
    args.dataset = Path(find_dataset(args.dataset)).resolve()
    args.elements = Path(args.elements).resolve()
    check_regular(args.elements, "--elements")
    if args.motifs:
        args.motifs = Path(args.motifs).resolve()
        check_regular(args.motifs, "--motifs")
    return args, words


def main():
    args, words = read_command_line()
    fill = fill_of_regions(Genome(args.dataset), args.flank, words)
    print(f"windows on regions are {fill:.0%} full")
    heads = "".join(f"{part:>16}" for part in PARTS)
    print(
        f"{'trained on':50}{'seed':>5}{heads}{'bases':>11}{'Task 1':>8}{'both':>6}  Task 2", end=""
    )
    print(", above .7")
    jobs = [
        (arm, weight, variant, seed)
        for seed in args.seeds
        for variant in args.variants
        for weight in args.repeats
        for arm in args.arms
    ]
    with ThreadPoolExecutor(args.jobs) as pool:
        for job, result in zip(jobs, pool.map(lambda job: run(job, args, fill, words), jobs)):
            arm, weight, variant, seed = job
            name = f"{arm}, repeats {weight}, {variant}"
            if result is None:
                print(f"{name:50}{seed:5}  failed: see its log", flush=True)
                continue
            summary, one, two = result
            cells = "".join(f"{summary[f'val_bits_{part}']:16.4f}" for part in PARTS)
            both = one["both_strands"]["accuracy"]
            line = (
                f"{name:50}{seed:5}{cells}{summary['tokens']:11,}{one['accuracy']:8.3f}{both:6.3f}"
            )
            if two:
                line += f"  {two['accuracy']:.3f}  {two['known']['share']:.3f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
