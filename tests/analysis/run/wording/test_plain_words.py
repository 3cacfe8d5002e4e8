"""The first screen: each verdict in one sentence of plain words, which claims no more than its numbers."""

import copy
import math
import pickle
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st
from synthetic import make_run
from thermograd.analysis.coupling.cross_correlation import Coupling, residual_cross_correlation
from thermograd.analysis.coupling.hindrance import Hindrance, kind_of
from thermograd.analysis.coupling.verdict import OPEN, gates, strength, verdict
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.incident.result import HEATED
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.pairs import placeholders
from thermograd.analysis.run.result import Analysis, question_verdict, verdict_sentence
from thermograd.analysis.run.series import Device
from thermograd.analysis.run.wording.plain_words import FirstScreen, first_screen
from thermograd.analysis.run.wording.sentences import MATTERS, bins_needed

VERDICTS = ("coupled", "single_event", "inconclusive", "no_coupling", "insufficient")
_TIME = r"\b\d[\d,]*(\.\d+)? ?(s|minutes?|hours?|days?)\b"
_JARGON = r"\b(r|p|n|bins?|lags?|residuals?|correlations?|significan\w*|null|Holm|bound)\b|[|%±=]"
_CLAIMS = ("causes", "caused", "because", "drives", "proves")


def pair(verdict: str, **told: Any) -> Pair:
    """Return a pair of the norm and the temperature, of 900 bins of 1 s with slow answers."""
    known: dict[str, Any] = {
        **{"x": "grad_norm", "y": "temperature_c", "device": "gpu", "family": "forward", "n": 900},
        **{"r": 0.05, "lag_s": 3.0, "p": 0.4, "p_adjusted": 1.0, "half_width": 0.1, "slow_half_width": 0.12},
        **{"lag_bound": 0.15, "slow_bound": 0.17, "pearson_r": -0.7, "strength": "null", "reasons": ["So."]},
        **{"period_s": 1.0, "lags_s": [-12.0, 0.0, 12.0], "profile": [0.0, 0.0, 0.05]},
        **{"memories_s": [3.0, 24.0, 48.0], "slow_profile": [0.01, 0.02, 0.03]},
    }
    return Pair(**known | {"verdict": verdict} | told)


def analysis(*pairs: Pair, **told: Any) -> Analysis:
    """Return the analysis of one GPU that holds these pairs."""
    known: dict[str, Any] = {
        **{"run_id": "run", "method": "rxc", "controls": {}, "coincidence": {}, "warnings": []},
        **{"alignment": {"steps": 900, "matched_by_device": {"gpu": 900}}, "pairs": list(pairs)},
        **{"simulated": [], "smallest_detectable_r": None},
        **{"incident": SimpleNamespace(accelerators=True, lines=["No throttling."], shares={HEATED: 0.0})},
    }
    return Analysis(**known | told)


def found(r: float = 0.4, **told: Any) -> Pair:
    """Return a coupled pair."""
    return pair("coupled", r=r, strength=strength(r), p_adjusted=0.01, **told)


@pytest.mark.parametrize(
    ("coupled", "said"),
    [
        (found(), "The GPU's temperature follows the gradient norm by about 3 s: a moderate link."),
        (found(0.8), "The GPU's temperature follows the gradient norm by about 3 s: a strong link."),
        (
            found(-0.2),
            "The GPU's temperature follows the gradient norm by about 3 s, in the opposite direction: a weak "
            "link.",
        ),
        (
            found(family="reverse", lag_s=-2.0),
            "The gradient norm follows the GPU's temperature by about 2 s: a moderate link.",
        ),
        (
            found(family="simultaneous", lag_s=0.0),
            "The gradient norm and the GPU's temperature move together at the same time: a moderate link.",
        ),
        (
            found(memory_s=24.0),
            "The GPU's temperature follows the gradient norm slowly, over about 24 s: a moderate link.",
        ),
        (
            found(clock_unsure_s=None),
            "The gradient norm and the GPU's temperature move together (which of them first, the two hosts' "
            "clocks cannot tell): a moderate link.",
        ),
    ],
)
def test_a_coupling_says_who_follows_whom_by_how_much_and_how_strongly(coupled: Pair, said: str) -> None:
    screen = first_screen(analysis(coupled, pair("inconclusive")))
    assert screen.sentence == said
    assert (screen.verdict, screen.strength) == ("coupled", coupled.strength)
    assert "one run cannot say" in screen.how_sure


