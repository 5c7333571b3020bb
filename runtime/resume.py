"""Where a run is, and how it goes on: start, resume or fine-tune, and what a checkpoint holds.

settings: the settings of train.py, a dict. about: what a checkpoint says of its run beside its
state (train.describe_run).
"""

import math
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from config import die, read_script
from model import GPTConfig
from runtime.checkpoint import read_checkpoint, save_checkpoint

# Settings that may change when a run is continued; all others make it what it is. Of the data it is
# the content that must be the same, not the names. A setting that a checkpoint is too old to have
# counts as its default: so a new setting's default must be how things were before.
MAY_CHANGE = {"out_dir", "dataset", "regions", "device", "dtype", "compile", "batch_size"}
MAY_CHANGE |= {"log_interval", "eval_interval", "markov_order", "patience", "keep_every"}
MAY_CHANGE |= {"wandb_log", "wandb_project", "wandb_run_name", "tensorboard_log"}
WORDS = {"auto", "scratch", "resume"}  # init_from is one of these, or a checkpoint's file


@dataclass
class Run:
    """How far a run is: what a checkpoint holds beside weights and optimisers."""

    step: int = 0  # steps done
    seconds: float = 0.0  # of training, evaluations not counted
    resumed: bool = False  # whether it goes on from a checkpoint of its own
    val: dict | None = None  # bits per base of the last evaluation; None: it is to be made
    evaluated: int | None = None  # the step that it was made at
    best_bits: float = math.inf  # the least of any evaluation, of the loss that best_by names
    waited: int = 0  # evaluations since the best one
    bases: int = 0  # seen, over all processes; N is not counted
    other_vals: list = field(default_factory=list)  # val of the genomes beside the main one
    since_log: list = field(default_factory=list)  # (loss, gradient norm) since the last log line
    skipped: int = 0  # steps of this process's life in which float16 overflowed


def start_or_resume(learner, folder, settings, about, team):
    """The Run to go on with, its weights and optimisers loaded; about is completed by what the
    checkpoint says of the past.

    A new one, or the one that the folder or init_from holds. Dies if that is another run.
    """
    afresh = settings["init_from"] == "scratch" and not restarted_by_torchrun()
    source = None if afresh else folder.newest_checkpoint()
    if source is None:
        check_init_from(settings["init_from"], folder)
    run = Run()
    saved = None
    if source is None and settings["init_from"] not in WORDS:
        source = settings["init_from"]
        saved = read_checkpoint(source)
        load_weights(learner.model, saved, source)
        steps = saved["config"]["max_iters"]
        team.say(f"fine-tuning {source}, of step {saved['step']} of {steps}")
    if team.leads:
        folder.lock()
    if source and saved is None:  # read behind the lock, so that it is the last state
        saved = read_checkpoint(source)
        run = resume(saved, source, learner, settings, about, team)
        load_weights(learner.model, saved, source)
    if saved:
        add_history(about["data"], saved["data"])
    named = ("dataset", "regions", "out_dir", "device")  # by names that may differ between nodes
    agreed = {key: value for key, value in about["config"].items() if key not in named}
    if not team.agrees(run.step, fingerprints(about["data"]), agreed):
        die(
            "the processes do not have the same settings, data and checkpoint: all nodes need the "
            "same command and an out_dir that they share"
        )
    if team.leads:
        folder.summary.unlink(missing_ok=True)
        if afresh:
            for path in folder.set_aside():
                team.say(f"{path} is now {path}.old")
        if source == folder.best:
            save_checkpoint(folder.last, saved)
        if run.resumed and goes_by_another_loss(saved, settings):
            save_checkpoint(folder.best, dict(saved, best_bits=run.best_bits))
    return run


