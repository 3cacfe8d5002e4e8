"""The first screen: each verdict in one sentence of plain words, which claims no more than its numbers."""

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st
from thermograd.analysis.coupling.verdict import OPEN, gates, strength
from thermograd.analysis.run.incident.result import HEATED
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.result import Analysis, question_verdict, verdict_sentence
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


def _reasons(kind: str) -> list[str]:
    ramp, nothing = np.arange(200.0), np.full(200, np.nan)
    idle = {"power": (np.full(99, 60.0), np.full(99, 60.0))}
    return {
        "short": lambda: gates(ramp[:12], ramp[:12]),
        "apart": lambda: gates(nothing, nothing),
        "constant": lambda: gates(ramp, np.full(200, 50.0)),
        "levels": lambda: gates(ramp, ramp > 100),
        "idle": lambda: gates(ramp, ramp, loads=idle),
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("short", "this run was too short to test anything; run "),
        ("apart", "training and hardware were never recorded at the same time"),
        ("constant", "what was recorded hardly changed by itself"),
        ("levels", "what was recorded hardly changed by itself"),
        ("idle", "the device that was recorded did nothing"),
    ],
)
def test_where_nothing_could_be_tested_the_commonest_reason_is_said(kind: str, said: str) -> None:
    screen = first_screen(analysis(pair("insufficient", reasons=_reasons(kind), p=math.nan)))
    assert screen.sentence.startswith(f"Cannot tell: {said}")


def test_of_several_reasons_the_one_that_a_longer_run_does_not_help_is_said() -> None:
    idle, short = _reasons("idle"), _reasons("short")
    both = analysis(pair("insufficient", reasons=short + idle), pair("insufficient", reasons=short, y="rle"))
    assert first_screen(both).sentence.startswith("Cannot tell: the device that was recorded did nothing")
    rare = analysis(*[pair("insufficient", reasons=[*short, f"sensor {n} is constant"]) for n in range(3)])
    assert "constant" in verdict_sentence(rare)
    assert first_screen(rare).sentence.startswith("Cannot tell: what was recorded hardly changed")


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
    reason=st.sampled_from(["short", "apart", "constant", "levels", "idle"]),
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