def test_of_several_devices_the_sentence_says_which() -> None:
    others = [found(device="GPU-1", device_label="GPU 1 (H100)"), pair("inconclusive")]
    assert first_screen(analysis(*others)).sentence.startswith("The temperature of GPU 1 (H100) follows")


def test_too_short_a_run_says_what_it_leaves_open_and_how_long_to_run() -> None:
    short = pair("inconclusive", n=200, lag_bound=0.42, slow_bound=0.5)
    minutes = math.ceil(bins_needed(short, MATTERS)[1] / 60)
    screen = first_screen(analysis(short))
    assert screen.sentence == (
        f"Nothing found. This run was too short to rule out a moderate link: run {minutes} minutes or longer."
    )
    assert "not found is not the same as not there" in screen.how_sure
    assert f"{minutes} minutes" in screen.how_long


@given(bins=st.integers(60, 100_000), bound=st.floats(MATTERS, 3.0), period_s=st.floats(0.2, 900.0))
def test_the_advice_is_always_longer_than_the_run_was(bins: int, bound: float, period_s: float) -> None:
    short = pair("inconclusive", n=bins, lag_bound=bound, slow_bound=math.nan, period_s=period_s)
    count, unit = re.search(
        r"run ([\d,]+) (\w+?)s? or longer", first_screen(analysis(short)).sentence
    ).groups()
    assert int(count.replace(",", "")) * {"minute": 60, "hour": 3600, "day": 86_400}[unit] > bins * period_s


@pytest.mark.parametrize(("bound", "size"), [(0.95, "even a strong link"), (0.25, "a weak link")])
def test_the_size_of_what_is_open_goes_by_the_widest_bound(bound: float, size: str) -> None:
    wide = [pair("inconclusive", lag_bound=bound), pair("inconclusive", lag_bound=0.21)]
    assert f"too short to rule out {size}: run" in first_screen(analysis(*wide)).sentence


def test_a_rhythm_and_something_of_another_kind_are_not_called_nothing() -> None:
    alike = first_screen(analysis(pair("inconclusive", p_adjusted=0.01), pair("inconclusive")))
    assert alike.sentence.startswith("Cannot tell: the gradient norm and the GPU's temperature look alike")
    for kind in OPEN:
        seen = first_screen(analysis(pair("inconclusive", not_excluded=[{"kind": kind, "p": 1e-4}])))
        assert seen.sentence.startswith(
            "Cannot tell: no link of the usual kind, but between the gradient norm"
        )
        wide = pair("inconclusive", lag_bound=0.5, not_excluded=[{"kind": kind, "p": 1e-4}])
        assert first_screen(analysis(wide)).sentence.startswith("Nothing sure was found, though something")


def test_no_link_is_said_only_of_links_that_matter_and_of_what_was_tested() -> None:
    screen = first_screen(analysis(pair("no_coupling"), pair("insufficient", y="power_w")))
    assert screen.sentence.startswith("No link that matters: this run was long enough to see one")
    assert screen.how_sure.endswith("could still hide. Some sensors could not be tested.")
    assert first_screen(analysis(pair("no_coupling"))).how_sure.endswith("could still hide.")


