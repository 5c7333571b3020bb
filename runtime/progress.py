"""What a run says of itself: the lines on the screen, log.csv, and the table and summary at its
end.
"""

import json
import math
import time
from datetime import timedelta
from pathlib import Path

import torch

from config import dataset_names, die
from data import SEGMENT, is_base
from runtime.device import machine_peak, peak_memory
from runtime.run_folder import Log
from runtime.watch import Watch

WORSE = 0.005  # bits by which the last evaluation exceeds the best, from which on a run says so
MANY_PASSES = 20  # over the data of a genome, from which on a run says so
SHOWN = ("all", "repeats", "unique", "elements")  # the losses in a line on an evaluation
IN_TABLE = (*SHOWN, "flanks")  # and in the table at the end
SCATTERED = 0.9  # windows less full are of scaffolds, so that even few bases are of many places
MOSTLY_EMPTY = 0.25  # windows less full are far longer than what they hold
FEW_BASES = 10_000  # of validation: a run with fewer says so
SPIKE = 0.3  # bits by which a step's loss must exceed the last validation's to be logged as a spike


class Clock:
    """Seconds, steps and bases since the last look at it."""

    def __init__(self, run):
        self.restart(run)

    def restart(self, run):
        self.time = time.time()
        self.step = run.step
        self.bases = run.bases

    def look(self, run):
        """(seconds, steps, bases) since the last look or restart."""
        before = self.time, self.step, self.bases
        self.restart(run)
        return self.time - before[0], self.step - before[1], self.bases - before[2]


