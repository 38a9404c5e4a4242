# Counts the lines of standard input that have the level $1 as their second field.
count_level() { awk -v level="$1" '$2 == level { lines++ } END { print lines + 0 }'; }
