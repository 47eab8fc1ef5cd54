"""A blind comparison of two codecs that people vote on: pairs, a page, and the count of votes.

python -m benchmarks.preference make FOLDER --output pairs/
python -m benchmarks.preference count pairs/key.json votes-*.json
"""
