"""Reads a text from standard input and prints its most common words: main.py [HOW_MANY]."""
import sys

from word_count import most_common


def main():
    how_many = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    text = sys.stdin.read()
    for word, count in most_common(text, how_many):
        print(f"{count} {word}")
    print(f"{len(text.split())} words", file=sys.stderr)


main()
