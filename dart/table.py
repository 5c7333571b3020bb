"""The results: a line and a file as each of them comes, and the table beside the published ones."""

import json
from pathlib import Path

PUBLISHED = {  # zero-shot, probe, paired probe
    "ab initio CNN": (None, 0.846, 0.932),
    "Nucl. Transformer v2 500M": (0.745, 0.819, 0.917),
    "Mistral-DNA": (0.863, 0.759, 0.859),
    "DNABERT-2": (0.876, 0.847, 0.943),
    "HyenaDNA large-1m": (0.891, 0.847, 0.935),
    "GENA-LM large": (0.947, 0.887, 0.959),
    "Caduceus-PS 131k (*)": (0.971, 0.726, 0.896),
    "Evo 2 7B (+)": (0.976, None, None),
}
FOOTNOTE = (
    "published: Table 3 of arXiv:2412.05430v1 (from a third party's transcript), on ENCODE's "
    "2,348,854 elements, one strand, float32; but for\n"
    "the CNN, which has no pretraining, those models saw the test chromosomes in theirs, "
    "and so did Evo 2, whose row is no part of that table\n"
    "(*) its probe saw two positions only, an artefact of the official script  "
    "(+) unofficial, read off a plot of the Evo 2 fork of DART-Eval"
)
PUBLISHED_FOOTPRINTS = [
    ("ARSENAL 57M (*)", "-", "0.604", "-", "-", "-", "-", "-"),
    ("a published model (+)", "-", "-", "0.729", "-", "-", "0.495 0.590 0.685", "-"),
]
FOOTPRINTS_FOOTNOTE = (
    "published: 1,443 motifs of HOCOMOCO v12 CORE, 100 backgrounds each  (*) a masked model of "
    "cCREs alone, a notebook of its repository\n"
    "(+) a notebook of DART-Eval (af2a86d) whose path and title name different models"
)
OFFICIAL_CONTROLS = (
    "the control keeps the motif's letters and not their neighbours, so a bigram is a baseline\n"
    "it often lacks the motif's CpG, which is rare in a genome: motifs with one look unknown "
    "to any model that knows it"
)
PUBLISHED_VARIANTS = {  # of dsQTLs the first two with the sign turned, so that all have one
    "African caQTLs": [
        ("HyenaDNA", "0.486", "0.082", "-0.006", "0.001", "-"),
        ("Nucl. Transformer v2 500M", "0.525", "0.092", "-0.004", "0.005", "-"),
        ("ARSENAL 57M (*)", "0.495", "0.085", "0.150", "0.158", "-"),
    ],
    "Yoruban dsQTLs": [
        ("HyenaDNA", "0.436", "0.017", "-0.038", "0.007", "-"),
        ("Nucl. Transformer v2 500M", "0.469", "0.019", "0.055", "0.053", "-"),
        ("ARSENAL 57M (*)", "0.551", "0.027", "0.390", "0.350", "-"),
    ],
}
VARIANTS_FOOTNOTE = (
    "AUPRC is {share:.3f} by chance here; published: on all variants, where it is .080 (caQTLs) "
    "and .020 (dsQTLs); zero-shot likelihood,\nDART-Eval's notebook at e614bb9  (*) a masked model "
    "of cCREs alone, notebook of its repository (kundajelab/regulatory_lm)"
)
FOOTPRINTS_HEAD = (
    "DART-Eval Task 2",
    "accuracy (95 %)",
    "above .7 (95 %)",
    "above .5",
    "CpG, none",
    "both strands",
    "quartiles",
    "ties",
)
VARIANTS_HEAD = (
    "DART-Eval Task 5",
    "AUROC (95 %)",
    "AUPRC",
    "Pearson (95 %)",
    "Spearman (95 %)",
    "both strands: Pearson",
)
HEAD = (
    "DART-Eval Task 1",
    "zero-shot (95 %)",
    "ties",
    "both strands",
    "probe",
    "probe, paired",
    "AUROC",
)
PUBLISHED_HEAD = ("published", "zero-shot", "", "", "probe", "paired", "")


