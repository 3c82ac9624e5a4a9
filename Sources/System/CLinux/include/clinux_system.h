// What Swift cannot import by itself: macros over unions, variadic calls, packed events. One line of C each; no logic.
// _GNU_SOURCE is defined in the .c file alone: here it would make glibc's types differ from those that Swift's Glibc module has.
#pragma once
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>

// epoll: `struct epoll_event` is packed and holds a union.
int clinux_epoll_control(int epoll, int operation, int descriptor, uint32_t events, uint64_t token);
/// `nanoseconds` < 0 waits without limit. -1 with ENOSYS where the kernel or a seccomp filter lacks epoll_pwait2.
int clinux_epoll_wait_ns(int epoll, struct epoll_event *events, int capacity, int64_t nanoseconds);
uint64_t clinux_epoll_token(const struct epoll_event *event);
uint32_t clinux_epoll_events(const struct epoll_event *event);

/// CLOCK_BOOTTIME in nanoseconds.
int64_t clinux_boottime_ns(void);
/// CLOCK_REALTIME in nanoseconds.
int64_t clinux_realtime_ns(void);
/// Arms a timerfd for an absolute CLOCK_BOOTTIME; 0 disarms.
int clinux_timerfd_arm(int descriptor, int64_t nanoseconds);

/// The calling thread's timer slack in nanoseconds (prctl is variadic).
int clinux_set_timer_slack(unsigned long nanoseconds);
/// The calling thread under SCHED_FIFO, or back to SCHED_OTHER with priority 0. Children start without it.
int clinux_set_fifo(int priority);
/// Every page that is touched from now on stays in memory (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT).
int clinux_lock_memory(void);
/// Names the calling thread; the kernel keeps the first 15 bytes.
void clinux_name_thread(const char *name);
