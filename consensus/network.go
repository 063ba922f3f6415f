package consensus

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Network is how a node reaches others and is reached: TCP and UDP in production ([Wire]), package simnet in tests. Addresses
// are host:port. Whoever calls Dial or Resolve decides by ctx how long it may take.
type Network interface {
	// Listen accepts streams at an address of this machine; port 0 picks a free one, which the listener's Addr tells.
	Listen(address string) (net.Listener, error)
	// ListenPacket is Listen for packets.
	ListenPacket(address string) (net.PacketConn, error)
	// Dial opens a stream. It gives up by itself where no answer comes within seconds, so that a dead machine costs no more.
	Dial(ctx context.Context, address string) (net.Conn, error)
	// Resolve returns every ip:port that host:port stands for now, at least one. It is asked anew at every call, since a
	// container that restarts may come back under its name with another ip.
	Resolve(ctx context.Context, address string) ([]string, error)
}

// Wire is the real network: TCP with keepalive, UDP, and the system's resolver.
type Wire struct{}

var _ Network = Wire{}

// wireDialTimeout leaves room for two lost SYNs: the system repeats them after 1 s and 2 s more.
const wireDialTimeout = 4 * time.Second

// wireKeepAlive finds in half a minute that the machine at the other end of an idle stream is gone; the system's own defaults
// take two hours.
var wireKeepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// Listen implements [Network].
func (Wire) Listen(address string) (net.Listener, error) {
	c := net.ListenConfig{KeepAliveConfig: wireKeepAlive}
	return c.Listen(context.Background(), "tcp", address)
}

// ListenPacket implements [Network]. The connection is a *net.UDPConn.
func (Wire) ListenPacket(address string) (net.PacketConn, error) {
	var c net.ListenConfig
	return c.ListenPacket(context.Background(), "udp", address)
}

// Dial implements [Network].
func (Wire) Dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: wireDialTimeout, KeepAliveConfig: wireKeepAlive}
	return d.DialContext(ctx, "tcp", address)
}

// Resolve implements [Network]. Go keeps no answers; the system's resolver may, for as long as their records allow.
func (Wire) Resolve(ctx context.Context, address string) ([]string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" || strings.TrimSpace(host) != host {
		return nil, &net.AddrError{Err: "no host to resolve", Addr: address}
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []string{net.JoinHostPort(ip.Unmap().String(), port)}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(ips))
	for i, ip := range ips {
		out[i] = net.JoinHostPort(ip.Unmap().String(), port)
	}
	return out, nil
}
