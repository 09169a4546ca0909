package conformance

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"text/tabwriter"

	"pmemlab/conformance/report"
	"pmemlab/pmem2/platform"
)

// Doctor writes what this machine offers (devices, file systems, NVDIMMs, the CPU), and
// for each target what was found there, what it lacks and why, and how many rows of the
// contract that costs. The error is that of writing.
func Doctor(w io.Writer, targets ...Target) error {
	var out bytes.Buffer
	facts := writeMachine(&out, platform.Host())
	for _, t := range targets {
		writeTarget(&out, t, facts)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// table writes lines with their columns below each other.
func table(out *bytes.Buffer, lines [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		_, _ = fmt.Fprintln(w, "  "+strings.Join(l, "\t"))
	}
	_ = w.Flush() // into memory
}

// writeMachine tells what there is, whether a target uses it or not, and returns the facts.
func writeMachine(out *bytes.Buffer, m platform.Platform) []report.Fact {
	fmt.Fprintln(out, "this machine")
	facts := append([]report.Fact{kernelFact()}, cpuFacts(m)...)
	facts = append(facts, nvdimmFacts(m)...)
	table(out, factLines(facts))
	for _, part := range []struct {
		what, none string
		found      []string
	}{
		{"device DAX, for -pmem.devdax", "none: /sys/bus/dax has no device; ndctl create-namespace -m devdax makes one of persistent memory, the kernel's parameter memmap=1G!4G persistent memory for tests", daxDevicesOf(m)},
		{"block devices with DAX", "none: no /sys/class/block/*/queue/dax is 1", daxBlockDevicesOf(m)},
		{"file systems mounted with DAX, for -pmem.fsdax", "none: /proc/self/mountinfo has none with the option dax", daxMounts()},
	} {
		fmt.Fprintf(out, "%s\n", part.what)
		if part.found == nil {
			part.found = []string{part.none}
		}
		for _, f := range part.found {
			fmt.Fprintf(out, "  %s\n", f)
		}
	}
	return facts
}

// daxDevicesOf tells of each device DAX of a machine.
func daxDevicesOf(m platform.Platform) (found []string) {
	const bus = "bus/dax/devices"
	names, err := m.List(bus)
	if err != nil {
		return nil
	}
	for _, name := range names {
		d, err := identifyDevice(m, "/dev/"+name)
		if err != nil {
			found = append(found, err.Error())
			continue
		}
		text := fmt.Sprintf("%s: %d bytes, alignment %d", d.path, d.size, d.align)
		if d.region != "" {
			text += ", on " + path.Base(d.region)
		}
		switch {
		case d.align != daxAlign:
			text += fmt.Sprintf("; of no use, cases want an alignment of %d", daxAlign)
		case d.size < daxSize:
			text += fmt.Sprintf("; of no use, cases want %d bytes", daxSize)
		}
		found = append(found, text)
	}
	return found
}

func daxBlockDevicesOf(m platform.Platform) (found []string) {
	const class = "class/block"
	names, err := m.List(class)
	if err != nil {
		return nil
	}
	for _, name := range names {
		text, err := m.ReadAttr(class + "/" + name + "/queue/dax")
		if err != nil || strings.TrimSpace(text) != "1" {
			continue
		}
		line := "/dev/" + name
		if region := regionOf(m, class+"/"+name); region != "" {
			line += ", on " + path.Base(region)
		}
		found = append(found, line)
	}
	return found
}

// writeTarget tells what was found at a target beyond what is known, what it lacks and what
// that costs.
func writeTarget(out *bytes.Buffer, t Target, known []report.Fact) {
	fmt.Fprintf(out, "target %s, variants %s\n", t.Name(), strings.Join(t.Variants(), ", "))
	table(out, factLines(slices.DeleteFunc(factsOf(t), func(f report.Fact) bool { return slices.Contains(known, f) })))
	costs := costOf(t)
	var lines [][]string
	for _, n := range Needs() {
		line := []string{string(n), "yes", ""}
		if why := lacksEverywhere(t, n); why != "" {
			line[1], line[2] = "no", fmt.Sprintf("costs %d rows: %s", costs.by[n], why)
		} else if why := lacksSomewhere(t, n); why != "" {
			line[2] = "not everywhere: " + why
		}
		lines = append(lines, line)
	}
	fmt.Fprintf(out, "  what rows need of it:\n")
	table(out, lines)
	fmt.Fprintf(out, "  of %d rows %d can be checked\n", costs.rows, costs.rows-costs.lost)
}

// lacksSomewhere says in which variants a need can't be satisfied.
func lacksSomewhere(t Target, n Need) string {
	var why []string
	for _, v := range t.Variants() {
		if w := lacks(t, v, n); w != "" {
			why = append(why, v+": "+w)
		}
	}
	return strings.Join(why, "; ")
}

func factLines(facts []report.Fact) (lines [][]string) {
	for _, f := range facts {
		has := "no"
		if f.Has {
			has = "yes"
		}
		text := f.Value
		if f.Why != "" {
			text = strings.TrimSpace(text + " (" + f.Why + ")")
		}
		lines = append(lines, []string{f.Name, has, text})
	}
	return lines
}

// costs are the rows that can't be checked somewhere.
type costs struct {
	rows, lost int
	by         map[Need]int // of those lost, the rows that want it
}

// costOf counts the rows none of whose cases can run in any variant of a target.
func costOf(t Target) costs {
	c := costs{by: map[Need]int{}}
	r := &Runner{byID: map[string]Row{}}
	rows, cases := Rows(), Cases()
	for _, row := range rows {
		r.byID[row.ID] = row
	}
	needs := map[string][][]Need{} // of each case of a row
	for _, cs := range cases {
		wanted, _ := r.needs(cs)
		for _, id := range cs.Rows {
			needs[id] = append(needs[id], wanted)
		}
	}
	for _, row := range rows {
		if row.NotApplicable() {
			continue
		}
		c.rows++
		if slices.ContainsFunc(needs[row.ID], func(wanted []Need) bool {
			return slices.ContainsFunc(t.Variants(), func(v string) bool { return lacking(t, v, wanted) == "" })
		}) {
			continue
		}
		c.lost++
		for _, n := range Needs() {
			if lacksEverywhere(t, n) != "" && slices.ContainsFunc(needs[row.ID], func(wanted []Need) bool { return slices.Contains(wanted, n) }) {
				c.by[n]++
			}
		}
	}
	return c
}
