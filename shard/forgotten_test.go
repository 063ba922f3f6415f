package shard

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// tells returns how many values of columns, or their bytes, have a word in them, and how many columns know it of documents.
func (j *verdicts) tells(word string) (n int) {
	for _, g := range j.columns.all() {
		g.turn <- struct{}{}
		c := g.now.Load()
		for _, v := range c.values {
			n += strings.Count(fmt.Sprint(v), word)
		}
		for raw := range c.places {
			n += strings.Count(raw, word)
		}
		<-g.turn
	}
	return n
}

// forgets waits until columns tell nothing with a word in it any more.
func (j *verdicts) forgets(t *testing.T, word string) {
	t.Helper()
	for range 2000 {
		if j.tells(word) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%q was forgotten, and is in a column %d times", word, j.tells(word))
}

// TestForgottenLeavesColumns: soon after a forget columns tell nothing of what the document said, or said before it was replaced, nor after a filter over an
// older state; what others say they still tell.
func TestForgottenLeavesColumns(t *testing.T) {
	r := newRig(t)
	r.verdicts.few, r.verdicts.after = 0, time.Millisecond
	puts := many(300, 1)
	said := func(i int, word string) {
		puts[i].Document.Fields = fmt.Appendf(nil, `{"name":["%s"],"number":3}`, word)
	}
	for i, word := range []string{"quince", "medlar", "sorb", "damson"} {
		said(i, word)
		said(10+i, "common")
	}
	early := r.filled(map[string][]*Put{"papers": puts})
	asks := 0
	ask := func(v view) {
		t.Helper()
		asks++ // another filter every time: over the same columns
		v.selects(t, "papers", fmt.Sprintf(`fields.name.exists(n, n == "%d") || fields.number == 3`, asks))
	}
	now := func() view {
		t.Helper()
		v, err := r.view()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(v.close)
		return v
	}
	forget := func(i int) { r.expect(OK, r.op("papers", &Forget{IDs: []string{puts[i].Document.ID}})) }
	ask(early)
	if r.verdicts.tells("quince") != 2 || r.verdicts.tells("common") != 2 {
		t.Fatal("no column tells what a document says: nothing is tested")
	}
	forget(0)
	r.verdicts.forgets(t, "quince")
	said(1, "service")
	r.expect(OK, r.op("papers", puts[1]))
	ask(now())
	forget(1)
	r.verdicts.forgets(t, "medlar")
	r.verdicts.forgets(t, "service")
	ask(early) // reads the rows that were
	for _, word := range []string{"quince", "medlar"} {
		if n := r.verdicts.tells(word); n > 0 {
			t.Fatalf("a filter over a state before brought %q back", word)
		}
	}
	if r.verdicts.tells("common") != 2 || r.verdicts.tells("damson") != 2 {
		t.Fatal("what was not forgotten left the columns")
	}
	f, err := compileFilter(`fields.name == ["sorb"]`)
	if err != nil {
		t.Fatal(err)
	}
	g := judging{view: now(), ctx: t.Context(), collection: "papers", filter: f, was: &verdict{}, work: math.MaxUint64}
	if _, back, err := g.columns(); err != nil || g.work != math.MaxUint64 {
		t.Fatalf("%v: %d bytes were read again", err, math.MaxUint64-g.work)
	} else {
		back()
	}
	for range 2 {
		if got, want := now().selects(t, "papers", `fields.name == ["sorb"]`), puts[2].Document.ID; len(got) != 1 || got[0] != want {
			t.Fatalf("%q, not %q", got, want)
		}
	}
	r.expect(OK, r.op("papers", &Configure{Change: Drop}))
	r.verdicts.forgets(t, "common")
}
