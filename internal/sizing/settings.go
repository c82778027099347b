// SPDX-License-Identifier: Apache-2.0

package sizing

import (
	"cmp"
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
		return func(v string) (err error) {
			if *to, err = strconv.Atoi(v); err == nil && *to == 0 {
				err = strconv.ErrRange // 0 is no size, and means here that none is set
			}
			return err
		}
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

// Known are those of data that are read here, as key=value, in order.
func Known(data map[string]string) (known []string) {
	for _, key := range []string{keyDistributed, keyRatio, keyNAT, keyCTTCP, keyCTAny, keyGC, keyGCMax, keyFIN, keyAny} {
		if value, ok := data[key]; ok {
			known = append(known, key+"="+value)
		}
	}
	return known
}

// AreSettings reports whether data can be Cilium's ConfigMap: it has a setting
// that is read here, or one that every Cilium writes.
func AreSettings(data map[string]string) bool {
	for key := range data {
		if strings.HasPrefix(key, "bpf-") || strings.HasPrefix(key, "conntrack-gc-") || strings.HasPrefix(key, "enable-ipv") {
			return true
		}
	}
	return false
}

// timeout is how long a closed connection's entries stay at least.
func (s Settings) timeout() time.Duration {
	return max(cmp.Or(s.FINTimeout, defaultFIN), cmp.Or(s.AnyTimeout, defaultAny))
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
