// SPDX-License-Identifier: Apache-2.0

package recording

import (
	"encoding/binary"
	"net/netip"
)

// ranges are the kinds of addresses, each of which is mapped onto itself: in
// it the first bits stay, the others are exchanged.
var ranges = []struct {
	netip.Prefix
	keep int // of the 128 bits of the 16-byte form; 128 less keep is even
}{
	// IPv4 is in its v4-mapped form.
	{netip.MustParsePrefix("::ffff:0.0.0.0/104"), 104},
	{netip.MustParsePrefix("::ffff:10.0.0.0/104"), 104},
	{netip.MustParsePrefix("::ffff:100.64.0.0/106"), 106},
	{netip.MustParsePrefix("::ffff:127.0.0.0/104"), 104},
	{netip.MustParsePrefix("::ffff:169.254.0.0/112"), 112},
	{netip.MustParsePrefix("::ffff:172.16.0.0/108"), 108},
	{netip.MustParsePrefix("::ffff:192.168.0.0/112"), 112},
	{netip.MustParsePrefix("::ffff:224.0.0.0/100"), 100},
	{netip.MustParsePrefix("::ffff:240.0.0.0/100"), 100},
	{netip.MustParsePrefix("::ffff:0.0.0.0/96"), 96},
	{netip.MustParsePrefix("fc00::/8"), 8},
	{netip.MustParsePrefix("fd00::/8"), 8},
	{netip.MustParsePrefix("fe80::/64"), 64},
	{netip.MustParsePrefix("ff00::/8"), 16}, // and the multicast scope
	{netip.MustParsePrefix("::/0"), 4},      // the Internet is 2000::/3
}

// special are the addresses that stay: they are the same on every node.
var special = map[netip.Addr]bool{
	netip.MustParseAddr("::"): true, netip.MustParseAddr("::1"): true,
	netip.MustParseAddr("::ffff:0.0.0.0"): true, netip.MustParseAddr("::ffff:127.0.0.1"): true,
	netip.MustParseAddr("::ffff:255.255.255.255"): true,
}

// rangeOf returns the first of ranges that has the address, -1 for special ones.
func rangeOf(ip [16]byte) int {
	a := netip.AddrFrom16(ip)
	if special[a] {
		return -1
	}
	for i, r := range ranges {
		if r.Contains(a) {
			return i
		}
	}
	return -1 // not reached: the last one has them all
}

// ip returns what stands for an address: another one of its range, and for no
// other address the same one.
func (r *Redactor) ip(ip [16]byte) [16]byte {
	of := rangeOf(ip)
	if of < 0 {
		return ip
	}
	for {
		// A permutation that leaves a range comes back into it, and followed
		// until it does it is a permutation of the range.
		if ip = r.permute(ip, ranges[of].keep); rangeOf(ip) == of {
			return ip
		}
	}
}

// rounds of the Feistel network, as many as NIST's FF1 has.
const rounds = 10

// permute is a permutation of the addresses whose first keep bits are those of
// ip: a Feistel network over the others, with AES as its function.
func (r *Redactor) permute(ip [16]byte, keep int) [16]byte {
	hi, lo := binary.BigEndian.Uint64(ip[:8]), binary.BigEndian.Uint64(ip[8:])
	half := uint(128-keep) / 2 // 8 to 62 bits
	mask := uint64(1)<<half - 1
	left, right := (hi<<(64-half)|lo>>half)&mask, lo&mask
	for round := range byte(rounds) {
		in := [16]byte{8: round, 9: byte(keep)}
		binary.BigEndian.PutUint64(in[:], right)
		r.block.Encrypt(in[:], in[:])
		left, right = right, left^binary.BigEndian.Uint64(in[:])&mask
	}
	var out [16]byte
	binary.BigEndian.PutUint64(out[:8], hi&^(mask>>(64-half))|left>>(64-half))
	binary.BigEndian.PutUint64(out[8:], lo&^(uint64(1)<<(2*half)-1)|left<<half|right)
	return out
}
