"""Robust lines through noisy differences of two clocks, with breaks where a clock was set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_BLOCKS = 64
_BLOCK_STEPS = 8  # steps of a block, at least
_SHORTEST = 16  # steps of a piece: fewer bear no slope
_LACK = 6.0  # standard errors by which a block may miss the line
_LEAST_LACK_S = 5e-4
_DEEPEST = 5  # halvings: 32 pieces
_SD_PER_MAD = 1.4826
_MEDIAN_LOSS = 1.2533  # standard error of a median over that of a mean


@dataclass(frozen=True, slots=True)
class Piece:
    """A straight piece of an offset: `level_s` at `start_s`, changing by `slope` s each s."""

    start_s: float
    end_s: float
    level_s: float
    slope: float
    steps: int

    def at(self, time_s: Floats) -> Floats:
        """Return the offset at times, s."""
        return self.level_s + self.slope * (time_s - self.start_s)


def pieces_through(time_s: Floats, apart_s: Floats) -> list[Piece]:
    """Return straight pieces through differences of two clocks; as few as fit.

    Parameters
    ----------
    time_s, apart_s
        Shape (n,), n >= 1: ascending times, and by how much one clock is ahead of the other then.

    Examples
    --------
    >>> at = np.arange(400.0)
    >>> found = pieces_through(at, 0.1 + 2e-5 * at + 0.25 * (at >= 150))
    >>> [(piece.start_s, round(piece.level_s, 3), round(1e6 * piece.slope)) for piece in found]
    [(0.0, 0.1, 20), (150.0, 0.353, 20)]
    """
    return _pieces(time_s, apart_s, _DEEPEST)


def offset_at(pieces: list[Piece], time_s: Floats) -> Floats:
    """Return the offset that pieces say at any times; beyond the ends the first and last go on."""
    starts = np.array([piece.start_s for piece in pieces[1:]])
    place = np.searchsorted(starts, time_s, side="right")
    starts_s, levels, slopes = (
        np.array([getattr(piece, name) for piece in pieces])[place]
        for name in ("start_s", "level_s", "slope")
    )
    return np.asarray(levels + slopes * (time_s - starts_s))


def _pieces(time_s: Floats, apart_s: Floats, depth: int) -> list[Piece]:
    piece = _line(time_s, apart_s)
    if depth == 0 or time_s.size < 2 * _SHORTEST or not _misses(piece, time_s, apart_s):
        return [piece]
    cut = _best_cut(time_s, apart_s)
    return _pieces(time_s[:cut], apart_s[:cut], depth - 1) + _pieces(time_s[cut:], apart_s[cut:], depth - 1)


def _line(time_s: Floats, apart_s: Floats) -> Piece:
    """Return the line whose slope is the median of the slopes between blocks (Theil and Sen)."""
    at, apart = _block_medians(time_s), _block_medians(apart_s)
    slope = 0.0
    if time_s.size >= _SHORTEST:
        first, second = np.triu_indices(at.size, 1)
        slope = float(np.median((apart[second] - apart[first]) / (at[second] - at[first])))
    level = float(np.median(apart_s - slope * (time_s - time_s[0])))
    return Piece(float(time_s[0]), float(time_s[-1]), level, slope, time_s.size)


def standard_error_s(left: Floats) -> float:
    """Return the standard error of what a line leaves: by steps, or by blocks where neighbours are alike."""
    blocks = _block_medians(left)
    by_blocks = _sd(blocks) / np.sqrt(blocks.size)
    return float(_MEDIAN_LOSS * max(by_blocks, _sd(left) / np.sqrt(left.size)))


def _sd(values: Floats) -> float:
    return float(_SD_PER_MAD * np.median(np.abs(values - np.median(values))))


def _blocks(count: int) -> int:
    return int(np.clip(count // _BLOCK_STEPS, 1, _MOST_BLOCKS))


def _block_medians(values: Floats) -> Floats:
    return np.array([np.median(part) for part in np.array_split(values, _blocks(values.size))])


def _misses(piece: Piece, time_s: Floats, apart_s: Floats) -> bool:
    left = apart_s - piece.at(time_s)
    # From step to step, not around the line: what the line misses must not excuse it.
    of_a_step = _sd(np.diff(left)) / np.sqrt(2)
    of_a_block = _MEDIAN_LOSS * of_a_step / np.sqrt(left.size / _blocks(left.size))
    return bool(np.abs(_block_medians(left)).max() > max(_LACK * of_a_block, _LEAST_LACK_S))


def _best_cut(time_s: Floats, apart_s: Floats) -> int:
    """Return before which place two lines fit best: among the blocks' borders, then to the step."""
    at, apart = _block_medians(time_s), _block_medians(apart_s)
    edges = np.append(0, np.cumsum([part.size for part in np.array_split(time_s, at.size)]))
    least = -(-_SHORTEST // max(1, time_s.size // at.size))
    borders = range(least, at.size - least + 1)
    cost = [_cost(at[:border], apart[:border]) + _cost(at[border:], apart[border:]) for border in borders]
    border = borders[int(np.argmin(cost))]
    low, high = edges[max(least, border - 1)], edges[min(at.size - least, border + 1)]
    before, after = _line(time_s[:low], apart_s[:low]), _line(time_s[high:], apart_s[high:])
    near = slice(low, high)
    misses = [np.abs(apart_s[near] - line.at(time_s[near])) for line in (before, after)]
    costs = np.append(0.0, np.cumsum(misses[0])) + misses[1].sum() - np.append(0.0, np.cumsum(misses[1]))
    return int(low + np.argmin(costs))


def _cost(at: Floats, apart: Floats) -> float:
    if at.size < 2:
        return 0.0
    slope, level = np.polyfit(at - at[0], apart, 1)
    return float(np.abs(apart - level - slope * (at - at[0])).sum())
