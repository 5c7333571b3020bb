"""Settings: from a file and from the command line, the same way in every script."""

import ast
from pathlib import Path

import pytest

import sample
import train
from config import configure, is_assignment, read_command_line, read_config, read_script
from tests.conftest import ROOT, one_line_error

DEFAULTS = {
    "learning_rate": 0.02,
    "max_iters": 100,
    "out_dir": "out",
    "compile": "auto",
    "full": False,
    "start": "",
}


def options(*words):
    return read_command_line(words, DEFAULTS)[1]


@pytest.mark.parametrize(
    "words, expected",
    [
        (("--max_iters=5",), {"max_iters": 5}),
        (("--max-iters", "5"), {"max_iters": 5}),
        (("--max_iters=1e3",), {"max_iters": 1000}),
        (("--max_iters=2**10",), {"max_iters": 1024}),
        (("--learning_rate=1",), {"learning_rate": 1.0}),
        (("--learning_rate=-1e-3",), {"learning_rate": -0.001}),
        (("--out_dir=a=b",), {"out_dir": "a=b"}),
        (("--out_dir=5",), {"out_dir": "5"}),
        (("--start=",), {"start": ""}),
        (("--full",), {"full": True}),
        (("--full=false",), {"full": False}),
        (("--full", "--max_iters", "7"), {"full": True, "max_iters": 7}),
        (("--compile=False",), {"compile": False}),
        (("--compile=true",), {"compile": True}),
        (("--compile=auto",), {"compile": "auto"}),
    ],
)
def test_command_line(words, expected):
    found = options(*words)
    assert found == expected
    assert [type(v) for v in found.values()] == [type(v) for v in expected.values()]


@pytest.mark.parametrize(
    "words, message",
    [
        (("--learning_rat=1",), "did you mean 'learning_rate'"),
        (("--zzz=1",), "unknown setting 'zzz'"),
        (("--max_iters=many",), "max_iters takes int"),
        (("--max_iters=1.5",), "max_iters takes int"),
        (("--max_iters=True",), "max_iters takes int"),
        (("--learning_rate=fast",), "learning_rate takes float"),
        (("--full=7",), "full takes bool"),
        (("--max_iters",), "needs a value"),
        (("--max_iters=9**9**9",), "max_iters takes int"),
        (("--max_iters=__import__('os')",), "max_iters takes int"),
        (("a.py", "b.py"), "unexpected 'b.py'"),
    ],
)
def test_command_line_mistakes(words, message):
    with pytest.raises(SystemExit, match=message):
        options(*words)


def test_config_file(tmp_path):
    path = tmp_path / "run.py"
    path.write_text(
        '"""A run."""\n'
        "# a comment\n"
        "max_iters = 3 * 2**4\n"
        "learning_rate = 1  # an int is a fine float\n"
        'out_dir = "x"\n'
        "compile = False\n"
    )
    assert read_config(path, DEFAULTS) == {
        "max_iters": 48,
        "learning_rate": 1.0,
        "out_dir": "x",
        "compile": False,
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ("max_itres = 5", "run.py:1: unknown setting 'max_itres': did you mean 'max_iters'"),
        ("\nmax_iters = 'five'", "run.py:2: max_iters takes int"),
        ("import os", "holds only lines such as"),
        ("max_iters = __import__('os').system('true')", "only literals and arithmetic"),
        ("max_iters = open('x')", "only literals and arithmetic"),
        ("max_iters = 1 / 0", "division by zero"),
        ("max_iters = 10 ** 1000", "exponent too large"),
        ("max_iters += 1", "holds only lines such as"),
        ("max_iters = ", "not plain assignments"),
        ("print('hello')", "holds only lines such as"),
    ],
)
def test_config_file_mistakes(tmp_path, text, message):
    path = tmp_path / "run.py"
    path.write_text(text)
    with pytest.raises(SystemExit, match=message.replace("(", r"\(")):
        read_config(path, DEFAULTS)


def test_a_config_file_is_never_executed(tmp_path):
    mark = tmp_path / "mark"
    (tmp_path / "run.py").write_text(f"max_iters = 1\nopen({str(mark)!r}, 'w')\n")
    with pytest.raises(SystemExit):
        read_config(tmp_path / "run.py", DEFAULTS)
    assert not mark.exists()


def test_command_line_wins_over_file(tmp_path):
    (tmp_path / "script.py").write_text(
        '"""Doc."""\n'
        "max_iters = 1  # steps\n"
        "seed = 2  # of chance\n"
        "NOT = 3  # a constant\n"
        'out_dir = "o"  # where\n'
    )
    (tmp_path / "run.py").write_text("max_iters = 5\nseed = 6\n")
    settings = {
        "__file__": str(tmp_path / "script.py"),
        "__doc__": "Doc.",
        "max_iters": 1,
        "seed": 2,
        "out_dir": "o",
    }
    chosen = configure(settings, [str(tmp_path / "run.py"), "--seed=7"])
    assert chosen == {"max_iters": 5, "seed": 7, "out_dir": "o"}
    assert settings["max_iters"] == 5


