"""What the votes say: mean opinion scores, win rates and Bradley–Terry strengths."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from corun.study.votes import Vote

RESAMPLES = 1000


class Opinion(NamedTuple):
    """What people think of a method.

    Attributes:
        method: its label.
        value: the mean score (1 to 10), or the Bradley–Terry log strength (mean over methods 0;
            NaN for methods that no chain of comparisons ties to the largest group).
        low: of the 95 % interval; NaN with one participant.
        high: of the same.
        votes: how many.
    """

    method: str
    value: float
    low: float
    high: float
    votes: int


def mean_opinion_scores(votes: Sequence[Vote], methods: Sequence[str]) -> list[Opinion]:
    """Mean score of each method, with 95 % intervals by drawing participants with replacement.

    Votes of one person hang together, so persons are drawn, not votes.
    """
    singles = [vote for vote in votes if vote.second is None]

    def means(chosen: Sequence[Vote]) -> Float[np.ndarray, "m"]:
        values: dict[str, list[float]] = {method: [] for method in methods}
        for vote in chosen:
            values[vote.first].append(vote.value)
        return np.array([np.mean(v) if v else math.nan for v in values.values()])

    return _opinions(singles, methods, means)


def win_rates(votes: Sequence[Vote], methods: Sequence[str]) -> Float[np.ndarray, "m m"]:
    """Row i, column j: the share of their comparisons that i won of j, ties half; NaN for none."""
    wins = _wins(votes, methods)
    met = wins + wins.T
    return np.asarray(np.divide(wins, met, out=np.full_like(wins, np.nan), where=met > 0))


def bradley_terry(votes: Sequence[Vote], methods: Sequence[str]) -> list[Opinion]:
    """Log strengths log pᵢ of the model P(i beats j) = pᵢ/(pᵢ + pⱼ), mean 0.

    Maximum likelihood (Bradley and Terry 1952) by Hunter's minorisation (Annals of Statistics
    2004); a tie is half a win for each. Every pair that met gets one tie more than it has: without
    it a method that won all its comparisons would be infinitely strong.

    The same pairs get their tie in every bootstrap draw, whether or not the draw holds one of
    their votes: so each draw ties the same methods together, and 0 is the mean of the same ones.
    """
    wins = _wins(votes, methods)
    ties = 0.5 * ((wins + wins.T) > 0)

    def strengths(chosen: Sequence[Vote]) -> Float[np.ndarray, "m"]:
        return fit_strengths(_wins(chosen, methods) + ties)

    return _opinions([vote for vote in votes if vote.second is not None], methods, strengths)


def fit_strengths(wins: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m"]:
    """log pᵢ from wins[i, j], how often i beat j; mean 0.

    Iterates pᵢ ← Wᵢ / Σⱼ nᵢⱼ/(pᵢ + pⱼ) until nothing moves. Strengths of methods that no chain of
    comparisons connects have no common scale: only the group with the most comparisons gets
    values, the others NaN (see `connected_groups`).
    """
    met = wins + wins.T
    known = np.zeros(len(wins), dtype=bool)
    groups = [group for group in connected_groups(met) if len(group) > 1]
    if groups:
        known[max(groups, key=lambda group: float(met[group].sum()))] = True
    met = np.where(known[:, None] & known[None], met, 0.0)
    strength = np.ones(len(wins))
    won = wins.sum(axis=1)
    for _ in range(10_000):
        expected = (met / (strength[:, None] + strength[None])).sum(axis=1)
        updated = np.where(known, won / np.where(expected > 0, expected, 1), 1.0)
        updated /= math.exp(float(np.log(updated[known]).mean())) if known.any() else 1.0
        moved = float(np.abs(np.log(updated[known] / strength[known])).max(initial=0.0))
        strength = updated
        if moved < 1e-10:
            break
    return np.where(known, np.log(strength), np.nan)


def connected_groups(met: Float[np.ndarray, "m m"]) -> list[list[int]]:
    """The methods that comparisons tie together, directly or through others, as indices.

    Args:
        met: how often i and j were compared, symmetric.
    """
    left = set(range(len(met)))
    groups = []
    while left:
        group, border = set(), {min(left)}
        while border:
            group |= border
            border = {int(j) for i in border for j in np.flatnonzero(met[i] > 0)} - group
        groups.append(sorted(group))
        left -= group
    return groups


def groups_of(votes: Sequence[Vote], methods: Sequence[str]) -> list[list[str]]:
    """The labels of `connected_groups`; several where strengths cannot be compared."""
    wins = _wins(votes, methods)
    return [[methods[index] for index in group] for group in connected_groups(wins + wins.T)]


def win_rates_csv(votes: Sequence[Vote], methods: Sequence[str]) -> str:
    """One row per ordered pair that met: how often the first won of the second, ties half."""
    wins = _wins(votes, methods)
    rows = []
    for i, first in enumerate(methods):
        for j, second in enumerate(methods):
            met = wins[i, j] + wins[j, i]
            if i != j and met > 0:
                rows.append((first, second, float(wins[i, j] / met), int(met)))
    return _csv(("first", "second", "win_rate", "comparisons"), rows)


def results_json(votes: Sequence[Vote], methods: Sequence[str], mode: str) -> str:
    """All of it as JSON text."""
    content: dict[str, object] = {
        "mode": mode,
        "participants": len({vote.participant for vote in votes}),
        "votes": len(votes),
    }
    opinions = _for_mode(votes, methods, mode)
    name = "mean_opinion_scores" if mode == "score" else "bradley_terry"
    content[name] = [
        {key: _plain(value) for key, value in opinion._asdict().items()} for opinion in opinions
    ]
    if mode == "pairs":
        content["groups"] = groups_of(votes, methods)
        rates = win_rates(votes, methods)
        content["win_rates"] = {
            first: {
                second: _plain(float(rates[i, j])) for j, second in enumerate(methods) if i != j
            }
            for i, first in enumerate(methods)
        }
    return json.dumps(content, indent=1, ensure_ascii=False)


def results_csv(votes: Sequence[Vote], methods: Sequence[str], mode: str) -> str:
    """One row per method: value, interval, votes."""
    return _csv(Opinion._fields, _for_mode(votes, methods, mode))


def votes_csv(votes: Sequence[Vote]) -> str:
    """Every vote as a row."""
    return _csv(Vote._fields, votes)


def _csv(head: Sequence[str], rows: Sequence[tuple[object, ...]]) -> str:
    """What has no value is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(map(_plain, row) for row in rows)
    return text.getvalue()


