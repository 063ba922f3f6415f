package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ostraca/api"
	"ostraca/retrieval"
)

func newCollection(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "collection",
		Short: "Create, list, calibrate and drop collections of a live cluster",
		Args:  noVerb("create, list, calibrate or drop"),
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },

		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // those of a verb that is misspelt are not what is wrong
	}
	c.AddCommand(newCollectionCreate(a), newCollectionList(a), newCollectionCalibrate(a), newCollectionDrop(a))
	return c
}

// noVerb is the check of a command that is nothing without one of its verbs.
func noVerb(verbs string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return fmt.Errorf("%s knows no %q, only %s: %w", c.CommandPath(), args[0], verbs, retrieval.ErrInvalid)
	}
}

// kindOptions are the flags that say what a new collection holds.
type kindOptions struct {
	encoder            string
	codec              string
	width, vectorWidth uint32
	sample, lists      string
	reduction          reductionOptions
}

func (o *kindOptions) register(f *pflag.FlagSet) {
	f.StringVar(&o.encoder, "encoder", "", `of a new collection: empty takes the router's, "none" is for vectors from outside`)
	f.StringVar(&o.codec, "codec", "", "of a new collection: how vectors are stored: int8, 4bit, 3bit, 2bit or 1bit (default int8)")
	f.Uint32Var(&o.width, "width", 0, "of a new collection: dimensions that are stored; fewer than the vectors have are projected (default: the encoder's)")
	f.Uint32Var(&o.vectorWidth, "vector-width", 0, "of a new collection: dimensions of vectors from outside that are projected (default: --width)")
	f.StringVar(&o.sample, "project-sample", "", "of a new collection: fit its projection on these texts (BEIR, .jsonl) or vectors (npy), which stay an influence whatever is forgotten")
	f.StringVar(&o.lists, "lists-sample", "", "of a new collection: make its lists, which plans look into, of these texts (BEIR, .jsonl) or vectors (npy), documents like those to be stored, which stay an influence whatever is forgotten")
	o.reduction.register(f)
}

// request makes a collection's creation of the flags.
func (a *app) request(o *kindOptions, name string) (*api.CreateCollectionRequest, error) {
	in := &api.CreateCollectionRequest{Name: name, Codec: o.codec, Width: o.width, Encoder: o.encoder, VectorWidth: o.vectorWidth, Reduction: o.reduction.wire()}
	var err error
	if o.sample != "" {
		if in.Projection, err = a.projectionSample(o.sample); err != nil {
			return nil, err
		}
	}
	if o.lists != "" {
		if in.Lists, err = a.listsSample(o.lists); err != nil {
			return nil, err
		}
	}
	return in, nil
}

func newCollectionCreate(a *app) *cobra.Command {
	var o target
	var kind kindOptions
	var ifAbsent bool
	c := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a collection in every shard",
		Example: "  ostraca collection create notes\n  ostraca collection create notes --width 128\n  ostraca collection create notes --codec 2bit --pool 2 --drop-punctuation\n  ostraca collection create colbert --encoder none --width 128",
		Args:    needs("NAME", false),
		RunE: func(c *cobra.Command, args []string) error {
			if _, err := checkCodec(kind.codec); err != nil {
				return err
			}
			in, err := a.request(&kind, args[0])
			if err != nil {
				return err
			}
			in.IfAbsent = ifAbsent
			r, err := a.connect(c.Context(), o)
			if err != nil {
				return err
			}
			defer r.close()
			made, err := r.create(c.Context(), in)
			if err != nil {
				return err
			}
			if a.json {
				return a.printMessage(made)
			}
			a.printf("collection %s: %s\n", made.Name, describeKind(made))
			return nil
		},
	}
	o.register(c.Flags())
	kind.register(c.Flags())
	c.Flags().BoolVar(&ifAbsent, "if-absent", false, "one that is there already, of the same kind, is no error")
	return c
}

