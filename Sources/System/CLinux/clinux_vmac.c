#include "clinux_vmac.h"
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

const uint16_t clinux_rtm_newqdisc = RTM_NEWQDISC, clinux_rtm_newtfilter = RTM_NEWTFILTER;
const uint16_t clinux_tca_kind = TCA_KIND, clinux_tca_options = TCA_OPTIONS, clinux_tca_bpf_ops_len = TCA_BPF_OPS_LEN,
               clinux_tca_bpf_ops = TCA_BPF_OPS, clinux_tca_bpf_flags = TCA_BPF_FLAGS;
const uint32_t clinux_tc_clsact = TC_H_CLSACT, clinux_tc_clsact_handle = TC_H_MAKE(TC_H_CLSACT, 0),
               clinux_tc_clsact_egress = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS);
const uint32_t clinux_tca_bpf_flag_act_direct = TCA_BPF_FLAG_ACT_DIRECT;
const int32_t clinux_tc_act_shot = TC_ACT_SHOT, clinux_tc_act_unspec = TC_ACT_UNSPEC;
