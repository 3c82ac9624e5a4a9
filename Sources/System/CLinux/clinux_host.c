#define _GNU_SOURCE
#include "clinux_host.h"
#include <sys/timex.h>

int clinux_clock_state(int *unsynchronized) {
  struct timex state = {0};
  int result = adjtimex(&state);
  *unsynchronized = (state.status & STA_UNSYNC) != 0 || result == TIME_ERROR;
  return result;
}
