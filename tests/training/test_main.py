import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from training.__main__ import main
from training.cli import parser
from training.data import pen_digits as digit_file
from training.data.data_sets import mnist_data_set
from training.data.mnist import IdxSource
from training.data.pen_digits import PenDigit
from training.fitting import precision
from training.quantisation import comparison
from training.recipes.registry import RECIPES

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
    One command leads from data files to a published folder, and prints its path.
    """
    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    written = capsys.readouterr()
    assert code == 0
    assert written.err == ""
    assert (tmp_path / "models" / "softmax" / "1" / "model.onnx").is_file()
    assert written.out.count("epoch  1/1") == 4
    assert re.search(r"lesson's split, valid .*±.* 91\.59 %", written.out)
    assert f"Published {tmp_path / 'models' / 'softmax' / '1'}: 7,850 parameters" in written.out


def test_fit_says_when_the_processor_lacks_bfloat16(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The network is fitted in float32, and its manifest asks for no other precision.
    """
    monkeypatch.setattr(precision, "has_bfloat16", lambda _: False)
    halved = replace(RECIPES["softmax"], precision="bfloat16")
    monkeypatch.setattr(parser, "RECIPES", {**RECIPES, "softmax": halved})

    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    assert code == 0
    assert "softmax is fitted in float32: this processor has no" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "models" / "softmax" / "1" / "manifest.json").read_text())
    assert "precision" not in manifest["recipe"]


def test_a_repeated_fit_publishes_nothing(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The same command succeeds twice and leaves one version.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    assert code == 0
    assert "is the same network" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "models" / "softmax").iterdir()] == ["1"]


