import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from training.__main__ import main
from training.data import pen_digits as digit_file
from training.data.data_sets import mnist_data_set
from training.data.mnist import IdxSource
from training.data.pen_digits import PenDigit
from training.quantisation import comparison

QUICK = ("--epochs", "1")


def _main(tmp_path: Path, source: IdxSource, *words: str) -> int:
    folders: list[str] = []
    if words[0] in ("fit", "quantise", "report", "sample"):
        folders += ["--models", str(tmp_path / "models")]
    if words[0] in ("fit", "quantise"):
        folders += ["--runs", str(tmp_path / "runs")]
    return main(
        [*words, *folders], {"INKLING_DATA": str(tmp_path / "data")}, {"mnist": mnist_data_set(source)}
    )


def test_fit_trains_and_publishes(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One command leads from files to a published folder, and says where it is.
    """
    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    written = capsys.readouterr()
    assert code == 0
    assert written.err == ""
    assert (tmp_path / "models" / "softmax" / "1" / "model.onnx").is_file()
    assert written.out.count("epoch  1/1") == 4
    assert re.search(r"lesson's split, valid .*±.* 91\.59 %", written.out)
    assert f"Published {tmp_path / 'models' / 'softmax' / '1'}: 7,850 parameters" in written.out


def test_fit_again_says_that_there_is_nothing_to_publish(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The same command twice ends well and leaves one version.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    assert code == 0
    assert "is the same network" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "models" / "softmax").iterdir()] == ["1"]


def test_quantise_publishes_the_next_version_in_whole_numbers(
    tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It says what is lost, on the data and on strokes; measured only, nothing is published. Reports follow.
    """
    digit_file.write(digit_file.PEN_DIGITS.path(tmp_path / "data"), pen_digits)
    _main(tmp_path, source, "fit", "softmax", *QUICK)

    measured = _main(tmp_path, source, "quantise", "softmax", "--only-measure")
    kept = [path.name for path in (tmp_path / "models" / "softmax").iterdir()]
    told = capsys.readouterr().out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            comparison, "MAX_ACCURACY_LOSS", 1.0
        )  # after one epoch of noise, the toy's answers are close calls
        published = _main(tmp_path, source, "quantise", "softmax")

    assert (measured, kept, published) == (0, ["1"], 0)
    assert re.search(r"pen strokes, not met +15 ", told)
    assert f"Published {tmp_path / 'models' / 'softmax' / '2'}: " in capsys.readouterr().out
    assert _main(tmp_path, source, "report", "softmax", "2") == 0


def test_quantise_refuses_what_costs_too_much(
    tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One line says what it costs; nothing is published.
    """
    digit_file.write(digit_file.PEN_DIGITS.path(tmp_path / "data"), pen_digits)
    _main(tmp_path, source, "fit", "softmax", *QUICK)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "MAX_ACCURACY_LOSS", -1.1)
        code = _main(tmp_path, source, "quantise", "softmax")

    assert code == 1
    assert "softmax is not published: quantisation should cost at most" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "models" / "softmax").iterdir()] == ["1"]


def test_quantise_begins_with_a_version_in_floats(
    tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The newest of them; a version that is in whole numbers is told from those that are not.
    """
    digit_file.write(digit_file.PEN_DIGITS.path(tmp_path / "data"), pen_digits)
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "MAX_ACCURACY_LOSS", 1.0)
        _main(tmp_path, source, "quantise", "softmax")
        again = _main(tmp_path, source, "quantise", "softmax")

    assert again == 0
    assert "is the same network" in capsys.readouterr().out
    assert _main(tmp_path, source, "quantise", "softmax", "2") == 1
    assert "Float32 version of softmax should be one of 1; got '2'" in capsys.readouterr().err


