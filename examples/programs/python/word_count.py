"""Counting the words of a text."""
import re
from collections import Counter


def most_common(text, how_many):
    """Pairs (word, count), the most frequent first and words of one frequency in alphabetical order."""
    counts = Counter(re.findall(r"[a-z']+", text.lower()))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:how_many]
