# Reads a log from standard input and prints how many lines each level has: main.sh [LEVEL...].
source ./levels.sh

levels=("$@")
((${#levels[@]})) || levels=(ERROR WARN INFO)
log=$(cat)
for level in "${levels[@]}"; do
  printf '%-5s %d\n' "$level" "$(count_level "$level" <<<"$log")"
done
