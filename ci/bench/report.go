package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

const (
	// behindBelow is the bound of C/Go and tieWithin that of Go/limit: see the doc comment
	// of the package.
	behindBelow = 0.97
	tieWithin   = 1.03
	// From largeCopy bytes on copies and sets are to be ahead of C, and sets to have
	// nearLimit of the limit.
	largeCopy = 1 << 20
	nearLimit = 0.95
)

// report is the result of a run.
type report struct {
	Machine  string      `json:"machine"` // CPU, kernel, versions
	Seed     uint64      `json:"seed"`
	Rounds   int         `json:"rounds"`
	Pairs    int         `json:"pairs"` // in each round
	Settings string      `json:"settings"`
	Seconds  float64     `json:"seconds"`
	Rows     []rowResult `json:"rows"`
}

// rowResult is one line. Times are of one operation in nanoseconds, ratios have the
// 95 % interval that they lie in. Ratios come from the pairs; the times of C and of the
// limit are that of Go times their ratio to it.
type rowResult struct {
	Op        string  `json:"op"`
	Size      uint64  `json:"size"`
	GoNs      float64 `json:"go_ns"`
	CNs       float64 `json:"c_ns"`
	Ratio     float64 `json:"ratio"` // C/Go
	RatioLow  float64 `json:"ratio_low"`
	RatioHigh float64 `json:"ratio_high"`
	// LimitNs and the fields below are nil where there is no limit.
	LimitNs *float64 `json:"limit_ns"`
	// LimitRatio is limit/Go: 1 is as fast as the limit.
	LimitRatio     *float64 `json:"limit_ratio"`
	LimitRatioLow  *float64 `json:"limit_ratio_low"`
	LimitRatioHigh *float64 `json:"limit_ratio_high"`
	// LimitBy is the way of storing that the limit is measured with.
	LimitBy string `json:"limit_by"`

	row row
}

// result makes the line of a row from its samples. Numbers are rounded as they are
// written, so that a reader of the file comes to the same verdict.
func result(r row, s samples, limitBy string) rowResult {
	goNs, c := trimmedMean(medians(s.goNs)).value, ratio(s.cNs, s.goNs)
	res := rowResult{
		Op: r.op, Size: r.size, row: r,
		GoNs: round(goNs, 2), CNs: round(goNs*c.value, 2),
		Ratio: round(c.value, 4), RatioLow: round(c.low, 4), RatioHigh: round(c.high, 4),
	}
	if len(s.limitNs) > 0 {
		l := ratio(s.limitNs, s.goNs)
		ns := round(goNs*l.value, 2)
		l = estimate{round(l.value, 4), round(l.low, 4), round(l.high, 4)}
		res.LimitNs, res.LimitBy = &ns, limitBy
		res.LimitRatio, res.LimitRatioLow, res.LimitRatioHigh = &l.value, &l.low, &l.high
	}
	return res
}

func round(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}

// tie reports whether Go is within 3 % of the limit.
func (r rowResult) tie() bool { return r.LimitNs != nil && r.GoNs <= tieWithin**r.LimitNs }

// behind reports whether the row fails the check.
func (r rowResult) behind() bool { return r.RatioHigh < behindBelow && !r.tie() }

func (r report) behind() []rowResult {
	var rows []rowResult
	for _, row := range r.Rows {
		if row.behind() {
			rows = append(rows, row)
		}
	}
	return rows
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// writeText writes the table and the verdict.
func (r report) writeText(w io.Writer) error {
	var table bytes.Buffer
	t := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(cells ...string) { _, _ = io.WriteString(t, strings.Join(cells, "\t")+"\t\n") }
	line("operation", "size", "Go ns", "C ns", "C/Go", "95 %", "limit ns", "limit/Go", "limit by", "")
	for _, row := range r.Rows {
		limit, share, note := "-", "-", ""
		if row.LimitNs != nil {
			limit, share = nsText(*row.LimitNs), fmt.Sprintf("%.3f", *row.LimitRatio)
		}
		switch {
		case row.behind():
			note = "behind"
		case row.RatioHigh < behindBelow:
			note = "tie"
		}
		line(row.Op, bytesText(row.Size), nsText(row.GoNs), nsText(row.CNs), fmt.Sprintf("%.3f", row.Ratio),
			fmt.Sprintf("%.3f..%.3f", row.RatioLow, row.RatioHigh), limit, share, row.LimitBy, note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s\n%s\nseed %d, %d rounds of %d pairs, %.0f s\n\n", r.Machine, r.Settings, r.Seed, r.Rounds, r.Pairs, r.Seconds)
	for line := range strings.Lines(table.String()) {
		text.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	text.WriteString("\n" + r.verdict() + "\n")
	_, err := io.WriteString(w, text.String())
	return err
}

// nsText is a time with three digits or all before the point.
func nsText(ns float64) string {
	switch {
	case ns < 10:
		return fmt.Sprintf("%.2f", ns)
	case ns < 100:
		return fmt.Sprintf("%.1f", ns)
	}
	return fmt.Sprintf("%.0f", ns)
}

// verdict counts what the rows show.
func (r report) verdict() string {
	var ahead, ties, large, largeAhead, sets, setsNear int
	var halves []float64
	var behind []string
	for _, row := range r.Rows {
		halves = append(halves, 50*(row.RatioHigh-row.RatioLow)/row.Ratio)
		switch {
		case row.RatioLow > 1:
			ahead++
		case row.behind():
			behind = append(behind, fmt.Sprintf("%s (%.3f)", row.row, row.Ratio))
		case row.RatioHigh < behindBelow:
			ties++
		}
		if !row.row.copies() || row.Size < largeCopy {
			continue
		}
		large++
		if row.RatioLow > 1 {
			largeAhead++
		}
		if row.row.verb == "memset" && row.LimitNs != nil {
			sets++
			if *row.LimitRatio >= nearLimit {
				setsNear++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "bench: %d rows, %d ahead of C, %d level, %d ties at the limit, %d behind", len(r.Rows),
		ahead, len(r.Rows)-ahead-ties-len(behind), ties, len(behind))
	if len(behind) > 0 {
		fmt.Fprintf(&b, ": %s", strings.Join(behind, ", "))
	}
	if large > 0 {
		fmt.Fprintf(&b, "\ncopies and sets of 1 MiB and more: %d of %d ahead of C", largeAhead, large)
	}
	if sets > 0 {
		fmt.Fprintf(&b, "; sets: %d of %d at %.2f of the limit or more", setsNear, sets, nearLimit)
	}
	if len(halves) > 0 {
		var widest int
		for i, h := range halves {
			if h > halves[widest] {
				widest = i
			}
		}
		fmt.Fprintf(&b, "\nintervals: half a width is %.1f %% in the median, %.1f %% at most (%s)", median(halves), halves[widest], r.Rows[widest].row)
	}
	return b.String()
}
