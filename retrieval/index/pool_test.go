package index

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ostraca/retrieval"
	"ostraca/retrieval/kernel"
)

// What is pooled is a function of the codes alone: of a copy that has lost it, of the same codes of a document that is elsewhere, of every kernel.
func TestPoolIsAFunctionOfTheCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	for _, width := range []int{1, 6, 96, 384} {
		for _, n := range []int{0, 1, 2, 60, 256, 300} {
			for kind, c := range map[string]retrieval.Codes{
				"random":      quantize(t, floats(rng, n, width), width),
				"anisotropic": quantize(t, anisotropic(rng, n, width), width),
				"any":         someCodes(rng, n, width),
			} {
				whole := Pool(c)
				if c.Pooled() && n > 0 || !whole.Pooled() {
					t.Fatalf("%s, %d x %d: pooled before or not after", kind, n, width)
				}
				if err := (&retrieval.Document{ID: "a", Codes: whole}).Validate(width); err != nil {
					t.Fatalf("%s, %d x %d: %v", kind, n, width, err)
				}
				bare := whole.Bare()
				bare.Rows, bare.Scales = slices.Clone(bare.Rows), slices.Clone(bare.Scales) // as read from a file
				if !reflect.DeepEqual(Pool(bare), whole) || !reflect.DeepEqual(Pool(whole), whole) {
					t.Fatalf("%s, %d x %d: other pooled vectors the second time", kind, n, width)
				}
				for _, set := range kernel.All() {
					checkClusters(t, c, set)
				}
			}
		}
	}
	packed := quantizeBy(t, retrieval.Bits2, floats(rng, 20, 96), 96)
	if again := Pool(packed); !reflect.DeepEqual(again, packed) || !reflect.DeepEqual(packed.Bare(), packed) {
		t.Fatal("packed codes do not stay as they are")
	}
}

// checkClusters compares the clusters of one kernel with those of the Go twin.
func checkClusters(t *testing.T, c retrieval.Codes, set *kernel.Set) {
	t.Helper()
	by := func(set *kernel.Set, from, to, count int) []byte {
		return (&pooling{codes: c, stride: retrieval.Stride(c.Width), set: set}).clusters(from, to, count)
	}
	for i := range retrieval.Windows(c.Len()) {
		from, to, count := retrieval.Window(i, c.Len(), c.Codec.Pool(c.Width))
		got, want := by(set, from, to, count), by(kernel.All()[0], from, to, count)
		if !slices.Equal(got, want) {
			t.Fatalf("%d x %d, %s: clusters %v, by the twin %v", c.Len(), c.Width, set.Name(), got, want)
		}
		next := byte(0) // numbered by their first token, each with a token
		for _, label := range want {
			if label > next {
				t.Fatalf("cluster %d is seen before %d", label, next)
			}
			next = max(next, label+1)
		}
		if int(next) != count {
			t.Fatalf("%d clusters, want %d", next, count)
		}
	}
}

// wardByHand joins, n - count times, the two clusters whose union adds least to the squared distances of tokens from the means of their clusters, all of it
// computed anew. It returns no labels where two choices are too near to each other to tell.
func wardByHand(x [][]float64, count int) []byte {
	groups := make([][]int, len(x))
	for i := range groups {
		groups[i] = []int{i}
	}
	for len(groups) > count {
		best, least, second := [2]int{}, math.Inf(1), math.Inf(1)
		for b := range groups {
			for a := range b {
				cost := added(x, groups[a], groups[b])
				if cost < least {
					best, least, second = [2]int{a, b}, cost, least
				} else {
					second = min(second, cost)
				}
			}
		}
		if second-least < 1e-4*least+16 { // distances are whole numbers in the code
			return nil
		}
		a, b := best[0], best[1]
		groups[a] = append(groups[a], groups[b]...)
		groups = slices.Delete(groups, b, b+1)
	}
	slices.SortFunc(groups, func(a, b []int) int { return slices.Min(a) - slices.Min(b) })
	labels := make([]byte, len(x))
	for k, g := range groups {
		for _, i := range g {
			labels[i] = byte(k)
		}
	}
	return labels
}

