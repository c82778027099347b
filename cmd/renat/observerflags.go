// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"github.com/renat-project/renat/hubble/proxy"
	"github.com/renat-project/renat/internal/agent"
	"github.com/renat-project/renat/internal/view/usage"
)

// observerFlags say where to serve Hubble's flows with additions, and to whom.
type observerFlags struct {
	listen string
	group  string
	tls    proxy.ServerTLS
}

func (o *observerFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.listen, "observer-listen", "", "where to serve Hubble's flows with NAT ports and incidents, for hubble and hubble-relay: unix:///path or host:port; empty: nowhere")
	f.StringVar(&o.group, "observer-socket-group", "cilium", "group that may connect to the socket, besides its owner, as to Cilium's own; none if there is no such group")
	f.StringVar(&o.tls.CertFile, "observer-tls-cert-file", "", "file with the certificate, for TLS on --observer-listen; it may be renewed")
	f.StringVar(&o.tls.KeyFile, "observer-tls-key-file", "", "file with its key")
	f.StringSliceVar(&o.tls.ClientCAFiles, "observer-tls-client-ca-files", nil, "files with the certificate authorities of the clients that may connect; needed beyond 127.0.0.1")
}

// open opens the socket, if one is to be served.
func (o *observerFlags) open(ctx context.Context) (agent.Observer, error) {
	out := agent.Observer{}
	t := &o.tls
	switch secured := t.CertFile != "" || t.KeyFile != "" || len(t.ClientCAFiles) > 0; {
	case secured && (t.CertFile == "" || t.KeyFile == ""):
		return out, usage.Errorf("--observer-tls-cert-file and --observer-tls-key-file go together, and --observer-tls-client-ca-files needs both")
	case secured && o.listen == "":
		return out, usage.Errorf("the --observer-tls-… flags have no effect without --observer-listen")
	case o.listen == "":
		return out, nil
	case secured:
		out.TLS = t
	}
	var err error
	out.Listener, err = proxy.Listen(ctx, o.listen, o.group, out.TLS)
	if errors.Is(err, proxy.ErrAddress) {
		return out, usage.Errorf("--observer-listen: %w", err)
	}
	return out, err
}
