"""One run at a time in a process: what begins, goes on, ends, and what is said of it."""

import io
import os
import subprocess
import sys
import threading

import pytest
import thermograd
from thermograd.ingest.callback import TrainerRun
from thermograd.ingest.face import wants_card
from thermograd.ingest.job import opening
from thermograd.ingest.run import running_run
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run, list_runs


@pytest.fixture
def start(tmp_path):
    """Return `start_run` for a directory of the test, without an agent; what is left open is closed."""
    runs = []

    def start(name="run", **options):
        runs.append(thermograd.start_run(name, tmp_path, agent=False, **options))
        return runs[-1]

    yield start
    for run in runs:
        run.close()


def numbers(run):
    return [row["step"] for row in read_kind(run.path, "step").to_pylist()]


def gaps(run):
    return [row["text"] for row in read_kind(run.path, "mark").to_pylist() if row["mark"] == "gap"]


# -- a second run --------------------------------------------------------------------------------------


def test_a_new_run_ends_the_one_before_and_says_so(start, caplog):
    first = start("first")
    first.step(loss=1.0)
    second = start("second")
    assert f"run {first.run_id} ends here: another run was started in the same process" in caplog.text
    second.step(loss=2.0)
    assert (numbers(first), numbers(second)) == ([1], [1])
    assert not first.is_open
    assert Run(first.path).state() == "finished"
    notes = [m["text"] for m in read_kind(first.path, "mark").to_pylist() if m["mark"] == "note"]
    assert notes == ["the run ends here: another run was started in the same process"]


def test_a_run_that_was_closed_leaves_nothing_to_say(start, caplog):
    for name in ("first", "second"):
        with start(name) as run:
            run.step(loss=1.0)
    assert caplog.text == ""


def test_the_run_under_way_is_given_back_where_that_is_asked_for(start, caplog):
    first = start("first")
    assert start("second", reinit="return") is first
    first.step(loss=1.0)
    assert first.is_open
    assert caplog.text == ""
    first.close()
    assert start("third", reinit="return") is not first


@pytest.mark.parametrize("reinit", ["finish", None, True, ["new"], b"new"])
def test_another_word_for_what_is_to_become_of_it_is_refused(start, reinit):
    with pytest.raises(ValueError, match=r"reinit is .*; allowed: 'new', 'return'"):
        start(reinit=reinit)


def test_in_with_blocks_inside_each_other_the_inner_one_counts(start, caplog):
    with start("outer") as outer:
        outer.step(loss=1.0)
        with start("inner") as inner:
            inner.step(loss=2.0)
        outer.step(loss=3.0)
    assert (numbers(outer), numbers(inner)) == ([1], [1])
    assert caplog.text.count("has been closed") == 1


# -- callbacks -----------------------------------------------------------------------------------------


class Model:
    def named_parameters(self):
        return iter(())


@pytest.fixture
def trainer_run(tmp_path, monkeypatch):
    """Return a function that makes what a framework's callback holds."""
    pytest.importorskip("torch", reason="torch (extra train) is not installed")
    monkeypatch.setattr("thermograd.ingest.run._start_agent", lambda *_: None)
    made = []

    def make(name, **options):
        made.append(TrainerRun(name, tmp_path, **options))
        return made[-1]

    yield make
    for training in made:
        training.close()


def opened(training):
    training.open(Model(), lambda: {"model": "M"}, False)
    return training.run


def test_a_trainer_inside_an_open_run_records_into_it_and_leaves_it_open(start, trainer_run):
    run = start("mine")
    training = trainer_run("trainer")
    assert opened(training) is run
    training.close()
    assert run.is_open
    assert training.run is None
    assert opened(training) is run, "the next training too"
    marks = read_kind(run.path, "mark").to_pylist()
    assert [m["detail"] for m in marks if m["text"] == "a Trainer's steps from here on"] == [
        '{"model": "M", "trainer": 1}',
        '{"model": "M", "trainer": 2}',
    ]


def test_two_trainers_one_after_another_have_a_run_each(trainer_run, tmp_path, caplog):
    first, second = trainer_run("first"), trainer_run("second")
    runs = []
    for training in (first, second):
        runs.append(opened(training))
        training.close()
    assert runs[0] is not runs[1]
    assert [Run(run.path).state() for run in runs] == ["finished"] * 2
    assert "ends here" not in caplog.text


