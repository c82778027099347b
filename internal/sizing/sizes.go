// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"fmt"
	"strings"
)

// Sizes are the sizes in entries that a node's maps get.
type Sizes struct {
	NAT, CTTCP, CTAny int
	Knob              string // the setting that decides about NAT, with its value
}

// together is what both CT maps hold, which the NAT map may not exceed.
func (z Sizes) together() int { return z.CTTCP + z.CTAny }

// On returns the sizes that an agent of this version asks for, on a node with so
// much memory, in bytes, and so many possible CPUs. For a distributed LRU the
// kernel rounds them up to a multiple of the CPUs, whoever asks; an agent that
// did not ask for a multiple makes the map anew whenever it starts.
func (s Settings) On(memory uint64, cpus int, version string) Sizes {
	byRatio, explicit := 1, 1 // what sizes are rounded to (pkg/option/config.go)
	if s.Distributed && atLeast(version, 1, 18) {
		byRatio = max(cpus, 1)
	}
	if s.Distributed && atLeast(version, 1, 19) {
		explicit = max(cpus, 1)
	}
	z := Sizes{NAT: defaultNAT, CTTCP: defaultCTTCP, CTAny: defaultCTAny, Knob: keyNAT + ", which is not set: Cilium's default"}
	if s.dynamic() {
		auto := func(entries, lowest int) int {
			return align(min(max(int(float64(entries)*float64(memory)*s.Ratio/allMapsDefault), lowest), maxEntries), byRatio)
		}
		z.NAT, z.CTTCP, z.CTAny = auto(defaultNAT, autoMinNAT), auto(defaultCTTCP, autoMinCTTCP), auto(defaultCTAny, autoMinCTAny)
		z.Knob = fmt.Sprintf("%s %v", keyRatio, s.Ratio)
	}
	if s.CTTCP > 0 {
		z.CTTCP = align(s.CTTCP, explicit)
	}
	if s.CTAny > 0 {
		z.CTAny = align(s.CTAny, explicit)
	}
	if s.NAT > 0 {
		z.NAT, z.Knob = align(s.NAT, explicit), fmt.Sprintf("%s %d", keyNAT, s.NAT)
	}
	// Its own default Cilium cuts, even when it was asked for.
	if z.NAT > z.together() && (s.NAT == 0 || s.NAT == defaultNAT) {
		z.NAT = z.together() * 2 / 3
		z.Knob = fmt.Sprintf("%s and %s, two thirds of their sum", keyCTTCP, keyCTAny)
		if s.NAT > 0 {
			z.Knob = fmt.Sprintf("%s %d, which Cilium cuts to two thirds of %s and %s", keyNAT, s.NAT, keyCTTCP, keyCTAny)
		}
	}
	return z
}

func (s Settings) dynamic() bool { return s.Ratio > 0 && s.Ratio <= 1 }

// refused says why Cilium's agents start on no node with the settings; "" if
// they do.
func (s Settings) refused() string {
	if !(s.Ratio >= 0 && s.Ratio <= 1) { // nor NaN
		return fmt.Sprintf("%s is %v, and must be from 0 to 1", keyRatio, s.Ratio)
	}
	if s.Distributed && s.Ratio == 0 {
		return keyDistributed + " needs " + keyRatio
	}
	for _, size := range []struct {
		key     string
		entries int
	}{{keyNAT, s.NAT}, {keyCTTCP, s.CTTCP}, {keyCTAny, s.CTAny}} {
		if size.entries != 0 && (size.entries < minEntries || size.entries > maxEntries) {
			return fmt.Sprintf("%s is %d, and must be from %d to %d", size.key, size.entries, minEntries, maxEntries)
		}
	}
	return ""
}

// align rounds up to a multiple of unit, within Cilium's limit.
func align(entries, unit int) int {
	if up := (entries + unit - 1) / unit * unit; up <= maxEntries {
		return up
	}
	return maxEntries / unit * unit
}

// atLeast reports whether a version, as Hubble ("cilium v1.20.2+g5d9c1a3") or a
// person gives it, is that or later; of one that is not known it is not.
func atLeast(version string, major, minor int) bool {
	var a, b int
	bare := strings.TrimPrefix(version[strings.LastIndexByte(version, ' ')+1:], "v")
	if _, err := fmt.Sscanf(bare, "%d.%d", &a, &b); err != nil {
		return false
	}
	return a > major || a == major && b >= minor
}
