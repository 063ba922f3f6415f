package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"

	"ostraca/ops/eval"
	"ostraca/retrieval"
)

// benchReport is what bench --json prints.
type benchReport struct {
	Documents      int           `json:"documents"`
	Tokens         int64         `json:"tokens"`
	Width          int           `json:"width"`
	QueryTokens    float64       `json:"query_tokens,omitempty"` // mean of a query
	BuildS         float64       `json:"build_s"`                // 0: it was opened
	BytesPerDisk   float64       `json:"bytes_per_token_disk"`   // 0: this index lives in memory
	BytesPerMemory float64       `json:"bytes_per_token_memory"` // of the tiers that every search reads: sketch, coarse, starts
	BytesPerLoaded float64       `json:"bytes_per_token_loaded"` // of all that is in memory now, ids too
	Tiers          tierBytesJSON `json:"bytes_per_token"`
	PeakRSS        float64       `json:"peak_rss_mb"`
	Kernel         string        `json:"kernel"`
	Codec          string        `json:"codec"`
	Forecast       *forecastJSON `json:"forecast,omitempty"`

	CalibratedOn *calibratedOn  `json:"calibrated_on,omitempty"`
	Results      []benchResult  `json:"results"`
	Writes       []writesResult `json:"writes,omitempty"`

	Nodes  int            `json:"nodes,omitempty"` // of the cluster that was measured, and its shards
	Shards int            `json:"shards,omitempty"`
	Served []servedResult `json:"served,omitempty"`
}

// calibratedOn says which queries plans were made with.
type calibratedOn struct {
	Queries int  `json:"queries"`
	HeldOut bool `json:"held_out"` // none of them is measured
	Kept    bool `json:"kept"`     // it was done by an earlier run
}

// benchResult is one setting.
type benchResult struct {
	RecallTarget  recallTarget `json:"recall_target"`
	K             int          `json:"k"`
	Threads       int          `json:"threads"`
	Plan          planJSON     `json:"plan"`
	Recall10      *float64     `json:"recall@10,omitempty"`
	Recall100     *float64     `json:"recall@100,omitempty"`
	RecallQueries int          `json:"recall_queries"` // how many recall was measured on
	P50           float64      `json:"p50_us"`
	P95           float64      `json:"p95_us"`
	CPU           float64      `json:"cpu_us"`         // processor time of a query, mean
	Rate          float64      `json:"tokens_per_cpu"` // document tokens scored per processor second
	Stats         stagesJSON   `json:"stats"`
}

// planJSON is a plan: how many lists are looked into, and how many documents each stage keeps; 0 is all.
type planJSON struct {
	Lists    int `json:"lists,omitempty"`
	Sketched int `json:"sketched"`
	Scored   int `json:"scored"`
}

func (p planJSON) String() string {
	if p == (planJSON{}) {
		return "all"
	}
	if p.Lists > 0 {
		return fmt.Sprintf("%d/%d>%d", p.Lists, p.Sketched, p.Scored)
	}
	return fmt.Sprintf("%d>%d", p.Sketched, p.Scored)
}

// stagesJSON is the mean work of a query: vectors met in each stage, documents that passed on, and times.
type stagesJSON struct {
	Centroids float64    `json:"centroids"` // of lists
	Sketches  float64    `json:"sketches"`
	Sketched  float64    `json:"sketched"` // documents kept by their sketches
	Coarse    float64    `json:"coarse"`
	Documents float64    `json:"documents"` // scored by their tokens
	Tokens    float64    `json:"tokens"`
	Micros    microsJSON `json:"micros"`
}

// microsJSON are microseconds of a query, mean, by the clock on the wall.
type microsJSON struct {
	Quantize float64 `json:"quantize"` // the query's vectors
	Sketch   float64 `json:"sketch"`
	Coarse   float64 `json:"coarse"`
	Score    float64 `json:"score"`
}

