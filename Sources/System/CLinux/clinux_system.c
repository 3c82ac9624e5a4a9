#define _GNU_SOURCE
#include "clinux_system.h"
#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>

int clinux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token) {
  struct epoll_event event = {.events = events, .data.u64 = token};
  return epoll_ctl(epoll, operation, descriptor, &event);
}

int clinux_epoll_wait_ns(int epoll, struct epoll_event *events, int capacity, int64_t nanoseconds) {
  if (nanoseconds < 0) return epoll_wait(epoll, events, capacity, -1);
  if (nanoseconds == 0) return epoll_wait(epoll, events, capacity, 0);
  struct timespec timeout = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
  return epoll_pwait2(epoll, events, capacity, &timeout, NULL);
}

uint64_t clinux_epoll_token(const struct epoll_event *event) { return event->data.u64; }
uint32_t clinux_epoll_events(const struct epoll_event *event) { return event->events; }

static int64_t nanoseconds_of(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t clinux_boottime_ns(void) { return nanoseconds_of(CLOCK_BOOTTIME); }
int64_t clinux_realtime_ns(void) { return nanoseconds_of(CLOCK_REALTIME); }

int clinux_timerfd_arm(int descriptor, int64_t nanoseconds) {
  struct itimerspec value = {.it_value = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000}};
  return timerfd_settime(descriptor, TFD_TIMER_ABSTIME, &value, NULL);
}

int clinux_set_timer_slack(unsigned long nanoseconds) { return prctl(PR_SET_TIMERSLACK, nanoseconds, 0, 0, 0); }

int clinux_set_fifo(int priority) {
  struct sched_param parameter = {.sched_priority = priority};
  return sched_setscheduler(0, (priority ? SCHED_FIFO : SCHED_OTHER) | SCHED_RESET_ON_FORK, &parameter);
}

int clinux_lock_memory(void) {
#ifdef MCL_ONFAULT
  return mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
#else
  errno = ENOSYS;
  return -1;
#endif
}

void clinux_name_thread(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
