// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/renat-project/renat/correlator"
	"github.com/renat-project/renat/internal/web/api"
)

// Mapping is the answer of /v1/mapping?protocol=TCP&source=ip:port&destination=ip:port,
// with direction=IN of an entry for replies.
type Mapping struct {
	To string `json:"to"`
}

// serveMapping tells how a tuple is translated now.
func (a *agent) serveMapping(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	var t correlator.Tuple
	var errs [4]error
	t.Protocol, errs[0] = correlator.ParseProtocol(q.Get("protocol"))
	t.Src, errs[1] = correlator.ParseAddr(q.Get("source"))
	t.Dst, errs[2] = correlator.ParseAddr(q.Get("destination"))
	d := correlator.Out
	switch name := q.Get("direction"); name {
	case "", correlator.Out.String():
	case correlator.In.String():
		d = correlator.In
	default:
		errs[3] = fmt.Errorf("direction %q: it is OUT or IN", name)
	}
	if err := errors.Join(errs[:]...); err != nil {
		api.Refuse(w, &api.Problem{Status: http.StatusBadRequest, Title: "wrong parameter", Detail: err.Error()})
		return
	}
	to, found, err := a.config.Kernel.Lookup(t, d)
	switch {
	case err != nil:
		api.Refuse(w, err)
	case !found:
		api.Refuse(w, &api.Problem{Status: http.StatusNotFound, Title: "no mapping", Detail: t.String() + " has no entry in this node's NAT maps"})
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Mapping{To: to.String()}) // who asked has gone
	}
}