_RAMP, _NOISE = np.arange(200.0), np.random.default_rng(5).standard_normal((2, 200))
_IDLE = {"power": (np.full(99, 60.0), np.full(99, 60.0))}
_SUSPECT = Device("gpu", {"suspect": {"power_w": "a constant"}}, pa.table({}))
_TOO_SHORT = "this run was too short to test anything; run "
_UNCHANGED = "what was recorded hardly changed by itself"
_HINDERED = {  # every reason that the code gives, and what the first screen makes of it
    "no bin": (lambda: gates([], []), "few", _TOO_SHORT),
    "no bin, apart": (lambda: gates([], [], apart=True), "apart", "training and hardware were never"),
    "few bins": (lambda: gates(_RAMP[:12], _RAMP[:12]), "few", _TOO_SHORT),
    "few bins of two levels": (lambda: gates([1.0, 2.0], [3.0, 3.0]), "few", _TOO_SHORT),
    "constant": (lambda: gates(_RAMP, np.full(200, 50.0)), "constant", _UNCHANGED),
    "two levels": (lambda: gates(_RAMP, _RAMP > 100), "constant", _UNCHANGED),
    "idle": (lambda: gates(_RAMP, _RAMP, loads=_IDLE), "idle", "the device that was recorded did nothing"),
    "idle and few": (lambda: gates(_RAMP[:9], _RAMP[:9], loads=_IDLE), "idle", "the device that was"),
    "placeholder": (lambda: placeholders(_SUSPECT, "power_w"), "placeholder", "what stands for the readings"),
    "rests on one": (lambda: placeholders(_SUSPECT, "rle"), "placeholder", "what stands for the readings"),
    "too short": (lambda: _tested(_NOISE[:, :20]), "few", _TOO_SHORT),
    "too many columns": (lambda: _tested(_NOISE, drivers=np.eye(200)[:, :120]), "few", _TOO_SHORT),
    "predicted": (lambda: _tested([_NOISE[0], np.ones(200)]), "predicted", _UNCHANGED),
    "not computed": (lambda: verdict(_not_computed())[1], "unknown", "the test could not"),
    "of no kind": (lambda: ["Something else."], "unknown", "the test could not be made"),
}


def _tested(series: Any, **told: Any) -> list[str]:
    return verdict(residual_cross_correlation(*series, permutations=19, **told))[1]


def _not_computed() -> Coupling:
    return replace(residual_cross_correlation(*_NOISE, permutations=19), p=math.nan)


@cache
def _reasons(name: str) -> list[str]:
    return _HINDERED[name][0]()


def _hindered(name: str, **told: Any) -> Pair:
    return pair("insufficient", reasons=_reasons(name), p=math.nan, **told)


@pytest.mark.parametrize("name", _HINDERED)
def test_why_nothing_could_be_tested_goes_by_the_kind_of_the_reason(name: str) -> None:
    _, kind, said = _HINDERED[name]
    hindered = _hindered(name)
    assert kind in set(map(kind_of, hindered.reasons))
    assert first_screen(analysis(hindered)).sentence.startswith(f"Cannot tell: {said}")


def test_a_reason_keeps_its_kind_on_the_way_from_another_process() -> None:
    reason = Hindrance("So it is.", "apart")
    for again in (pickle.loads(pickle.dumps(reason)), copy.deepcopy(reason)):
        assert (again, again.kind) == ("So it is.", "apart")


def test_of_several_reasons_the_commonest_is_said_and_last_what_single_sensors_lack() -> None:
    few, constant, idle = (_hindered(name) for name in ("few bins", "constant", "idle"))
    for pairs, said in (
        ([few, constant, constant], _TOO_SHORT),
        ([constant, idle, idle], "the device that was recorded did nothing"),
        ([few, idle, idle], "the device that was recorded did nothing"),
        ([few, few, idle], _TOO_SHORT),
        (
            [_hindered("placeholder"), _hindered("placeholder"), idle],
            "the device that was recorded did nothing",
        ),
    ):
        assert first_screen(analysis(*pairs)).sentence.startswith(f"Cannot tell: {said}")


@pytest.mark.parametrize("seconds", [0.5, 1, 2, 3, 5])
def test_a_run_of_seconds_was_too_short_and_nothing_else(tmp_path: Path, seconds: float) -> None:
    run = make_run(tmp_path, steps=round(4 * seconds), seconds=seconds)
    sentence = first_screen(analyze_run(run, "grad_norm", "temperature_c")).sentence
    assert sentence.startswith(f"Cannot tell: {_TOO_SHORT}")


