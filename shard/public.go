package shard

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What the public sees of an error is a gRPC code and a reason, both of the table of kinds; the reason travels as an ErrorInfo.

const (
	domain       = "ostraca" // of our ErrorInfo
	missingShard = "shard/"  // and a number: the reason why that shard is missing, in the metadata

	maxPublicBytes   = 4 << 10 // of an error's text: headers carry it
	maxPublicMissing = 64      // shards that it names
)

// Reason returns the public gRPC code of an error, and the reason that programs go by; of nil OK and no reason. What [Public] made keeps
// its own, and a status of gRPC that says nothing of us has its code and the code's name.
func Reason(err error) (codes.Code, string) {
	if err == nil {
		return codes.OK, ""
	}
	k := kindOf(err)
	if s, ok := status.FromError(err); ok && k.err == errUnspecified && s.Code() > codes.OK && s.Code() <= codes.Unauthenticated {
		if info := infoOf(s); info != nil {
			return s.Code(), info.GetReason()
		}
		return s.Code(), code.Code(s.Code()).String()
	}
	return k.public, k.reason
}

// NodeReason is [Reason] of what a node answers to a router or a node, for the node's log.
func NodeReason(err error) (codes.Code, string) { return Reason(fromWire(err)) }

// Public returns an error as a gRPC status for clients: a standard code, and an ErrorInfo of the domain "ostraca" with the [Reason]. Of a
// [PartialError] the metadata names the missing shards, with the reason of each. A status that has an ErrorInfo of ours stays as it is.
func Public(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok && infoOf(s) != nil {
		return s.Err()
	}
	code, reason := Reason(err)
	info := &errdetails.ErrorInfo{Reason: reason, Domain: domain}
	if partial := (*PartialError)(nil); errors.As(err, &partial) {
		info.Metadata = map[string]string{}
		for _, m := range partial.Missing[:min(len(partial.Missing), maxPublicMissing)] {
			_, info.Metadata[missingShard+strconv.FormatUint(uint64(m.Shard), 10)] = Reason(m.Err)
		}
	}
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	if len(text) > maxPublicBytes {
		text = text[:maxPublicBytes] + "..."
	}
	s := status.New(code, strings.ToValidUTF8(text, "\ufffd"))
	if detailed, err := s.WithDetails(info); err == nil { // it fails for OK alone
		s = detailed
	}
	return s.Err()
}

// FromPublic returns the error that a client got as one that wraps what it stood for before [Public]. A status that says nothing of us is
// gRPC's own: where the call broke on its way it wraps [ErrUnknown] too, for the far end may have done it. One of a kind that is not
// known here is returned as it is.
func FromPublic(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	info := infoOf(s)
	for _, k := range kinds {
		switch {
		case info != nil && info.GetReason() == k.reason && k.err == ErrPartial:
			return remote{s.Message(), missingOf(info)}
		case info != nil && info.GetReason() == k.reason:
			return remote{s.Message(), k.err}
		case info == nil && s.Code() == k.code && s.Code() == k.public && broken(s.Code()):
			return remote{s.Message(), errors.Join(ErrUnknown, k.err)}
		case info == nil && s.Code() == k.code && s.Code() == k.public:
			return remote{s.Message(), k.err}
		}
	}
	if info == nil && broken(s.Code()) {
		return remote{s.Message(), ErrUnknown}
	}
	return err
}

// FromReason returns the error of one of several things that were asked, told by the name of its code, its reason and its text, as
// [FromPublic] returns that of all. A code of a later release is unknown.
func FromReason(name, reason, text string) error {
	c := codes.Unknown
	if n, ok := code.Code_value[name]; ok {
		c = codes.Code(n)
	}
	s, err := status.New(c, text).WithDetails(&errdetails.ErrorInfo{Reason: reason, Domain: domain})
	if err != nil { // of OK alone
		return err
	}
	return FromPublic(s.Err())
}

// infoOf returns what a status says of us, or nil.
func infoOf(s *status.Status) *errdetails.ErrorInfo {
	for _, d := range s.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.GetDomain() == domain {
			return info
		}
	}
	return nil
}

// missingOf returns the error of an answer that lacks shards, in their order.
func missingOf(info *errdetails.ErrorInfo) error {
	out := &PartialError{}
	for key, reason := range info.GetMetadata() {
		number, ours := strings.CutPrefix(key, missingShard)
		shard, err := strconv.ParseUint(number, 10, 32)
		if !ours || err != nil {
			continue
		}
		m := Missing{uint32(shard), fmt.Errorf("%s: %w", reason, errUnspecified)}
		for _, k := range kinds {
			if k.reason == reason {
				m.Err = k.err
				break
			}
		}
		out.Missing = append(out.Missing, m)
	}
	slices.SortFunc(out.Missing, func(a, b Missing) int { return cmp.Compare(a.Shard, b.Shard) })
	return out
}
