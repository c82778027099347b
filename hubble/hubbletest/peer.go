// SPDX-License-Identifier: Apache-2.0

package hubbletest

import (
	"strings"

	"github.com/cilium/cilium/api/v1/peer"
	"google.golang.org/grpc"
)

// peers is the service that tells a relay where the nodes' Observers are: here
// of this node, at the address of Config.PeerAddress.
type peers struct {
	peer.UnimplementedPeerServer
	server *Server
}

// Notify implements peer.PeerServer.
func (p peers) Notify(_ *peer.NotifyRequest, stream grpc.ServerStreamingServer[peer.ChangeNotification]) error {
	address := p.server.cfg.PeerAddress
	if address == "" {
		address = p.server.Addr()
	}
	if err := stream.Send(&peer.ChangeNotification{
		Name: p.server.cfg.NodeName, Address: strings.TrimPrefix(address, "tcp://"), Type: peer.ChangeNotificationType_PEER_ADDED,
	}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return stream.Context().Err()
}
