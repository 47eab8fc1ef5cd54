"""Encoder effort: better symbols for one picture, at no cost to the decoder."""
