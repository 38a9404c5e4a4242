#include "stats.h"

#include <math.h>

void stats_add(struct stats* stats, double value) {
  stats->count++;
  const double distance = value - stats->mean;
  stats->mean += distance / stats->count;
  stats->squares += distance * (value - stats->mean);
}

double stats_deviation(const struct stats* stats) { return sqrt(stats->squares / stats->count); }