@pytest.mark.parametrize("is_same", [True, False], ids=["the same callback", "another callback"])
def test_a_training_that_raised_does_not_mix_with_the_next(trainer_run, is_same):
    broken = trainer_run("broken")
    before = opened(broken)
    after = opened(broken if is_same else trainer_run("next"))
    assert before is not after
    assert not before.is_open
    assert after.is_open


def test_a_script_that_starts_a_run_after_a_training_that_raised_gets_its_own(start, trainer_run, caplog):
    before = opened(trainer_run("broken"))
    after = start("mine")
    assert after is not before
    assert not before.is_open
    assert f"run {before.run_id} ends here" in caplog.text


def test_a_run_that_was_given_is_used_and_not_closed(start, trainer_run):
    run = start("mine")
    training = trainer_run("trainer", run=run)
    assert opened(training) is run
    training.close()
    assert run.is_open
    assert training.run is run


def test_a_run_that_was_given_after_its_end_is_said_to_record_nothing(start, trainer_run, caplog):
    run = start("mine")
    run.step(loss=1.0)
    run.close()
    opened(trainer_run("trainer", run=run))
    assert caplog.text.count("the run has been closed") == 1


# -- after the end -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda run: run.step(loss=1.0),
        lambda run: run.mark("checkpoint"),
        lambda run: run.log({"accuracy": 0.9}),
        lambda run: run.watch(object()),
    ],
    ids=["step", "mark", "log", "watch"],
)
def test_what_is_logged_after_the_end_is_said_once(start, caplog, use):
    run = start()
    run.step(loss=1.0)
    run.close()
    for _ in range(3):
        use(run)
    assert caplog.text.count("the run has been closed; what is logged from here on is not recorded") == 1
    assert len(caplog.records) == 1
    assert numbers(run) == [1]


