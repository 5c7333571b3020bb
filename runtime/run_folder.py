"""The folder of a run: its checkpoints, its log, and the lock that keeps a second run out."""

import csv
import os
from pathlib import Path

from config import die

# The columns of log.csv before and behind those of the validation losses. tokens: bases seen so
# far, by nanoGPT's name. val_bits_others: of each genome beside the main one, its name and losses.
STEP_COLUMNS = ["step", "tokens", "loss", "bits", "lr", "grad_norm"]
STEP_COLUMNS += ["tokens_per_second", "mfu", "seconds", "spikes"]
OTHERS = "val_bits_others"


def log_columns(losses):
    """The columns of log.csv; losses: names of the validation losses."""
    return [*STEP_COLUMNS, *(f"val_bits_{loss}" for loss in losses), OTHERS]


class RunFolder:
    """The files of a run: .last and .best (checkpoints), .log (CSV), .summary (JSON), .wandb_id."""

    def __init__(self, path):
        self.path = Path(path)
        self.last = self.path / "ckpt.pt"
        self.best = self.path / "best.pt"
        self.log = self.path / "log.csv"
        self.summary = self.path / "summary.json"
        self.wandb_id = self.path / "wandb_id.txt"

    def kept(self, step):
        """The checkpoint of a step that keep_every keeps."""
        return self.path / f"ckpt-{step}.pt"

    def newest_checkpoint(self):
        """The last state or, if that is gone, the best one; None if there is neither."""
        for path in (self.last, self.best):
            if path.exists():
                return path
        return None

    def set_aside(self):
        """Rename what an earlier run left to *.old; returns the old names."""
        ours = [self.last, self.best, self.log, self.wandb_id]
        ours += sorted(self.path.glob("ckpt-*.pt"))
        moved = [path for path in ours if path.exists()]
        for path in moved:
            path.replace(f"{path}.old")
        return moved

    def lock(self):
        """Make the folder and hold it until this process ends; dies if another run holds it."""
        if self.path.is_file():
            die(f"--out_dir={self.path} is a file: name a folder")
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock_file = open(self.path / "lock", "w")
        try:
            import fcntl  # not on Windows

            fcntl.flock(self.lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            die(
                f"another run is writing to {self.path}: wait for it, stop it, "
                "or give --out_dir another folder"
            )
        except (ImportError, OSError):
            pass  # a file system without locks


class Log:
    """log.csv, open for more rows.

    losses: names of the validation losses, each a column. step: the one that a run is resumed at,
    None of a new run; rows that it will write again are dropped first. evaluated: the last step
    whose evaluation the resumed checkpoint knows of.
    """

    def __init__(self, path, losses, step, evaluated):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = []
        if step is not None and path.exists():
            kept = [row for row in read_rows(path) if row_stays(row, step, evaluated)]
        temporary = Path(f"{path}.tmp")
        self.file = open(temporary, "w", newline="")
        columns = log_columns(losses)
        self.writer = csv.DictWriter(
            self.file, columns, restval="", extrasaction="ignore", lineterminator="\n"
        )
        self.writer.writeheader()
        self.writer.writerows(kept)
        self.file.flush()
        os.replace(temporary, path)  # the open file moves with it

    def add(self, row):
        """Write a row, a dict of some of the columns."""
        text = {k: f"{v:.7g}" if isinstance(v, float) else v for k, v in row.items()}
        self.writer.writerow(text)
        self.file.flush()


def read_rows(path):
    """The rows of a log.csv as dicts of text."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def row_stays(row, step, evaluated):
    """Whether a row is of the past of a run that goes on after `step`."""
    if not (row["step"] or "").isdigit():
        return False  # cut off as it was written
    if row["val_bits_all"]:
        return int(row["step"]) <= evaluated
    return int(row["step"]) <= step