// create makes a collection. An attempt of unknown outcome is repeated as one that may be there.
func (r *remote) create(ctx context.Context, in *api.CreateCollectionRequest) (made *api.Collection, err error) {
	err = r.persist(ctx, func(ctx context.Context) (err error) {
		if made, err = r.CreateCollection(ctx, in); transient(err) {
			in.IfAbsent = true
		}
		return err
	})
	if in.Width != 0 && in.Projection == nil && errors.Is(err, retrieval.ErrInvalid) && strings.Contains(err.Error(), "give a sample") {
		err = fmt.Errorf("%w (--project-sample names one)", err)
	}
	return made, err
}

// describeKind says what a collection holds.
func describeKind(c *api.Collection) string {
	out := fmt.Sprintf("%d wide, codec %s", c.Width, c.Codec)
	if c.VectorWidth != c.Width && c.VectorWidth != 0 {
		out += fmt.Sprintf(", projected from %d (%s)", c.VectorWidth, c.Projection)
	}
	if r := describeReduction(c.Reduction); r != "" {
		out += ", " + r
	}
	if c.Lists != "" {
		out += fmt.Sprintf(", lists (%s)", c.Lists)
	}
	if n := len(c.Calibration); n > 0 {
		out += fmt.Sprintf(", calibrated (%s)", plural(n, "plan"))
	}
	if c.Encoder == "" {
		return out + ", vectors from outside"
	}
	return out + fmt.Sprintf(", encoder %.12s", c.Encoder)
}

func newCollectionList(a *app) *cobra.Command {
	var o target
	c := &cobra.Command{
		Use:   "list",
		Short: "Tell of all collections",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.connect(c.Context(), o)
			if err != nil {
				return err
			}
			defer r.close()
			all, err := r.ListCollections(c.Context(), &api.ListCollectionsRequest{})
			if err != nil {
				return err
			}
			if a.json {
				return a.printMessage(all)
			}
			if len(all.Collections) == 0 {
				a.printf("no collection yet: ostraca collection create NAME makes one\n")
			}
			for _, x := range all.Collections {
				a.printf("%s  %s, %d tokens; %s\n", cell(x.Name, questionWidth), plural(int(x.Documents), "document"), x.Tokens, describeKind(x))
			}
			return nil
		},
	}
	o.register(c.Flags())
	return c
}

func newCollectionDrop(a *app) *cobra.Command {
	var o target
	var yes bool
	c := &cobra.Command{
		Use:     "drop NAME",
		Short:   "Forget a collection and everything in it",
		Example: "  ostraca collection drop notes --yes",
		Args:    needs("NAME", false),
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.connect(c.Context(), o)
			if err != nil {
				return err
			}
			defer r.close()
			if !yes {
				if err := r.sure(c.Context(), args[0]); err != nil {
					return err
				}
			}
			out, err := r.drop(c.Context(), args[0])
			if err != nil {
				return err
			}
			if a.json {
				return a.printMessage(out)
			}
			a.printf("collection %s and its %s forgotten\n", args[0], plural(int(out.Count), "document"))
			return nil
		},
	}
	o.register(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for the name again")
	return c
}

// sure lets a person type the name of what will be gone; where nobody types it is refused.
func (r *remote) sure(ctx context.Context, name string) error {
	c, err := r.mustFind(ctx, name)
	if err != nil {
		return err
	}
	if !isTerminal(os.Stdin) {
		return fmt.Errorf("%s holds %s, all will be forgotten: confirm with --yes: %w", name, plural(int(c.Documents), "document"), retrieval.ErrInvalid)
	}
	fmt.Fprintf(r.app.err, "%s holds %s, all will be forgotten. Type its name to go on: ", name, plural(int(c.Documents), "document"))
	line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
	if strings.TrimSpace(line) != name {
		return fmt.Errorf("that was not %q, nothing was dropped: %w", name, retrieval.ErrInvalid)
	}
	return nil
}

// drop forgets a collection. When it has to be repeated, an earlier try may have done it.
func (r *remote) drop(ctx context.Context, name string) (out *api.DropCollectionResponse, err error) {
	again := false
	err = r.persist(ctx, func(ctx context.Context) (err error) {
		out, err = r.DropCollection(ctx, &api.DropCollectionRequest{Collection: name, AllowMissing: again})
		again = true
		return err
	})
	return out, err
}
