"""Capacity: a model of what clusters of this service carry, and of what that costs."""
