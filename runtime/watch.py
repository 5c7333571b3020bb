"""A run watched elsewhere than in its log.csv: in Weights & Biases, in TensorBoard.

Each is asked for by a setting of train.py and imported only then, by the process that leads. What
is logged are the rows of log.csv; no error of theirs ends a run that has begun.
"""

import importlib
import math
import os
import uuid

from config import die

PACKAGES = {  # setting -> what is imported, and what pip installs for it
    "wandb_log": ("wandb", "wandb"),
    "tensorboard_log": ("torch.utils.tensorboard", "tensorboard"),
}
NAMES = {  # a column of log.csv -> its name elsewhere; losses of validation have theirs below
    "loss": "train/loss",  # nats
    "bits": "train/bits",
    "lr": "train/lr",
    "grad_norm": "train/grad_norm",
    "tokens_per_second": "train/bases_per_second",
    "mfu": "train/mfu",
}


def check_packages(settings):
    """Die if a package that the settings ask for is missing here, where the lead process runs."""
    if int(os.environ.get("RANK", 0)) > 0:
        return
    for setting, (module, package) in PACKAGES.items():
        if not settings[setting]:
            continue
        try:
            importlib.import_module(module)
        except ImportError as error:
            reason = str(error).splitlines()[0]
            die(f"{setting} needs a package ({reason}): pip install {package}")


def named_values(row):
    """{name: number} of a row of the log; what is nan, such as the MFU of a CPU, is left out."""
    values = {}
    for column, value in row.items():
        name = NAMES.get(column)
        if column.startswith("val_bits_"):
            name = "val/" + column.removeprefix("val_")
        if name and math.isfinite(value):
            values[name] = value
    return values


class Wandb:
    """A run in Weights & Biases. Its id is kept in the folder, so that a resumed run goes on in the
    same one.

    wandb takes no row of a number below its last one's. So rows are numbered by their steps, and
    what is done again after a crash is there once: as it was first, if that had arrived.
    """

    name = "wandb"
    mend = "wandb login, or WANDB_MODE=offline in the environment"

    def __init__(self, settings, folder, run):
        import wandb

        if not folder.wandb_id.exists():
            folder.wandb_id.write_text(uuid.uuid4().hex[:8])
        self.run = wandb.init(
            project=settings["wandb_project"],
            name=settings["wandb_run_name"] or folder.path.resolve().name,
            id=folder.wandb_id.read_text().strip(),
            resume="allow",
            config=settings,
            dir=str(folder.path),
        )
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")  # or choose bases, which is in every row

    def add(self, step, bases, values):
        is_evaluation = "val/bits_all" in values  # its row comes after the step's own
        number = 2 * step + is_evaluation
        self.run.log(dict(values, step=step, bases=bases), step=number)


class TensorBoard:
    """Event files in the folder, those of one writer over steps and those of another over bases. A
    purge_step has TensorBoard forget what a resumed run logs again.
    """

    name = "tensorboard"
    mend = "leave out tensorboard_log"

    def __init__(self, settings, folder, run):
        from torch.utils.tensorboard import SummaryWriter

        path = folder.path / "tensorboard"
        self.by_step = SummaryWriter(str(path / "by_step"), purge_step=run.step + 1)
        self.by_bases = SummaryWriter(str(path / "by_bases"), purge_step=run.bases + 1)

    def add(self, step, bases, values):
        for writer, x in ((self.by_step, step), (self.by_bases, bases)):
            for name, value in values.items():
                writer.add_scalar(name, value, x)
            writer.flush()


class Watch:
    """All that the settings ask for."""

    def __init__(self, settings, folder, run):
        self.watchers = []
        for setting, kind in (("wandb_log", Wandb), ("tensorboard_log", TensorBoard)):
            if not settings[setting]:
                continue
            try:
                self.watchers.append(kind(settings, folder, run))
            except Exception as error:  # theirs are of many kinds
                die(f"{kind.name} does not start ({first_line(error)}): {kind.mend}")

    def add(self, row):
        """Log a row of log.csv, a dict; a watcher that fails is left out from then on."""
        values = named_values(row)
        for watcher in list(self.watchers):
            try:
                watcher.add(row["step"], row["tokens"], values)
            except Exception as error:  # a network or a disk of theirs is no reason to end a run
                self.watchers.remove(watcher)
                print(
                    f"warning: {watcher.name} failed at step {row['step']} ({first_line(error)}): "
                    "the run goes on without it, log.csv has everything",
                    flush=True,
                )


def first_line(error):
    """What an error says, in one line that is not long."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:100]