// newStages divides sums by the number of queries, for each of which quantize has the microseconds.
func newStages(s retrieval.Stats, quantize []float64) stagesJSON {
	mean := func(x int64) float64 { return float64(x) / float64(len(quantize)) }
	sum := 0.0
	for _, x := range quantize {
		sum += x
	}
	return stagesJSON{mean(s.Centroids), mean(s.Sketches), mean(s.Sketched), mean(s.Coarse), mean(s.Documents), mean(s.Tokens),
		microsJSON{sum / float64(len(quantize)), mean(s.Micros.Sketch), mean(s.Micros.Coarse), mean(s.Micros.Score)}}
}

// recallTarget names what was asked for: a share of the exact answer, "exact", or a plan.
type recallTarget string

func recallTargetOf(t retrieval.Target) recallTarget { return recallTarget(t.String()) }

// MarshalJSON writes a share as the number it is.
func (t recallTarget) MarshalJSON() ([]byte, error) {
	if _, err := strconv.ParseFloat(string(t), 64); err == nil {
		return []byte(t), nil
	}
	return json.Marshal(string(t))
}

// idsLine is a line of --ids.
type idsLine struct {
	RecallTarget recallTarget `json:"recall_target"`
	K            int          `json:"k"`
	IDs          [][]int      `json:"ids"` // rows of the documents, a list a query, best first
}

// isIDs tells whether there is a file of --ids, of an earlier run: only such a file is written over.
func isIDs(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	var first map[string]any
	err = json.NewDecoder(f).Decode(&first)
	return err == nil && len(first) == 3 && first["recall_target"] != nil && first["k"] != nil && first["ids"] != nil
}

// writeIDs writes a file of --ids, in place of an earlier one.
func writeIDs(path string, found []idsLine) error {
	if isIDs(path) {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return writeLines(path, found)
}

// times are microseconds of many searches.
type times struct {
	Searches int     `json:"searches"`
	P50      float64 `json:"p50_us"`
	P95      float64 `json:"p95_us"`
}

func newTimes(all []float64) times {
	return times{len(all), eval.Percentile(all, .5), eval.Percentile(all, .95)}
}

func (a *app) printBench(r *benchReport) {
	a.printf("%d documents, %d tokens x %d; codec %s, kernel %s\n", r.Documents, r.Tokens, r.Width, r.Codec, r.Kernel)
	a.printf("built in %.2f s; bytes a token: %.1f resident, %.1f in memory, %.1f on disk (%.1f sketch, %.1f coarse, %.1f fine, %.1f starts); peak resident %.0f MB\n",
		r.BuildS, r.BytesPerMemory, r.BytesPerLoaded, r.BytesPerDisk, r.Tiers.Sketch, r.Tiers.Coarse, r.Tiers.Fine, r.Tiers.Starts, r.PeakRSS)
	if len(r.Results) == 0 { // --build-only
		return
	}
	plans := ""
	if c := r.CalibratedOn; c != nil {
		plans = fmt.Sprintf("; plans calibrated on %d queries, held out", c.Queries)
		if !c.HeldOut {
			plans = fmt.Sprintf("; plans calibrated on %d queries, also measured", c.Queries)
		}
	}
	a.printf("queries of %.1f tokens%s\n", r.QueryTokens, plans)
	a.printf("%-8s %4s %7s %7s %11s %9s %9s %9s   %s\n", "target", "k", "threads", "recall", "plan", "p50 ms", "p95 ms", "cpu ms", "of it us: query, sketches, coarse, tokens")
	for _, x := range r.Results {
		recall, m := "-", x.Stats.Micros
		for _, v := range []*float64{x.Recall10, x.Recall100} {
			if v != nil {
				recall = fmt.Sprintf("%.4f", *v)
			}
		}
		a.printf("%-8s %4d %7d %7s %11s %9.3f %9.3f %9.3f   %.0f, %.0f, %.0f, %.0f\n", x.RecallTarget, x.K, x.Threads, recall, x.Plan, x.P50/1e3, x.P95/1e3, x.CPU/1e3,
			m.Quantize, m.Sketch, m.Coarse, m.Score)
	}
	a.printServed(r)
	a.printWrites(r)
}
