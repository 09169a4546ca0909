package sequences

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Comparison is what two logs of the same sequences have in common.
type Comparison struct {
	Sequences, Operations int
	// Equal and Different are sequences.
	Equal, Different int
	// Differences are the first sequences that differ, whole, in words, with what came of
	// each operation on either side.
	Differences string
	// Outcomes counts the operations of the first log by kind and outcome: "map ok".
	Outcomes map[string]int
}

// shown is how many sequences Differences has.
const shown = 10

// Check runs on an emulated machine what the log of a real one tells of, and compares. The
// error is one of reading the log or of building the machine: differences are none.
func Check(guest io.Reader) (Comparison, error) {
	text, err := io.ReadAll(guest)
	if err != nil {
		return Comparison{}, err
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	of, found := bytes.CutPrefix(first, []byte(headerMark))
	var h header
	if !found {
		return Comparison{}, fmt.Errorf("the log starts with %.60q, %q and what was run is needed", first, headerMark)
	}
	if err := json.Unmarshal(of, &h); err != nil {
		return Comparison{}, fmt.Errorf("the first line of the log: %w", err)
	}
	m, places, err := Emulate(h.Places, h.Domain)
	if err != nil {
		return Comparison{}, err
	}
	var emulated bytes.Buffer
	if err := errors.Join(Run(m, places, h.From, h.Count, &emulated), m.Shutdown()); err != nil {
		return Comparison{}, fmt.Errorf("on the emulated machine: %w", err)
	}
	return Compare(bytes.NewReader(text), &emulated)
}

// Compare compares two logs, sequence by sequence. A sequence that only one of them has
// is a difference.
func Compare(guest, emulated io.Reader) (Comparison, error) {
	c := Comparison{Outcomes: map[string]int{}}
	a, err := readLog(guest)
	if err != nil {
		return c, fmt.Errorf("first log: %w", err)
	}
	b, err := readLog(emulated)
	if err != nil {
		return c, fmt.Errorf("second log: %w", err)
	}
	var differences strings.Builder
	for i := range max(len(a), len(b)) {
		var x, y sequence
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		c.Sequences++
		c.Operations += len(x.lines)
		for _, line := range x.lines {
			c.Outcomes[outcomeOf(line)]++
		}
		if x.name == y.name && slices.Equal(x.lines, y.lines) {
			c.Equal++
			continue
		}
		c.Different++
		if c.Different <= shown {
			describe(&differences, x, y)
		}
	}
	if more := c.Different - shown; more > 0 {
		fmt.Fprintf(&differences, "and %d more\n", more)
	}
	c.Differences = differences.String()
	return c, nil
}

// sequence is one of a log: which it is and its operations with their outcomes.
type sequence struct {
	name  string
	lines []string
}

func readLog(r io.Reader) ([]sequence, error) {
	var all []sequence
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if name, found := strings.CutPrefix(line, sequenceMark); found {
			all = append(all, sequence{name: name})
			continue
		}
		if n == 1 && strings.HasPrefix(line, headerMark) {
			continue
		}
		if !strings.Contains(line, arrow) || len(all) == 0 {
			return nil, fmt.Errorf("line %d is %.80q, an operation and its outcome are needed", n, line)
		}
		last := &all[len(all)-1]
		last.lines = append(last.lines, strings.TrimSpace(line))
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, errors.New("it has no sequences")
	}
	return all, nil
}

// outcomeOf is the kind of an operation and the first word of its outcome.
func outcomeOf(line string) string {
	words, outcome, _ := strings.Cut(line, arrow)
	kind, _, _ := strings.Cut(words, " ")
	outcome, _, _ = strings.Cut(strings.ReplaceAll(outcome, ",", ""), " ")
	return kind + " " + outcome
}

// describe prints a sequence with both sides where they differ.
func describe(b *strings.Builder, x, y sequence) {
	name := x.name
	if name == "" {
		name = y.name
	}
	fmt.Fprintf(b, "sequence %s\n", name)
	if x.name != y.name {
		fmt.Fprintf(b, "  ≠ kernel has sequence %q\n    emu has    sequence %q\n", x.name, y.name)
	}
	for i := range max(len(x.lines), len(y.lines)) {
		kernel, emulated := "(nothing)", "(nothing)"
		if i < len(x.lines) {
			kernel = x.lines[i]
		}
		if i < len(y.lines) {
			emulated = y.lines[i]
		}
		words, kernelOutcome, _ := strings.Cut(kernel, arrow)
		emulatedWords, emulatedOutcome, _ := strings.Cut(emulated, arrow)
		switch {
		case kernel == emulated:
			fmt.Fprintf(b, "    %s\n", kernel)
		case words == emulatedWords:
			fmt.Fprintf(b, "  ≠ %s\n      kernel: %s\n      emu:    %s\n", words, kernelOutcome, emulatedOutcome)
		default:
			fmt.Fprintf(b, "  ≠ kernel: %s\n    emu:    %s\n", kernel, emulated)
		}
	}
}

// Summary is how often which outcome was, and the result in the last line.
func (c Comparison) Summary() string {
	var b strings.Builder
	kinds := map[string][]string{}
	for _, outcome := range slices.Sorted(maps.Keys(c.Outcomes)) {
		kind, what, _ := strings.Cut(outcome, " ")
		kinds[kind] = append(kinds[kind], fmt.Sprintf("%s %d", what, c.Outcomes[outcome]))
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		fmt.Fprintf(&b, "%-11s %s\n", kind, strings.Join(kinds[kind], ", "))
	}
	fmt.Fprintf(&b, "sequences: %d sequences, %d operations, %d equal, %d different\n", c.Sequences, c.Operations, c.Equal, c.Different)
	return b.String()
}
