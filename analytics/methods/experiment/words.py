"""The words for verdicts: the one place where they are chosen.

Written for someone who knows no statistics. "Can't tell" never becomes "no effect"; a small p never
becomes "97 % sure".
"""

from typing import Literal

from analytics.methods.experiment.guardrails import GuardrailStatus
from analytics.methods.experiment.planning import TimeLeft
from analytics.methods.experiment.prior import Belief
from analytics.methods.experiment.verdict import Cause, State

STATES: dict[State, str] = {
    "no_result": "no result yet",
    "invalid": "not valid",
    "too_early": "too early to say",
    "too_skewed": "can't be judged on this average",
    "guardrail_harmed": "don't ship",
    "ship": "ship",
    "dont_ship": "don't ship",
    "no_meaningful_difference": "no difference that matters",
    "keep_running": "keep running",
    "plan_used_up": "undecided, and the plan is used up",
}

TONES: dict[State, Literal["good", "bad", "broken", "waiting", "neutral"]] = {
    "no_result": "neutral",
    "invalid": "broken",
    "too_early": "waiting",
    "too_skewed": "broken",
    "guardrail_harmed": "bad",
    "ship": "good",
    "dont_ship": "bad",
    "no_meaningful_difference": "neutral",
    "keep_running": "waiting",
    "plan_used_up": "neutral",
}

CAUSES: dict[Cause, str] = {
    "no_data": "nobody has been measured yet",
    "one_arm": "one of the variants has nobody in it",
    "too_few": "a variant has fewer than two people",
    "zero_variance": "everyone has the same value, so there is nothing to compare",
    "zero_denominator": "what the metric divides by is zero",
    "split": "people were not split as planned, so the variants may hold different kinds of people",
    "allocation_changed": "the split was changed while it ran",
    "contamination": "more than 1 % of people saw more than one variant",
    "exposure_logging": "the variants record who saw them differently",
    "days": "it needs 7 full days, one of each weekday",
    "conversions": "it needs 100 conversions in each variant",
    "skew": "a few very large values decide the average, and the variants differ in size",
    "guardrail": "a guardrail got worse",
    "primary_better": "the main metric is better, and no guardrail suffers more than its limit",
    "primary_worse": "the main metric is worse",
    "within_margin": "any difference is too small to matter",
    "undecided": "we can't tell yet which is better",
    "guardrail_undecided": "the main metric is better, but a guardrail is not shown to be safe",
}

GUARDRAILS: dict[GuardrailStatus, str] = {
    "safe": "OK",
    "harmed": "worse",
    "undecided": "undecided",
    "unknown": "can't be measured",
}


def by_luck(p: float) -> str:
    """How often luck alone would show such a gap: "about 2 times in 1,000".

    Only for a look at the planned end; before it a p-value means nothing to a reader.
    """
    if p < 0.001:
        return "less than once in 1,000 times"
    if p < 0.095:
        times = round(p * 1000) if p < 0.01 else round(p * 100)
        return f"about {_times(times)} in {'1,000' if p < 0.01 else '100'}"
    return "nearly always" if p >= 0.95 else f"about {_times(round(p * 10))} in 10"


def chance(belief: Belief) -> str:
    """The chance that the treatment is better: "about 8 in 10", never certain."""
    share = belief.chance_to_win
    if share > 0.99:
        return "more than 99 in 100"
    if share < 0.01:
        return "less than 1 in 100"
    if 0.1 < share < 0.9:
        return f"about {round(share * 10)} in 10"
    return f"about {round(share * 100)} in 100"


def time_left_words(left: TimeLeft) -> str:
    """How long is left: "3 weeks", "5 days", "would not finish (> 90 days)"."""
    match left.state:
        case "done":
            return "none"
        case "would_not_finish":
            return "would not finish (> 90 days)"
        case "unknown":
            return "not known"
        case "running":
            days = left.days or 0
            if days and days % 7 == 0:
                return "1 week" if days == 7 else f"{days // 7} weeks"
            return "1 day" if days == 1 else f"{days} days"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"