def _for_mode(votes: Sequence[Vote], methods: Sequence[str], mode: str) -> list[Opinion]:
    analyse = mean_opinion_scores if mode == "score" else bradley_terry
    return analyse(votes, methods)


def _wins(votes: Sequence[Vote], methods: Sequence[str]) -> Float[np.ndarray, "m m"]:
    index = {method: position for position, method in enumerate(methods)}
    wins = np.zeros((len(methods), len(methods)))
    for vote in votes:
        if vote.second is not None:
            first, second = index[vote.first], index[vote.second]
            wins[first, second] += vote.value
            wins[second, first] += 1 - vote.value
    return wins


def _opinions(
    votes: Sequence[Vote],
    methods: Sequence[str],
    statistic: Callable[[Sequence[Vote]], Float[np.ndarray, "m"]],
) -> list[Opinion]:
    by_person: dict[str, list[Vote]] = {}
    for vote in votes:
        by_person.setdefault(vote.participant, []).append(vote)
    persons = list(by_person.values())
    values = statistic(votes)
    low = high = np.full(len(methods), np.nan)
    if len(persons) > 1:
        rng = np.random.default_rng(0)
        draws = np.array(
            [
                statistic([vote for k in row for vote in persons[k]])
                for row in rng.integers(0, len(persons), (RESAMPLES, len(persons)))
            ]
        )
        low, high = (_percentile(draws, q) for q in (2.5, 97.5))
    counts = [sum(method in (v.first, v.second) for v in votes) for method in methods]
    return [
        Opinion(method, float(values[i]), float(low[i]), float(high[i]), counts[i])
        for i, method in enumerate(methods)
    ]


def _percentile(draws: Float[np.ndarray, "r m"], q: float) -> Float[np.ndarray, "m"]:
    """By column, of the draws that have a value."""
    columns = [column[~np.isnan(column)] for column in draws.T]
    return np.array([np.percentile(c, q) if len(c) else math.nan for c in columns])


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value
