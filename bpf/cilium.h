/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef RENAT_CILIUM_H
#define RENAT_CILIUM_H

/* How Cilium's maps are laid out, as far as they are read (1.12 to 1.20). */
#define KEY4_SIZE 14
#define KEY6_SIZE 38
#define KEY_FLAG_IN 1
#define VALUE_TO 32 /* where a NAT value's address and port begin */
#define VALUE4_SIZE 40
#define VALUE6_SIZE 56
#define VALUE_CT_SIZE 56
/* Where a CT value has its lifetime (32 bits) and flags (16), and some of these. */
#define CT_LIFETIME 32
#define CT_FLAGS 36
#define CT_CLOSING 3 /* rx_closing, tx_closing */
#define CT_SEEN_NON_SYN 16

#define NSEC_PER_SEC 1000000000ULL

#endif
