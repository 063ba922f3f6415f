package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ostraca/storage"
)

// Main runs a command until it ends, or a signal asks it to, and returns the exit code. A second signal ends the process at once.
func Main(c *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	c.SilenceUsage, c.SilenceErrors = true, true
	if err := c.ExecuteContext(ctx); err != nil {
		fmt.Fprintf(c.ErrOrStderr(), "%s: %v\n", c.Name(), err)
		return 1
	}
	return 0
}

// until returns the context of the process: it ends with ctx, and, where that was asked for, with standard input.
func (o *common) until(ctx context.Context, stdin io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if o.exitWithStdin {
		go func() {
			_, _ = io.Copy(io.Discard, stdin)
			cancel()
		}()
	}
	return ctx, cancel
}

// wait waits until the process is to end: nil if it was asked to, else why it cannot go on.
func (o *common) wait(ctx context.Context, failed ...<-chan error) error {
	var err error
	either := make(chan error, len(failed))
	done, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, f := range failed {
		go func() {
			select {
			case e := <-f:
				either <- e
			case <-done.Done():
			}
		}()
	}
	select {
	case <-ctx.Done():
	case err = <-either:
	}
	o.log.Info("ending: requests under way go on, new ones are refused", "drain_timeout", o.drain.String())
	return err
}

// addresses are where a process really listens.
type addresses struct {
	Listen string `json:"listen"`
	HTTP   string `json:"http"`
	GRPC   string `json:"grpc,omitempty"`
}

// listening tells where.
func (o *common) listening(a addresses) error {
	o.warn(a.Listen, a.HTTP, a.GRPC)
	o.log.Info("listening", "id", o.id, "listen", a.Listen, "http", a.HTTP, "grpc", a.GRPC, "kernel", o.set.Name())
	if o.addressFile == "" {
		return nil
	}
	b, err := json.Marshal(a)
	if err == nil {
		err = storage.ReplaceFile(o.addressFile, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("--address-file: %w", err)
	}
	return nil
}
