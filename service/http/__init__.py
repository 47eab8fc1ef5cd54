"""HTTP as such: problems, bodies, negotiation, keys, the OpenAPI document, timings."""