class Progress:
    """Prints and logs a run. settings: those of train.py. flops_per_base: for the MFU. losses:
    names of the validation losses.
    """

    def __init__(self, settings, run, loader, flops_per_base, losses, folder, team):
        self.settings = settings
        self.genomes = dataset_names(settings["dataset"])
        self.loader = loader
        self.flops_per_base = flops_per_base
        self.folder = folder
        self.team = team
        self.machine, peak = machine_peak(team.device)
        self.peak_flops = peak * team.world
        self.watch = Watch(settings, folder, run) if team.leads else None
        evaluated = run.evaluated if run.val else run.step - 1  # the last one is made again
        step = run.step if run.resumed else None
        self.log = Log(folder.log, losses, step, evaluated) if team.leads else None

    def introduce(self, model, val_windows):
        """Print what is about to run: the model, the machine, the data, the validation.

        val_windows: of each genome.
        """
        team, loader = self.team, self.loader
        parameters = sum(p.numel() for p in model.parameters())
        matrices = sum(p.numel() for p in model.matrices())
        precision = str(team.precision).removeprefix("torch.")
        processes = "process" if team.world == 1 else "processes"
        team.say(
            f"{parameters:,} parameters, {matrices:,} in matrices | {self.machine}, {precision}, "
            f"compile {model.is_compiled}, {team.world} {processes} x "
            f"{loader.micro_steps} micro-batches x {loader.micro} windows"
        )
        steps = self.settings["max_iters"]
        bases = f"{loader.bases_per_step:,} bases"
        if loader.trims:
            bases = f"{loader.per_step:,} windows"
        elif loader.bases_per_step != self.settings["batch_tokens"]:
            bases += " (batch_tokens, rounded to whole windows)"
        team.say(f"{steps} steps x {bases}, on")
        mixture = loader.mixture
        counts = mixture.before(steps)
        for name, windows, n, share in zip(loader.names, mixture.sources, counts, mixture.later):
            passes = n / windows.per_epoch
            line = (
                f"  {name}: {passes:.3g} passes of {windows.per_epoch:,} windows of "
                f"{self.settings['block_size']}"
            )
            if loader.trims:
                line += f", {windows.fill:.0%} full (micro-batches end with their longest one)"
            if windows.fill < MOSTLY_EMPTY:
                line += "; a smaller block_size costs less"
            if len(loader.names) > 1:
                line += f", {share:.1%} of the windows"
                if mixture.later != mixture.shares and mixture.switch_step:
                    line += f" from step {mixture.switch_step} on"
            if passes >= MANY_PASSES:
                line += (
                    "; warning: it will learn these by heart, fewer max_iters or some dropout help"
                )
            team.say(line)
        for name, windows, trained_on in zip(self.genomes, val_windows, mixture.sources):
            n_bases = int(is_base(windows).sum())
            line = f"validation on {name}: {n_bases:,} bases"
            n_places = max(1, round(self.settings["eval_tokens"] / SEGMENT))
            if n_places < 10 and trained_on.fill > SCATTERED:
                line += (
                    f" from no more than {n_places} {'place' if n_places == 1 else 'places'}: "
                    "too few to compare with other runs, raise eval_tokens"
                )
            elif n_bases < FEW_BASES:
                line += ", too few to tell models apart"
            team.say(line)

    def evaluation(self, run):
        """Print and log run.val; dies if it is not finite."""
        vals = [run.val, *run.other_vals]
        for name, bits in zip(self.genomes, vals):
            where = f" on {name}" if len(vals) > 1 else ""
            losses = ", ".join(f"{loss} {bits[loss]:.4f}" for loss in SHOWN)
            self.team.say(
                f"step {run.step}/{self.settings['max_iters']} | validation bits per base{where}: "
                f"{losses}"
            )
        if not all(math.isfinite(bits["all"]) for bits in vals):
            die(
                f"step {run.step}: validation is not finite: lower learning_rate; "
                f"{self.folder.last} is the last good state"
            )
        if self.log:
            row = dict(step=run.step, tokens=run.bases, seconds=run.seconds)
            row.update({f"val_bits_{loss}": value for loss, value in run.val.items()})
            texts = []
            for name, bits in zip(self.genomes[1:], run.other_vals):
                texts.append(" ".join([name, *(f"{value:.5f}" for value in bits.values())]))
            self.log.add(dict(row, val_bits_others="; ".join(texts)))
            for name, bits in zip(self.genomes[1:], run.other_vals):
                row.update({f"val_bits_{loss} on {name}": value for loss, value in bits.items()})
            self.watch.add(row)

    def steps(self, run, factor, clock, scaler):
        """Print and log the steps since the last line; dies if a loss was not finite.

        factor: of the learning rate.
        """
        history = torch.stack(run.since_log).tolist()  # where a GPU is waited for
        run.since_log.clear()
        first = run.step - len(history) + 1
        seconds, steps, bases = clock.look(run)
        run.seconds += seconds
        self.check_losses(history, first, scaler, run)
        run.skipped += sum(not math.isfinite(grad_norm) for _, grad_norm in history)
        usual = run.val["all"] if run.val else 2.0
        too_much = (usual + SPIKE) * math.log(2)
        spikes = [step for step, (loss, _) in enumerate(history, first) if loss > too_much]
        loss, grad_norm = history[-1]
        row = dict(
            step=run.step,
            tokens=run.bases,
            loss=loss,
            bits=loss / math.log(2),
            lr=factor * self.settings["learning_rate"],
            grad_norm=grad_norm,
            tokens_per_second=bases / seconds,
            mfu=bases / seconds * self.flops_per_base / self.peak_flops,
            seconds=run.seconds,
            spikes=" ".join(map(str, spikes)),
        )
        if self.log:
            self.log.add(row)
            self.watch.add(row)
        left = (self.settings["max_iters"] - run.step) * seconds / steps
        self.team.say(self.step_line(row, run, spikes, left))

    def step_line(self, row, run, spikes, left):
        """The line on the screen for a row of the log; left: seconds to the end."""
        last = self.settings["max_iters"]
        parts = [
            f"step {run.step}/{last}",
            f"loss {row['loss']:.4f}",
            f"{row['bits']:.4f} bits",
            f"lr {row['lr']:.2e}",
            f"norm {row['grad_norm']:.2f}",
            f"{row['tokens_per_second']:,.0f} bases/s",
        ]
        if math.isfinite(row["mfu"]):
            parts.append(f"mfu {row['mfu']:.1%}")
        if run.skipped:
            parts.append(f"{run.skipped} skipped")
        if spikes:
            parts.append(f"SPIKE at {spikes}")
        parts.append(f"{timedelta(seconds=round(left))} left")
        return " | ".join(parts)

    def check_losses(self, history, first, scaler, run):
        """Die if one of (loss, gradient norm) was not finite; first: the step of the first."""
        last_good = f"{self.folder.last} is the last good state"
        for step, (loss, grad_norm) in enumerate(history, first):
            # in float16 an infinite gradient is usual: the step was skipped
            if not math.isfinite(loss) or not (math.isfinite(grad_norm) or scaler.is_enabled()):
                die(
                    f"step {step}: loss {loss}, gradient norm {grad_norm}: "
                    f"lower learning_rate or raise warmup; {last_good}"
                )
        if scaler.is_enabled() and scaler.get_scale() < 1:
            die(
                f"step {run.step}: float16 overflows however small the loss is scaled: "
                f"give --dtype=bfloat16 or float32; {last_good}"
            )

    def table(self, run, baselines):
        """Print the model's bits beside the baselines', {name: bits}, and write summary.json."""
        uniform = {loss: math.nan if math.isnan(bits) else 2.0 for loss, bits in run.val.items()}
        rows = {"uniform": uniform, **baselines, "this model": run.val}
        for name, bits in zip(self.genomes[1:], run.other_vals):
            rows[f"this model on {name}"] = bits
        say = self.team.say
        say(f"\n{'validation, bits per base':26}" + "".join(f"{loss:>9}" for loss in IN_TABLE))
        for name, bits in rows.items():
            label = f"{name} (best order)" if name.startswith("Markov") else name
            # an old run has not got a loss that is newer than it
            columns = [bits.get(loss, math.nan) for loss in IN_TABLE]
            say(f"{label:26}" + "".join(f"{column:9.4f}" for column in columns))
        beside = [run.val.get(f"{place}_unique", math.nan) for place in ("elements", "flanks")]
        if math.isfinite(beside[0]):
            say("this model on unique bases: elements {:.4f}, their flanks {:.4f}".format(*beside))
        best_by = self.settings["best_by"]
        if run.best_bits < run.val[best_by] - WORSE:
            line = f"{self.folder.best} is better, of an earlier step: {run.best_bits:.4f} bits"
            say(line if best_by == "all" else f"{line} of {best_by}")
        summary = self.summary(run)
        self.write_summary(dict(summary, table=rows))
        say()
        for key, value in summary.items():
            say(f"{key}: {value}")

    def summary(self, run):
        """The run in a dozen figures."""
        seconds = max(run.seconds, 1e-9)
        return dict(
            **{f"val_bits_{name}": round(bits, 5) for name, bits in run.val.items()},
            tokens=run.bases,
            seconds=round(run.seconds, 1),
            tokens_per_second=round(run.bases / seconds),
            mfu=round(run.bases * self.flops_per_base / seconds / self.peak_flops, 4),
            peak_memory_gb=round(peak_memory(self.team.device) / 1e9, 2),
            checkpoint=str(self.folder.last),
        )

    def write_summary(self, summary):
        """Write summary.json, whole or not at all; nan becomes null, which JSON knows."""
        plain = json.loads(json.dumps(summary), parse_constant=lambda nan: None)
        temporary = Path(f"{self.folder.summary}.tmp")
        temporary.write_text(json.dumps(plain, indent=1) + "\n")
        temporary.replace(self.folder.summary)
