#pragma once

/* Running mean and squared distance from it (Welford's method). */
struct stats {
  long count;
  double mean;
  double squares;
};

void stats_add(struct stats* stats, double value);
double stats_deviation(const struct stats* stats);
