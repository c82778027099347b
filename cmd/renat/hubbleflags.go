// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/netip"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"github.com/renat-project/renat/hubble"
	"github.com/renat-project/renat/internal/view/usage"
)

// hubbleFlags say which Hubble to follow; those for TLS have the names they
// have in hubble's own command line.
type hubbleFlags struct {
	server  string
	tls     bool
	options hubble.TLS
	exclude []string
}

func (h *hubbleFlags) register(f *pflag.FlagSet) {
	f.StringVar(&h.server, "hubble-server", hubble.DefaultAddress, "Hubble of the node: unix:///path, host:port or tls://host:port")
	f.BoolVar(&h.tls, "tls", false, "secure the connection to Hubble with TLS, as tls:// does")
	f.BoolVar(&h.options.AllowInsecure, "tls-allow-insecure", false, "accept any certificate of Hubble's")
	f.StringSliceVar(&h.options.CAFiles, "tls-ca-cert-files", nil, "files with the certificate authorities of Hubble's certificate")
	f.StringVar(&h.options.CertFile, "tls-client-cert-file", "", "file with the client certificate for Hubble")
	f.StringVar(&h.options.KeyFile, "tls-client-key-file", "", "file with the key of the client certificate for Hubble")
	f.StringVar(&h.options.ServerName, "tls-server-name", "", "name to expect in Hubble's certificate, e.g. instance.hubble-relay.cilium.io")
	f.StringSliceVar(&h.exclude, "exclude-cidr", nil, "networks that are never masqueraded: flows between two of their addresses are not asked for")
}

// config returns how to follow; an error is wrong usage, certificate files that
// cannot be read included.
func (h *hubbleFlags) config(log zerolog.Logger) (hubble.Config, error) {
	cfg := hubble.Config{Address: h.server, Follow: true, Logger: log}
	o := &h.options
	switch {
	case h.tls || strings.HasPrefix(h.server, "tls://"):
		cfg.TLS = o
	case o.AllowInsecure || o.ServerName != "" || o.CertFile != "" || o.KeyFile != "" || len(o.CAFiles) > 0:
		return cfg, usage.Errorf("the --tls-… flags have no effect without --tls or a tls:// address")
	}
	for _, s := range h.exclude {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return cfg, usage.Errorf("--exclude-cidr %q is not a network like 10.0.0.0/8", s)
		}
		cfg.ExcludeCIDRs = append(cfg.ExcludeCIDRs, p)
	}
	if _, err := hubble.New(cfg); err != nil {
		return cfg, usage.Errorf("%w", err)
	}
	return cfg, nil
}

// client returns a client that follows; an error is wrong usage.
func (h *hubbleFlags) client(log zerolog.Logger) (*hubble.Client, error) {
	cfg, err := h.config(log)
	if err != nil {
		return nil, err
	}
	return hubble.New(cfg)
}
