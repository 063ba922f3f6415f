package consensus

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// orDiscard lets every part log without asking whether there is a logger.
func orDiscard(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// raftLogger lets Raft write to a slog.Logger. What Raft calls an error is mostly a peer that does not answer, which it tries
// again: a warning here.
type raftLogger struct {
	to   *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = raftLogger{}

func level(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error, hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	case hclog.Debug:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4
}

func (l raftLogger) Log(at hclog.Level, msg string, args ...any) {
	if !l.enabled(at) {
		return
	}
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 { // a format and its arguments
			if s, ok := f[0].(string); ok {
				args[i] = slog.AnyValue(formatted{s, f[1:]})
			}
		}
	}
	l.to.Log(context.Background(), level(at), "raft: "+msg, args...)
}

func (l raftLogger) enabled(at hclog.Level) bool {
	return l.to.Enabled(context.Background(), level(at))
}

func (l raftLogger) Trace(msg string, args ...any) { l.Log(hclog.Trace, msg, args...) }
func (l raftLogger) Debug(msg string, args ...any) { l.Log(hclog.Debug, msg, args...) }
func (l raftLogger) Info(msg string, args ...any)  { l.Log(hclog.Info, msg, args...) }
func (l raftLogger) Warn(msg string, args ...any)  { l.Log(hclog.Warn, msg, args...) }
func (l raftLogger) Error(msg string, args ...any) { l.Log(hclog.Error, msg, args...) }
func (l raftLogger) IsTrace() bool                 { return l.enabled(hclog.Trace) }
func (l raftLogger) IsDebug() bool                 { return l.enabled(hclog.Debug) }
func (l raftLogger) IsInfo() bool                  { return l.enabled(hclog.Info) }
func (l raftLogger) IsWarn() bool                  { return l.enabled(hclog.Warn) }
func (l raftLogger) IsError() bool                 { return l.enabled(hclog.Error) }
func (l raftLogger) ImpliedArgs() []any            { return l.args }
func (l raftLogger) Name() string                  { return l.name }
func (l raftLogger) SetLevel(hclog.Level)          {}
func (l raftLogger) GetLevel() hclog.Level         { return hclog.NoLevel }

func (l raftLogger) With(args ...any) hclog.Logger {
	return raftLogger{l.to.With(args...), l.name, append(l.args[:len(l.args):len(l.args)], args...)}
}

func (l raftLogger) Named(name string) hclog.Logger {
	if l.name != "" {
		name = l.name + "." + name
	}
	return raftLogger{l.to, name, l.args}
}

func (l raftLogger) ResetNamed(name string) hclog.Logger { return raftLogger{l.to, name, l.args} }

func (l raftLogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(l.to.Handler(), slog.LevelInfo)
}

func (l raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return gossipWriter{l.to}
}

// gossipWriter lets memberlist write to a slog.Logger: its lines begin with a level in brackets. Its errors are peers that do not
// answer, as Raft's are.
type gossipWriter struct{ to *slog.Logger }

func (w gossipWriter) Write(line []byte) (int, error) {
	at, text := slog.LevelInfo, bytes.TrimSpace(line)
	for _, l := range []struct {
		prefix string
		at     slog.Level
	}{{"[ERR] ", slog.LevelWarn}, {"[WARN] ", slog.LevelWarn}, {"[DEBUG] ", slog.LevelDebug}, {"[INFO] ", slog.LevelInfo}} {
		if t, ok := bytes.CutPrefix(text, []byte(l.prefix)); ok {
			at, text = l.at, t
			break
		}
	}
	w.to.Log(context.Background(), at, string(text))
	return len(line), nil
}

// formatted is a format and its arguments, put together only if the line is written.
type formatted struct {
	format string
	args   []any
}

func (f formatted) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf(f.format, f.args...)) }
