"""DART-Eval: what does a model know of regulatory DNA?

  python eval_dart.py --ckpt=out/ckpt.pt                                   Task 1
  python eval_dart.py --ckpt=out/ckpt.pt --task=2 --motifs=motifs.meme     Task 2
  python eval_dart.py --ckpt=out/ckpt.pt --task=5 --variants=dsqtls.tsv    Task 5

Task 1: each regulatory element (cCRE) sits in a window of 350 bases; in its control the element is
shuffled, so that each pair of neighbours occurs as often as before. Zero-shot: the window must be
the likelier. Probe: a small CNN tells them apart by the model's frozen states. Task 2: a motif in
the middle of a background must be likelier than its letters in another order. Task 5: variants that
open or close chromatin; does the difference of their alleles' likelihoods follow their effect?

The protocol is that of Patel et al., NeurIPS 2024, arXiv:2412.05430; what differs is printed with
the result.
"""

import os
from types import SimpleNamespace

# torch reads this as it loads: threads that wait leave their core to others
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from config import configure, die, find_dataset, main_dataset, read_script
from dart import task1, task2, task5
from dart.elements import CHROMS, WINDOW
from dart.zero_shot import Candidate
from data import Genome
from runtime.checkpoint import load_model
from runtime.device import pick_device
from runtime.output import check_output

ckpt = "out/ckpt.pt"  # the model to evaluate
task = 1  # 1 | 2 | 5
motifs = ""  # Task 2: a file of motifs, MEME's or JASPAR's; the official one is HOCOMOCO v12 CORE
backgrounds = ""  # Task 2: a file of 350 bases a line; "": controls of Task 1
keep_pairs = False  # Task 2: stricter controls, with a motif's pairs of neighbours, such as its CpG
max_motifs = 0  # Task 2: motifs scored; 0: all on a GPU, 100 on a CPU
max_backgrounds = 0  # Task 2: backgrounds for each; 0: 100 on a GPU, 10 on a CPU
variants = ""  # Task 5: a TSV of DART-Eval's, African caQTLs or Yoruban dsQTLs
dataset = ""  # a prepared genome; "": the one that the checkpoint was trained on
ccre = ""  # a BED of elements; "": ccre.bed in the dataset's folder, else ENCODE's list, downloaded
split = "test"  # whose DART-Eval chromosomes to test on: train | val | test
only = ""  # zero_shot | probe, to do one of the two
full = False  # the official size: all pairs, a probe of 150 epochs; days without a large GPU
max_pairs = 0  # pairs scored, or controls of Task 5; 0: all on a GPU, 1,000 on a CPU
probe_pairs = 0  # pairs the probe trains on, and at most is tested on; 0: 5,000, on a CPU 1,000
probe_epochs = 20  # passes over them
layer = -1  # the probe reads the states after this many blocks; -1: after all, as the official one
pool = ""  # mean: a linear probe on the mean state of a window; "": the official CNN on all states
probe_batch = 0  # pairs in a step of the probe; 0: about 32 steps an epoch, of 16 to 2,048 pairs
probe_memory = 4.0  # GB to keep states in; if they need more, each epoch computes them
markov_order = 12  # highest order of the Markov models beside the model; 0: the bigram (order 1)
batch_size = 0  # windows at once through the model; 0: 128 on a GPU, 8 on a CPU (its cache)
json = ""  # a file for the results, rewritten as each of them comes
device = "auto"  # auto | cuda | cpu | mps | cuda:1 ...
dtype = "auto"  # float32 is the official one; auto: bfloat16 where the hardware multiplies it
seed = 0  # of the probe and of the untrained model; the pairs have the official seeds
# ---- end of settings

ALLOWED = {
    "task": [1, 2, 5],
    "split": list(CHROMS),
    "only": ["", "zero_shot", "probe"],
    "pool": ["", "mean"],
}
NEEDED = {2: "motifs", 5: "variants"}  # setting that a task cannot do without
TASKS_OF = {  # settings that only some tasks have
    "motifs": [2],
    "backgrounds": [2],
    "keep_pairs": [2],
    "max_motifs": [2],
    "max_backgrounds": [2],
    "variants": [5],
    "split": [1, 2],
    "ccre": [1, 2],
    "max_pairs": [1, 5],
    "only": [1],
    "probe_pairs": [1],
    "probe_epochs": [1],
    "probe_batch": [1],
    "layer": [1],
    "pool": [1],
}
AT_LEAST = {
    "max_pairs": 0,
    "max_motifs": 0,
    "max_backgrounds": 0,
    "probe_pairs": 0,
    "probe_epochs": 1,
    "probe_batch": 0,
    "markov_order": 0,
    "batch_size": 0,
    "seed": 0,
}


# ---- what may be wrong


def check_settings(settings):
    """Die at a setting out of its limits."""
    for key, allowed in ALLOWED.items():
        if settings[key] not in allowed:
            die(f"{key} = {settings[key]!r}: give one of {', '.join(map(repr, allowed))}")
    for key, low in AT_LEAST.items():
        if settings[key] < low:
            die(f"{key} = {settings[key]}: give at least {low}")
    defaults, comments = read_script(__file__)
    for number, key in NEEDED.items():
        if task == number and not settings[key]:
            what = comments[key].removeprefix(f"Task {number}: ")
            die(f"--task={number} needs --{key}=FILE: {what}")
    for key, tasks in TASKS_OF.items():
        if settings[key] != defaults[key] and task not in tasks:
            those = " and ".join(map(str, tasks))
            die(f"--{key} belongs to --task={those}, but this is --task={task}: leave it out")
    if full and (probe_epochs, probe_batch) != (defaults["probe_epochs"], defaults["probe_batch"]):
        die("--full has 150 epochs of 2,048 pairs a step: leave out --probe_epochs, --probe_batch")
    if json == "-":
        die("--json=-: name a file, standard output has the table")
    check_output(json or "-", "json", inputs=(ckpt, ccre, motifs, backgrounds, variants))


def check_model(model):
    """Die if the model lacks the layer asked for, or has too short a context."""
    n_layer = model.config.n_layer
    if not -1 <= layer <= n_layer:
        die(f"layer = {layer}: give 0 to {n_layer} for {ckpt}, or -1 for the last")
    context = model.config.block_size
    if context <= WINDOW:
        die(
            f"{ckpt} has a context of {context}: a window and its start symbol take {WINDOW + 1}: "
            f"train a model with --block_size={WINDOW + 1} or more"
        )


def main(words=None):
    """Evaluate. words: of a command line, those that Python was started with by default."""
    settings = configure(globals(), words)
    check_settings(settings)
    torch_device, precision, _ = pick_device(device, dtype)
    torch.set_float32_matmul_precision("highest")  # float32 means it
    torch.backends.cudnn.allow_tf32 = False  # in the probe's convolutions too
    model, checkpoint = load_model(ckpt, torch_device)
    check_model(model)
    gpt = Candidate("this model", model, torch_device, precision)
    genome = Genome(find_dataset(dataset or main_dataset(checkpoint)))
    run = {1: task1.run, 2: task2.run, 5: task5.run}[task]
    run(gpt, genome, checkpoint, SimpleNamespace(**settings))


if __name__ == "__main__":
    main()