def test_quantise_publishes_the_next_version(
    tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It prints the effect on the data and on strokes; with --only-measure it publishes nothing. Reports work
    on the result.
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


def test_quantise_refuses_a_large_loss(
    tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One line has the loss; nothing is published.
    """
    digit_file.write(digit_file.PEN_DIGITS.path(tmp_path / "data"), pen_digits)
    _main(tmp_path, source, "fit", "softmax", *QUICK)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "MAX_ACCURACY_LOSS", -1.1)
        code = _main(tmp_path, source, "quantise", "softmax")

    assert code == 1
    assert "softmax is not published: quantisation should cost at most" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "models" / "softmax").iterdir()] == ["1"]


def test_quantise_starts_at_a_float_version(
    tmp_path: Path, source: IdxSource, pen_digits: tuple[PenDigit, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The newest one; a quantised version is refused.
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


def test_fits_on_one_split_are_kept_for_a_later_run(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `--only` publishes nothing; the whole run uses its checkpoints.
    """
    code = _main(tmp_path, source, "fit", "softmax", *QUICK, "--only", "official")

    kept = [path.name for path in (tmp_path / "runs" / "softmax").iterdir()]
    assert (code, kept) == (0, ["official-1.pt"])
    assert capsys.readouterr().out.count("epoch  1/1") == 1
    assert not (tmp_path / "models").exists()
    assert _main(tmp_path, source, "fit", "softmax", *QUICK) == 0
    assert (tmp_path / "models" / "softmax" / "1").is_dir()


def test_an_unknown_split_is_refused(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    One line lists the splits; exit code 1.
    """
    code = _main(tmp_path, source, "fit", "softmax", *QUICK, "--only", "nobody")

    assert code == 1
    assert capsys.readouterr().err == "Split should be one of lesson, official; got 'nobody'.\n"


def test_flags_override_hyperparameters(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The value on the command line replaces the recipe's, and is printed.
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
def test_invalid_arguments_exit_with_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The message is printed before any work.
    """
    with pytest.raises(SystemExit) as ended:
        main(words, {})

    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("words", [["fit", "softmax"], ["data"]])
def test_missing_data_is_reported_in_one_line(
    words: list[str], tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    The line names the environment variable; exit code 1.
    """
    code = main(words, {"INKLING_DATA": str(tmp_path / "none")}, {"mnist": mnist_data_set(source)})

    written = capsys.readouterr().err
    assert code == 1
    assert written.count("\n") == 1
    assert "INKLING_DATA" in written


def test_a_corrupt_file_is_reported_in_one_line(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    With its name and the expected content; exit code 1.
    """
    (tmp_path / "data" / "tiny" / "test-images.gz").write_bytes(b"oops")

    code = _main(tmp_path, source, "fit", "softmax")

    written = capsys.readouterr().err
    assert code == 1
    assert written.startswith("test-images.gz should be a complete gzip file")
    assert written.count("\n") == 1


def test_an_unwritable_folder_is_reported_in_one_line(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Exit code 1, no traceback.
    """
    (tmp_path / "runs").write_text("in the way")

    code = _main(tmp_path, source, "fit", "softmax", *QUICK)

    written = capsys.readouterr().err
    assert code == 1
    assert written.count("\n") == 1


def test_an_interruption_says_how_to_resume(
    tmp_path: Path,
    source: IdxSource,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Ctrl-C exits with 130 and one line.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.data.mnist.official_split", interrupt)

    code = _main(tmp_path, source, "fit", "softmax")

    assert code == 130
    assert capsys.readouterr().err == "Interrupted. The same command resumes where it stopped.\n"


def test_data_prints_a_summary(tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]) -> None:
    """
    Valid files are not downloaded; sizes and digests of every part are printed.
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
    Valid folders get a row; a damaged one is reported in one line, and nothing is written.
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


def test_report_writes_figures_and_charts(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Beside the records of the run; pictures of the data only on request. A second report has the same bytes:
    no date, no randomness.
    """
    _main(tmp_path, source, "fit", "softmax", *QUICK)
    folder = tmp_path / "models" / "softmax" / "1" / "report"

    code = _main(tmp_path, source, "report", "softmax", "--pictures", str(tmp_path / "seen"))
    first = {path.name: path.read_bytes() for path in folder.iterdir()}

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

    written_at = (folder / "summary.png").stat().st_mtime_ns
    assert _main(tmp_path, source, "report", "all") == 0
    assert "is up to date, and stays as it is" in capsys.readouterr().out
    assert (folder / "summary.png").stat().st_mtime_ns == written_at

    (folder / "summary.png").unlink()
    assert _main(tmp_path, source, "report", "all") == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


def test_sample_draws_images_of_a_class(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Into the given file, but not into the models folder.
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
def test_unknown_names_are_reported_with_the_known_ones(
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
    One line per recipe.
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


def test_listing_recipes_does_not_import_torch(tmp_path: Path) -> None:
    """
    Commands that fit nothing start fast.
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


def test_data_converts_a_unipen_archive(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    It prints the numbers of digits, of skipped segments and of letters, then the summaries.
    """
    for category, label in (("1a", "1"), ("1b", "A"), ("1c", "k")):
        archive = tmp_path / "unipen" / "data" / category / "syn"
        archive.mkdir(parents=True)
        (archive / "one.dat").write_text(
            f'.PEN_DOWN\n1 2\n3 4\n.SEGMENT CHARACTER 0 OK "{label}"\n.SEGMENT CHARACTER 0 OK "?"\n'
        )

    code = _main(tmp_path, source, "data", "--unipen", str(tmp_path / "unipen"))

    written = capsys.readouterr().out
    assert code == 0
    assert f"Wrote {tmp_path / 'data' / 'ink' / 'digits.jsonl.gz'}: 1 digits." in written
    assert f"Wrote {tmp_path / 'data' / 'ink' / 'letters.jsonl.gz'}: 2 letters." in written
    assert "1 skipped: its label is no digit" in written
    assert "mnist in" in written


def test_numbers_without_the_network_is_refused(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    In one line, before any measurement.
    """
    (tmp_path / "empty").mkdir()

    code = _main(tmp_path, source, "numbers", "--models", str(tmp_path / "empty"))

    assert code == 1
    assert "empty should hold a float32 version of ink." in capsys.readouterr().err


def test_steps_without_strokes_is_refused(
    tmp_path: Path, source: IdxSource, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    In one line, before any measurement.
    """
    code = _main(tmp_path, source, "steps")

    assert code == 1
    assert "missing: digits.jsonl.gz" in capsys.readouterr().err