def test_fits_on_one_split_are_kept_for_the_run_that_publishes(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `--only` publishes nothing; the whole run goes on from what it kept.
    """
    code = _main(tmp_path, source, "fit", "softmax", *QUICK, "--only", "official")

    kept = [path.name for path in (tmp_path / "runs" / "softmax").iterdir()]
    assert (code, kept) == (0, ["official-1.pt"])
    assert capsys.readouterr().out.count("epoch  1/1") == 1
    assert not (tmp_path / "models").exists()
    assert _main(tmp_path, source, "fit", "softmax", *QUICK) == 0
    assert (tmp_path / "models" / "softmax" / "1").is_dir()


def test_fits_on_an_unknown_split_are_told_which_there_are(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One line names them; exit code 1.
    """
    code = _main(tmp_path, source, "fit", "softmax", *QUICK, "--only", "nobody")

    assert code == 1
    assert capsys.readouterr().err == "Split should be one of lesson, official; got 'nobody'.\n"


def test_flags_replace_single_numbers(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A number given on the command line takes the place of the recipe's, and is shown.
    """
    words = ("fit", "softmax", *QUICK, "--learning-rate", "0.01", "--seed", "9")

    _main(tmp_path, source, *words)

    assert re.search(r"learning rate +0\.01\n", capsys.readouterr().out)
    manifest = (tmp_path / "models" / "softmax" / "1" / "manifest.json").read_text()
    assert '"learning_rate": 0.01' in manifest
    assert '"seed": 9' in manifest


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["fit", "lenet"], "invalid choice: 'lenet'"),
        (["fit", "softmax", "--epochs", "0"], "epochs should be at least 1; got 0"),
        (["fit", "softmax", "--epochs", "many"], "invalid int value: 'many'"),
        (["fit", "softmax", "--learning-rate", "-1"], "learning_rate should be above 0"),
        ([], "required: command"),
    ],
)
def test_a_command_that_is_not_understood_ends_with_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What was wrong with the words is said before anything is begun.
    """
    with pytest.raises(SystemExit) as ended:
        main(words, {})

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("words", [["fit", "softmax"], ["data"]])
def test_without_data_one_line_says_what_to_do(
    words: list[str], tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A missing data set is told in one line that names the variable; exit code 1.
    """
    code = main(words, {"INKLING_DATA": str(tmp_path / "none")}, {"mnist": mnist_data_set(source)})

    written = capsys.readouterr().err
    assert code == 1
    assert written.count("\n") == 1
    assert "INKLING_DATA" in written


def test_a_corrupt_file_is_told_in_one_line(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The file is named, with what it should be; exit code 1.
    """
    (tmp_path / "data" / "tiny" / "test-images.gz").write_bytes(b"oops")

    code = _main(tmp_path, source, "fit", "softmax")

    written = capsys.readouterr().err
    assert code == 1
    assert written.startswith("test-images.gz should be a complete gzip file")
    assert written.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A file in the place of a folder ends the run with exit code 1 and no traceback.
    """
    (tmp_path / "runs").write_text("in the way")

    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    written = capsys.readouterr().err
    assert code == 1
    assert written.count("\n") == 1


def test_an_interruption_says_how_to_go_on(
    tmp_path: Path,
    source: IdxSource,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Ctrl-C ends with 130 and one line.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.data.mnist.official_split", interrupt)

    code = _main(tmp_path, source, "fit", "softmax")

    assert code == 130
    assert capsys.readouterr().err == "Interrupted. The same command resumes where it stopped.\n"


def test_data_describes_what_is_there(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Nothing is fetched where all is right; sizes and digests of every part are shown.
    """
    code = _main(tmp_path, replace(source, mirrors=("http://127.0.0.1:1/",)), "data")

    written = capsys.readouterr().out
    assert code == 0
    assert "complete and verified" in written
    assert re.search(r"official train +80 images, 8 to 8 per class", written)
    assert re.search(r"lesson valid +30 images, 3 to 3 per class", written)


def test_models_verifies_and_writes_the_table(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    What is whole gets its row; what is damaged is told in one line and writes nothing.
    """
    words = ["models", "--models", str(tmp_path / "models")]
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    page = tmp_path / "models" / "README.md"

    good = main(words, {})
    table = page.read_text(encoding="utf-8")
    page.unlink()
    (tmp_path / "models" / "softmax" / "1" / "model.onnx").write_bytes(b"damaged")
    bad = main(words, {})

    assert (good, bad) == (0, 1)
    assert "| `softmax` 1 | 784-10 | 7,850 |" in table
    assert not page.exists()
    assert capsys.readouterr().err.startswith("softmax/1: SHA-256 of model.onnx should be")


def test_report_measures_and_draws_what_is_published(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Numbers and pictures stand beside what the fit left; pictures of the data only where they are asked for.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    folder = tmp_path / "models" / "softmax" / "1" / "report"

    code = _main(tmp_path, source, "report", "softmax", "--pictures", str(tmp_path / "seen"))

    written = capsys.readouterr()
    assert (code, written.err) == (0, "")
    names = ["accuracy", "calibration", "history", "summary", "weights"]
    names += [
        f"confusion-{part}" for part in ("lesson-test", "lesson-train", "lesson-valid", "test", "train")
    ]
    expected = {f"{name}{theme}.png" for name in names for theme in ("", "-dark")}
    assert {path.name for path in folder.iterdir()} == {
        *expected,
        "history.json",
        "lesson.json",
        "report.json",
    }
    assert {path.name for path in (tmp_path / "seen").iterdir()} == {
        f"softmax-1-{kind}-{part}.png" for kind in ("typical", "troublesome") for part in ("train", "test")
    }
    assert "has no valid part" in written.out


def test_report_again_gives_the_same_bytes(tmp_path: Path, source: IdxSource) -> None:
    """
    Numbers and pictures hold no date and no chance.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    folder = tmp_path / "models" / "softmax" / "1" / "report"

    contents = []
    for _ in range(2):
        _main(tmp_path, source, "report", "all")
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})

    assert contents[0] == contents[1]


def test_sample_draws_images_of_a_class(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Where it is told to, but not among the published networks.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    words = ("sample", "softmax", "--class", "7", "--out")

    good = _main(tmp_path, source, *words, str(tmp_path / "new" / "seven.png"))
    bad = _main(tmp_path, source, *words, str(tmp_path / "models" / "softmax" / "1" / "report" / "x.png"))

    assert (good, bad) == (0, 1)
    assert (tmp_path / "new" / "seven.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "models" / "softmax" / "1" / "report" / "x.png").exists()
    assert "should go to a place outside" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["report", "lenet"], "Model should be one of softmax, all; got 'lenet'."),
        (["report", "softmax", "2"], "Version of softmax should be one of 1; got '2'."),
        (["sample", "softmax", "--class", "x", "--out", "x.png"], "Class should be one of 0, 1, 2"),
        (
            ["sample", "softmax", "--class", "1", "--part", "valid", "--out", "x.png"],
            "Part should be one of train, test; got 'valid'.",
        ),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    """
    In one line; exit code 1.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)

    code = _main(tmp_path, source, *words)

    written = capsys.readouterr().err
    assert code == 1
    assert written.startswith(complaint)
    assert written.count("\n") == 1


def test_list_shows_every_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The recipes are listed with a sentence each.
    """
    code = main(["list"], {})

    assert code == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "softmax",
        "mlp-128",
        "mlp-512x4",
        "flowers17",
        "softmax-2",
        "mlp-128-2",
        "mlp-512x4-2",
        "flowers17-2",
        "ink",
    ]


def test_listing_recipes_does_not_wait_for_torch(tmp_path: Path) -> None:
    """
    Commands that train nothing answer at once: torch is not even imported.
    """
    program = (
        "import sys; from training.__main__ import main; main(['list'], {});sys.exit('torch' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )

    assert done.returncode == 0


def test_pen_strokes_are_made_from_an_archive(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The command says how many digits there were and what was left out, then describes the data sets.
    """
    archive = tmp_path / "unipen" / "data" / "1a" / "syn"
    archive.mkdir(parents=True)
    (archive / "one.dat").write_text(
        '.PEN_DOWN\n1 2\n3 4\n.SEGMENT CHARACTER 0 OK "1"\n.SEGMENT CHARACTER 0 OK "?"\n'
    )

    code = _main(tmp_path, source, "data", "--unipen", str(tmp_path / "unipen"))

    written = capsys.readouterr().out
    assert code == 0
    assert f"Wrote {tmp_path / 'data' / 'ink' / 'digits.jsonl.gz'}: 1 digits." in written
    assert "1 skipped: its label is no digit" in written
    assert "mnist in" in written


def test_steps_without_the_strokes_says_what_is_missing(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One line, before anything is measured.
    """
    code = _main(tmp_path, source, "steps")

    assert code == 1
    assert "missing: digits.jsonl.gz" in capsys.readouterr().err
