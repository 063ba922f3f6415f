package ops

import (
	"fmt"
	"io"
	"log/slog"
	"strings"

	"ostraca/retrieval"
)

// Formats of a log.
const (
	LogText = "text"
	LogJSON = "json"
)

// NewLogger writes structured lines of at least a level: debug, info, warn or error. Errors wrap retrieval.ErrInvalid.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	l, err := LogLevel(level)
	if err != nil {
		return nil, err
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case LogText:
		return slog.New(slog.NewTextHandler(w, o)), nil
	case LogJSON:
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, fmt.Errorf("log format is %q, it must be %s or %s: %w", format, LogText, LogJSON, retrieval.ErrInvalid)
}

// LogLevel reads a level.
func LogLevel(name string) (slog.Level, error) {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if name == strings.ToLower(l.String()) {
			return l, nil
		}
	}
	return 0, fmt.Errorf("log level is %q, it must be debug, info, warn or error: %w", name, retrieval.ErrInvalid)
}
