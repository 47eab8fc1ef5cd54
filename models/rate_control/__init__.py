"""Rate control: one picture to a budget, many pictures to one budget. Numbers in, numbers out; no torch."""

from models.rate_control.gain_search import AIM, FINEST, MOST_PROBES, SHORTFALL, TOLERANCE, Search, Target, meets

__all__ = ["AIM", "FINEST", "MOST_PROBES", "SHORTFALL", "TOLERANCE", "Search", "Target", "meets"]