def test_a_run_that_records_nothing_has_nothing_to_say(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    with thermograd.start_run(runs=tmp_path) as run:
        run.watch(None)
    run.step(loss=1.0)
    assert caplog.text == ""


def test_a_run_without_a_step_says_what_is_missing(start, caplog):
    with start() as run:
        run.mark("checkpoint")
    assert (
        caplog.text.count("no step was logged: call run.watch(optimizer) before the loop, or run.step(") == 1
    )


def test_of_a_run_that_has_failed_it_is_not_said(start, caplog):
    with pytest.raises(KeyError), start():
        raise KeyError("x")
    assert "no step was logged" not in caplog.text


def test_other_ranks_do_not_say_it_again(start, monkeypatch, caplog):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    start().close()
    assert "no step was logged" not in caplog.text


# -- its face ------------------------------------------------------------------------------------------


def test_one_line_says_where_the_run_is(start, capsys):
    run = start("a/../\x1b[31mb")
    run.step(loss=1.0)
    run.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"thermograd: recording to {run.path}"


def test_below_the_working_directory_the_line_is_short(start, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run = start()
    assert capsys.readouterr().err == f"thermograd: recording to {run.run_id}\n"


def test_a_directory_of_odd_characters_is_shown_without_them(tmp_path, capsys):
    odd = tmp_path / "a\nb\x1b[2J"
    thermograd.start_run(runs=odd, agent=False).close()
    (line, *_) = capsys.readouterr().err.splitlines()
    assert line.startswith("thermograd: recording to ")
    assert line.isprintable()


def test_a_run_with_an_agent_ends_with_its_card_once_a_job(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("THERMOGRAD_CARD")
    with thermograd.start_run(runs=tmp_path, simulate="dc") as run:
        run.step(loss=1.0)
    _, *card = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in card] == ["verdict", "spikes", "throttling", "energy", "report"]
    assert "Not worked out yet" in card[0]
    assert "too few to tell" in card[1]
    assert wants_card(run)
    run.place = run.place._replace(rank=1)
    assert not wants_card(run)


def test_the_line_is_left_out_with_the_warnings_and_on_other_ranks(start, monkeypatch, caplog, capsys):
    caplog.set_level("ERROR", "thermograd")
    start().close()
    caplog.set_level("WARNING", "thermograd")
    monkeypatch.setenv("RANK", "1")
    start().close()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("stream", [None, io.BytesIO(), "closed"], ids=["none", "of bytes", "closed"])
def test_without_a_stream_for_the_line_the_run_is_recorded(start, monkeypatch, stream):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    run = start()
    run.step(loss=1.0)
    assert numbers(run) == [1]


def test_a_run_says_what_it_records(start, tmp_path):
    run = start("<b>name</b>")
    assert repr(run) == f"<thermograd run {run.run_id}: recording, 0 steps, in {run.path}>"
    run.step(loss=1.0)
    run.close()
    assert repr(run) == f"<thermograd run {run.run_id}: ended, 1 step, in {run.path}>"
    shown = run._repr_html_()
    assert f'<a href="{run.path.as_uri()}">directory</a>' in shown
    assert f"thermograd --runs {tmp_path} report {run.run_id}" in shown
    (run.path / "report").mkdir()
    (run.path / "report" / "report.html").touch()
    assert "report.html" in run._repr_html_()


def test_a_face_has_no_tags_of_strangers(tmp_path):
    run = thermograd.start_run(runs=tmp_path / "<script>&", agent=False)
    run.close()
    assert "<script>" not in run._repr_html_()


def test_a_run_that_records_nothing_says_so(monkeypatch):
    monkeypatch.setenv("THERMOGRAD_DISABLED", "1")
    run = thermograd.start_run()
    assert repr(run) == "<thermograd run: records nothing>"
    assert "records nothing" in run._repr_html_()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # we mean it
def test_of_a_forked_copy_the_face_can_be_had(start):
    run = start()
    child = os.fork()
    if not child:
        os._exit("ended" not in repr(run))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_public_names_are_listed_before_they_are_used():
    import thermograd.analysis
    import thermograd.store

    assert dir(thermograd) == ["Run", "__version__", "start_run"]
    for package in (thermograd.analysis, thermograd.store):
        assert dir(package) == sorted(package.__all__)


def test_a_short_run_loads_no_arrow(tmp_path):
    """Arrow and pandas take half a second to load: no training waits for them, a short one needs none."""
    script = """
import sys, thermograd
run = thermograd.start_run(runs=sys.argv[1], agent=False)
run.step(loss=1.0)
run.mark("checkpoint", path="x.pt")
run.close()
print(*({"pyarrow", "pandas", "numpy"} & sys.modules.keys()))
"""
    command = [sys.executable, "-c", script, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    (run,) = list_runs(tmp_path)
    assert run.counts()["step"] == 1
    assert run.state() == "finished"


def test_threads_that_start_runs_at_once_begin_them_one_after_the_other(start, monkeypatch):
    """The first is held up while it opens its files: a second one is not to come that far."""
    begun, inside, counts = threading.Event(), [], []
    opened = opening.open_log

    def held_up(*args):
        inside.append(args[0])
        if len(inside) == 1:
            begun.set()
            other.join(0.5)
        counts.append(len(inside))
        return opened(*args)

    monkeypatch.setattr("thermograd.ingest.run.open_log", held_up)
    other = threading.Thread(target=lambda: begun.wait(60) and start("second"))
    other.start()
    first = start("first")
    other.join(60)
    assert (inside, counts) == (["first", "second"], [1, 2])
    second = running_run()
    assert second is not None
    assert (first.is_open, second.is_open, Run(second.path).name) == (False, True, "second")
    notes = [m["text"] for m in read_kind(first.path, "mark").to_pylist() if m["mark"] == "note"]
    assert notes == ["the run ends here: another run was started in the same process"]


def test_of_many_threads_that_start_runs_one_run_is_left_open(start, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "_LONGEST_WAIT_S", 600.0)
    together = threading.Barrier(8)

    def work(number):
        together.wait(60)
        start(f"run {number}").step(loss=1.0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    states = [run.state() for run in list_runs(tmp_path)]
    assert sorted(states) == ["finished"] * 7 + ["live"]


def test_a_run_is_started_where_another_thread_takes_too_long_and_in_a_forked_child(start, monkeypatch):
    monkeypatch.setattr(opening, "_LONGEST_WAIT_S", 0.01)
    held, done = threading.Event(), threading.Event()

    def hold():
        with opening.one_at_a_time():
            held.set()
            done.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(60)
        assert start("waits").is_open
        opening._forget_turn()
        with opening.one_at_a_time():
            assert opening._turn._is_owned()
    finally:
        done.set()
        holder.join(60)
