"""The entropy coder, its integer tables, and the integer networks that choose among them."""
