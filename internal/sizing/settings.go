// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Keys of the ConfigMap cilium-config, which are flags of Cilium's agent.
const (
	keyRatio       = "bpf-map-dynamic-size-ratio"
	keyNAT         = "bpf-nat-global-max"
	keyCTTCP       = "bpf-ct-global-tcp-max"
	keyCTAny       = "bpf-ct-global-any-max"
	keyDistributed = "bpf-distributed-lru"
	keyGC          = "conntrack-gc-interval"
	keyGCMax       = "conntrack-gc-max-interval"
	keyFIN         = "bpf-ct-timeout-regular-tcp-fin"
	keyAny         = "bpf-ct-timeout-regular-any"
)

// Limits and defaults of Cilium (pkg/option/config.go, pkg/defaults).
const (
	minEntries     = 1 << 10
	maxEntries     = 1 << 24
	defaultNAT     = 512 << 10
	defaultCTTCP   = 512 << 10
	defaultCTAny   = 256 << 10
	autoMinNAT     = 128 << 10
	autoMinCTTCP   = 128 << 10
	autoMinCTAny   = 64 << 10
	allMapsDefault = 149_422_080 // bytes of all maps that the ratio sizes, at their default sizes
	defaultGCMax   = 12 * time.Hour
	defaultFIN     = 10 * time.Second
	defaultAny     = 60 * time.Second
)

// Settings are those of Cilium's that decide about the NAT map. The zero value
// means that nothing is set.
type Settings struct {
	Ratio         float64       `json:"bpf-map-dynamic-size-ratio,omitempty"` // share of a node's memory; 0: fixed sizes
	NAT           int           `json:"bpf-nat-global-max,omitempty"`         // entries; 0: not set
	CTTCP         int           `json:"bpf-ct-global-tcp-max,omitempty"`      // entries; 0: not set
	CTAny         int           `json:"bpf-ct-global-any-max,omitempty"`      // entries; 0: not set
	Distributed   bool          `json:"bpf-distributed-lru,omitempty"`
	GCInterval    time.Duration `json:"conntrack-gc-interval,omitempty"` // 0: adapts itself
	GCMaxInterval time.Duration `json:"conntrack-gc-max-interval,omitempty"`
	FINTimeout    time.Duration `json:"bpf-ct-timeout-regular-tcp-fin,omitempty"`
	AnyTimeout    time.Duration `json:"bpf-ct-timeout-regular-any,omitempty"`
}

// ParseSettings reads the data of the ConfigMap cilium-config. The error names
// every key that cannot be understood.
func ParseSettings(data map[string]string) (Settings, error) {
	var s Settings
	var errs []error
	read := func(key string, parse func(string) error) {
		value := strings.TrimSpace(data[key])
		if value == "" {
			return
		}
		if err := parse(value); err != nil {
			errs = append(errs, fmt.Errorf("%s: %q is not understood", key, value))
		}
	}
	number := func(to *int) func(string) error {
		return func(v string) (err error) { *to, err = strconv.Atoi(v); return err }
	}
	duration := func(to *time.Duration) func(string) error {
		return func(v string) (err error) { *to, err = time.ParseDuration(v); return err }
	}
	read(keyRatio, func(v string) (err error) { s.Ratio, err = strconv.ParseFloat(v, 64); return err })
	read(keyDistributed, func(v string) (err error) { s.Distributed, err = strconv.ParseBool(v); return err })
	read(keyNAT, number(&s.NAT))
	read(keyCTTCP, number(&s.CTTCP))
	read(keyCTAny, number(&s.CTAny))
	read(keyGC, duration(&s.GCInterval))
	read(keyGCMax, duration(&s.GCMaxInterval))
	read(keyFIN, duration(&s.FINTimeout))
	read(keyAny, duration(&s.AnyTimeout))
	return s, errors.Join(errs...)
}

// Sizes are the sizes that a node's maps get from the settings.
type Sizes struct {
	NAT, CTTCP, CTAny int
	Knob              string // the setting that decides about NAT, with its value
}

// On returns the sizes on a node with so much memory, in bytes, and so many
// possible CPUs.
func (s Settings) On(memory uint64, cpus int) Sizes {
	z := Sizes{NAT: defaultNAT, CTTCP: defaultCTTCP, CTAny: defaultCTAny, Knob: keyNAT + ", which is not set: Cilium's default"}
	if s.dynamic() {
		auto := func(entries, lowest int) int {
			return s.align(min(max(int(float64(entries)*float64(memory)*s.Ratio/allMapsDefault), lowest), maxEntries), cpus)
		}
		z.NAT, z.CTTCP, z.CTAny = auto(defaultNAT, autoMinNAT), auto(defaultCTTCP, autoMinCTTCP), auto(defaultCTAny, autoMinCTAny)
		z.Knob = fmt.Sprintf("%s %v", keyRatio, s.Ratio)
	}
	if s.CTTCP > 0 {
		z.CTTCP = s.align(s.CTTCP, cpus)
	}
	if s.CTAny > 0 {
		z.CTAny = s.align(s.CTAny, cpus)
	}
	switch {
	case s.NAT > 0:
		z.NAT, z.Knob = s.align(s.NAT, cpus), fmt.Sprintf("%s %d", keyNAT, s.NAT)
	case z.NAT > z.CTTCP+z.CTAny:
		z.NAT = (z.CTTCP + z.CTAny) * 2 / 3
		z.Knob = fmt.Sprintf("%s and %s, two thirds of their sum", keyCTTCP, keyCTAny)
	}
	return z
}

func (s Settings) dynamic() bool { return s.Ratio > 0 && s.Ratio <= 1 }

// align rounds as Cilium does for a distributed LRU.
func (s Settings) align(entries, cpus int) int {
	if !s.Distributed || cpus < 1 {
		return entries
	}
	if up := (entries + cpus - 1) / cpus * cpus; up <= maxEntries {
		return up
	}
	return maxEntries / cpus * cpus
}

// timeout is how long a closed connection's entries stay at least.
func (s Settings) timeout() time.Duration {
	fin, others := s.FINTimeout, s.AnyTimeout
	if fin == 0 {
		fin = defaultFIN
	}
	if others == 0 {
		others = defaultAny
	}
	return max(fin, others)
}

// gcMax is the longest time between two collections.
func (s Settings) gcMax() time.Duration {
	switch {
	case s.GCInterval > 0:
		return s.GCInterval
	case s.GCMaxInterval > 0:
		return min(s.GCMaxInterval, defaultGCMax)
	}
	return defaultGCMax
}
