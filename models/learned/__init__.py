"""The learned codec.

Empty on purpose: entropy workers import `symbol_codec` and must not load torch.
"""
