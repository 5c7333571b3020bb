"""How every script takes its settings: an optional config file, then --key=value or --key value.

A script's settings are the assignments at its top, each on one line with its comment:

    max_iters = 2050  # steps

configure(globals()) lets a config file and the command line override them. A config file holds
plain assignments too. It is read as literals and arithmetic, never executed.
"""

import ast
import difflib
import operator
import re
import sys
from pathlib import Path

SETTING = re.compile(r"^([a-z]\w*) = (.+?)  # (.+)$", re.MULTILINE)  # name, default, comment
END = "# ---- end of settings"  # a line behind the settings, where a script has it
AUTO = {"compile"}  # settings that take True and False beside "auto"
TRUTH = {"True": True, "true": True, "False": False, "false": False}
ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


# ---- errors


def die(message):
    """End the script with one line that says what is wrong and what to do; exit code 1."""
    sys.exit(f"error: {message}")


def listed(names, most=20):
    """The names for a message: the first ones, and how many there are if that is not all."""
    names = list(names)
    text = ", ".join(names[:most])
    return text if len(names) <= most else f"{text}, ... ({len(names):,} in all)"


def explain(kind, error):
    """One line on an error of the world outside (memory, disk, the Ctrl-C key); None for a bug."""
    if issubclass(kind, KeyboardInterrupt):
        return "interrupted"
    if issubclass(kind, BrokenPipeError):
        return "stopped: nobody reads the output any more"
    on_gpu = kind.__name__ == "OutOfMemoryError"  # torch's, which is not imported here
    on_cpu = "can't allocate memory" in str(error)  # torch's too, a RuntimeError
    if issubclass(kind, MemoryError) or on_gpu or on_cpu:
        return (
            "error: out of memory: halve batch_size, which costs speed alone (where it is 0, give "
            "16); if it is 1, lower block_size or the size of the model"
        )
    if issubclass(kind, OSError) and error.errno is not None:
        if error.filename:
            return f"error: {error.strerror}: {error.filename}"
        return f"error: {error.strerror}"
    return None


def report_error(kind, error, trace):
    """What Python calls for an error that nothing caught: a bug keeps its traceback."""
    line = explain(kind, error)
    if line is None:
        sys.__excepthook__(kind, error, trace)
    else:
        print(line, file=sys.stderr)


# ---- values


