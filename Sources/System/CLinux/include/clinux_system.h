// What Swift cannot import by itself: macros over unions, variadic calls, packed events. One line of C each; no logic.
// _GNU_SOURCE is defined in the .c file alone: here it would make glibc's types differ from those that Swift's Glibc module has.
#pragma once
#include <netinet/in.h>
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
/// The nice value of the calling thread, -20 to 19; what it starts has 0 again.
int clinux_set_nice(int nice);
/// Every page that is touched from now on stays in memory (MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT).
int clinux_lock_memory(void);
/// Names the calling thread; the kernel keeps the first 15 bytes.
void clinux_name_thread(const char *name);

// Numbers of rtnetlink, whose headers cannot be imported beside glibc's own.
extern const uint16_t clinux_nlmsg_error, clinux_nlmsg_done;
extern const uint16_t clinux_rtm_newlink, clinux_rtm_dellink, clinux_rtm_getlink, clinux_rtm_newaddr, clinux_rtm_deladdr, clinux_rtm_getaddr;
extern const uint16_t clinux_rtm_newneigh, clinux_rtm_delneigh, clinux_rtm_getneigh;
extern const uint16_t clinux_nlm_f_request, clinux_nlm_f_ack, clinux_nlm_f_create, clinux_nlm_f_replace, clinux_nlm_f_dump, clinux_nlm_f_dump_intr;
extern const uint16_t clinux_ifla_ifname, clinux_ifla_mtu, clinux_ifla_address, clinux_ifa_local, clinux_ifa_address, clinux_ifa_flags, clinux_ifa_cacheinfo;
extern const uint32_t clinux_iff_up, clinux_iff_running, clinux_iff_loopback, clinux_ifa_f_tentative, clinux_ifa_f_optimistic, clinux_ifa_f_dadfailed, clinux_ifa_f_nodad, clinux_ifa_f_noprefixroute;
extern const uint8_t clinux_rt_scope_link, clinux_rt_scope_universe;
extern const uint32_t clinux_rtmgrp_link, clinux_rtmgrp_ipv4_ifaddr, clinux_rtmgrp_ipv6_ifaddr;
extern const uint16_t clinux_arphrd_ether;
extern const int clinux_netlink_route, clinux_sol_netlink, clinux_netlink_cap_ack;

int clinux_netlink_bind(int descriptor, uint32_t groups);
/// recvmsg without blocking; `from_kernel` is 0 where another process sent it. The number of bytes, cut to the capacity.
ssize_t clinux_netlink_receive(int descriptor, void *buffer, size_t capacity, int *from_kernel);

/// The calling thread's effective capabilities, one bit each.
int clinux_effective_capabilities(uint64_t *capabilities);
/// A fresh network namespace for the calling thread alone (unshare).
int clinux_network_unshare(void);
/// Moves the calling thread into a network namespace (setns).
int clinux_network_enter(int descriptor);

// VRRP sockets: ancillary data, whose macros cannot be imported.
/// What recvmsg told beside the bytes. IPv4's own header is at the start of the bytes, so only IPv6 fills this.
struct clinux_received {
  struct in6_addr source, destination;
  int hop_limit;  // -1 where unknown
};
ssize_t clinux_vrrp_receive(int descriptor, void *buffer, size_t capacity, struct clinux_received *received);
/// Addresses in network byte order; the packet leaves by that interface, from that source.
ssize_t clinux_vrrp_send4(
  int descriptor, const void *bytes, size_t count, uint32_t to, uint32_t from, int interface_index);
ssize_t clinux_vrrp_send6(
  int descriptor, const void *bytes, size_t count, const struct in6_addr *to, const struct in6_addr *from, int interface_index);
int clinux_join4(int descriptor, uint32_t group, int interface_index);
int clinux_join6(int descriptor, const struct in6_addr *group, int interface_index);
extern const int clinux_ip_multicast_all, clinux_ipv6_multicast_all, clinux_ipv6_recvpktinfo, clinux_ipv6_recvhoplimit,
  clinux_ipv6_multicast_hops, clinux_ipv6_multicast_loop, clinux_ipv6_multicast_if, clinux_ipv6_unicast_hops, clinux_ipv6_checksum,
  clinux_ipv6_tclass, clinux_ip_tos, clinux_ip_ttl, clinux_ip_multicast_ttl, clinux_ip_multicast_loop;

/// An Ethernet frame, header included, out of a packet socket.
ssize_t clinux_packet_send(int descriptor, const void *frame, size_t count, int interface_index);
/// Ties a packet socket to an interface (0: all) and an EtherType (host byte order), and so begins to receive.
int clinux_packet_bind(int descriptor, int interface_index, uint16_t ethertype);
