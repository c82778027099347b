// SPDX-License-Identifier: Apache-2.0

package sizing

// scanned is how many entries of a common LRU the kernel ages at a time
// (LOCAL_NR_SCANS).
const scanned = 128

// Usable returns how many entries a map can hold for sure before it evicts: a
// common LRU without what each CPU keeps aside, a distributed one with all, as
// its CPUs evict each for themselves.
func Usable(entries, cpus int, distributed bool) int {
	if distributed {
		return entries
	}
	return EvictsFrom(entries, cpus, false)
}

// TouchEvery returns after how many updates of a map, failed ones included, its
// entries must be looked up again so that the kernel's LRU keeps them: of all
// CPUs together, or of one CPU if the map is distributed. The kernel has aged
// all active entries after as many updates as half the usable entries, sooner
// where it takes fewer than it ages. A quarter of that leaves room for the time
// between an update and a look.
func TouchEvery(entries, cpus int, distributed bool) int {
	cpus = max(cpus, 1)
	if distributed {
		return max(entries/cpus/8, 1) // takes all that it ages
	}
	// Older kernels take 128 of small maps, too: sooner than needed is safe.
	taken := min(max(entries/cpus/2, 1), keptAside)
	return max(Usable(entries, cpus, false)*taken/(8*scanned), 1)
}

// TouchFrom returns with how many entries in the map the looking up must have
// begun: the kernel has sorted them by their use when it begins to evict.
func TouchFrom(entries, cpus int, distributed bool) int {
	return Usable(entries, cpus, distributed) / 2
}