def literal(node):
    """The value of a syntax node that holds constants, lists and arithmetic alone.

    Raises ValueError for anything else, ArithmeticError or TypeError where it cannot be computed.
    """
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -literal(node.operand)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
        return +literal(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return compute(node.op, literal(node.left), literal(node.right))
    raise ValueError("only literals and arithmetic")


def compute(op, left, right):
    """left op right, for numbers of a size that a setting may have: 9**9**9 would take hours."""
    for value in (left, right):
        if not isinstance(value, (int, float)) or not abs(value) < 1e18:
            raise ValueError("arithmetic is for numbers")
    if isinstance(op, ast.Pow) and abs(right) > 64:
        raise ValueError("exponent too large")
    return ARITHMETIC[type(op)](left, right)


def coerce(key, value, default, where):
    """`value` in the type of `default`; dies if it has another type.

    An int is a fine float, and 1e6 a fine int. where: the file and line to name in the error.
    """
    if key in AUTO and isinstance(value, bool):
        return value
    if type(default) is float and type(value) is int:
        return float(value)
    if type(default) is int and type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not type(default):
        die(f"{where}: {key} takes {type(default).__name__}, such as {default!r}, not {value!r}")
    return value


def check_key(key, known, where):
    """Die if there is no such setting, naming the nearest one."""
    if key in known:
        return
    near = difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else "--help lists them all"
    die(f"{where}: unknown setting {key!r}: {hint}")


# ---- a config file


def find_config(path):
    """A config file as it is named, from this folder or from the one of the scripts; dies if there
    is none.
    """
    if not str(path).endswith(".py"):
        die(
            f"{path} is no config file (.py): any other file is given to a setting, "
            "as --key=FILE; --help lists them"
        )
    root = Path(__file__).parent.parent
    for there in (Path(path), root / path):
        if there.is_file():
            return there
    names = [f"config/{p.name}" for p in (root / "config").glob("[a-z]*.py")]
    near = difflib.get_close_matches(str(path), names, 1, 0.7)
    hint = f": did you mean {near[0]}?" if near else ""
    die(f"no config file {path}{hint}")


def parse_config(path):
    """The statements of a config file as syntax nodes; dies if it cannot be read."""
    try:
        # utf-8-sig: editors on Windows put a mark before the text
        return ast.parse(find_config(path).read_text(encoding="utf-8-sig")).body
    except UnicodeDecodeError:
        die(f"{path}: not UTF-8 text: save it as UTF-8")
    except (SyntaxError, ValueError) as error:
        die(f"{path}: not plain assignments: {error}")


def is_docstring(node):
    """Whether a statement is a string alone."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
        return False
    return isinstance(node.value.value, str)


def is_assignment(node):
    """Whether a statement is `name = value`."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return False
    return isinstance(node.targets[0], ast.Name)


def read_config(path, defaults):
    """{setting: value} of what a config file assigns, in the types of the defaults.

    Dies at anything but assignments of literals and arithmetic to settings that there are.
    """
    found = {}
    for node in parse_config(path):
        where = f"{path}:{node.lineno}"
        if is_docstring(node):
            continue
        if not is_assignment(node):
            die(f"{where}: a config file holds only lines such as max_iters = 1000")
        key = node.targets[0].id
        check_key(key, defaults, where)
        try:
            value = literal(node.value)
        except (ValueError, ArithmeticError, TypeError) as error:
            die(f"{where}: {key}: {error}, such as {defaults[key]!r}")
        found[key] = coerce(key, value, defaults[key], where)
    return found


# ---- the command line


def read_value(key, text, default):
    """The value that a text on the command line stands for, in the type of the default."""
    if isinstance(default, str):
        return TRUTH.get(text, text) if key in AUTO else text
    if text in TRUTH:
        value = TRUTH[text]
    else:
        try:
            value = literal(ast.parse(text.strip(), mode="eval").body)
        except (ValueError, SyntaxError, ArithmeticError, TypeError):
            value = text  # coerce says what is wrong with it
    return coerce(key, value, default, "command line")


def read_command_line(words, defaults):
    """(path of a config file or None, {setting: value}) from the words of a command line.

    Dies at an unknown setting, a missing value or one of the wrong type, or a word out of place.
    """
    path = None
    found = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            if path is not None or found:
                die(f"unexpected {word!r}: a config file comes first and alone, then --key=value")
            path = word
            continue
        key, equals, text = word[2:].partition("=")
        key = key.replace("-", "_")
        check_key(key, defaults, "command line")
        default = defaults[key]
        if not equals:
            if left and not left[0].startswith("--"):
                text = left.pop(0)  # --key value
            elif isinstance(default, bool):
                text = "True"  # --key alone
            else:
                die(f"--{key} needs a value, such as --{key}={default!r}")
        found[key] = read_value(key, text, default)
    return path, found


# ---- what scripts call


def read_script(script):
    """({setting: default}, {setting: comment}) as a script's file has them at its top.

    From the file, since the script's own values are those of the last call of configure.
    """
    defaults = {}
    comments = {}
    top, _, _ = Path(script).read_text(encoding="utf-8").partition(END)
    for key, text, comment in SETTING.findall(top):
        defaults[key] = literal(ast.parse(text, mode="eval").body)
        comments[key] = comment
    return defaults, comments


def configure(settings, words=None):
    """Override a script's settings, in place, and return them as {setting: value}.

    settings: the script's globals(). words: of a command line, by default those that Python was
    started with. A setting that neither they nor the config file name has its default, whatever an
    earlier call gave it. With --help among the words, prints the settings and ends.
    """
    if words is None:
        words = sys.argv[1:]
    sys.excepthook = report_error
    defaults, comments = read_script(settings["__file__"])
    if "-h" in words or "--help" in words:
        print(settings["__doc__"].strip() + "\n\nsettings, --key=value, with their defaults:")
        for key, default in defaults.items():
            print(f"  {key:17} {default!r:18} {comments[key]}")
        sys.exit(0)
    path, found = read_command_line(words, defaults)
    chosen = dict(defaults)
    if path:
        chosen.update(read_config(path, defaults))
    chosen.update(found)
    settings.update(chosen)
    return chosen


def dataset_names(dataset):
    """The genomes that a setting such as "hg38" or "hg38,mm39" names, the main one first."""
    return [name.strip() for name in dataset.split(",") if name.strip()] or [""]


def main_dataset(checkpoint):
    """The genome that a checkpoint was trained on, of several the main one; "" if it says none."""
    return dataset_names(checkpoint["config"].get("dataset", ""))[0]


def find_dataset(dataset, required=True):
    """The folder of a prepared genome: `dataset` itself, else data/<dataset> beside the scripts.

    If there is none: dies, or returns None where it is not required.
    """
    for folder in (Path(dataset), Path(__file__).parent.parent / "data" / dataset):
        if (folder / "meta.json").is_file():
            return folder
    if not required:
        return None
    if "," in dataset:
        die(f"dataset = {dataset}: one genome is wanted here, name it alone")
    if Path(dataset).is_file():
        die(f"{dataset} is a file: prepare it by prepare_hg38.py --fasta={dataset} --out=FOLDER")
    command = "prepare_hg38.py"
    if dataset != "hg38":
        out = dataset if "/" in dataset else f"data/{dataset}"
        command += f" --out={out} and --fasta=FILE, --assembly=NAME or --chroms=NAMES"
    die(
        f"no prepared genome {dataset!r}: make it by {command} (docs/your-own-genome.md), or name "
        "the folder that holds its meta.json"
    )
