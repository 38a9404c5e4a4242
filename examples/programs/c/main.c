/* Reads numbers from standard input and prints their mean and standard deviation: .program [DIGITS]. */
#include <stdio.h>
#include <stdlib.h>

#include "stats.h"

int main(int argc, char** argv) {
  const int digits = argc > 1 ? atoi(argv[1]) : 2;
  struct stats stats = {0};
  double value;
  while (scanf("%lf", &value) == 1) stats_add(&stats, value);
  if (stats.count == 0) {
    fputs("no numbers on standard input\n", stderr);
    return 1;
  }
  printf("count %ld\nmean %.*f\ndeviation %.*f\n", stats.count, digits, stats.mean, digits, stats_deviation(&stats));
  return 0;
}
