package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Labels are the words that a row can be chosen by: its library, page, function, kind
// and editions, and what it needs: "needs-devdax".
func (r Row) Labels() []string {
	labels := []string{r.Library, r.Page, r.Function, r.Kind, "needs-" + string(r.Needs)}
	labels = append(labels, r.Editions...)
	slices.Sort(labels)
	return slices.Compact(labels)
}

// Selection is a part of the contract and the cases that check it.
type Selection struct {
	Rows  []Row
	Cases []Case
	shard Shard
	whole string // of a shard: a digest of the rows and cases of the whole
}

// Select chooses rows; nil takes all. Cases are those of the given ones that check one
// of the chosen rows, and those that a run has to complain of: with no row, or with one
// that isn't in the contract.
func Select(cases []Case, want func(Row) bool) Selection {
	if want == nil {
		return Selection{Rows: Rows(), Cases: slices.Clone(cases)}
	}
	chosen, left := map[string]bool{}, map[string]bool{}
	var s Selection
	for _, r := range Rows() {
		if want(r) {
			s.Rows = append(s.Rows, r)
			chosen[r.ID] = true
		} else {
			left[r.ID] = true
		}
	}
	for _, c := range cases {
		if len(c.Rows) == 0 || slices.ContainsFunc(c.Rows, func(id string) bool { return chosen[id] || !left[id] }) {
			s.Cases = append(s.Cases, c)
		}
	}
	return s
}

// Shard is one part of a run that several processes or machines share: the Index-th of
// Count, from 1 on. The zero value is the whole run.
type Shard struct{ Index, Count int }

// ParseShard reads "2/3", the second of three; "1+1/3" is the same for who counts from 0,
// as the indexes of a Kubernetes Job do; "" is the whole.
func ParseShard(text string) (Shard, error) {
	if text == "" {
		return Shard{}, nil
	}
	index, count, ok := strings.Cut(text, "/")
	index, fromZero := strings.CutSuffix(index, "+1")
	i, err1 := strconv.Atoi(index)
	n, err2 := strconv.Atoi(count)
	if fromZero {
		i++
	}
	if !ok || err1 != nil || err2 != nil || i < 1 || n < i {
		return Shard{}, fmt.Errorf("shard %q: want i/n with 1 ≤ i ≤ n, as in 2/3, or 1+1/3", text)
	}
	return Shard{i, n}, nil
}

// String is "2/3", or "" for the whole.
func (s Shard) String() string {
	if s.Count == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d", s.Index, s.Count)
}

// Shard is a part of the selection. The parts of one selection have every row and every
// case once; a row is in the same part as all of its cases.
func (s Selection) Shard(p Shard) (Selection, error) {
	if p == (Shard{}) {
		return s, nil
	}
	if p.Index < 1 || p.Count < p.Index || s.shard.Count != 0 {
		return Selection{}, fmt.Errorf("shard %d of %d of a selection that is shard %q", p.Index, p.Count, s.shard)
	}
	// What shares a row shares a part; the parts are dealt out in turn, by page as
	// it were, since neighbours take about the same time.
	group := map[string]int{} // by row
	groups := 0
	var of []int // by case
	for _, c := range s.Cases {
		g := -1
		for _, id := range c.Rows {
			old, ok := group[id]
			switch {
			case !ok:
			case g < 0:
				g = old
			case old != g:
				for row, was := range group {
					if was == old {
						group[row] = g
					}
				}
				for i, was := range of {
					if was == old {
						of[i] = g
					}
				}
			}
		}
		if g < 0 {
			g = groups
			groups++
		}
		for _, id := range c.Rows {
			group[id] = g
		}
		of = append(of, g)
	}
	mine := func(g int) bool { return g%p.Count == p.Index-1 }
	part := Selection{shard: p, whole: s.digest()}
	for i, c := range s.Cases {
		if mine(of[i]) {
			part.Cases = append(part.Cases, c)
		}
	}
	for i, r := range s.Rows {
		g, ok := group[r.ID]
		if !ok {
			g = i // no case
		}
		if mine(g) {
			part.Rows = append(part.Rows, r)
		}
	}
	return part, nil
}

// NewRunner is the function of that name for the selection: the run has its rows.
func (s Selection) NewRunner(subject Subject, target Target) *Runner {
	r := newRunner(subject, target, Rows(), s.Cases)
	r.rows, r.shard, r.whole = s.Rows, s.shard, s.whole
	return r
}

// digest tells selections apart.
func (s Selection) digest() string {
	sum := sha256.New()
	for _, r := range s.Rows {
		_, _ = fmt.Fprintf(sum, "row %q\n", r.ID)
	}
	for _, c := range s.Cases {
		_, _ = fmt.Fprintf(sum, "case %q %q\n", c.Name, c.Rows)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}