def test_a_config_of_a_windows_editor_is_read(tmp_path):
    (tmp_path / "a.py").write_bytes(b"\xef\xbb\xbf# a run\r\nmax_iters = 7\r\n")
    assert read_config(tmp_path / "a.py", DEFAULTS) == {"max_iters": 7}
    (tmp_path / "a.py").write_bytes("max_iters = 7\n".encode("utf-16"))
    with pytest.raises(SystemExit, match="not UTF-8 text: save it as UTF-8"):
        read_config(tmp_path / "a.py", DEFAULTS)


def test_a_config_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    defaults, _ = read_script(ROOT / "train.py")
    assert read_config("config/hg38_mini.py", defaults)["n_layer"] == 6
    with pytest.raises(SystemExit, match="did you mean config/hg38_mini.py"):
        read_config("config/hg38_mni.py", defaults)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "hg38_mini.py").write_text("n_layer = 5\n")  # one's own goes first
    assert read_config("config/hg38_mini.py", defaults) == {"n_layer": 5}


def test_no_such_config_file_names_the_nearest():
    with pytest.raises(SystemExit, match="did you mean config/hg38_small.py"):
        read_config("config/hg38_smal.py", DEFAULTS)


@pytest.mark.parametrize(
    "name", ("train.py", "sample.py", "eval_dart.py", "score.py", "prepare_hg38.py")
)
def test_help_lists_every_setting(script, name):
    shown = script(name, "--help")
    assert shown.returncode == 0
    assert shown.stdout.count("\n  ") > 5
    assert "--key=value" in shown.stdout
    one_line_error(script(name, "--no_such_setting=1"), "unknown setting 'no_such_setting'")


def test_every_config_of_the_repository_reads(script):
    settings = Path("train.py").read_text().split("config = configure(")[0]
    for path in sorted(Path("config").glob("[a-z]*.py")):
        opening = path.read_text().splitlines()[:2]
        said = f"{path} opens with what it is for and costs"
        assert all(line.startswith("# ") for line in opening), said
        names = {"__file__": "train.py", "__doc__": ""}
        exec(settings, names)
        assert configure(names, [str(path)])["n_embd"] % 2 == 0
    one_line_error(
        script("train.py", "config/hg38_small.py", "--dataset=no_such_genome"),
        "no prepared genome 'no_such_genome'",
    )


SCRIPTS = [
    "train.py",
    "sample.py",
    "eval_dart.py",
    "export.py",
    "score.py",
    "prepare_hg38.py",
    "experiments/bench/__main__.py",
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_lower_case_assignment_of_a_script_is_a_setting(script):
    """One that the formatter wraps, because its comment is long, would silently be none."""
    tree = ast.parse((ROOT / script).read_text())
    assigned = [node.targets[0].id for node in tree.body if is_assignment(node)]
    assert [name for name in assigned if name.islower()] == list(read_script(ROOT / script)[0])


def test_a_second_call_starts_from_the_defaults(tmp_path):
    script = tmp_path / "script.py"
    script.write_text('"""A script."""\nsteps = 10  # how many\nrate = 0.5  # how fast\n')
    settings = {"__file__": str(script), "__doc__": "A script.", "steps": 10, "rate": 0.5}
    assert configure(settings, ["--steps=3"]) == {"steps": 3, "rate": 0.5}
    assert configure(settings, ["--rate=0.1"]) == {"steps": 10, "rate": 0.1}
    assert settings["steps"] == 10 and settings["rate"] == 0.1


def test_an_imported_script_takes_words_that_its_caller_gives():
    settings = dict(vars(sample))
    assert configure(settings, ["--seed=5"])["seed"] == 5
    assert settings["seed"] == 5
    assert settings["top_k"] == sample.top_k
    assert configure(settings, [])["seed"] == sample.seed


def test_every_number_among_the_settings_of_training_has_limits():
    defaults, _ = read_script(ROOT / "train.py")
    numbers = {key for key, value in defaults.items() if type(value) in (int, float)}
    assert set(train.LIMITS) == numbers


def test_the_regulatory_config_carries_on_the_model_of_the_flagship():
    defaults = read_script("train.py")[0]
    small = {**defaults, **read_config("config/hg38_small.py", defaults)}
    carried_on = {**defaults, **read_config("config/hg38_regulatory.py", defaults)}
    assert carried_on["init_from"] == f"{small['out_dir']}/ckpt.pt"
    for key in ("dataset", "block_size", "n_layer", "n_head", "n_embd", "stem_bases", "stem_width"):
        assert carried_on[key] == small[key], key
