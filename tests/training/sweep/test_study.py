import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from training.errors import StorageFailed, StorageUrlInvalid
from training.sweep.search_space import Point
from training.sweep.storage import Storage, parse_storage, sqlite_storage
from training.sweep.study import Study

VALUES = {"layers": (2, 3), "width": (64,), "dropout": (0.25,), "learning_rate": (0.1,)}

POINT = Point(2, 64, 0.25, 0.1)


def opened(storage: Storage, grace_s: int = 60) -> Study:
    return Study(storage, "a study", VALUES, lambda *_: POINT, "me", grace_s, optuna.pruners.NopPruner())


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:///study.db?timeout=abc",
        "sqlite:///stu\0dy.db",
        "",
        "secret",
        "postgresql://",
        "postgresql://me:secret@host",  # no database
        "postgresql://me:my@secret@host/base",  # an @ that was not encoded
        "postgresql://me:secret@host:secret/base",
        "postgresql:/me:secret@host/base",
        "mysql://me:secret@host/base",
        "sqlite://",
    ],
)
def test_an_invalid_url_is_not_shown(text: str) -> None:
    """
    The message has the expected form only, since the URL may contain a password.
    """
    with pytest.raises(StorageUrlInvalid) as raised:
        parse_storage(text)

    assert "postgresql://USER:PASSWORD@HOST:PORT/DATABASE" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_storage_is_shown_without_user_and_password() -> None:
    """
    Messages show database and host.
    """
    found = parse_storage("postgresql://me:my%40secret@host:5432/base")

    assert found.label == "the database base at host"
    assert found.url.password == "my@secret"


@pytest.mark.parametrize("password", ["secret", "{SCHEMA_VERSION}", "%25s%40"])
def test_an_unreachable_database_is_reported_in_one_line(password: str) -> None:
    """
    The line has the host and the reason, and no password.
    """
    with pytest.raises(StorageFailed) as raised:
        opened(parse_storage(f"postgresql://me:{password}@127.0.0.1:1/base"))

    message = str(raised.value)
    assert "the database base at 127.0.0.1" in message
    assert "refused" in message
    assert "\n" not in message
    assert password not in message


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_an_unusable_file_is_reported_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    """
    Another kind of file, or a missing folder.
    """
    file = tmp_path / "study.db" if content else tmp_path / "missing" / "study.db"
    if content:
        file.write_bytes(content)

    with pytest.raises(StorageFailed, match=r"study\.db, failed: .*database") as raised:
        opened(sqlite_storage(file))

    assert "\n" not in str(raised.value)


def test_a_storage_that_fails_later_is_reported(tmp_path: Path) -> None:
    """
    The file becomes invalid during a trial.
    """
    study = opened(sqlite_storage(tmp_path / "study.db"))

    def spoil(*_: object) -> float:
        (tmp_path / "study.db").write_bytes(b"spoilt" * 1000)
        return 0.5

    with pytest.raises(StorageFailed, match=r"study, .*, failed: "):
        study.run_trial(spoil)


def test_a_failed_heartbeat_is_ignored(tmp_path: Path) -> None:
    """
    Optuna's thread would end at an error, and other workers would mark the trial as lost.
    """
    study = opened(sqlite_storage(tmp_path / "study.db"))

    def spoil(*_: object) -> float:
        (tmp_path / "study.db").write_bytes(b"spoilt" * 1000)
        study._database.record_heartbeat(1)
        with pytest.raises(optuna.exceptions.StorageInternalError):
            study._database.send_heartbeat(1)
        return 0.5

    with pytest.raises(StorageFailed):
        study.run_trial(spoil)


def test_a_trial_is_known_to_every_worker(tmp_path: Path) -> None:
    """
    A finished trial is visible to other workers.
    """
    first, second = (opened(sqlite_storage(tmp_path / "study.db")) for _ in range(2))

    def objective(trial: optuna.Trial, point: Point) -> float:
        assert point == POINT
        trial.report(0.25, 1)
        trial.report(0.75, 2)
        return 0.75

    finished = first.run_trial(objective)

    assert second.trials() == [finished]
    assert (finished.state, finished.accuracy, finished.curve) == ("done", 0.75, (0.25, 0.75))


@pytest.mark.parametrize("reports", [False, True])
def test_a_trial_marked_as_lost_does_not_count(tmp_path: Path, reports: bool) -> None:
    """
    This worker sent no heartbeat, and others marked its trial; it continues without an error.
    """
    study = opened(sqlite_storage(tmp_path / "study.db"))

    def objective(trial: optuna.Trial, _: Point) -> float:
        other = optuna.load_study(study_name="a study", storage=f"sqlite:///{tmp_path / 'study.db'}")
        other.tell(trial.number, state=TrialState.FAIL)
        if reports:
            trial.report(0.5, 1)
        return 0.5

    assert study.run_trial(objective).state == "lost"


def test_other_errors_of_a_trial_are_not_hidden(tmp_path: Path) -> None:
    """
    An error in the objective is raised.
    """
    study = opened(sqlite_storage(tmp_path / "study.db"))

    def objective(*_: object) -> float:
        raise ValueError("a mistake")

    with pytest.raises(ValueError, match="a mistake"):
        study.run_trial(objective)


def test_an_interrupted_trial_is_not_lost(tmp_path: Path) -> None:
    """
    Interruptions are not counted.
    """
    study = opened(sqlite_storage(tmp_path / "study.db"))

    def objective(*_: object) -> float:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run_trial(objective)

    assert [trial.state for trial in study.trials()] == ["interrupted"]


def test_a_worker_lost_before_its_first_heartbeat_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Optuna would wait for its trial forever. A trial with a worker name is left unchanged.
    """
    study = opened(sqlite_storage(tmp_path / "study.db"), grace_s=10)
    other = optuna.load_study(study_name="a study", storage=f"sqlite:///{tmp_path / 'study.db'}")
    other.ask()
    other.ask().set_user_attr("worker", "somebody")
    now = time.monotonic()

    states = []
    for later in (0, 9, 11):
        monkeypatch.setattr("training.sweep.study.time.monotonic", lambda later=later: now + later)
        study.mark_lost_trials()
        states.append([trial.state for trial in study.trials()])

    assert states == [["running", "running"], ["running", "running"], ["lost", "running"]]
