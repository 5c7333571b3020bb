"""How every script takes its settings: an optional config file, then --key=value or --key value.

A script's settings are the plain assignments at its top, each with its comment; `configure(globals())` lets a config
file (plain assignments again, read as literals and arithmetic, never executed) and the command line override them.
"""
import ast
import difflib
import operator
import os
import re
import sys
from pathlib import Path

ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
              ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow}
AUTO = {"compile"}  # settings that take True and False beside "auto"


def die(message):
    """End the script with one line that says what is wrong and what to do; exit code 1."""
    sys.exit(f"error: {message}")


def _one_line(kind, error, trace):
    """The known errors of the world outside (disk, files, the Ctrl-C key) end in one line; a bug keeps its traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, BrokenPipeError):
        print("stopped: nobody reads the output any more", file=sys.stderr)
    elif issubclass(kind, MemoryError) or kind.__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error):  # Python's, a GPU's, torch's on a CPU
        print("error: out of memory: halve batch_size, which costs speed alone; if it is 1, lower block_size or the size of the model", file=sys.stderr)
    elif issubclass(kind, OSError) and error.errno is not None:
        print(f"error: {error.strerror}" + (f": {error.filename}" if error.filename else ""), file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def literal(node):
    """The value of a syntax node made of constants, lists and arithmetic; ValueError for anything else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.List, ast.Tuple)):
        return [literal(item) for item in node.elts]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = literal(node.operand)
        return -value if isinstance(node.op, ast.USub) else +value
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        left, right = literal(node.left), literal(node.right)
        if not all(isinstance(v, (int, float)) and abs(v) < 1e18 for v in (left, right)):
            raise ValueError("arithmetic is for numbers")
        if isinstance(node.op, ast.Pow) and abs(right) > 64:
            raise ValueError("exponent too large")
        return ARITHMETIC[type(node.op)](left, right)
    raise ValueError("only literals and arithmetic")


def coerce(key, value, default, where):
    """`value` in the type of `default`: an int is a fine float, 1e6 a fine int; anything else must match."""
    if key in AUTO and isinstance(value, bool):
        return value
    if isinstance(default, float) and type(value) is int or type(default) is int and type(value) is float and value.is_integer():
        value = type(default)(value)
    if type(value) is not type(default):
        die(f"{where}: {key} takes {type(default).__name__}, such as {default!r}, not {value!r}")
    return value


def check_key(key, known, where):
    if key not in known:
        near = difflib.get_close_matches(key, known, 1)
        die(f"{where}: unknown setting {key!r}" + (f": did you mean {near[0]!r}?" if near else ": --help lists them all"))


def read_config(path, defaults):
    """The settings that a config file assigns, as a dict; dies on anything but assignments of literals."""
    if not str(path).endswith(".py"):
        die(f"{path} is no config file (.py): any other file is given to a setting, as --key=FILE; --help lists them")
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except OSError:
        near = difflib.get_close_matches(str(path), [str(p) for p in Path("config").glob("[a-z]*.py")], 1, 0.7)
        die(f"no config file {path}" + (f": did you mean {near[0]}?" if near else ""))
    except (SyntaxError, ValueError) as error:
        die(f"{path}: not plain assignments: {error}")
    found = {}
    for node in tree.body:
        where = f"{path}:{node.lineno}"
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            continue  # a docstring
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)):
            die(f"{where}: a config file holds only lines such as max_iters = 1000")
        key = node.targets[0].id
        check_key(key, defaults, where)
        try:
            value = literal(node.value)
        except (ValueError, ArithmeticError, TypeError) as error:
            die(f"{where}: {key}: {error}, such as {defaults[key]!r}")
        found[key] = coerce(key, value, defaults[key], where)
    return found


def read_command_line(args, defaults):
    """(config file or None, settings) from the words of a command line."""
    path, found, args = None, {}, list(args)
    while args:
        word = args.pop(0)
        if not word.startswith("--"):
            if path is not None or found:
                die(f"unexpected {word!r}: a config file comes first and alone, then --key=value")
            path = word
            continue
        key, given, text = word[2:].partition("=")
        key = key.replace("-", "_")
        check_key(key, defaults, "command line")
        default = defaults[key]
        if not given:
            if args and not args[0].startswith("--"):
                text = args.pop(0)
            elif isinstance(default, bool):
                text = "True"  # a bare --switch
            else:
                die(f"--{key} needs a value, such as --{key}={default!r}")
        value = text
        if not isinstance(default, str) or key in AUTO and text.capitalize() in ("True", "False"):
            try:
                text = text.capitalize() if text in ("true", "false") else text
                value = literal(ast.parse(text.strip(), mode="eval").body)
            except (ValueError, SyntaxError, ArithmeticError, TypeError):
                pass
        found[key] = coerce(key, value, default, "command line")
    return path, found


def configure(settings, args=None):
    """Override a script's settings from the command line, in place. settings: its globals(); returns them as a dict."""
    source = Path(settings["__file__"]).read_text(encoding="utf-8")
    pattern = re.compile(r"^([a-z]\w*) = (.+?)  # (.+)$", re.M)  # a setting: a lower-case name, its default, its comment
    comments = {key: comment for key, _, comment in pattern.findall(source)}
    defaults = {key: settings[key] for key in comments}
    args = sys.argv[1:] if args is None else args
    sys.excepthook = _one_line
    if "-h" in args or "--help" in args:
        print(settings["__doc__"].strip() + "\n\nsettings, --key=value, with their defaults:")
        for key, comment in comments.items():
            print(f"  {key:17} {defaults[key]!r:18} {comment}")
        sys.exit(0)
    path, found = read_command_line(args, defaults)
    chosen = {**defaults, **(read_config(path, defaults) if path else {}), **found}
    settings.update(chosen)
    return chosen


def find_dataset(dataset, required=True):
    """The folder of a prepared genome: `dataset` itself if it is one, else data/<dataset> beside the scripts.

    If there is none: dies, or returns None where it is not required.
    """
    for folder in (Path(dataset), Path(__file__).parent.parent / "data" / dataset):
        if (folder / "meta.json").is_file():
            return folder
    if not required:
        return None
    out = f" --out=data/{dataset}" * (dataset != "hg38")
    die(f"no prepared genome {dataset!r}: make it by prepare_hg38.py{out} (README.md has the whole command), or name the folder that holds its meta.json")
