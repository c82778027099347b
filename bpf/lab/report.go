// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// What a Report tells; the numbers are enum report_what's (report.h).
type What uint8

// The kinds of Report.
const (
	Packet   What = 1 // a packet that Cilium's datapath would have told its agent of
	Mapped   What = 2 // a packet without a mapping got one
	Restored What = 3 // a reply rebuilt the OUT entry
	Stale    What = 4 // a mapping to another address than the policy wants was removed
)

// Report is what the datapath saw or did.
type Report struct {
	What     What
	KTime    uint64         // nanoseconds of the kernel's monotonic clock
	Src, Dst netip.AddrPort // before translation
	Protocol uint8
	// Of a packet: where it was seen and why it was told, as Hubble numbers
	// them (flow.TraceObservationPoint, flow.TraceReason), and its TCP flags. Point
	// is 0 of one that was dropped, and Reason why (flow.DropReason).
	Point, Reason, Flags uint8
	To                   netip.AddrPort // of Mapped and Restored: the source now; of Stale: before
	CPU                  uint16         // on which it was
	Last                 bool           // nothing else is to be read now
}

// Reports reads what the datapath reports. It belongs to one goroutine.
type Reports struct {
	ring   *ringbuf.Reader
	lost   *ebpf.Map
	record ringbuf.Record
}

// Reports opens the datapath's reports; Config.Report must be set. The caller
// closes them before the datapath.
func (d *Datapath) Reports() (*Reports, error) {
	ring, err := ringbuf.NewReader(d.objects.Reports)
	if err != nil {
		return nil, fmt.Errorf("opening the datapath's reports: %w", err)
	}
	return &Reports{ring: ring, lost: d.objects.ReportsLost}, nil
}

// Close frees the reader.
func (r *Reports) Close() error { return r.ring.Close() }

// Read returns the next report; ok is false when there was none until the
// deadline.
func (r *Reports) Read(deadline time.Time) (report Report, ok bool, err error) {
	r.ring.SetDeadline(deadline)
	switch err := r.ring.ReadInto(&r.record); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Report{}, false, nil
	case err != nil:
		return Report{}, false, fmt.Errorf("reading the datapath's reports: %w", err)
	}
	var raw datapathReport
	if err := binary.Read(bytes.NewReader(r.record.RawSample), binary.NativeEndian, &raw); err != nil {
		return Report{}, false, fmt.Errorf("reading a report of %d bytes: %w", len(r.record.RawSample), err)
	}
	return Report{
		What: What(raw.What), KTime: raw.Ktime, Protocol: raw.Protocol,
		Src: addrPort(raw.Family, raw.Saddr, raw.Sport), Dst: addrPort(raw.Family, raw.Daddr, raw.Dport),
		Point: raw.Point, Reason: raw.Reason, Flags: raw.TcpFlags, To: addrPort(raw.Family, raw.ToAddr, raw.ToPort), CPU: raw.Cpu,
		Last: r.record.Remaining == 0,
	}, true, nil
}

// Lost returns how many reports found no room in the ring buffer.
func (r *Reports) Lost() (n uint64, err error) {
	if err := r.lost.Lookup(uint32(0), &n); err != nil {
		return 0, fmt.Errorf("reading how many reports were lost: %w", err)
	}
	return n, nil
}

func addrPort(family uint8, ip [16]byte, port uint16) netip.AddrPort {
	addr := netip.AddrFrom16(ip)
	if family == 4 {
		addr = netip.AddrFrom4([4]byte(ip[:4]))
	}
	return netip.AddrPortFrom(addr, hostOrder(port))
}

// hostOrder converts a port that was read in network order, or back.
func hostOrder(port uint16) uint16 {
	return binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, port))
}