def restarted_by_torchrun():
    """Whether torchrun starts this process again, after one of the run has failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def check_init_from(init_from, folder):
    """Die if a run in a folder without checkpoints cannot start as init_from says."""
    if init_from == "resume":
        die(f"nothing to resume: no {folder.last}")
    if init_from not in WORDS and Path(init_from).is_dir():
        die(f"init_from = {init_from} is a folder: name a checkpoint, such as {init_from}/ckpt.pt")
    if init_from not in WORDS and not Path(init_from).is_file():
        die(
            f"init_from = {init_from}: there is no such file; give a checkpoint's, or auto, "
            "scratch or resume"
        )


def add_history(data, earlier_data):
    """Add to what a checkpoint will say of its data what the one that it goes on from says: a model
    has seen that, too.
    """
    earlier = list(earlier_data.get("before", []))
    if fingerprints(earlier_data) != fingerprints(data):
        earlier.append({key: value for key, value in earlier_data.items() if key != "before"})
    if earlier:
        data["before"] = earlier


def resume(saved, source, learner, settings, about, team):
    """The Run that a checkpoint holds; loads the optimisers.

    Dies if it is another run, unless init_from is resume.
    """
    if settings["init_from"] == "resume":  # what the run once started from stays what it was
        about["config"]["init_from"] = saved["config"]["init_from"]
    changes = "; ".join(differences(saved, about))
    model_there = dict(asdict(GPTConfig()), **saved["model_args"])  # it may lack newer settings
    model_there["dropout"] = settings["dropout"]  # may change, since it has no weights
    same_model = model_there == about["model_args"]
    if changes and settings["init_from"] != "resume":
        ways = "give --out_dir another folder, "
        if same_model:
            ways += "--init_from=resume to carry on, "
        die(f"{source} is another run ({changes}): {ways}or --init_from=scratch to start over")
    if not same_model:
        why = f" ({changes})" if changes else ""
        die(f"{source} holds another model{why}: resume it with its own settings")
    try:
        run = Run(
            step=saved["step"],
            resumed=True,
            seconds=saved["seconds"],
            val=saved["val"],
            evaluated=saved["evaluated"],
            best_bits=saved["best_bits"],
            waited=saved.get("waited", 0),
            bases=saved.get("bases", saved["step"] * settings["batch_tokens"]),
            other_vals=saved.get("other_vals", []),
            since_log=list(saved["since"].to(team.device)),
        )
        learner.optimizers.load_state_dict(saved["optimizers"])
        if saved["scaler"]:
            learner.scaler.load_state_dict(saved["scaler"])
    except (KeyError, ValueError, RuntimeError) as error:
        die(
            f"{source} was written by other code of train.py or optim.py ({type(error).__name__}: "
            f"{str(error)[:60]}): fine-tune it into another --out_dir by --init_from={source}"
        )
    line = f"resuming {source} at step {run.step}"
    if run.step >= settings["max_iters"]:
        line += ", its last: no step is left to do"
    if changes:
        line += f", changing: {changes}"
    team.say(line)
    same_genomes = fingerprints(saved["data"])[0] == fingerprints(about["data"])[0]
    if not same_genomes or saved["config"]["eval_tokens"] != settings["eval_tokens"]:
        team.say("the evaluations that log.csv has so far are of other bases")
        run.val = None  # to be scored anew
        run.other_vals = []
    if run.val is None or goes_by_another_loss(saved, settings):
        run.best_bits = run.val.get(settings["best_by"], math.inf) if run.val else math.inf
        run.waited = 0
    return run


def goes_by_another_loss(saved, settings):
    """Whether a checkpoint's best.pt is the best of another loss than the settings ask for."""
    return saved["config"].get("best_by", "all") != settings["best_by"]


def differences(saved, about):
    """Texts on what makes a checkpoint's run another one than the run that about describes."""
    differs = []
    genomes_there, regions_there = fingerprints(saved["data"])
    genomes_here, regions_here = fingerprints(about["data"])
    if genomes_there != genomes_here:
        was, now = saved["data"].get("dataset"), about["config"]["dataset"]
        differs.append(f"its data are not these: {was} there and {now} here")
    elif repeats_differ(saved["data"], about["data"]):
        differs.append("its genome is soft-masked in another way")
    if regions_there != regions_here:
        was, now = saved["config"].get("regions"), about["config"]["regions"]
        differs.append(f"its regions are not these: {was or 'none'} there and {now or 'none'} here")
    defaults, _ = read_script(Path(__file__).parent.parent / "train.py")
    for key, now in about["config"].items():
        was = saved["config"].get(key, defaults[key])  # a setting newer than the checkpoint
        if key == "init_from" and was != now:
            differs.append(
                f"it began with {first_weights(was)} there and {first_weights(now)} here"
            )
        elif key not in MAY_CHANGE and was != now:
            shown = ["empty" if each == "" else each for each in (was, now)]
            differs.append(f"{key} is {shown[0]} there and {shown[1]} here")
    return differs


def repeats_differ(there, here):
    """Whether two runs on the same genomes have them soft-masked differently; there, here: what
    checkpoints say of their data, an older one nothing of this.
    """
    pairs = zip([there, *there.get("others", [])], [here, *here.get("others", [])])
    return any(a.get("repeats", b["repeats"]) != b["repeats"] for a, b in pairs)


def first_weights(init_from):
    """What a run began with, in words; init_from: as a checkpoint holds it."""
    return "new weights" if init_from == "scratch" else f"those of {init_from}"


def fingerprints(data):
    """([those of a run's genomes], md5 of its regions or None); data: what a checkpoint says of
    them.
    """
    genomes = [genome["fingerprint"] for genome in (data, *data.get("others", []))]
    return genomes, data.get("regions")


def load_weights(model, saved, source):
    """Load a checkpoint's weights; dies if they are of another model."""
    try:
        model.load_state_dict(saved["model"])
    except RuntimeError:
        given = {k: v for k, v in saved["model_args"].items() if k != "block_size"}
        words = " ".join(f"--{k}={v}" for k, v in given.items())
        die(f"{source} holds another model: give {words}")


def make_checkpoint(learner, run, about, folder):
    """All that it takes to go on after run.step steps as if nothing had happened.

    Dies if the weights are not finite.
    """
    if not all(p.isfinite().all() for p in learner.model.parameters()):
        die(
            f"step {run.step}: the weights are not finite: lower learning_rate or raise warmup; "
            f"{folder.last} is the last good state"
        )
    return dict(
        about,
        model=learner.model.state_dict(),
        optimizers=learner.optimizers.state_dict(),
        scaler=learner.scaler.state_dict(),
        step=run.step,
        seconds=run.seconds,
        val=run.val,
        evaluated=run.evaluated,
        best_bits=run.best_bits,
        bases=run.bases,
        other_vals=run.other_vals,
        waited=run.waited,
        since=torch.stack(run.since_log).cpu() if run.since_log else torch.empty(0, 2),
    )
