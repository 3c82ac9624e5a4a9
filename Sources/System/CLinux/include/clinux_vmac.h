// Numbers of the kernel's traffic control (linux/pkt_sched.h, linux/pkt_cls.h) that the device of a virtual MAC needs; no logic.
#pragma once
#include <stdint.h>

extern const uint16_t clinux_rtm_newqdisc, clinux_rtm_newtfilter;
extern const uint16_t clinux_tca_kind, clinux_tca_options, clinux_tca_bpf_ops_len, clinux_tca_bpf_ops, clinux_tca_bpf_flags;
/// The discipline `clsact`, which only looks at packets: its parent, its handle, and the parent of filters of what leaves.
extern const uint32_t clinux_tc_clsact, clinux_tc_clsact_handle, clinux_tc_clsact_egress;
/// The filter's result is what becomes of the packet.
extern const uint32_t clinux_tca_bpf_flag_act_direct;
/// The packet is dropped; other filters may decide.
extern const int32_t clinux_tc_act_shot, clinux_tc_act_unspec;
