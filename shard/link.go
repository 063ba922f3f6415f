package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"ostraca/consensus"
)

// maxMessageBytes bounds a gRPC message: an answer of MaxAnswerBytes with what is around it, a batch of large documents.
const maxMessageBytes = 32 << 20

// WindowBytes of a gRPC connection, and of a call on it, may be under way unread. A fixed number: gRPC would measure what the way can
// hold, with a ping and its answer beside nearly every message.
const WindowBytes = 4 << 20

// StreamWorkers are goroutines of a gRPC server that wait for requests, so that these find a stack that has grown already. Where all of them
// are busy, a request has one of its own.
const StreamWorkers = 32

// pingEvery is how often a connection is pinged that is waited on and silent.
const pingEvery = 10 * time.Second

// LinkOptions of a node's or router's way to the others.
type LinkOptions struct {
	Node      string // name in the cluster; a router's begins with "router-"
	Boot      uint64 // grows with every start
	Network   consensus.Network
	Listen    string   // host:port of the one port, TCP and UDP
	Advertise string   // host:port at which others reach it; empty: what it listens on
	Seeds     []string // host:port of some nodes, resolved at every attempt
	Meta      []byte   // told to all members
	Logger    *slog.Logger

	Dial []grpc.DialOption // of the connections to nodes, after the link's own: for interceptors
}

// Link is one port and who is behind the others': gossip for addresses and liveness, connections by name.
type Link struct {
	options  LinkOptions
	listener net.Listener
	packets  net.PacketConn
	mux      *consensus.Mux
	members  *consensus.Members

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// OpenLink listens and joins the gossip.
func OpenLink(o LinkOptions) (_ *Link, err error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Link{options: o, conns: map[string]*grpc.ClientConn{}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open link: %w", err), l.Close())
		}
	}()
	if l.listener, err = o.Network.Listen(o.Listen); err != nil {
		return nil, err
	}
	if l.packets, err = o.Network.ListenPacket(l.listener.Addr().String()); err != nil {
		return nil, err
	}
	l.mux = consensus.NewMux(o.Network, l.listener, o.Logger)
	if o.Advertise == "" {
		o.Advertise = l.listener.Addr().String()
	}
	l.members, err = consensus.OpenMembers(consensus.MembersOptions{Node: o.Node, Boot: o.Boot, Network: o.Network, Mux: l.mux, Packets: l.packets,
		Advertise: o.Advertise, Seeds: o.Seeds, Meta: o.Meta, Logger: o.Logger})
	return l, err
}

// Address returns where the link listens.
func (l *Link) Address() string { return l.listener.Addr().String() }

// Leave tells the others that this one goes, so that they need not find out.
func (l *Link) Leave() {
	if err := l.members.Leave(time.Second); err != nil {
		l.options.Logger.Warn("left without a word", "error", err)
	}
}

// Close leaves without a word; Leave first to say goodbye.
func (l *Link) Close() error {
	var errs []error
	l.mu.Lock()
	for _, c := range l.conns {
		errs = append(errs, c.Close())
	}
	l.conns = nil
	l.mu.Unlock()
	if l.members != nil {
		errs = append(errs, l.members.Close())
	}
	if l.mux != nil {
		errs = append(errs, l.mux.Close())
	} else if l.listener != nil {
		errs = append(errs, l.listener.Close())
	}
	if l.packets != nil {
		if err := l.packets.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// conn returns the connection to a node, which connects when it is used and finds the node's present address each time.
func (l *Link) conn(node string) (grpc.ClientConnInterface, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		return nil, fmt.Errorf("link is closed: %w", ErrUnavailable)
	}
	if c := l.conns[node]; c != nil {
		return c, nil
	}
	c, err := grpc.NewClient("passthrough:///"+node, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			address, ok := l.members.Address(node)
			if !ok {
				return nil, fmt.Errorf("node %s is not known: %w", node, ErrUnavailable)
			}
			return l.mux.Dial(ctx, consensus.KindService, address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: 3 * time.Second}),
		grpc.WithIdleTimeout(0), grpc.WithStaticStreamWindowSize(WindowBytes), grpc.WithStaticConnWindowSize(WindowBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithDisableServiceConfig()}, l.options.Dial...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to node %s: %w", node, err)
	}
	l.conns[node] = c
	return c, nil
}

// Replica returns the replica of a shard on a node.
func (l *Link) Replica(node string, shard uint32) Peer {
	c, err := l.conn(node)
	if err != nil {
		return absent{err}
	}
	return NewClient(c, shard)
}

// absent is a peer that cannot be reached, and why.
type absent struct{ err error }

func (a absent) Search(context.Context, *SearchRequest) (*SearchAnswer, error) { return nil, a.err }
func (a absent) Write(context.Context, *WriteRequest) ([]Result, error)        { return nil, a.err }
func (a absent) Forward(context.Context, *WriteRequest) ([]Result, error)      { return nil, a.err }
func (a absent) Get(context.Context, *GetRequest) (*GetAnswer, error)          { return nil, a.err }
func (a absent) List(context.Context, *ListRequest) (*ListAnswer, error)       { return nil, a.err }
func (a absent) Status(context.Context) (*Status, error)                       { return nil, a.err }
func (a absent) ReadIndex(context.Context) (uint64, error)                     { return 0, a.err }

// alive returns the members that gossip holds for alive, by node.
func (l *Link) alive() map[string]consensus.Member {
	out := map[string]consensus.Member{}
	for _, m := range l.members.Alive() {
		out[m.Node] = m
	}
	return out
}
