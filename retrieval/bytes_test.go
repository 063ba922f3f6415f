package retrieval

import (
	"math"
	"testing"
)

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		codec         Codec
		width, tokens int
		want          Bytes
	}{
		{Int8, 128, 0, Bytes{0, 0, 0, 14}},
		{Int8, 128, 16, Bytes{130, 2 * 130, 16 * 130, 14}},
		{Int8, 127, 257, Bytes{2 * 130, 33 * 130, 257 * 130, 14}}, // two windows of 128 and 129
		{Bits4, 128, 33, Bytes{130, 2 * 130, 33 * (64 + 3), 14}},
		{Bits1, 9, 1, Bytes{14, 14, 2 + 3, 14}},
	} {
		if got := c.codec.Bytes(c.width, c.tokens); got != c.want || got.All() != got.Fine+got.Resident() {
			t.Errorf("%s, %d tokens x %d: %+v, want %+v", c.codec, c.tokens, c.width, got, c.want)
		}
	}
}

// TestEstimate: what documents of equal length take is told exactly, and what others take nearly.
func TestEstimate(t *testing.T) {
	for _, codec := range Codecs {
		var uneven Bytes
		for i := range 50 {
			uneven = uneven.Add(codec.Bytes(128, 80+4*i)) // 178 in the mean
		}
		if got := codec.Estimate(128, 50, 50*180); got != codec.Bytes(128, 180).Times(50) {
			t.Errorf("%s: %+v", codec, got)
		}
		if got := codec.Estimate(128, 50, 50*178); got.Fine != uneven.Fine || got.Starts != uneven.Starts || math.Abs(float64(got.All())/float64(uneven.All())-1) > .02 {
			t.Errorf("%s: %+v, really %+v", codec, got, uneven)
		}
	}
	if got, want := Int8.Estimate(9, 3, 5), Int8.Bytes(9, 1).Add(Int8.Bytes(9, 2).Times(2)); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := Int8.Estimate(128, 0, 0); got != (Bytes{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestForecast(t *testing.T) {
	seen := []int{100, 200, 0}
	want := Int8.Bytes(128, 100).Times(3)
	if f := Int8.Forecast(128, seen, 2, 3, 0); f != (Forecast{3, 300, want, 2}) {
		t.Errorf("of itself: %+v, want %+v", f, want)
	}
	f := Int8.Forecast(128, seen, 2, 30, 6000)
	if f.Tokens != 6000 || f.Seconds != 40 || f.Bytes.Fine != 20*want.Fine || f.Bytes.Starts != 10*want.Starts {
		t.Errorf("of ten times as many documents, twenty times as many tokens: %+v", f)
	}
	for _, none := range [][]int{nil, {0, 0}} {
		if f := Int8.Forecast(128, none, 2, 30, 6000); f != (Forecast{Documents: 30}) {
			t.Errorf("of nothing: %+v", f)
		}
	}
}