class Results:
    """What eval_dart.py finds.

    settings: those of eval_dart.py, by name; of them `json` is a file that is rewritten as each
    result comes. step: of the checkpoint. about: lines on the data, printed at once.
    """

    def __init__(self, settings, step, about):
        self.settings = settings
        self.step = step
        self.about = about
        self.method = []  # lines on how things were measured, printed with the table
        self.title = ""  # of a picture
        self.models = {}  # name -> {"zero_shot": result, "probe": result}
        print("\n".join(about), flush=True)

    def record(self, name, task, result, seconds):
        """Keep a model's result, print it and write the file; task: zero_shot, probe,
        footprints or variants.
        """
        result["seconds"] = round(seconds, 1)
        self.models.setdefault(name, {})[task] = result
        value = headline(task, result)
        print(f"{name}: {task} {value}, {result['seconds']} s", flush=True)
        if self.settings.json:
            self.write()

    def write(self):
        """Write the JSON file beside its place, then move it there: a reader sees a whole file."""
        held = {
            "settings": vars(self.settings),
            "step": self.step,
            "notes": self.about + self.method,
            "models": self.models,
        }
        if self.settings.task == 1:
            held.update(published=PUBLISHED, footnote=FOOTNOTE, title=self.title)
        temporary = Path(f"{self.settings.json}.tmp")
        temporary.write_text(json.dumps(held, indent=1) + "\n", encoding="utf-8")
        temporary.replace(self.settings.json)

    def print_table(self):
        """Our models, then the published ones."""
        lines = [HEAD]
        for name, result in self.models.items():
            lines.append(table_line(name, result.get("zero_shot"), result.get("probe")))
        lines.append(PUBLISHED_HEAD)
        for name, (zero_shot, probe, paired) in PUBLISHED.items():
            cells = (number(zero_shot), "-", "-", number(probe), number(paired), "-")
            lines.append((name, *cells))
        print()
        for line in self.method:
            print(line)
        print()
        for name, zero_shot, ties, both_strands, probe, paired, auroc in lines:
            left = f"{name:26}{zero_shot:21}{ties:>7}"
            print(f"{left}  {both_strands:21}{probe:7}{paired:21}{auroc}")
        print(FOOTNOTE)


def headline(task, result):
    """The figure of a result that is printed as it comes."""
    if task == "probe":
        return f"(paired) {result['paired']:.3f}"
    if task == "variants":
        return f"Pearson {number(result['one_strand']['pearson']['value'])}"
    return f"{result['accuracy']:.3f}"


def print_footprints(results):
    """Task 2's table: our models, the published ones, and the motifs that the last model knows best
    and least.
    """
    rows = [FOOTPRINTS_HEAD]
    for name, tasks in results.models.items():
        result = tasks["footprints"]
        known = result["known"]
        rows.append(
            (
                name,
                number_and_interval(result, "accuracy"),
                f"{known['share']:.3f} ({known['low']:.3f}-{known['high']:.3f})",
                number(result["above_half"]["share"]),
                f"{number(result['with_cpg'])} {number(result['without_cpg'])}",
                number(result["both_strands"]),
                " ".join(number(value) for value in result["quantiles"][1:4]),
                f"{result['ties']:,}",
            )
        )
    rows += PUBLISHED_FOOTPRINTS
    print_columns(rows)
    print(FOOTPRINTS_FOOTNOTE)
    if results.settings.keep_pairs:
        print("a bigram cannot tell a motif from these controls, and so all of its pairs are ties")
    else:
        print(OFFICIAL_CONTROLS)
    name, tasks = list(results.models.items())[-1]
    last = tasks["footprints"]
    print(f"{name}: {last['always']} motifs at 1.00, {last['never']} at 0.00")
    for which in ("best", "worst"):
        named = ", ".join(f"{motif} {accuracy:.2f}" for motif, accuracy in last[which])
        print(f"{name}'s {which}: {named}")


def print_variants(results, kind):
    """Task 5's table for one of its files: our models and the published ones. kind: of the file."""
    rows = [VARIANTS_HEAD]
    for name, tasks in results.models.items():
        one = tasks["variants"]["one_strand"]
        both = tasks["variants"]["both_strands"]
        auroc, pearson, spearman = (
            value_and_interval(one[key]) for key in ("auroc", "pearson", "spearman")
        )
        beside = value_and_interval(both["pearson"])
        rows.append((name, auroc, number(one["auprc"]), pearson, spearman, beside))
    rows += PUBLISHED_VARIANTS[kind.name]
    print_columns(rows)
    share = one["share_significant"]  # the same of each model
    print(VARIANTS_FOOTNOTE.format(share=share))


def print_columns(rows):
    """Rows of text, a blank line above, each column as wide as it needs."""
    print()
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        print("  ".join(cells).rstrip())


def value_and_interval(result):
    """A figure with its 95 % interval; a dash where there is none."""
    if result is None or result["value"] is None:
        return "-"
    if result["low"] is None:
        return number(result["value"])
    return f"{result['value']:.3f} ({result['low']:.3f} to {result['high']:.3f})"


def table_line(name, zero_shot, probe):
    """The cells of one of our models; zero_shot, probe: its results, or None."""
    accuracy = ties = both_strands = "-"
    if zero_shot:
        accuracy = number_and_interval(zero_shot, "accuracy")
        ties = str(zero_shot["ties"])
        if zero_shot.get("both_strands"):
            both_strands = number_and_interval(zero_shot["both_strands"], "accuracy")
    single = paired = auroc = "-"
    if probe:
        single = number(probe["accuracy"])
        paired = number_and_interval(probe, "paired")
        auroc = number(probe["auroc"])
    return name, accuracy, ties, both_strands, single, paired, auroc


def number(value):
    """Three decimals, or a dash for None."""
    return "-" if value is None else f"{value:.3f}"


def number_and_interval(result, key):
    """A share with its 95 % interval."""
    return f"{result[key]:.3f} ({result['low']:.3f}-{result['high']:.3f})"
