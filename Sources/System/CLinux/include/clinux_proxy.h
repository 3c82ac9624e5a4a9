// System calls of the proxy's loop. Each returns what the kernel returns: a result, or -errno. No state, no policy.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

// Declared by glibc only under _GNU_SOURCE, which would make its other types differ from those of Swift's Glibc module.
extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pipe2(int[2], int);
extern ssize_t splice(int, __off64_t *, int, __off64_t *, size_t, unsigned);
enum { clinux_F_SETPIPE_SZ = 1031, clinux_F_GETPIPE_SZ = 1032, clinux_SPLICE_MOVE_NONBLOCK = 1 | 2, clinux_IPV6_FREEBIND = 78 };

/// An IPv4 or IPv6 address and port as the kernel takes it.
struct clinux_endpoint {
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  };
};

static inline socklen_t clinux_endpoint_size(const struct clinux_endpoint *e) {
  return e->any.sa_family == AF_INET6 ? sizeof e->v6 : sizeof e->v4;
}

static inline void clinux_endpoint_v4(struct clinux_endpoint *e, uint32_t address, uint16_t port) {
  memset(e, 0, sizeof *e);
  e->v4.sin_family = AF_INET;
  e->v4.sin_port = htons(port);
  e->v4.sin_addr.s_addr = htonl(address);
}

static inline void clinux_endpoint_v6(struct clinux_endpoint *e, uint64_t high, uint64_t low, uint16_t port) {
  memset(e, 0, sizeof *e);
  e->v6.sin6_family = AF_INET6;
  e->v6.sin6_port = htons(port);
  for (int i = 0; i < 8; i++) {
    e->v6.sin6_addr.s6_addr[i] = (uint8_t)(high >> (56 - 8 * i));
    e->v6.sin6_addr.s6_addr[8 + i] = (uint8_t)(low >> (56 - 8 * i));
  }
}

static inline int clinux_endpoint_family(const struct clinux_endpoint *e) { return e->any.sa_family; }
static inline uint16_t clinux_endpoint_port(const struct clinux_endpoint *e) { return ntohs(e->v4.sin_port); }
static inline uint32_t clinux_endpoint_address_v4(const struct clinux_endpoint *e) {
  return ntohl(e->v4.sin_addr.s_addr);
}
static inline uint64_t clinux_endpoint_address_v6(const struct clinux_endpoint *e, int low) {
  uint64_t value = 0;
  for (int i = 0; i < 8; i++) value = value << 8 | e->v6.sin6_addr.s6_addr[(low ? 8 : 0) + i];
  return value;
}

static inline int64_t clinux_proxy_result(int64_t r) { return r < 0 ? -(int64_t)errno : r; }

static inline int clinux_proxy_accept(int fd) {
  return (int)clinux_proxy_result(accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
static inline int clinux_proxy_accept_from(int fd, struct clinux_endpoint *from) {
  socklen_t size = sizeof *from;
  return (int)clinux_proxy_result(accept4(fd, &from->any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
}
static inline int clinux_proxy_stream(int family) {
  return (int)clinux_proxy_result(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}
static inline int clinux_proxy_connect(int fd, const struct clinux_endpoint *to) {
  return (int)clinux_proxy_result(connect(fd, &to->any, clinux_endpoint_size(to)));
}
static inline int64_t clinux_proxy_receive(int fd, void *into, size_t size) {
  return clinux_proxy_result(recv(fd, into, size, 0));
}
/// `more`: hold a last partial segment back, because the end of the stream is about to follow and can ride on it.
static inline int64_t clinux_proxy_send(int fd, const void *from, size_t size, int more) {
  return clinux_proxy_result(send(fd, from, size, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}
static inline int64_t clinux_proxy_splice(int in, int out, size_t size) {
  return clinux_proxy_result(splice(in, NULL, out, NULL, size, clinux_SPLICE_MOVE_NONBLOCK));
}
static inline int clinux_proxy_end(int fd) { return (int)clinux_proxy_result(shutdown(fd, SHUT_WR)); }
static inline void clinux_proxy_close(int fd) { close(fd); }
/// Closes with RST instead of FIN: what waits to be sent is dropped, and the peer knows at once.
static inline void clinux_proxy_abort(int fd) {
  struct linger now = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
}
static inline int clinux_proxy_set(int fd, int level, int option, int value) {
  return (int)clinux_proxy_result(setsockopt(fd, level, option, &value, sizeof value));
}
static inline int clinux_proxy_no_delay(int fd) { return clinux_proxy_set(fd, IPPROTO_TCP, TCP_NODELAY, 1); }

/// A pipe of about `wanted` bytes. Returns its capacity, which is smaller where the user's allowance is used up.
static inline int clinux_proxy_pipe(int *read_end, int *write_end, int wanted) {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return -errno;
  fcntl(ends[1], clinux_F_SETPIPE_SZ, wanted);
  int capacity = fcntl(ends[1], clinux_F_GETPIPE_SZ);
  *read_end = ends[0];
  *write_end = ends[1];
  return capacity < 0 ? 4096 : capacity;
}

/// A descriptor that is good for nothing but being closed when the table is full.
static inline int clinux_proxy_spare(void) { return (int)clinux_proxy_result(open("/dev/null", O_RDONLY | O_CLOEXEC)); }

static inline int clinux_proxy_poller(void) { return (int)clinux_proxy_result(epoll_create1(EPOLL_CLOEXEC)); }
static inline int clinux_proxy_poll(int poller, int operation, int fd, uint32_t events, uint64_t token) {
  struct epoll_event e;
  e.events = events;
  e.data.u64 = token;
  return (int)clinux_proxy_result(epoll_ctl(poller, operation, fd, &e));
}
static inline int clinux_proxy_wait(int poller, struct epoll_event *into, int capacity, int milliseconds) {
  return (int)clinux_proxy_result(epoll_wait(poller, into, capacity, milliseconds));
}

static inline int64_t clinux_proxy_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/// Zeroed memory whose pages cost nothing until they are touched. Null where the address space is used up.
static inline void *clinux_proxy_reserve(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}
static inline void clinux_proxy_unreserve(void *p, size_t size) { munmap(p, size); }

/// A listening socket; -errno, with `step` naming the call that failed (0 socket, 1 option, 2 bind, 3 listen).
int clinux_proxy_listen(const struct clinux_endpoint *at, int backlog, int share, const char *congestion, int *step);
/// Drops every SYN without ACK before the listener sees it, so that a client retransmits it instead of being refused.
int clinux_proxy_seal(int listener);
int clinux_proxy_unseal(int listener);
/// Another descriptor of the same socket, close-on-exec; or a negative errno.
int clinux_proxy_duplicate(int descriptor);
/// Raises the limit of open files to `wanted` as far as allowed, and returns the limit then in force.
uint64_t clinux_proxy_raise_files(uint64_t wanted);

/// How many processors the calling thread may run on.
int clinux_proxy_processors(void);
