#define _GNU_SOURCE
#include "clinux_system.h"
#include <errno.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <sys/resource.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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

int clinux_set_nice(int nice) {
  struct sched_param parameter = {0};
  if (sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &parameter) != 0) return -1;
  // Of this thread alone: in Linux a nice value is a thread's.
  return setpriority(PRIO_PROCESS, 0, nice);
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

const uint16_t clinux_nlmsg_error = NLMSG_ERROR;
const uint16_t clinux_nlmsg_done = NLMSG_DONE;
const uint16_t clinux_rtm_newlink = RTM_NEWLINK;
const uint16_t clinux_rtm_dellink = RTM_DELLINK;
const uint16_t clinux_rtm_getlink = RTM_GETLINK;
const uint16_t clinux_rtm_newaddr = RTM_NEWADDR;
const uint16_t clinux_rtm_deladdr = RTM_DELADDR;
const uint16_t clinux_rtm_getaddr = RTM_GETADDR;
const uint16_t clinux_rtm_newneigh = RTM_NEWNEIGH, clinux_rtm_delneigh = RTM_DELNEIGH, clinux_rtm_getneigh = RTM_GETNEIGH;
const uint16_t clinux_nlm_f_request = NLM_F_REQUEST;
const uint16_t clinux_nlm_f_ack = NLM_F_ACK;
const uint16_t clinux_nlm_f_create = NLM_F_CREATE;
const uint16_t clinux_nlm_f_replace = NLM_F_REPLACE;
const uint16_t clinux_nlm_f_dump = NLM_F_DUMP;
const uint16_t clinux_nlm_f_dump_intr = NLM_F_DUMP_INTR;
const uint16_t clinux_ifla_ifname = IFLA_IFNAME;
const uint16_t clinux_ifla_mtu = IFLA_MTU;
const uint16_t clinux_ifla_address = IFLA_ADDRESS;
const uint16_t clinux_ifa_local = IFA_LOCAL;
const uint16_t clinux_ifa_address = IFA_ADDRESS;
const uint16_t clinux_ifa_flags = IFA_FLAGS;
const uint16_t clinux_ifa_cacheinfo = IFA_CACHEINFO;
const uint32_t clinux_iff_up = IFF_UP;
const uint32_t clinux_iff_running = IFF_RUNNING;
const uint32_t clinux_iff_loopback = IFF_LOOPBACK;
const uint32_t clinux_ifa_f_tentative = IFA_F_TENTATIVE;
const uint32_t clinux_ifa_f_optimistic = IFA_F_OPTIMISTIC;
const uint32_t clinux_ifa_f_dadfailed = IFA_F_DADFAILED;
const uint32_t clinux_ifa_f_nodad = IFA_F_NODAD;
const uint32_t clinux_ifa_f_noprefixroute = IFA_F_NOPREFIXROUTE;
const uint8_t clinux_rt_scope_link = RT_SCOPE_LINK;
const uint8_t clinux_rt_scope_universe = RT_SCOPE_UNIVERSE;
const uint32_t clinux_rtmgrp_link = RTMGRP_LINK;
const uint32_t clinux_rtmgrp_ipv4_ifaddr = RTMGRP_IPV4_IFADDR;
const uint32_t clinux_rtmgrp_ipv6_ifaddr = RTMGRP_IPV6_IFADDR;
const uint16_t clinux_arphrd_ether = ARPHRD_ETHER;
const int clinux_netlink_route = NETLINK_ROUTE;
const int clinux_sol_netlink = SOL_NETLINK;
const int clinux_netlink_cap_ack = NETLINK_CAP_ACK;

int clinux_netlink_bind(int descriptor, uint32_t groups) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  return bind(descriptor, (struct sockaddr *)&address, sizeof address);
}

ssize_t clinux_netlink_receive(int descriptor, void *buffer, size_t capacity, int *from_kernel) {
  struct sockaddr_nl sender = {0};
  struct iovec part = {.iov_base = buffer, .iov_len = capacity};
  struct msghdr message = {.msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &part, .msg_iovlen = 1};
  ssize_t count = recvmsg(descriptor, &message, MSG_DONTWAIT);
  *from_kernel = count >= 0 && sender.nl_pid == 0;
  return count;
}

int clinux_effective_capabilities(uint64_t *capabilities) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {0};
  if (syscall(SYS_capget, &header, data) != 0) return -1;
  *capabilities = (uint64_t)data[1].effective << 32 | data[0].effective;
  return 0;
}

int clinux_network_unshare(void) { return unshare(CLONE_NEWNET); }
int clinux_network_enter(int descriptor) { return setns(descriptor, CLONE_NEWNET); }