// added is what the union of two clusters adds: |a| |b| / (|a| + |b|) times the squared distance of their means.
func added(x [][]float64, a, b []int) float64 {
	mean := func(g []int, i int) (m float64) {
		for _, j := range g {
			m += x[j][i]
		}
		return m / float64(len(g))
	}
	squares := 0.
	for i := range x[0] {
		d := mean(a, i) - mean(b, i)
		squares += d * d
	}
	return squares * float64(len(a)*len(b)) / float64(len(a)+len(b))
}

func TestWardByHand(t *testing.T) {
	told, drawn := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		width, n := rapid.IntRange(1, 40).Draw(t, "width"), rapid.IntRange(1, 24).Draw(t, "tokens")
		draw := rapid.SampledFrom([]func(*rand.Rand, int, int) []float32{floats, anisotropic}).Draw(t, "kind")
		c := quantize(t, draw(rng, n, width), width)
		count := rapid.IntRange(1, n).Draw(t, "clusters")
		x := make([][]float64, n)
		for j := range x {
			for i := range width { // in the units of the code, where scales multiplied are divided by 256
				x[j] = append(x[j], (float64(c.Rows[j*retrieval.Stride(width)+i])-128)*float64(c.Scales[j])/16)
			}
		}
		p := &pooling{codes: c, stride: retrieval.Stride(width), set: kernel.Best()}
		got, want := p.clusters(0, n, count), wardByHand(x, count)
		drawn++
		if want == nil {
			return
		}
		told++
		if !slices.Equal(got, want) {
			t.Fatalf("clusters %v, by hand %v", got, want)
		}
	})
	if told < drawn/2 {
		t.Errorf("of %d draws only %d were clear", drawn, told)
	}
}

// A sketch is the mean of its window, a coarse vector that of its cluster, unit length, up to the rounding of codes.
func TestPooledVectorsAreMeans(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 3))
	const width, n = 30, 600
	x := anisotropic(rng, n, width)
	c := quantize(t, x, width)
	coarse, sketch, labels := pool(c, c.Codec.Pool(width))
	first := 0
	for i := range retrieval.Windows(n) {
		from, to, count := retrieval.Window(i, n, c.Codec.Pool(width))
		checkMean(t, c, sketch, i, func(j int) bool { return j >= from && j < to })
		for k := range count {
			checkMean(t, c, coarse, first+k, func(j int) bool { return j >= from && j < to && int(labels[j]) == k })
		}
		first += count
	}
	if first != coarse.Len() || sketch.Len() != 3 || len(labels) != n {
		t.Fatalf("%d coarse and %d sketch vectors, %d labels", coarse.Len(), sketch.Len(), len(labels))
	}
}

func checkMean(t *testing.T, c retrieval.Codes, p retrieval.Pooled, at int, in func(int) bool) {
	t.Helper()
	mean := make([]float32, c.Width)
	for j := range c.Len() {
		for i := range mean {
			if in(j) {
				mean[i] += float32(dequantized(c, j, i))
			}
		}
	}
	length := norm(mean)
	for i, v := range mean {
		code := float64(p.Rows[at*retrieval.Stride(c.Width)+i]) - 128
		got := code / 127 * float64(p.Scales[at]) / retrieval.MaxScale
		if e := math.Abs(got - float64(v)/length); e > .51/127 {
			t.Fatalf("vector %d, coordinate %d: %v, the mean has %v", at, i, got, float64(v)/length)
		}
	}
}

// Opposite tokens have no mean: the pooled vector is zero, which no query meets, and the tokens are found all the same by an exact search.
func TestPoolOfOppositeTokens(t *testing.T) {
	x := []float32{3, 4, -3, -4}
	for _, codec := range retrieval.Codecs {
		c := Pool(quantizeBy(t, codec, x, 2))
		if codec == retrieval.Int8 && !slices.Equal(c.Sketch.Rows, []byte{128, 128, 128, 128}) {
			t.Errorf("%s: the sketch is %v", codec, c.Sketch)
		}
		index := newIndex(t, 2, Options{Codec: codec})
		put(t, index, retrieval.Document{ID: "a", Codes: c})
		q, err := QuantizeQuery(codec, x[:2], 2, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []retrieval.Plan{{}, {Sketched: 1, Scored: 1}} {
			q.Plan = p
			if hits := search(t, index, q).Hits; len(hits) != 1 || math.Abs(hits[0].Score-1) > .15 {
				t.Errorf("%s: %v", codec, hits)
			}
		}
	}
}