def test_the_sentence_with_numbers_asks_for_the_same_length() -> None:
    for pairs in (
        [
            pair("inconclusive", lag_bound=0.3, period_s=0.98),
            pair("inconclusive", lag_bound=0.25, n=950),
        ],
        [_hindered("few bins", n=12), _hindered("constant", columns=40)],
        [pair("inconclusive", lag_bound=0.3, period_s=11.0)],
    ):
        judged = analysis(*pairs)
        length = re.search(r"run ([\d,]+ \w+) or longer", first_screen(judged).sentence).group(1)
        assert verdict_sentence(judged).count(f"to rule one out about {length}.") == 1


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"alignment": {"steps": 0, "matched_by_device": {}}}, "no training step was recorded"),
        ({"alignment": {"steps": 9, "matched_by_device": {}}}, "no device was recorded"),
        ({"unmeasured": {"gpu": {}}}, "no temperature, power or clock could be read"),
        ({}, "no step has a gradient norm or a loss"),
    ],
)
def test_a_run_without_pairs_says_what_is_missing_and_what_to_do(told: dict[str, Any], said: str) -> None:
    screen = first_screen(analysis(**told))
    assert screen.sentence.startswith(f"Cannot tell: {said}")
    assert "thermograd" in screen.next_step


def test_simulated_hardware_is_said_of_the_devices_that_the_verdict_is_about() -> None:
    simulated = first_screen(analysis(found(), simulated=["gpu"]))
    assert simulated.sentence.endswith(" The hardware is simulated.")
    assert simulated.simulated
    other = first_screen(analysis(found(), simulated=["another"]))
    assert "simulated" not in other.sentence


def test_heat_is_told_where_there_was_any() -> None:
    hot = SimpleNamespace(accelerators=True, lines=["Heat slowed the GPU down."], shares={HEATED: 0.2})
    assert first_screen(analysis(found(), incident=hot)).heat == "Heat slowed the GPU down."
    assert first_screen(analysis(found())).heat == ""
    assert "what heat cost" in first_screen(analysis(pair("no_coupling"), incident=hot)).next_step


def test_naive_correlations_have_no_verdict_in_plain_words_either() -> None:
    assert first_screen(analysis(found(), method="pearson")).sentence.startswith("No verdict")


def _texts(screen: FirstScreen) -> list[str]:
    return [screen.sentence, *screen.facts.values()]


_ANY = st.floats(0.0, 2.0) | st.just(math.nan)


@given(
    verdict=st.sampled_from(VERDICTS),
    r=st.floats(-1.0, 1.0),
    lag_s=st.floats(-60.0, 60.0),
    family=st.sampled_from(["forward", "reverse", "simultaneous"]),
    memory_s=st.none() | st.floats(0.5, 600.0),
    bounds=st.tuples(_ANY, _ANY),
    p=st.floats(0.0, 1.0) | st.just(math.nan),
    kind=st.none() | st.sampled_from(list(OPEN)),
    reason=st.sampled_from(list(_HINDERED)),
    period_s=st.floats(0.5, 600.0) | st.just(math.nan),
    unsure_s=st.none() | st.floats(0.0, 5.0),
)
def test_no_figure_leaks_and_the_words_agree_with_the_verdict(
    verdict: str,
    bounds: tuple[float, float],
    kind: str | None,
    p: float,
    reason: str,
    unsure_s: float | None,
    r: float,
    **told: Any,
) -> None:
    """Whatever is known of a pair: plain words, only times in numbers, no claim of the other verdicts."""
    seen = [{"kind": kind, "p": 1e-4}] if kind else []
    known = {"lag_bound": bounds[0], "slow_bound": bounds[1], "p_adjusted": p, "not_excluded": seen}
    known |= {"strength": strength(r, verdict == "coupled"), "clock_unsure_s": unsure_s, "r": r}
    run = analysis(pair(verdict, **known, **told, reasons=_reasons(reason)))
    screen = first_screen(run)
    for text in _texts(screen):
        assert text.strip()
        assert not re.search(r"\d", re.sub(_TIME, "", text)), text
        assert not re.search(_JARGON, text), text
        assert not any(claim in text for claim in _CLAIMS if "one run cannot say" not in text), text
        assert "nan" not in text.split()
    assert screen.verdict == question_verdict(run)
    lead = verdict_sentence(run).split(":")[0].split(" (")[0].split(" above")[0]
    begins = {
        "COUPLED": ("The ",),
        "NO COUPLING": ("No link that matters",),
        "SINGLE EVENT": ("One moment only",),
        "CANNOT TELL": ("Cannot tell", "Nothing found. This run was too short", "Nothing sure was found"),
    }[lead]
    assert screen.sentence.startswith(begins)
    assert (" link." in screen.sentence) == (verdict == "coupled")
