// Package eval measures rankings against judgements, and says how sure a measured mean is.
//
// It is pure: no file, no clock, and sums in a fixed order, so that the same rankings give the same numbers to the last
// digit. The measures are those of trec_eval, and testdata holds a ranking with the values that pytrec_eval gives it.
//
// A ranking is document ids, best first, each at most once. Judgements are grades by document id; one of 0 or less, and a
// document without any, is not relevant.
package eval
