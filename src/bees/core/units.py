"""Conversions between the units that papers write and the SI units that the code computes in."""

from __future__ import annotations

import math


def db_to_ratio(value_db: float) -> float:
    """Ratio of powers that ``value_db`` decibel stand for: ``10^(x/10)``."""
    return 10.0 ** (value_db / 10.0)


def ratio_to_db(ratio: float) -> float:
    """Decibel that a ratio of powers stands for: ``10 log10(ratio)``."""
    return 10.0 * math.log10(ratio)


def dbm_to_w(value_dbm: float) -> float:
    """Watt that ``value_dbm`` decibel-milliwatt stand for."""
    return db_to_ratio(value_dbm) * 1e-3


def w_to_dbm(power_w: float) -> float:
    """Decibel-milliwatt that ``power_w`` watt stand for."""
    return ratio_to_db(power_w * 1e3)
