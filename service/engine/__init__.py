"""The engine behind the HTTP layer: admission, batching, the device thread. Knows nothing of HTTP.

Empty on purpose: entropy workers import `entropy_worker` and must not load torch.
"""
