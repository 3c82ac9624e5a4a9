#define _GNU_SOURCE
#include "clinux_proxy.h"
#include <sched.h>

int clinux_proxy_listen(const struct clinux_endpoint *at, int backlog, int share, const char *congestion, int *step) {
  int v6 = at->any.sa_family == AF_INET6;
  *step = 0;
  int fd = clinux_proxy_stream(at->any.sa_family);
  if (fd < 0) return fd;
  *step = 1;
  int r = clinux_proxy_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (r == 0 && share) r = clinux_proxy_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (r == 0 && v6) r = clinux_proxy_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
  // The address may arrive later, or leave and come back; the socket stays.
  if (r == 0) r = v6 ? clinux_proxy_set(fd, IPPROTO_IPV6, clinux_IPV6_FREEBIND, 1) : clinux_proxy_set(fd, IPPROTO_IP, IP_FREEBIND, 1);
  // Accepted sockets inherit these: no system call a connection.
  if (r == 0) r = clinux_proxy_no_delay(fd);
  if (r == 0 && congestion && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion, (socklen_t)strlen(congestion)) < 0)
    r = -errno;
  if (r == 0) {
    *step = 2;
    r = (int)clinux_proxy_result(bind(fd, &at->any, clinux_endpoint_size(at)));
  }
  if (r == 0) {
    *step = 3;
    r = (int)clinux_proxy_result(listen(fd, backlog));
  }
  if (r < 0) {
    close(fd);
    return r;
  }
  return fd;
}

int clinux_proxy_seal(int listener) {
  // The filter of a TCP socket begins at the TCP header; byte 13 holds the flags.
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0x12),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  return (int)clinux_proxy_result(setsockopt(listener, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

int clinux_proxy_duplicate(int descriptor) {
  return (int)clinux_proxy_result(fcntl(descriptor, F_DUPFD_CLOEXEC, 3));
}

int clinux_proxy_unseal(int listener) {
  int none = 0;
  int r = (int)clinux_proxy_result(setsockopt(listener, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none));
  return r == -ENOENT ? 0 : r;
}

uint64_t clinux_proxy_raise_files(uint64_t wanted) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return 1024;
  if (limit.rlim_cur >= wanted) return limit.rlim_cur;
  struct rlimit raised = {wanted, limit.rlim_max > wanted ? limit.rlim_max : wanted};
  if (setrlimit(RLIMIT_NOFILE, &raised) < 0) {
    // Not privileged: up to the hard limit is everyone's right.
    raised.rlim_cur = raised.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &raised);
  }
  getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

int clinux_proxy_processors(void) {
  // The kernel refuses (EINVAL) a set smaller than its own.
  for (int processors = CPU_SETSIZE; processors <= 1 << 20; processors *= 2) {
    cpu_set_t *set = CPU_ALLOC((size_t)processors);
    if (!set) return -ENOMEM;
    size_t size = CPU_ALLOC_SIZE((size_t)processors);
    CPU_ZERO_S(size, set);
    int r = sched_getaffinity(0, size, set) < 0 ? -errno : CPU_COUNT_S(size, set);
    CPU_FREE(set);
    if (r != -EINVAL) return r;
  }
  return -EINVAL;
}
