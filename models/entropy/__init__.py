"""Everything the entropy coder needs: integer tables, the exact-integer scale decoder and the range coder's calls."""