#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif
const int clinux_ip_multicast_all = IP_MULTICAST_ALL;
const int clinux_ipv6_multicast_all = IPV6_MULTICAST_ALL;
const int clinux_ipv6_recvpktinfo = IPV6_RECVPKTINFO;
const int clinux_ipv6_recvhoplimit = IPV6_RECVHOPLIMIT;
const int clinux_ipv6_multicast_hops = IPV6_MULTICAST_HOPS;
const int clinux_ipv6_multicast_loop = IPV6_MULTICAST_LOOP;
const int clinux_ipv6_multicast_if = IPV6_MULTICAST_IF;
const int clinux_ipv6_unicast_hops = IPV6_UNICAST_HOPS;
const int clinux_ipv6_checksum = IPV6_CHECKSUM;
const int clinux_ipv6_tclass = IPV6_TCLASS;
const int clinux_ip_tos = IP_TOS;
const int clinux_ip_ttl = IP_TTL;
const int clinux_ip_multicast_ttl = IP_MULTICAST_TTL;
const int clinux_ip_multicast_loop = IP_MULTICAST_LOOP;

ssize_t clinux_vrrp_receive(int descriptor, void *buffer, size_t capacity, struct clinux_received *received) {
  struct sockaddr_in6 sender = {0};
  struct iovec part = {.iov_base = buffer, .iov_len = capacity};
  union {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(int))];
  } control;
  struct msghdr message = {
    .msg_name = &sender, .msg_namelen = sizeof sender, .msg_iov = &part, .msg_iovlen = 1,
    .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t count = recvmsg(descriptor, &message, MSG_DONTWAIT);
  if (count < 0) return count;
  memset(received, 0, sizeof *received);
  received->hop_limit = -1;
  if (sender.sin6_family != AF_INET6) return count;
  received->source = sender.sin6_addr;
  for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != IPPROTO_IPV6) continue;
    if (header->cmsg_type == IPV6_PKTINFO)
      memcpy(&received->destination, CMSG_DATA(header) + offsetof(struct in6_pktinfo, ipi6_addr), sizeof received->destination);
    else if (header->cmsg_type == IPV6_HOPLIMIT)
      memcpy(&received->hop_limit, CMSG_DATA(header), sizeof received->hop_limit);
  }
  return count;
}

static ssize_t send_with(
  int descriptor, const void *bytes, size_t count, void *to, socklen_t to_length, int level, int type, const void *data, size_t length) {
  struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
  union {
    struct cmsghdr alignment;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
  } control = {0};
  struct msghdr message = {
    .msg_name = to, .msg_namelen = to_length, .msg_iov = &part, .msg_iovlen = 1,
    .msg_control = &control, .msg_controllen = CMSG_SPACE(length)};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(length);
  memcpy(CMSG_DATA(header), data, length);
  return sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t clinux_vrrp_send4(
  int descriptor, const void *bytes, size_t count, uint32_t to, uint32_t from, int interface_index) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = to};
  struct in_pktinfo information = {.ipi_ifindex = interface_index, .ipi_spec_dst.s_addr = from};
  return send_with(
    descriptor, bytes, count, &address, sizeof address, IPPROTO_IP, IP_PKTINFO, &information, sizeof information);
}

ssize_t clinux_vrrp_send6(
  int descriptor, const void *bytes, size_t count, const struct in6_addr *to, const struct in6_addr *from, int interface_index) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = *to, .sin6_scope_id = interface_index};
  struct in6_pktinfo information = {.ipi6_addr = *from, .ipi6_ifindex = interface_index};
  return send_with(
    descriptor, bytes, count, &address, sizeof address, IPPROTO_IPV6, IPV6_PKTINFO, &information, sizeof information);
}

int clinux_join4(int descriptor, uint32_t group, int interface_index) {
  struct ip_mreqn request = {.imr_multiaddr.s_addr = group, .imr_ifindex = interface_index};
  if (setsockopt(descriptor, IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request) != 0) return -1;
  return setsockopt(descriptor, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
}

int clinux_join6(int descriptor, const struct in6_addr *group, int interface_index) {
  struct ipv6_mreq request = {.ipv6mr_multiaddr = *group, .ipv6mr_interface = interface_index};
  if (setsockopt(descriptor, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface_index, sizeof interface_index) != 0) return -1;
  return setsockopt(descriptor, IPPROTO_IPV6, IPV6_JOIN_GROUP, &request, sizeof request);
}

ssize_t clinux_packet_send(int descriptor, const void *frame, size_t count, int interface_index) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = interface_index, .sll_halen = 6};
  memcpy(address.sll_addr, frame, 6);
  memcpy(&address.sll_protocol, (const char *)frame + 12, 2);
  return sendto(descriptor, frame, count, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address);
}

int clinux_packet_bind(int descriptor, int interface_index, uint16_t ethertype) {
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = interface_index, .sll_protocol = htons(ethertype)};
  return bind(descriptor, (struct sockaddr *)&address, sizeof address);
}

