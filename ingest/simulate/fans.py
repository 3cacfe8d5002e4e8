"""The fans of a server that hunt: for a simulated GPU that throttles again and again."""

from random import Random

_WEAK, _STRONG = (0.9, 1.15), (1.8, 2.2)  # airflow, as a share of the nominal one
_LATE_UP_S, _LATE_DOWN_S = (1.0, 4.0), (0.5, 6.0)
_SWING_C = 2.0


class HuntingFans:
    """Fans that answer late to heat above `target_c`, and then too strongly, as badly tuned ones do.

    They speed up some seconds after the device is hotter than it should be, and slow down some seconds
    after it has cooled by 2 degC. Speeds and delays are drawn anew every time, so there is no period.

    Examples
    --------
    >>> fans = HuntingFans(target_c=87.0)
    >>> cool, hot = fans.airflow(80.0, 1.0), [fans.airflow(88.0, 1.0) for _ in range(5)]
    >>> cool < 1.2, hot[0] == cool, hot[-1] > 1.7
    (True, True, True)
    """

    def __init__(self, target_c: float, seed: int = 0) -> None:
        self.target_c = target_c
        self._random = Random(seed)
        self._is_strong = False
        self._airflow = self._random.uniform(*_WEAK)
        self._left_s: float | None = None  # until they answer

    def airflow(self, temperature_c: float, dt_s: float) -> float:
        """Let `dt_s` seconds pass at a temperature; return the share of the nominal airflow."""
        if self._left_s is None:
            self._notice(temperature_c)
        else:
            self._left_s -= dt_s
            if self._left_s <= 0.0:
                self._turn()
        return self._airflow

    def _notice(self, temperature_c: float) -> None:
        if self._is_strong and temperature_c < self.target_c - _SWING_C:
            self._left_s = self._random.uniform(*_LATE_DOWN_S)
        elif not self._is_strong and temperature_c > self.target_c:
            self._left_s = self._random.uniform(*_LATE_UP_S)

    def _turn(self) -> None:
        self._is_strong, self._left_s = not self._is_strong, None
        self._airflow = self._random.uniform(*(_STRONG if self._is_strong else _WEAK))
