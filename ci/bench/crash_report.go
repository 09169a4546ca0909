package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// crashSchema is the version of the form of a crashReport, raised when a reader of an
// older one would misread it.
const crashSchema = 1

// crashReport is what was measured of the emulated machine.
type crashReport struct {
	Version int           `json:"version"`
	Machine string        `json:"machine"` // CPU, kernel, versions
	Seed    uint64        `json:"seed"`
	Rounds  int           `json:"rounds"`
	Seconds float64       `json:"seconds"`
	Images  []imagesRow   `json:"images"`
	Persist persistResult `json:"persist"`
	Looks   []looksRow    `json:"looks"`
}

// imagesRow is how fast the images of a program go by.
type imagesRow struct {
	Lines int    `json:"lines"` // stored, none of them flushed
	Check string `json:"check"`
	Cores int    `json:"cores"`
	// Images were gone through in a round, Distinct of them different ones, of Of.
	Images   uint64 `json:"images"`
	Distinct uint64 `json:"distinct"`
	Of       uint64 `json:"of"`
	// PerSecond is that of the fastest round. It suffers from what else the machine does.
	PerSecond float64 `json:"per_second"`
	// CPUMicros is how long CPUs worked for an image, in the round in which that was least.
	CPUMicros float64 `json:"cpu_us"`
	// Aim is how many images a second of one CPU's work is to go through at least, as
	// CPUMicros tells; 0: the row is there to compare.
	Aim float64 `json:"aim"`
}

// persistResult is one persist of 64 bytes behind a store, through pmem2, in nanoseconds of
// the CPUs' work.
// The ratio has the 95 % interval that it lies in; it's traced/real, of batches in turns.
type persistResult struct {
	Size      int     `json:"size"`
	TracedNs  float64 `json:"traced_ns"`
	RealNs    float64 `json:"real_ns"`
	Ratio     float64 `json:"ratio"`
	RatioLow  float64 `json:"ratio_low"`
	RatioHigh float64 `json:"ratio_high"`
	Aim       float64 `json:"aim"` // Ratio is to be at most
}

// looksRow is the look at some pages of a small and of a large device DAX. Each of the pages
// was written to since the look before; no others ever were. The ratio is large/small, of looks
// in turns.
type looksRow struct {
	Pages int `json:"pages"`
	// Apart is how many bytes lie between two of them: in the small device, in the large one.
	Apart [2]uint64 `json:"apart"`
	Scan  bool      `json:"scan"` // with PAGEMAP_SCAN
	Sizes [2]uint64 `json:"sizes"`
	// FirstUs is the first look, which arms the mapping, LookUs the median of the others, in
	// microseconds of the CPUs' work.
	FirstUs   [2]float64 `json:"first_us"`
	LookUs    [2]float64 `json:"look_us"`
	Ratio     float64    `json:"ratio"`
	RatioLow  float64    `json:"ratio_low"`
	RatioHigh float64    `json:"ratio_high"`
	// TableBytes is by how much the looks made the page tables of the process grow.
	TableBytes [2]int64 `json:"table_bytes"`
	// Aim: Ratio is to be 0.5 to 1.5 and TableBytes below 16 MiB.
	Aim bool `json:"aim"`
}

const maxTableBytes = 16 << 20

func (r imagesRow) met() bool { return r.Distinct == r.Images && 1e6/r.CPUMicros >= r.Aim }

func (r persistResult) met() bool { return r.Ratio <= r.Aim }

func (r looksRow) met() bool {
	return r.Ratio >= 0.5 && r.Ratio <= 1.5 && max(r.TableBytes[0], r.TableBytes[1]) < maxTableBytes
}

func (r crashReport) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// aimText is what is said of an aim.
func aimText(aim, met bool) string {
	switch {
	case !aim:
		return ""
	case met:
		return "met"
	}
	return "missed"
}

func (r crashReport) writeText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nseed %d, %d rounds, %.0f s\n", r.Machine, r.Seed, r.Rounds, r.Seconds)
	table := func(title string, fill func(line func(cells ...string))) {
		fmt.Fprintf(&b, "\n%s\n\n", title)
		var text strings.Builder
		t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
		fill(func(cells ...string) { _, _ = io.WriteString(t, strings.Join(cells, "\t")+"\t\n") })
		_ = t.Flush() // to memory
		for line := range strings.Lines(text.String()) {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	table("Images that a power failure can leave", func(line func(...string)) {
		line("lines", "check", "cores", "images", "distinct", "of", "per second", "CPU us", "per CPU s", "aim", "")
		for _, row := range r.Images {
			aim := ""
			if row.Aim > 0 {
				aim = fmt.Sprintf("%.0f", row.Aim)
			}
			line(fmt.Sprint(row.Lines), row.Check, fmt.Sprint(row.Cores), fmt.Sprint(row.Images), fmt.Sprint(row.Distinct), fmt.Sprint(row.Of),
				fmt.Sprintf("%.0f", row.PerSecond), fmt.Sprintf("%.3g", row.CPUMicros), fmt.Sprintf("%.0f", 1e6/row.CPUMicros),
				aim, aimText(row.Aim > 0, row.met()))
		}
	})
	table("A persist of 64 bytes", func(line func(...string)) {
		p := r.Persist
		line("traced ns", "real ns", "traced/real", "95 %", "aim", "")
		line(nsText(p.TracedNs), nsText(p.RealNs), fmt.Sprintf("%.2f", p.Ratio), fmt.Sprintf("%.2f..%.2f", p.RatioLow, p.RatioHigh),
			fmt.Sprintf("%.1f", p.Aim), aimText(true, p.met()))
	})
	if len(r.Looks) > 0 {
		small, large := bytesText(r.Looks[0].Sizes[0]), bytesText(r.Looks[0].Sizes[1])
		table(fmt.Sprintf("Looks at pages written to, on devices of %s and %s", small, large), func(line func(...string)) {
			line("pages", "apart", "", "PAGEMAP_SCAN", "first us", "", "look us", "", "ratio", "95 %", "tables", "", "aim")
			line("", small, large, "", small, large, small, large, "", "", small, large, "")
			for _, row := range r.Looks {
				line(fmt.Sprint(row.Pages), bytesText(row.Apart[0]), bytesText(row.Apart[1]), map[bool]string{true: "yes", false: "no"}[row.Scan],
					nsText(row.FirstUs[0]), nsText(row.FirstUs[1]), nsText(row.LookUs[0]), nsText(row.LookUs[1]),
					fmt.Sprintf("%.2f", row.Ratio), fmt.Sprintf("%.2f..%.2f", row.RatioLow, row.RatioHigh),
					fmt.Sprintf("%d KiB", row.TableBytes[0]>>10), fmt.Sprintf("%d KiB", row.TableBytes[1]>>10),
					aimText(row.Aim, row.met()))
			}
		})
	}
	b.WriteString("\n" + r.verdict() + "\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// verdict counts the aims.
func (r crashReport) verdict() string {
	aims, met := 1, 0
	count := func(ok bool) {
		if ok {
			met++
		}
	}
	count(r.Persist.met())
	for _, row := range r.Images {
		if row.Aim > 0 {
			aims++
			count(row.met())
		}
	}
	for _, row := range r.Looks {
		if row.Aim {
			aims++
			count(row.met())
		}
	}
	return fmt.Sprintf("bench crash: %d of %d aims met", met, aims)
}
